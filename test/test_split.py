"""Which scenes are held back: a fixed rule, lists that only grow, rooms that stay together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cli_harness import assert_one_line_error, sr3d

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.folder import FolderSource
from sr3d_core.data.inspection import inspect_scenes
from sr3d_core.data.readers.labelcloud import LabelCloudSource
from sr3d_core.data.readers.s3dis import S3disSource
from sr3d_core.data.readers.sustechpoints import SustechPointsSource
from sr3d_core.data.split import split_scenes

BOX = {"class": "lamp", "center": [0.5, 1, 0.5], "size": [1.0, 2.0, 1.0]}


def add(root: Path, *names: str) -> Path:
    for name in names:
        for path, text in (
            (root / "clouds" / f"{name}.txt", "0 0 0\n1 2 1\n"),
            (root / "labels" / f"{name}.json", json.dumps({"boxes": [BOX]})),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (root / "classes.txt").write_text("lamp\n")
    return root


def lists(root: Path) -> tuple[list[str], list[str]]:
    train, val = ((root / f"{name}.txt").read_text().splitlines() for name in ("train", "val"))
    return train, val


def by_digest(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def test_a_fifth_of_the_labelled_scenes_is_held_back_by_their_names(tmp_path: Path) -> None:
    names = [f"room {index}" for index in range(10)]
    split_scenes(FolderSource(path=add(tmp_path, *names)))
    train, val = lists(tmp_path)
    assert val == sorted(by_digest(names)[:2])
    assert sorted(train + val) == names
    assert len(FolderSource(path=tmp_path).open("val")) == 2


@pytest.mark.parametrize(("num", "share", "num_val"), [(2, 0.2, 1), (3, 0.9, 2), (10, 0.5, 5)])
def test_some_are_always_learnt_from_and_some_held_back(
    tmp_path: Path, num: int, share: float, num_val: int
) -> None:
    add(tmp_path, *(f"room{index}" for index in range(num)))
    (tmp_path / "labels" / "._room0.json").write_bytes(b"\0")  # as macOS leaves beside a file
    assert len(split_scenes(FolderSource(path=tmp_path), share).val) == num_val


def test_lists_that_are_there_only_grow(tmp_path: Path) -> None:
    old = [f"old{index}" for index in range(5)]
    add(tmp_path, *old, "kept")
    split_scenes(FolderSource(path=tmp_path))
    before = lists(tmp_path)
    (tmp_path / "test.txt").write_text("kept_for_the_report\n")
    add(tmp_path, "kept_for_the_report", *(f"new{index}" for index in range(6)))
    split_scenes(FolderSource(path=tmp_path))
    train, val = lists(tmp_path)
    assert train[: len(before[0])] == before[0]
    assert val[: len(before[1])] == before[1]
    assert (len(train), len(val)) == (10, 2)  # a fifth of twelve
    assert "kept_for_the_report" not in train + val


def test_scenes_are_taken_from_train_where_none_was_held_back(tmp_path: Path) -> None:
    names = [f"room{index}" for index in range(5)]
    add(tmp_path, *names)
    (tmp_path / "train.txt").write_text("\n".join([*names, "not_labelled_yet"]))
    (tmp_path / "val.txt").write_text("\n")
    split_scenes(FolderSource(path=tmp_path))
    train, val = lists(tmp_path)
    assert len(val) == 1
    assert sorted(train + val) == sorted([*names, "not_labelled_yet"])


def test_a_list_that_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    add(tmp_path, "a", "b", "c")
    (tmp_path / "val.txt").write_text("a\na\n")
    with pytest.raises(DatasetError, match=r"val\.txt: scene 'a' comes twice"):
        split_scenes(FolderSource(path=tmp_path))
    assert (tmp_path / "val.txt").read_text() == "a\na\n"


def test_scenes_of_one_room_stay_together(tmp_path: Path) -> None:
    scans = [f"scene{room:04d}_{scan:02d}" for room in range(4) for scan in range(3)]
    frames = [f"{room}/{frame:03d}" for room in ("kitchen", "hall") for frame in range(4)]
    split_scenes(FolderSource(path=add(tmp_path, *scans, *frames)), 0.4)
    train, val = lists(tmp_path)
    rooms = [{name.partition("_")[0].partition("/")[0] for name in part} for part in (train, val)]
    assert not rooms[0] & rooms[1]
    assert len(val) >= 8


def test_one_folder_of_all_scenes_is_no_room(tmp_path: Path) -> None:
    split_scenes(FolderSource(path=add(tmp_path, *(f"raw/{index}" for index in range(5)))))
    assert len(lists(tmp_path)[1]) == 1


def test_a_single_room_cannot_be_split(tmp_path: Path) -> None:
    add(tmp_path, "scene0000_00", "scene0000_01")
    with pytest.raises(DatasetError, match="labelled is 2 scenes of one room"):
        split_scenes(FolderSource(path=tmp_path))
    assert not (tmp_path / "train.txt").exists()
    with pytest.raises(DatasetError, match="labelled is none"):
        split_scenes(FolderSource(path=tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="its splits are those of the data set"):
        split_scenes(S3disSource(path=tmp_path))


def unlearnt(root: Path) -> list[str]:
    warnings = inspect_scenes(FolderSource(path=root).open("train")).warnings
    return [text for text in warnings if "only scenes of val.txt" in text]


def test_a_class_whose_boxes_are_all_held_back_is_told(tmp_path: Path) -> None:
    names = [f"room{index}" for index in range(5)]
    split_scenes(FolderSource(path=add(tmp_path, *names)))
    (tmp_path / "classes.txt").write_text("lamp\nsamovar\nnever_seen\n")
    assert not unlearnt(tmp_path)
    held_back = lists(tmp_path)[1][0]
    boxes = [BOX, {**BOX, "class": "samovar", "center": [0.5, 1, 0.4]}]
    (tmp_path / "labels" / f"{held_back}.json").write_text(json.dumps({"boxes": boxes}))
    (warning,) = unlearnt(tmp_path)
    assert "boxes of samovar: scored, but never learnt" in warning


def test_labelling_tools_get_lists_too(tmp_path: Path) -> None:
    cloud, tool = tmp_path / "labelcloud", tmp_path / "sustech"
    for index in range(3):
        for path, text in (
            (cloud / f"labels/hall {index}.json", '{"objects": []}'),
            (cloud / f"pointclouds/hall {index}.xyz", "0 0 0\n"),
            (tool / f"drive{index}/label/000.json", "[]"),
            (tool / f"drive{index}/lidar/000.xyz", "0 0 0\n"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for source in (LabelCloudSource(path=cloud), SustechPointsSource(path=tool)):
        split_scenes(source)
        assert [len(source.open(split)) for split in ("train", "val")] == [2, 1]


def test_a_folder_that_is_not_there_is_told_with_the_place_it_is_sought_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    sr3d("data", "init", tmp_path / "elsewhere" / "mine")
    config = tmp_path / "elsewhere" / "mine" / "mine.yaml"
    config.write_text(config.read_text().replace(str(tmp_path / "elsewhere" / "mine"), "mine"))
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(sr3d("train", config), f"mine: no such folder in {tmp_path}")


def test_the_commands_lead_a_newcomer_to_a_split(tmp_path: Path) -> None:
    root = tmp_path / "my rooms"
    assert "sr3d data split" in sr3d("data", "init", root, "--class", "lamp").stderr
    add(root, *(f"room{index}" for index in range(5)))
    assert_one_line_error(sr3d("data", "inspect", root), "train.txt: empty", "sr3d data split")
    (root / "train.txt").write_text("".join(f"room{index}\n" for index in range(5)))
    looked = inspect_scenes(FolderSource(path=root).open("train"))
    assert any("val.txt lists no scene" in text for text in looked.warnings)
    refused = sr3d("train", root / "my rooms.yaml", "--out", tmp_path / "run")
    assert_one_line_error(refused, "split val", f"sr3d data split '{root}'")
    made = sr3d("data", "split", root)
    assert made.exit_code == 0, made.output
    assert "train.txt: 4 scenes; val.txt: 1" in made.stderr
    assert not any(
        "val.txt" in text
        for text in inspect_scenes(FolderSource(path=root).open("train")).warnings
    )
