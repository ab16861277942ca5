"""Infos of mmdetection3d: what is in the .pkl and .bin files is what comes out of the reader."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_layouts import (
    ALIGN,
    Known,
    assert_scene,
    info_v0,
    info_v1,
    room,
    unaligned,
    write_bin,
    write_v1,
)

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.readers.infos import InfosSource

SCANNET_NAMES = (
    *("cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "desk", "curtain", "refrigerator", "showercurtrain", "toilet", "sink"),
    *("bathtub", "garbagebin"),
)
SUN_NAMES = (
    *("bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand"),
    *("bookshelf", "bathtub"),
)
BEDS = ("bed", "sofa", "bed", "desk")


def sunrgbd(root: Path, sign: int, form: str, num: int = 4, seed: int = 0) -> list[Known]:
    """SUN RGB-D, whose yaws the file holds times `sign`; colors 0..1 as in its .mat files."""
    scenes = [room(f"{index + 1:06d}", BEDS, seed + index, floor_z=-1.4) for index in range(num)]
    infos = []
    for known in scenes:
        write_bin(root / f"points/{known.name}.bin", np.hstack([known.xyz, known.rgb / 255.0]))
        written = Known(
            known.name, known.classes, known.boxes * [1, 1, 1, 1, 1, 1, sign], known.xyz, known.rgb
        )
        labels = [SUN_NAMES.index(name) for name in known.classes]
        make = info_v0 if form == "v0" else info_v1
        infos.append(make(written, labels))
    path = root / "sunrgbd_infos_train.pkl"
    if form == "v0":
        path.write_bytes(pickle.dumps(infos))
    else:
        write_v1(path, SUN_NAMES, infos, "1.1")
    return scenes


@pytest.mark.parametrize(
    ("form", "sign", "said"),
    [
        ("v0", 1, "yaw counter_clockwise"),
        ("v0", -1, "yaw clockwise"),
        ("v1", 1, "yaw counter_clockwise"),
    ],
)
def test_sunrgbd_of_either_sign_is_read_and_the_sign_is_said(
    tmp_path: Path, form: str, sign: int, said: str
) -> None:
    known = sunrgbd(tmp_path, sign, form)
    source = InfosSource(path=tmp_path)
    scenes = source.open("train")
    assert source.classes == SUN_NAMES
    assert scenes.names == ["000001", "000002", "000003", "000004"]
    assert any(said in note for note in scenes.notes)
    for index, each in enumerate(known):
        assert_scene(scenes[index], each, source.classes)


def test_a_version_that_the_points_contradict_is_refused_with_the_remedy(tmp_path: Path) -> None:
    known = sunrgbd(tmp_path, -1, "v1")
    with pytest.raises(DatasetError, match=r"sunrgbd_infos_train\.pkl.*1\.1.*yaw=clockwise"):
        InfosSource(path=tmp_path).open("train")
    scenes = InfosSource(path=tmp_path, yaw="clockwise").open("train")
    assert_scene(scenes[0], known[0], SUN_NAMES)
    assert "as it was asked for" in scenes.notes[1]


def test_too_few_boxes_to_tell_the_sign_are_refused(tmp_path: Path) -> None:
    sunrgbd(tmp_path, 1, "v0", num=1)
    with pytest.raises(DatasetError, match=r"sign of yaw is unsure.*yaw=counter_clockwise"):
        InfosSource(path=tmp_path).open("train")
    assert len(InfosSource(path=tmp_path, yaw="counter_clockwise").open("train")) == 1


def test_the_sign_does_not_matter_where_no_box_is_turned(tmp_path: Path) -> None:
    known = room("000001", BEDS, 0, turned=False)
    write_bin(tmp_path / "points/000001.bin", known.table)
    infos = [info_v0(known, [0, 2, 0, 5])]
    (tmp_path / "sunrgbd_infos_train.pkl").write_bytes(pickle.dumps(infos))
    scenes = InfosSource(path=tmp_path).open("train")
    assert_scene(scenes[0], known, SUN_NAMES)
    assert "no box is turned" in scenes.notes


def scannet(root: Path, form: str, split: str = "train") -> Known:
    """ScanNet: boxes without yaw, points not aligned."""
    known = room("scene0000_00", ("bed", "shower_curtain", "garbage_bin"), 3, turned=False)
    table = np.hstack([unaligned(known.xyz.astype(np.float64)), known.rgb])
    write_bin(root / "points/scene0000_00.bin", table)
    written = Known(
        known.name,
        ("bed", "showercurtrain", "garbagebin"),
        known.boxes[:, :6],
        known.xyz,
        known.rgb,
    )
    labels = [SCANNET_NAMES.index(name) for name in written.classes]
    path = root / f"scannet_infos_{split}.pkl"
    if form == "v0":
        info = info_v0(written, labels, annos={"axis_align_matrix": ALIGN})
        path.write_bytes(pickle.dumps([info], protocol=2))
    else:
        info = info_v1(written, labels, axis_align_matrix=ALIGN.tolist())
        write_v1(path, SCANNET_NAMES, [info], "1.1")
    return known


@pytest.mark.parametrize("form", ["v0", "v1"])
def test_scannet_is_aligned_and_named_as_here(tmp_path: Path, form: str) -> None:
    known = scannet(tmp_path, form)
    scenes = InfosSource(path=tmp_path).open("train")
    assert_scene(scenes[0], known, InfosSource(path=tmp_path).classes)
    assert "points turned by axis_align_matrix" in scenes.notes
    as_they_are = InfosSource(path=tmp_path, align="no").open("train")[0].cloud.xyz
    assert (as_they_are - scenes[0].cloud.xyz).norm(dim=1).min() > 0.1


def test_infos_without_a_single_matrix_say_so(tmp_path: Path) -> None:
    known = room("scene0000_00", ("bed",), 1, turned=False)
    write_bin(tmp_path / "points/scene0000_00.bin", known.table)
    write_v1(tmp_path / "scannet_infos_train.pkl", SCANNET_NAMES, [info_v1(known, [1])], "1.1")
    notes = InfosSource(path=tmp_path).open("train").notes
    assert any("no axis_align_matrix in any scene" in note for note in notes)


def test_a_matrix_that_some_scenes_lack_is_refused_as_their_boxes_would_lie_elsewhere(
    tmp_path: Path,
) -> None:
    infos = []
    for index in range(2):
        known = room(f"scene000{index}_00", ("bed",), index, turned=False)
        write_bin(tmp_path / f"points/{known.name}.bin", known.table)
        infos.append(info_v1(known, [1]))
    infos[0]["axis_align_matrix"] = ALIGN.tolist()
    write_v1(tmp_path / "scannet_infos_train.pkl", SCANNET_NAMES, infos, "1.1")
    with pytest.raises(DatasetError, match=r"data_list\[1\]: no axis_align_matrix.*align=no"):
        InfosSource(path=tmp_path).open("train")
    assert len(InfosSource(path=tmp_path, align="no").open("train")) == 2


@pytest.mark.parametrize("path", ["points\\000001.bin", ".\\data\\sunrgbd\\points\\000001.bin"])
def test_paths_that_were_written_on_windows_are_found(tmp_path: Path, path: str) -> None:
    known = room("000001", (), 0)
    write_bin(tmp_path / "points/000001.bin", known.table)
    info = info_v0(known, []) | {"pts_path": path}
    (tmp_path / "sunrgbd_infos_train.pkl").write_bytes(pickle.dumps([info]))
    scenes = InfosSource(path=tmp_path).open("train")
    assert scenes.names == ["000001"]
    assert len(scenes[0].cloud) == len(known.xyz)


def test_labels_index_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    scannet(tmp_path, "v1")
    scenes = InfosSource(path=tmp_path).open("train", ("garbage_bin", "lamp", "bed"))
    assert scenes[0].targets.labels.tolist() == [2, 0]
    assert scenes.labels_of(0) == [2, 0]


def test_instances_to_be_ignored_are_left_out_and_counted(tmp_path: Path) -> None:
    known = room("scene0000_00", ("bed", "chair"), 1, turned=False)
    write_bin(tmp_path / "points/scene0000_00.bin", known.table)
    write_v1(tmp_path / "scannet_infos_train.pkl", SCANNET_NAMES, [info_v1(known, [1, -1])], "1.1")
    scenes = InfosSource(path=tmp_path).open("train")
    assert scenes[0].targets.labels.tolist() == [1]
    assert "1 boxes with the label -1 are left out" in scenes.notes


def test_s3dis_has_an_area_for_val(tmp_path: Path) -> None:
    scenes = []
    for area in range(1, 7):
        known = room(f"Area_{area}_office_1", ("table", "bookcase"), area, turned=False)
        write_bin(tmp_path / f"points/{known.name}.bin", known.table)
        annos = {
            "gt_boxes_upright_depth": known.boxes[:, :6],
            "class": np.array([0, 3]),
            "gt_num": 2,
        }
        info = {
            "point_cloud": {"num_features": 6, "lidar_idx": known.name},
            "pts_path": f"points/{known.name}.bin",
            "annos": annos,
        }
        (tmp_path / f"s3dis_infos_Area_{area}.pkl").write_bytes(pickle.dumps([info]))
        scenes.append(known)
    source = InfosSource(path=tmp_path)
    train, val = source.open("train"), source.open("val")
    assert train.names == [f"Area_{area}_office_1" for area in (1, 2, 3, 4, 6)]
    assert val.names == ["Area_5_office_1"]
    assert_scene(val[0], scenes[4], source.classes)
    assert InfosSource(path=tmp_path, val_area=2).open("val").names == ["Area_2_office_1"]


@pytest.mark.parametrize(
    ("file", "folder", "names", "given", "ours"),
    [
        ("multiscan_infos_train.pkl", "bins", ("door", "trash_can"), 1, "garbage_bin"),
        ("3rscan_infos_train.pkl", "bins", ("cabinet", "otherfurniture"), 1, "garbage_bin"),
        ("scannet_infos_train.pkl", "points", ("cabinet", "otherfurniture"), 1, "garbage_bin"),
    ],
)
def test_data_sets_of_unidet3d_without_yaw(
    tmp_path: Path, file: str, folder: str, names: tuple[str, ...], given: int, ours: str
) -> None:
    known = room("scan7", (ours,), 5, turned=False)
    write_bin(tmp_path / folder / "scan7.bin", known.table)
    write_v1(tmp_path / file, names, [info_v1(known, [given])], "1.0")
    source = InfosSource(path=tmp_path)
    assert ours in source.classes
    assert_scene(source.open("train")[0], known, source.classes)


@pytest.mark.parametrize(
    "file", ["arkitscenes_offline_train_infos.pkl", "arkitscenes_offline_infos_train.pkl"]
)
def test_arkitscenes_of_unidet3d_are_turned(tmp_path: Path, file: str) -> None:
    names = ("cabinet", "refrigerator", "shelf", "stove", "bed", "sink", "sofa")
    scenes = [room(f"4000{i}", ("bed", "sofa", "shelf", "bed"), i) for i in range(3)]
    infos = []
    for known in scenes:
        path = f"{known.name}_point.bin"
        write_bin(tmp_path / "offline_prepared_data" / path, known.table)
        info = info_v1(known, [names.index(name) for name in known.classes])
        infos.append(info | {"lidar_points": {"num_pts_feats": 6, "lidar_path": path}})
    write_v1(tmp_path / file, names, infos, "1.0")
    source = InfosSource(path=tmp_path)
    read = source.open("train")
    assert read.names == ["40000", "40001", "40002"]
    for index, known in enumerate(scenes):
        assert_scene(read[index], known, source.classes)


def test_points_in_double_precision_are_noticed(tmp_path: Path) -> None:
    known = scannet(tmp_path, "v1")
    table = np.hstack([unaligned(known.xyz.astype(np.float64)), known.rgb])
    write_bin(tmp_path / "points/scene0000_00.bin", table, "<f8")
    assert_scene(
        InfosSource(path=tmp_path).open("train")[0], known, InfosSource(path=tmp_path).classes
    )


@pytest.mark.parametrize("form", ["v0", "v1"])
def test_scenes_without_boxes_are_normal(tmp_path: Path, form: str) -> None:
    known = room("000001", (), 0)
    write_bin(tmp_path / "points/000001.bin", known.table)
    path = tmp_path / "sunrgbd_infos_val.pkl"
    if form == "v0":
        path.write_bytes(pickle.dumps([info_v0(known, [])]))
    else:
        write_v1(path, SUN_NAMES, [info_v1(known, [])], "1.1")
    sample = InfosSource(path=tmp_path).open("val")[0]
    assert (len(sample.targets), len(sample.cloud)) == (0, len(known.xyz))


def test_a_test_split_without_annotations_is_read(tmp_path: Path) -> None:
    known = room("scene0707_00", (), 0)
    write_bin(tmp_path / "points/scene0707_00.bin", known.table)
    info = {"point_cloud": {"num_features": 6}, "pts_path": "points/scene0707_00.bin"}
    (tmp_path / "scannet_infos_test.pkl").write_bytes(pickle.dumps([info]))
    assert len(InfosSource(path=tmp_path).open("test")[0].targets) == 0


def test_a_box_without_volume_is_left_out_and_told(tmp_path: Path) -> None:
    known = room("scene0000_00", ("bed", "chair"), 1, turned=False)
    known.boxes[1, 4] = 0.0
    write_bin(tmp_path / "points/scene0000_00.bin", known.table)
    write_v1(tmp_path / "scannet_infos_train.pkl", SCANNET_NAMES, [info_v1(known, [1, 2])], "1.1")
    scenes = InfosSource(path=tmp_path).open("train")
    assert scenes[0].targets.labels.tolist() == [1]
    (unused,) = scenes.labels(0).left_out
    assert "chair" in unused
    assert "no volume" in unused


def change_info(root: Path, **changes: Any) -> Path:
    path = root / "sunrgbd_infos_train.pkl"
    infos = pickle.loads(path.read_bytes())
    infos[1]["annos"].update(changes)
    path.write_bytes(pickle.dumps(infos))
    return root


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gt_num": 7}, "scene 1: gt_num says 7 boxes, there are 4"),
        ({"class": np.array([0, 1])}, "class says 2"),
        ({"name": None, "class": np.array([0, 1, 2, 10])}, "class 10, expected 0 to 9"),
        ({"gt_boxes_upright_depth": np.ones((4, 8))}, r"shape \(4, 8\)"),
        ({"gt_boxes_upright_depth": np.full((4, 7), np.nan)}, r"boxes\[0\]"),
        ({"gt_boxes_upright_depth": -np.ones((4, 7))}, r"boxes\[0\]"),
        ({"gt_boxes_upright_depth": "none"}, "expected numbers"),
        ({"axis_align_matrix": np.eye(3)}, "axis_align_matrix"),
        ({"axis_align_matrix": ALIGN}, "align=yes or align=no"),
    ],
)
def test_infos_that_are_wrong_are_refused_with_their_place(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    sunrgbd(tmp_path, 1, "v0")
    change_info(tmp_path, **changes)
    with pytest.raises(DatasetError, match=rf"sunrgbd_infos_train\.pkl.*{text}"):
        InfosSource(path=tmp_path, yaw="counter_clockwise").open("train")[1]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no pickle, or cut off"),
        (pickle.dumps({"infos": []}), "infos"),
        (pickle.dumps("scenes"), "holds str"),
        (pickle.dumps([]), "no scene"),
        (pickle.dumps([1]), "pts_path"),
        (pickle.dumps(os.getcwd), r"getcwd"),
        (pickle.dumps({"metainfo": {}, "data_list": []}), "categories"),
        (
            pickle.dumps({"metainfo": {"categories": {"bed": 0}}, "data_list": [{}]}),
            "lidar_points",
        ),
    ],
)
def test_files_that_are_no_infos_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "sunrgbd_infos_train.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"sunrgbd_infos_train\.pkl.*{text}"):
        InfosSource(path=tmp_path).open("train")


def test_files_that_are_missing_or_cut_off_are_named(tmp_path: Path) -> None:
    sunrgbd(tmp_path, 1, "v1")
    source = InfosSource(path=tmp_path, yaw="counter_clockwise")
    with pytest.raises(DatasetError, match=r"sunrgbd_infos_val\.pkl: no such file"):
        source.open("val")
    with pytest.raises(DatasetError, match="no split 'minival'"):
        source.open("minival")
    path = tmp_path / "points/000002.bin"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DatasetError, match=r"000002\.bin: \d+ bytes are no rows of 6"):
        source.open("train")[1]
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"000002\.bin: none of its 0 points"):
        source.open("train")[1]
    path.unlink()
    with pytest.raises(DatasetError, match=r"points/000002\.bin: no such file"):
        source.open("train")[1]
    with pytest.raises(DatasetError, match="no such folder"):
        InfosSource(path=tmp_path / "nowhere").open("train")


def test_infos_of_two_data_sets_in_one_folder_are_to_be_named(tmp_path: Path) -> None:
    sunrgbd(tmp_path, 1, "v1")
    known = scannet(tmp_path, "v1")
    with pytest.raises(DatasetError, match=r"scannet, sunrgbd.*dataset="):
        InfosSource(path=tmp_path).open("train")
    source = InfosSource(path=tmp_path, dataset="scannet")
    assert_scene(source.open("train")[0], known, source.classes)


def test_a_path_in_infos_does_not_leave_the_folder(tmp_path: Path) -> None:
    known = room("000001", (), 0)
    write_bin(tmp_path / "secret.bin", known.table)
    root = tmp_path / "data"
    root.mkdir()
    info = info_v0(known, []) | {"pts_path": "../secret.bin"}
    (root / "sunrgbd_infos_train.pkl").write_bytes(pickle.dumps([info]))
    with pytest.raises(DatasetError, match=r"points/secret\.bin: no such file"):
        InfosSource(path=root).open("train")[0]


OWN = ("lamp", "robot", "bed")


def own(root: Path, name: str, form: str, **changes: Any) -> Known:
    """A data set of somebody's own classes; `lamp` is 0."""
    known = room("hall", ("robot", "lamp", "bed", "robot"), 5, turned=False)
    write_bin(root / "points/hall.bin", known.table)
    labels = [OWN.index(label) for label in known.classes]
    if form == "v1":
        write_v1(root / name, OWN, [info_v1(known, labels)], "1.1")
    else:
        (root / name).write_bytes(pickle.dumps([info_v0(known, labels, **changes)]))
    return known


