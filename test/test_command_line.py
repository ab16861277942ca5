"""What the command line gives to a node: files for others, and what ROS cannot take."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr3d_ros.parameters.command_line import explained, files_for_others, values_of_files

UNTYPED = ValueError("a default value of type PARAMETER_NOT_SET")


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def for_node(name: str, value: str = "5") -> str:
    return f"{name}:\n  ros__parameters:\n    input.max_points: {value}\n"


@pytest.mark.parametrize(
    ("section", "node", "is_for_it"),
    [
        ("/**", "/front/sr3d_detector", True),
        ("/front/sr3d_detector", "/front/sr3d_detector", True),
        ("/front/sr3d_detector", "/sr3d_detector", False),
        ("sr3d_detector", "/sr3d_detector", True),
        ("sr3d_detector", "/front/sr3d_detector", False),
        ("/**/sr3d_detector", "/front/sr3d_detector", True),
        ("other", "/sr3d_detector", False),
    ],
)
def test_a_file_without_a_word_for_the_node_is_named_with_whom_it_is_for(
    tmp_path: Path, section: str, node: str, is_for_it: bool
) -> None:
    path = written(tmp_path, for_node(section))
    said = files_for_others(["node", "--ros-args", "--params-file", path], node)
    assert len(said) == (not is_for_it)
    for text in said:
        assert path in text
        assert node in text
        assert section in text


def test_parameters_of_the_command_line_come_before_those_of_files(tmp_path: Path) -> None:
    path = written(tmp_path, for_node("sr3d_detector") + "    frames.up: floor\n")
    arguments = ["doctor", "--ros-args", "--params-file", path, "-p", "input.max_points:=7"]
    assert values_of_files(arguments, "sr3d_detector") == {"frames.up": "floor"}


@pytest.mark.parametrize("value", ["[]", ""])
def test_a_value_without_a_type_is_named_with_its_place(tmp_path: Path, value: str) -> None:
    path = written(tmp_path, for_node("/**", value))
    in_file = str(explained(UNTYPED, ["node", "--ros-args", "--params-file", path]))
    assert path in in_file
    assert "input.max_points" in in_file
    given = ["node", "--ros-args", "-p", f"filter.roi:={value}"]
    assert "filter.roi" in str(explained(UNTYPED, given))


def test_a_file_that_is_not_there_is_named() -> None:
    given = ["node", "--ros-args", "--params-file", "/nowhere/mine.yaml"]
    assert "/nowhere/mine.yaml" in str(explained(RuntimeError(""), given))


def test_an_error_without_words_has_a_name_at_least() -> None:
    assert str(explained(KeyError(), ["node"])) == "KeyError"
