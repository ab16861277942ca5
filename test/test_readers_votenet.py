"""Folders of VoteNet: half sizes and clockwise yaw of SUN RGB-D, both ways of ScanNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_layouts import ALIGN, Known, assert_scene, room, unaligned

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.readers.votenet import VoteNetSource

SUN_IDS = {"bed": 0, "table": 1, "sofa": 2, "chair": 3, "toilet": 4, "desk": 5, "dresser": 6}
NYU40 = {"bed": 4, "chair": 5, "bookshelf": 10, "garbage_bin": 39, "shower_curtain": 28}


def write_sunrgbd(root: Path, known: Known, version: str = "v1", split: str = "train") -> Path:
    folder = root / f"sunrgbd_pc_bbox_votes_50k_{version}_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    table = np.hstack([known.xyz, known.rgb / 255.0]).astype(np.float32)
    np.savez_compressed(folder / f"{known.name}_pc.npz", pc=table)
    rows = np.zeros((len(known.boxes), 8))
    rows[:, :3] = known.boxes[:, :3]
    rows[:, 3:6] = known.boxes[:, 3:6] / 2
    rows[:, 6] = -known.boxes[:, 6]
    rows[:, 7] = [SUN_IDS[name] for name in known.classes]
    np.save(folder / f"{known.name}_bbox.npy", rows)
    np.savez_compressed(folder / f"{known.name}_votes.npz", point_votes=np.zeros((len(table), 10)))
    return folder


def write_scannet(root: Path, known: Known, aligned: bool) -> Path:
    folder = root / ("scannet_train_detection_data" if aligned else "scannet_instance_data")
    folder.mkdir(parents=True, exist_ok=True)
    xyz = known.xyz if aligned else unaligned(known.xyz.astype(np.float64)).astype(np.float32)
    np.save(folder / f"{known.name}_vert.npy", np.hstack([xyz, known.rgb]).astype(np.float32))
    for kind in ("ins_label", "sem_label"):
        np.save(folder / f"{known.name}_{kind}.npy", np.zeros(len(xyz), dtype=np.uint32))
    numbers = np.array([[NYU40[name]] for name in known.classes]).reshape(-1, 1)
    rows = np.hstack([known.boxes[:, :6], numbers])
    if aligned:
        np.save(folder / f"{known.name}_bbox.npy", rows)
    else:
        np.save(folder / f"{known.name}_aligned_bbox.npy", rows)
        np.save(folder / f"{known.name}_unaligned_bbox.npy", rows * 0)
        np.save(folder / f"{known.name}_axis_align_matrix.npy", ALIGN)
    lists = root / "meta_data"
    lists.mkdir(exist_ok=True)
    with (lists / "scannetv2_train.txt").open("a") as file:
        file.write(f"{known.name}\n")
    return folder


def test_sunrgbd_is_doubled_and_turned(tmp_path: Path) -> None:
    scenes = [
        room(f"00000{i}", ("bed", "sofa", "desk", "bed"), i, floor_z=-1.3) for i in (1, 2, 3)
    ]
    for known in scenes:
        folder = write_sunrgbd(tmp_path, known)
    for path in (tmp_path, folder):
        source = VoteNetSource(path=path)
        read = source.open("train")
        assert read.names == ["000001", "000002", "000003"]
        assert "v1 labels" in read.notes[0]
        assert read.notes[1].startswith("yaw clockwise")
        for index, known in enumerate(scenes):
            assert_scene(read[index], known, source.classes)


def test_labels_of_two_versions_are_to_be_named(tmp_path: Path) -> None:
    write_sunrgbd(tmp_path, room("000001", ("bed",), 1), "v1")
    known = room("000001", ("bed",), 2)
    write_sunrgbd(tmp_path, known, "v2")
    with pytest.raises(DatasetError, match=r"labels=v1 or labels=v2"):
        VoteNetSource(path=tmp_path).open("train")
    source = VoteNetSource(path=tmp_path, labels="v2")
    assert_scene(source.open("train")[0], known, source.classes)


def test_the_other_split_lies_beside(tmp_path: Path) -> None:
    folder = write_sunrgbd(tmp_path, room("000001", ("bed",), 1))
    with pytest.raises(DatasetError, match=r"no folder of the split 'val'"):
        VoteNetSource(path=folder).open("val")
    known = room("000009", (), 2)
    write_sunrgbd(tmp_path, known, split="val")
    sample = VoteNetSource(path=folder).open("val")[0]
    assert (sample.name, len(sample.targets)) == ("000009", 0)


def test_yaws_that_turn_the_other_way_are_refused(tmp_path: Path) -> None:
    for i in range(3):
        known = room(f"00000{i}", ("bed", "sofa", "desk", "bed"), i)
        known.boxes[:, 6] *= -1  # as if somebody had turned them already
        write_sunrgbd(tmp_path, known)
    with pytest.raises(DatasetError, match=r"VoteNet's files hold clockwise yaw, but of 12 boxes"):
        VoteNetSource(path=tmp_path).open("train")
    assert len(VoteNetSource(path=tmp_path, yaw="counter_clockwise").open("train")) == 3


@pytest.mark.parametrize("aligned", [True, False])
def test_scannet_is_aligned_once(tmp_path: Path, aligned: bool) -> None:
    known = room("scene0001_00", ("bed", "garbage_bin", "shower_curtain"), 4, turned=False)
    folder = write_scannet(tmp_path, known, aligned)
    for path in (tmp_path, folder):
        source = VoteNetSource(path=path)
        assert_scene(source.open("train")[0], known, source.classes)


def test_scans_that_the_scripts_skipped_are_not_missed(tmp_path: Path) -> None:
    write_scannet(tmp_path, room("scene0001_00", ("bed",), 4, turned=False), True)
    with (tmp_path / "meta_data" / "scannetv2_train.txt").open("a") as file:
        file.write("scene0002_00\n")
    assert VoteNetSource(path=tmp_path).open("train").names == ["scene0001_00"]
    with pytest.raises(DatasetError, match=r"no scannetv2_val\.txt"):
        VoteNetSource(path=tmp_path).open("val")


def test_scenes_without_boxes_and_boxes_of_other_classes(tmp_path: Path) -> None:
    folder = write_scannet(tmp_path, room("scene0001_00", (), 4, turned=False), True)
    scenes = VoteNetSource(path=tmp_path).open("train")
    assert len(scenes[0].targets) == 0
    # A lamp, 35 of NYU-40, is not in the benchmark.
    np.save(folder / "scene0001_00_bbox.npy", np.array([[0, 0, 1, 1, 1, 1, 35.0]]))
    assert len(scenes[0].targets) == 0
    assert len(scenes.records(0)) == 1


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("bbox", np.ones((2, 6)), r"\(2, 6\), expected rows of centre, size"),
        ("bbox", np.array([[0, 0, 0, 1, 1, 1, 41.0]]), "class 41, expected 1 to 40"),
        ("bbox", np.array([[0, 0, 0, 1, 1, 1, 4.5]]), r"class 4\.5"),
        ("bbox", np.array([["a"] * 7]), "<U1"),
        ("vert", np.ones((5, 4), dtype=np.float32), r"shape \(5, 4\)"),
        ("vert", np.zeros((0, 6), dtype=np.float32), "none of its 0 points"),
        ("vert", np.full((5, 6), np.nan, dtype=np.float32), "none of its 5 points"),
    ],
)
def test_files_of_scannet_that_are_wrong_are_named(
    tmp_path: Path, name: str, content: np.ndarray, text: str
) -> None:
    folder = write_scannet(tmp_path, room("scene0001_00", ("bed",), 4, turned=False), True)
    np.save(folder / f"scene0001_00_{name}.npy", content)
    with pytest.raises(DatasetError, match=rf"scene0001_00_{name}\.npy.*{text}"):
        VoteNetSource(path=tmp_path).open("train")[0]


def test_files_that_are_missing_or_cut_off_are_named(tmp_path: Path) -> None:
    folder = write_sunrgbd(tmp_path, room("000001", ("bed",), 1))
    source = VoteNetSource(path=tmp_path, yaw="clockwise")
    for name, kept in (("pc.npz", 100), ("bbox.npy", 90), ("bbox.npy", 0)):
        path = folder / f"000001_{name}"
        whole = path.read_bytes()
        path.write_bytes(whole[:kept])
        with pytest.raises(DatasetError, match=rf"000001_{name}: damaged, cut off"):
            source.open("train")[0]
        path.write_bytes(whole)
    np.save(folder / "000001_bbox.npy", np.array([[0, 0, 0, 1, 1, 1, 0, 10.0]]))
    with pytest.raises(DatasetError, match="class 10, expected 0 to 9"):
        source.open("train")[0]
    np.save(folder / "000001_bbox.npy", np.array([{"run": "me"}]), allow_pickle=True)
    with pytest.raises(DatasetError, match="not plain numbers"):
        source.open("train")[0]
    np.save(folder / "000001_bbox.npy", np.zeros((0, 8)))
    np.savez(folder / "000001_pc.npz", points=np.ones((3, 6)))
    with pytest.raises(DatasetError, match="no whole array 'pc'"):
        source.open("train")[0]
    (folder / "000001_bbox.npy").unlink()
    with pytest.raises(DatasetError, match=r"000001_bbox\.npy: no such file"):
        source.open("train")[0]
    with pytest.raises(DatasetError, match="holds none of"):
        VoteNetSource(path=tmp_path.parent).open("train")
