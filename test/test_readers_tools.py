"""Boxes of labelling tools: labelCloud in its three formats, SUSTechPOINTS."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_layouts import Known, assert_scene, room, write_pcd

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.readers.labelcloud import LabelCloudSource
from sr3d_core.data.readers.sustechpoints import SustechPointsSource

CLASSES = ("cart", "pallet", "cart")


def xyz(values: Any, keys: tuple[str, str, str] = ("x", "y", "z")) -> dict[str, float]:
    return dict(zip(keys, (float(value) for value in values), strict=True))


def corners(box: np.ndarray) -> list[list[float]]:
    """labelCloud's order: left back, left front, right front, right back; bottom, then top."""
    x, y, z, dx, dy, dz, yaw = box
    cos, sin = math.cos(yaw), math.sin(yaw)
    found = []
    for up in (-0.5, 0.5):
        for a, b in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)):
            ahead, left = a * dx, b * dy
            found.append([x + ahead * cos - left * sin, y + ahead * sin + left * cos, z + up * dz])
    return found


def write_labelcloud(root: Path, known: Known, form: str) -> Path:
    """labels/NAME.json of labelCloud, and a cloud."""
    objects: list[dict[str, Any]] = []
    for name, box in zip(known.classes, known.boxes, strict=True):
        if form == "vertices":
            objects.append({"name": name, "vertices": corners(box)})
            continue
        yaw = math.degrees(box[6]) % 360 if form == "centroid_abs" else box[6]
        objects.append(
            {
                "name": name,
                "centroid": xyz(box[:3]),
                "dimensions": xyz(box[3:6], ("length", "width", "height")),
                "rotations": xyz((0, 0, yaw)),
            }
        )
    tree = {
        "folder": "pointclouds",
        "filename": f"{known.name}.pcd",
        "path": f"pointclouds/{known.name}.pcd",
        "objects": objects,
    }
    write_pcd(root / f"pointclouds/{known.name}.pcd", known)
    path = root / f"labels/{known.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(tree, indent="\t"))
    return path


def write_definition(root: Path, form: str) -> None:
    classes = [{"name": name, "id": i, "color": "#FFAB76"} for i, name in enumerate(["pallet"])]
    tree = {"classes": classes, "default": 0, "type": "object_detection", "format": form}
    (root / "labels/_classes.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("form", ["centroid_abs", "centroid_rel", "vertices"])
def test_labelcloud_in_each_of_its_formats(tmp_path: Path, form: str) -> None:
    known = room("hall", CLASSES, 0)
    known.boxes[0, 6] -= math.pi  # a negative angle, 180 degrees off: the same box
    write_labelcloud(tmp_path, known, form)
    source = LabelCloudSource(path=tmp_path)
    scenes = source.open("train")
    assert source.classes == ("cart", "pallet")
    assert scenes.names == ["hall"]
    # Processes that read scenes get them as a pickle.
    assert_scene(pickle.loads(pickle.dumps(scenes))[0], known, source.classes)


@pytest.mark.parametrize("form", ["centroid_abs", "centroid_rel"])
def test_the_format_that_labelcloud_notes_settles_the_unit(tmp_path: Path, form: str) -> None:
    known = room("hall", CLASSES, 0)
    if form == "centroid_abs":
        known.boxes[:, 6] = np.radians([3.0, 5.0, 6.0])  # may be radians by their size
    write_labelcloud(tmp_path, known, form)
    if form == "centroid_abs":
        found = LabelCloudSource(path=tmp_path, angles="degrees").open("train")[0].targets.boxes
        assert found.yaw.tolist() == pytest.approx(known.boxes[:, 6].tolist())
    with pytest.raises(DatasetError, match="angles=degrees or angles=radians"):
        LabelCloudSource(path=tmp_path).open("train")
    write_definition(tmp_path, form)
    source = LabelCloudSource(path=tmp_path)
    scenes = source.open("train")
    assert form in scenes.notes[0]
    assert source.classes == ("pallet", "cart")
    boxes = scenes[0].targets.boxes
    assert boxes.yaw.tolist() == pytest.approx(known.boxes[:, 6].tolist(), abs=1e-6)


def test_a_format_that_the_numbers_contradict_is_refused(tmp_path: Path) -> None:
    known = room("hall", CLASSES, 0)
    known.boxes[0, 6] *= -1
    write_labelcloud(tmp_path, known, "centroid_rel")
    write_definition(tmp_path, "centroid_abs")
    with pytest.raises(DatasetError, match=r"degrees from 0 to 360.*angles=radians"):
        LabelCloudSource(path=tmp_path).open("train")
    boxes = LabelCloudSource(path=tmp_path, angles="radians").open("train")[0].targets.boxes
    assert boxes.yaw.tolist() == pytest.approx(known.boxes[:, 6].tolist(), abs=1e-6)


def test_endings_may_be_in_upper_case(tmp_path: Path) -> None:
    known = room("hall", CLASSES, 0)
    write_labelcloud(tmp_path, known, "vertices")
    cloud = tmp_path / "pointclouds/hall.pcd"
    cloud.rename(cloud.with_suffix(".PCD"))
    scenes = LabelCloudSource(path=tmp_path).open("train")
    assert len(scenes[0].cloud) == len(known.xyz)


def test_boxes_that_lean_are_left_out_and_told(tmp_path: Path) -> None:
    known = room("hall", CLASSES, 0)
    path = write_labelcloud(tmp_path, known, "centroid_abs")
    tree = json.loads(path.read_text())
    tree["objects"][0]["rotations"]["x"] = 357.0  # three degrees
    tree["objects"][1]["rotations"]["y"] = 30.0
    path.write_text(json.dumps(tree))
    scenes = LabelCloudSource(path=tmp_path).open("train")
    assert [record.class_name for record in scenes.records(0)] == ["cart", "cart"]
    (unused,) = scenes.labels(0).left_out
    assert "box 1 (pallet) leans by 30 degrees" in unused


def test_lists_make_splits(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_labelcloud(tmp_path, room(name, (), 0), "centroid_abs")
    source = LabelCloudSource(path=tmp_path)
    assert source.open("train").names == ["a", "b", "c"]
    with pytest.raises(DatasetError, match=r"no split 'val'.*val\.txt"):
        source.open("val")
    (tmp_path / "val.txt").write_text("b\n")
    assert source.open("val").names == ["b"]
    with pytest.raises(DatasetError, match=r"train\.txt"):  # or b would be learnt from, too
        source.open("train")
    (tmp_path / "train.txt").write_text("a\nc\nd\n")
    with pytest.raises(DatasetError, match="'d' has no labels"):
        source.open("train")


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([{"name": "cart"}], r"objects\[0\]\.rotations"),
        ([{"name": "", "vertices": [[0, 0, 0]] * 8}], r"objects\[0\]: name|name is ''"),
        ([{"name": "cart", "vertices": [[0, 0, 0]] * 7}], r"objects\[0\]\.vertices"),
        ([{"name": "cart", "vertices": [[i, i * i, i % 3] for i in range(8)]}], "no box in the"),
        ([{"name": "cart", "centroid": {"x": "1"}, "rotations": xyz((0, 0, 0))}], "centroid"),
        ("none", "no list objects"),
    ],
)
def test_labels_of_labelcloud_that_are_wrong_are_named(
    tmp_path: Path, objects: Any, text: str
) -> None:
    path = write_labelcloud(tmp_path, room("hall", (), 0), "centroid_abs")
    path.write_text(json.dumps({"objects": objects}))
    with pytest.raises(DatasetError, match=rf"hall\.json.*({text})|{text}"):
        LabelCloudSource(path=tmp_path).open("train")[0]


