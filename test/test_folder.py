"""A user's folder of labelled scenes, and every way to get one wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d_core.data.folder import DatasetError, FolderDataset
from sr3d_core.data.inspection import inspect_scenes

CHAIR = {"class": "chair", "center": [0, 0, 0.5], "size": [0.5, 0.6, 1.0], "yaw": 0.3}
TABLE = {"class": "table", "center": [1, 2, 0.4], "size": [1.2, 0.8, 0.8]}


def make(root: Path, boxes: Any) -> Path:
    (root / "clouds").mkdir()
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("table\nchair\n")
    (root / "train.txt").write_text("kitchen\n\n")
    (root / "clouds" / "kitchen.txt").write_text("0 0 0\n1 2 1\n")
    (root / "labels" / "kitchen.json").write_text(json.dumps({"boxes": boxes}))
    return root


def test_scene_is_read_with_its_boxes(tmp_path: Path) -> None:
    folder = FolderDataset(make(tmp_path, [CHAIR, TABLE]), "train")
    sample = folder[0]
    assert (len(folder), sample.name, len(sample.cloud)) == (1, "kitchen", 2)
    assert folder.classes == ("table", "chair")
    assert sample.targets.labels.tolist() == [1, 0]
    expected = torch.tensor([[0, 0, 0.5, 0.5, 0.6, 1.0, 0.3], [1, 2, 0.4, 1.2, 0.8, 0.8, 0]])
    torch.testing.assert_close(sample.targets.boxes.array, expected)


def test_what_of_a_cloud_was_a_guess_comes_with_its_scene(tmp_path: Path) -> None:
    root = make(tmp_path, [])
    assert FolderDataset(root, "train").read(0)[1] == ""
    (root / "clouds" / "kitchen.txt").write_text("0 0 0 0.5\n1 2 1 0.25\n")
    sample, note = FolderDataset(root, "train").read(0)
    assert len(sample.cloud) == 2
    assert "intensity" in note


def test_scene_without_objects_is_normal(tmp_path: Path) -> None:
    assert len(FolderDataset(make(tmp_path, []), "train")[0].targets) == 0


def test_labels_index_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    folder = FolderDataset(make(tmp_path, [CHAIR, TABLE]), "train", classes=("bed", "chair"))
    assert folder[0].targets.labels.tolist() == [1]


def test_ignored_boxes_are_kept_apart_from_those_to_be_found(tmp_path: Path) -> None:
    folder = FolderDataset(make(tmp_path, [{**CHAIR, "ignored": True}, TABLE]), "train")
    targets = folder[0].targets
    assert targets.labels.tolist() == [0]
    assert targets.ignored is not None
    assert targets.ignored.labels.tolist() == [1]
    torch.testing.assert_close(targets.ignored.boxes.size, torch.tensor([[0.5, 0.6, 1.0]]))
    other = FolderDataset(tmp_path, "train", classes=("table",))[0].targets
    assert (len(other), other.ignored) == (1, None)


def test_ignored_boxes_are_checked_as_all_others(tmp_path: Path) -> None:
    far = {**CHAIR, "center": [100, 0, 0], "ignored": True}
    with pytest.raises(DatasetError, match=r"boxes\[1\]\.center"):
        FolderDataset(make(tmp_path, [TABLE, far]), "train")[0]


def test_no_more_scenes_than_are_asked_for(tmp_path: Path) -> None:
    root = make(tmp_path, [])
    (root / "train.txt").write_text("kitchen\nhall\n")
    assert FolderDataset(root, "train", num=1).names == ["kitchen"]


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ({**CHAIR, "class": "throne"}, r"\.class: 'throne' .*table, chair"),
        ({**CHAIR, "size": [1, 0, 1]}, r"\.size\[1\]: found 0, "),
        ({"class": "chair"}, r"\.center: missing"),
        ({**CHAIR, "ignored": "yes"}, r"\.ignored: found 'yes', .*true or false"),
        ({**CHAIR, "difficult": 1}, r"\.difficult: unknown key; .*ignored"),
    ],
)
def test_wrong_box_is_refused_with_its_place(tmp_path: Path, box: Any, text: str) -> None:
    folder = FolderDataset(make(tmp_path, [CHAIR, box]), "train")
    with pytest.raises(DatasetError, match=rf"kitchen\.json: boxes\[1\]{text}"):
        folder[0]


def test_missing_parts_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        FolderDataset(tmp_path / "nowhere", "train")
    root = make(tmp_path, [])
    with pytest.raises(DatasetError, match=r"val\.txt: .*one scene name"):
        FolderDataset(root, "val")
    (root / "labels" / "kitchen.json").unlink()
    with pytest.raises(DatasetError, match=r'a scene without objects needs {"boxes": \[\]}'):
        FolderDataset(root, "train")[0]
    (root / "clouds" / "kitchen.txt").unlink()
    with pytest.raises(DatasetError, match="no cloud of scene 'kitchen'"):
        FolderDataset(root, "train")
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    (rendered / "room_0000000.npz").touch()
    with pytest.raises(DatasetError, match=f"say rooms:,prerendered={rendered}"):
        FolderDataset(rendered, "train")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    root = make(tmp_path, [])
    (root / "labels" / "kitchen.json").write_text("{")
    with pytest.raises(DatasetError, match=r"kitchen\.json: not JSON"):
        FolderDataset(root, "train")[0]
    (root / "labels" / "kitchen.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"kitchen\.json: top level: found \[\]"):
        FolderDataset(root, "train")[0]
    (root / "labels" / "kitchen.json").write_text('{"boxes": []}')
    (root / "clouds" / "kitchen.txt").write_text("a b c\n")
    with pytest.raises(DatasetError, match=r"kitchen\.txt: the text 'a b c' is no point"):
        FolderDataset(root, "train")[0]


def test_name_listed_twice_or_empty_list_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, [])
    (root / "train.txt").write_text("kitchen\nkitchen\n")
    with pytest.raises(DatasetError, match="'kitchen' comes twice"):
        FolderDataset(root, "train")
    (root / "train.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"train\.txt: empty"):
        FolderDataset(root, "train")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_part_of_a_word(tmp_path: Path, encoding: str) -> None:
    root = make(tmp_path, [TABLE, CHAIR])
    for path in (root / "classes.txt", root / "train.txt", root / "labels" / "kitchen.json"):
        path.write_text(path.read_text(), encoding=encoding, newline="\r\n")
    folder = FolderDataset(root, "train")
    assert (folder.classes, folder.names) == (("table", "chair"), ["kitchen"])
    assert folder[0].targets.labels.tolist() == [0, 1]


def test_a_name_listed_twice_is_told_with_its_lines(tmp_path: Path) -> None:
    root = make(tmp_path, [])
    (root / "train.txt").write_text("kitchen\n\nhall\nkitchen\n")
    with pytest.raises(DatasetError, match=r"train\.txt: 'kitchen'.* 1 and 4"):
        FolderDataset(root, "train")


def test_several_mistakes_in_one_file_are_counted(tmp_path: Path) -> None:
    root = make(tmp_path, [{**CHAIR, "rotation_deg": 3}, {**TABLE, "rotation_deg": 3}])
    with pytest.raises(DatasetError, match=r"boxes\[0\]\.rotation_deg: .*\(1 more"):
        FolderDataset(root, "train")[0]


def test_scans_of_one_room_in_two_lists_are_told(tmp_path: Path) -> None:
    root = make(tmp_path, [CHAIR])
    for name in ("scene0001_00", "scene0001_01", "scene0002_00"):
        (root / "clouds" / f"{name}.txt").write_text("0 0 0\n1 2 1\n")
        (root / "labels" / f"{name}.json").write_text('{"boxes": []}')
    (root / "train.txt").write_text("scene0001_00\nscene0002_00\n")
    (root / "val.txt").write_text("scene0001_01\n")
    found = inspect_scenes(FolderDataset(root, "train")).warnings
    assert any("scans of train.txt" in each and "scene0001_00" in each for each in found)
    (root / "val.txt").write_text("kitchen\n")
    found = inspect_scenes(FolderDataset(root, "train")).warnings
    assert not any("scans of train.txt" in each for each in found)


def test_classes_that_other_programs_call_otherwise_are_told(tmp_path: Path) -> None:
    root = make(tmp_path, [CHAIR])
    (root / "classes.txt").write_text("chair\nshowercurtrain\ngarbage_bin\n")
    (warning,) = (
        each
        for each in inspect_scenes(FolderDataset(root, "train")).warnings
        if "classes.txt" in each
    )
    assert "'showercurtrain' is called 'shower_curtain'" in warning


def test_endings_may_be_in_upper_case(tmp_path: Path) -> None:
    root = make(tmp_path, [CHAIR])
    (root / "clouds" / "kitchen.txt").rename(root / "clouds" / "kitchen.TXT")
    assert len(FolderDataset(root, "train")[0].cloud) == 2


def test_a_list_of_file_names_is_told_how_scenes_are_named(tmp_path: Path) -> None:
    root = make(tmp_path, [CHAIR])
    (root / "train.txt").write_text("kitchen.txt\n")
    with pytest.raises(DatasetError, match="without the ending of the file; write kitchen into"):
        FolderDataset(root, "train")