def test_infos_of_ones_own_have_the_categories_that_they_name(tmp_path: Path) -> None:
    known = own(tmp_path, "mine_infos_train.pkl", "v1")
    source = InfosSource(path=tmp_path)
    assert source.classes == OWN
    assert_scene(source.open("train")[0], known, OWN)
    with pytest.raises(DatasetError, match=r"expected one \*_infos_val\.pkl"):
        source.open("val")


def test_old_infos_of_ones_own_need_their_classes(tmp_path: Path) -> None:
    known = own(tmp_path, "mine_infos_train.pkl", "v0", annos={"name": None})
    with pytest.raises(DatasetError, match=r"mine_infos_train\.pkl.*own_classes="):
        InfosSource(path=tmp_path).open("train")
    source = InfosSource(path=tmp_path, own_classes=OWN)
    assert_scene(source.open("train")[0], known, OWN)


@pytest.mark.parametrize("form", ["v0", "v1"])
def test_own_classes_take_the_place_of_those_of_a_known_data_set(
    tmp_path: Path, form: str
) -> None:
    known = own(tmp_path, "sunrgbd_infos_train.pkl", form)
    source = InfosSource(path=tmp_path, own_classes=OWN)
    assert_scene(source.open("train")[0], known, OWN)


def test_infos_of_two_data_sets_of_ones_own_are_named(tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        own(tmp_path, f"{name}_infos_train.pkl", "v1")
    with pytest.raises(DatasetError, match=r"mine_infos_train\.pkl, yours_infos_train\.pkl"):
        InfosSource(path=tmp_path).open("train")


def test_infos_of_roads_are_refused_as_their_boxes_are_in_other_axes(tmp_path: Path) -> None:
    own(tmp_path, "kitti_infos_train.pkl", "v1")  # which says that it is of kitti
    with pytest.raises(DatasetError, match=r"kitti_infos_train\.pkl: infos of kitti"):
        InfosSource(path=tmp_path).open("train")