def test_files_of_labelcloud_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="labels: no such folder"):
        LabelCloudSource(path=tmp_path).open("train")
    path = write_labelcloud(tmp_path, room("hall", (), 0), "vertices")
    path.write_text('{"objects": [')
    with pytest.raises(DatasetError, match=r"hall\.json: no whole JSON"):
        LabelCloudSource(path=tmp_path).open("train")
    path.write_text('{"objects": []}')
    (tmp_path / "pointclouds/hall.pcd").unlink()
    with pytest.raises(DatasetError, match="no cloud hall"):
        LabelCloudSource(path=tmp_path).open("train")


def write_sustech(scene: Path, known: Known, folder: str = "lidar", wrapped: bool = False) -> None:
    entries = [
        {
            "psr": {
                "position": xyz(box[:3]),
                "scale": xyz(box[3:6]),
                "rotation": xyz((0.01, 0, box[6] + 2 * math.pi)),
            },
            "obj_type": name.title(),
            "obj_id": str(index),
        }
        for index, (name, box) in enumerate(zip(known.classes, known.boxes, strict=True))
    ]
    write_pcd(scene / folder / f"{known.name}.pcd", known)
    (scene / "label").mkdir(exist_ok=True)
    tree: Any = {"frame": known.name, "objs": entries} if wrapped else entries
    (scene / f"label/{known.name}.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("folder", ["lidar", "pcd"])
def test_frames_of_sustechpoints(tmp_path: Path, folder: str, wrapped: bool) -> None:
    known, empty = room("000950", CLASSES, 0), room("000960", (), 1)
    for each in (known, empty):
        write_sustech(tmp_path / "yard", each, folder, wrapped)
    source = SustechPointsSource(path=tmp_path)
    scenes = source.open("train")
    assert source.classes == ("cart", "pallet")
    assert scenes.names == ["yard/000950", "yard/000960"]
    assert_scene(scenes[0], known, source.classes)
    assert len(scenes[1].targets) == 0
    assert SustechPointsSource(path=tmp_path / "yard").open("train").names == ["000950", "000960"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "no whole JSON"),
        ("5", "no list of boxes"),
        ('[{"obj_type": "Cart"}]', r"\[0\]\.psr\.position"),
        ('[{"psr": {}}]', "obj_type"),
    ],
)
def test_labels_of_sustechpoints_that_are_wrong_are_named(
    tmp_path: Path, content: str, text: str
) -> None:
    write_sustech(tmp_path / "yard", room("000950", (), 0))
    (tmp_path / "yard/label/000950.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"000950\.json: .*{text}"):
        SustechPointsSource(path=tmp_path).open("train")[0]


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no label/FRAME\.json"):
        SustechPointsSource(path=tmp_path).open("train")
