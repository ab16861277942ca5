"""Parameter files as a robot has them, read without ROS."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr3d_ros.parameters.file import parameters_of_file, values_of_file
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.parameters.rules import ParameterError

ROOT = Path(__file__).resolve().parent.parent


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_file_that_ships_says_the_defaults() -> None:
    assert parameters_of_file(ROOT / "config" / "detector.param.yaml") == Parameters()


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "sensors").glob("*.yaml")))
def test_presets_of_sensors_are_read(path: Path) -> None:
    assert isinstance(parameters_of_file(path), Parameters)


def test_nested_and_dotted_names_are_the_same(tmp_path: Path) -> None:
    text = """
/**:
  ros__parameters:
    use_sim_time: true
    output: {score_threshold: 0.4}
    filter.roi: [0, 0, 0, 1, 2, 3]
    classes.chair.enabled: false
"""
    parameters = parameters_of_file(written(tmp_path, text))
    assert (parameters.score_threshold, parameters.roi) == (0.4, (0.0, 0.0, 0.0, 1.0, 2.0, 3.0))
    assert not parameters.rule_of("chair").enabled


TWO = """
/**:
  ros__parameters: {output.score_threshold: 0.4, input.max_points: 7}
/front:
  sr3d_detector:
    ros__parameters: {input.max_points: 8}
/rear/sr3d_detector:
  ros__parameters: {input.max_points: 9}
/camera:
  ros__parameters: {anything: 1}
"""


@pytest.mark.parametrize(
    ("node", "points"), [("/front/sr3d_detector", 8), ("/x/sr3d_detector", 7)]
)
def test_a_node_gets_its_own_section_over_that_of_all(
    tmp_path: Path, node: str, points: int
) -> None:
    values = values_of_file(written(tmp_path, TWO), node)
    assert values == {"output.score_threshold": 0.4, "input.max_points": points}


def test_two_detectors_in_one_file_must_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"/front/sr3d_detector.*/rear/sr3d_detector"):
        values_of_file(written(tmp_path, TWO))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("/**: {ros__parameters: {output.scor: 1}}", "output.scor"),
        ("/**: {ros__parameters: {output.score_threshold: 7.0}}", "output.score_threshold"),
        ("/other: {ros__parameters: {a: 1}}", "/other"),
        ("output: {score_threshold: 0.4}", "ros__parameters"),
        ("- 1", "ros__parameters"),
        ("/**: {ros__parameters: 3}", "ros__parameters"),
        ("a: [", "not YAML"),
        ("/**: {ros__parameters: {}}\n/**: {ros__parameters: {}}", "twice"),
        ("", "sr3d_detector"),
    ],
)
def test_mistakes_are_refused_with_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ParameterError, match=complaint) as caught:
        parameters_of_file(written(tmp_path, text))
    assert "mine.yaml" in str(caught.value)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"gone\.yaml"):
        values_of_file(tmp_path / "gone.yaml")
