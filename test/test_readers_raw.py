"""ScanNet, SUN RGB-D and S3DIS as they are downloaded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_layouts import (
    ALIGN,
    FLOOR_POINTS,
    Known,
    assert_scene,
    encoded_depth,
    label_line,
    room,
    write_label_map,
    write_scannet,
    write_scannet_cameras,
    write_scannet_frame,
    write_trainval,
)
from PIL import Image
from scipy.io import savemat

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.inspection import inspect_scenes
from sr3d_core.data.readers.s3dis import S3disSource
from sr3d_core.data.readers.scannet import ScanNetSource
from sr3d_core.data.readers.sunrgbd import SunRgbdSource
from sr3d_core.data.readers.sunrgbd_trainval import SunRgbdTrainvalSource
from sr3d_core.data.sources import source_of, with_images
from sr3d_core.geometry.camera import pixel_centers, project, unproject
from sr3d_core.structures import Images

# --- ScanNet ------------------------------------------------------------------------------------

LABEL_MAP = (
    ("bed", "4", "bed"),
    ("trash can", "39", "otherfurniture"),
    ("office chair", "5", "chair"),
    ("lamp", "35", "lamp"),
    ('7" monitor', "40", "otherprop"),
)


@pytest.fixture
def scannet(tmp_path: Path) -> tuple[Path, Known]:
    known = room("scene0000_00", ("bed", "garbage_bin", "chair", "lamp"), 0, turned=False)
    write_scannet(tmp_path, known, ("bed", "trash can", "office chair", "lamp"))
    write_label_map(tmp_path, LABEL_MAP)
    (tmp_path / "scannetv2_train.txt").write_text("scene0000_00\n")
    return tmp_path, known


def without_last(known: Known, num: int = 1) -> Known:
    """The same scene with fewer of its boxes."""
    return Known(known.name, known.classes[:-num], known.boxes[:-num], known.xyz, known.rgb)


def test_a_scan_is_aligned_and_its_objects_are_bounded(scannet: tuple[Path, Known]) -> None:
    root, known = scannet
    source = ScanNetSource(path=root)
    scenes = source.open("train")
    assert_scene(scenes[0], without_last(known), source.classes)
    # The lamp is read where its class is asked for.
    source = ScanNetSource(path=root, classes=("lamp", "bed"))
    found = source.open("train")[0].targets
    assert found.labels.tolist() == [1, 0]
    torch.testing.assert_close(
        found.boxes.array[1, :6], torch.from_numpy(known.boxes[3, :6]).float(), atol=1e-5, rtol=0
    )


def test_a_vertex_of_two_objects_belongs_to_the_later_one(scannet: tuple[Path, Known]) -> None:
    root, _ = scannet
    path = root / "scans/scene0000_00/scene0000_00.aggregation.json"
    tree = json.loads(path.read_text())
    # A second group of the bed's segments, as there are in one scan of ScanNet, and one of none.
    again = {"id": 9, "objectId": 9, "segments": tree["segGroups"][0]["segments"], "label": "bed"}
    nothing = {"id": 10, "objectId": 10, "segments": [9999], "label": "lamp"}
    tree["segGroups"] += [again, nothing]
    path.write_text(json.dumps(tree))
    scenes = ScanNetSource(path=root).open("train")
    assert sorted(scenes[0].targets.labels.tolist()) == [1, 2, 17]
    assert [record.class_name for record in scenes.records(0)].count("bed") == 1


def test_test_scans_have_points_alone(scannet: tuple[Path, Known]) -> None:
    root, _ = scannet
    (root / "scans_test").mkdir()
    (root / "scans/scene0000_00").rename(root / "scans_test/scene0000_00")
    for path in (root / "scans_test/scene0000_00").iterdir():
        if path.suffix != ".ply":
            path.unlink()
    (root / "scannetv2_test.txt").write_text("scene0000_00\n")
    scenes = ScanNetSource(path=root).open("test")
    assert len(scenes[0].targets) == 0
    assert "no labels" in scenes.notes[0]


def test_a_scan_without_objects_is_normal(scannet: tuple[Path, Known]) -> None:
    root, known = scannet
    path = root / "scans/scene0000_00/scene0000_00.aggregation.json"
    path.write_text(json.dumps({"segGroups": []}))
    sample = ScanNetSource(path=root).open("train")[0]
    assert (len(sample.targets), len(sample.cloud)) == (0, len(known.xyz))


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("scene0000_00.txt", "sceneType = Bedroom\n", "no line axisAlignment"),
        ("scene0000_00.txt", "axisAlignment = 1 0 0\n", "expected axisAlignment = 16 numbers"),
        ("scene0000_00.txt", None, "cannot be read"),
        ("scene0000_00.aggregation.json", "{", "no whole JSON"),
        ("scene0000_00.aggregation.json", "[]", "no list segGroups"),
        ("scene0000_00.aggregation.json", '{"segGroups": [{"label": "bed"}]}', r"segGroups\[0\]"),
        (
            "scene0000_00.aggregation.json",
            '{"segGroups": [{"label": "throne", "segments": [100]}]}',
            "'throne' is not in scannetv2-labels",
        ),
        (
            "scene0000_00.aggregation.json",
            '{"segGroups": [{"label": "bed", "segments": ["a"]}]}',
            "no whole numbers",
        ),
        ("scene0000_00_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, 2]}', "2 vertices"),
        ("scene0000_00_vh_clean_2.0.010000.segs.json", None, "no such file"),
        ("scene0000_00_vh_clean_2.ply", "ply\nformat", "the header"),
        ("scene0000_00_vh_clean_2.ply", None, "no such file"),
    ],
)
def test_files_of_a_scan_that_are_wrong_are_named(
    scannet: tuple[Path, Known], file: str, content: str | None, text: str
) -> None:
    root, _ = scannet
    path = root / "scans/scene0000_00" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(DatasetError, match=text) as caught:
        ScanNetSource(path=root).open("train")[0]
    assert "scene0000_00" in str(caught.value)


def test_what_belongs_to_all_scans_is_missed_at_once(scannet: tuple[Path, Known]) -> None:
    root, _ = scannet
    with pytest.raises(DatasetError, match=r"no scannetv2_val\.txt"):
        ScanNetSource(path=root).open("val")
    (root / "scannetv2-labels.combined.tsv").write_text("id\tname\n1\tbed\n")
    with pytest.raises(DatasetError, match=r"columns raw_category, nyu40id"):
        ScanNetSource(path=root).open("train")
    (root / "scannetv2-labels.combined.tsv").unlink()
    with pytest.raises(DatasetError, match=r"no scannetv2-labels\.combined\.tsv"):
        ScanNetSource(path=root).open("train")
    (root / "scannetv2_train.txt").write_text("scene0009_00\n")
    write_label_map(root, LABEL_MAP)
    with pytest.raises(DatasetError, match=r"scene0009_00: no such folder"):
        ScanNetSource(path=root).open("train")[0]


def test_classes_are_asked_for_as_anybody_spells_them(scannet: tuple[Path, Known]) -> None:
    root, _ = scannet
    source = source_of(f"scannet:{root},classes=Lamp+Trash can")
    sample = source.open("train")[0]
    assert tuple(source.classes) == ("lamp", "garbage_bin")
    assert sorted(sample.targets.labels.tolist()) == [0, 1]
    with pytest.raises(DatasetError, match=r"classes=lampe: .*expected some of .*lamp"):
        source_of(f"scannet:{root},classes=lampe").open("train")


def test_boxes_of_classes_nobody_asked_for_are_counted(scannet: tuple[Path, Known]) -> None:
    found = inspect_scenes(ScanNetSource(path=scannet[0]).open("train"))
    assert "1 boxes of other classes are left out (lamp 1)" in found.notes


# --- Color frames of ScanNet -----------------------------------------------------------------

SCAN = "scans/scene0000_00"
K_DEPTH = np.array([[6.0, 0, 3.2, 0], [0, 7.0, 2.6, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
K_COLOR = np.array([[12.0, 0, 6.9, 0], [0, 14.0, 5.7, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
"""That of an image twice as large: f = 2 f, c = 2 (c + 0.5) - 0.5."""
FRAME_DEPTH = 1.0 + np.arange(48).reshape(6, 8) / 16  # metres, whole numbers of half millimetres
FRAME_POSE = np.array([[0, 0, 1, 0.5], [-1, 0, 0, -0.25], [0, -1, 0, 1.25], [0, 0, 0, 1.0]])
"""Of the aligned world: looking along +x."""
LOST = np.full((4, 4), -np.inf)


@pytest.fixture
def frames(scannet: tuple[Path, Known]) -> Path:
    """Frames 0, 2 and 10 have poses, 1 has none; their colors are 10 times their numbers."""
    root, _ = scannet
    folder = root / SCAN
    write_scannet_cameras(folder, K_COLOR, K_DEPTH)
    pose = np.linalg.inv(ALIGN) @ FRAME_POSE
    for number, own in ((0, pose), (1, LOST), (2, pose), (10, pose)):
        color = np.full((12, 16, 3), 10 * number, np.uint8)
        depth = np.where(np.arange(8) == 0, 0.0, FRAME_DEPTH)
        write_scannet_frame(folder, str(number), color, depth, own)
    return root


def test_frames_whose_place_is_lost_are_left_out_and_the_others_are_in_order(
    frames: Path,
) -> None:
    scenes = ScanNetSource(path=frames).open("train")
    assert scenes.num_images(0) == 3
    found = scenes.images(0, (0, 1, 2))
    assert (len(found), found.pixels.shape) == (3, (3, 3, 12, 16))
    assert (255 * found.pixels.mean(dim=(1, 2, 3))).round().tolist() == [0, 20, 100]
    assert len(scenes.images(0)) == 1
    with pytest.raises(IndexError):
        scenes.images(0, (3,))


def test_each_pixel_of_a_frame_has_the_depth_along_its_ray(frames: Path) -> None:
    found = ScanNetSource(path=frames).open("train").images(0)
    assert found.depth is not None
    expected = np.where(np.arange(8) == 0, 0.0, FRAME_DEPTH).repeat(2, axis=0).repeat(2, axis=1)
    torch.testing.assert_close(
        found.depth[0], torch.from_numpy(expected).float(), atol=6e-4, rtol=0
    )


def test_frames_are_in_the_aligned_frame_of_the_points(frames: Path) -> None:
    """A point 2 m ahead, 0.5 m to the right and 0.25 m below the camera."""
    found = ScanNetSource(path=frames).open("train").images(0)
    torch.testing.assert_close(
        found.world_from_camera[0], torch.from_numpy(FRAME_POSE).float(), atol=2e-6, rtol=0
    )
    point = torch.tensor([[[2.5, -0.75, 1.0]]])
    pixels, depth = project(point, found.intrinsics, found.world_from_camera)
    torch.testing.assert_close(depth, torch.tensor([[2.0]]), atol=1e-5, rtol=0)
    expected = torch.tensor([[[12 * 0.25 + 6.9, 14 * 0.125 + 5.7]]])
    torch.testing.assert_close(pixels, expected, atol=1e-4, rtol=0)


def test_what_a_depth_camera_does_not_see_has_no_depth(frames: Path) -> None:
    """Its image ends 4 pixels of the color image before the right and lower edges."""
    for number in (0, 2, 10):
        depth = np.full((4, 6), 2.0)
        write_scannet_frame(
            frames / SCAN, str(number), np.zeros((12, 16, 3), np.uint8), depth, FRAME_POSE
        )
    found = ScanNetSource(path=frames).open("train").images(0).depth
    assert found is not None
    assert (found[0, :8, :12] == 2.0).all()
    assert (found[0, 8:] == 0).all()
    assert (found[0, :, 12:] == 0).all()


def test_scannet_frames_25k_and_test_scans_are_read(frames: Path) -> None:
    folder = frames / "scannet_frames_25k/scene0000_00"
    folder.parent.mkdir()
    folder.mkdir()
    for part in ("color", "depth", "pose"):
        (frames / SCAN / part).rename(folder / part)
    for what in ("color", "depth"):
        (frames / SCAN / f"intrinsic/intrinsic_{what}.txt").rename(
            folder / f"intrinsics_{what}.txt"
        )
    assert ScanNetSource(path=frames).open("train").num_images(0) == 3
    (frames / "scannetv2_test.txt").write_text("scene0000_00\n")
    found = ScanNetSource(path=frames).open("test").images(0)
    expected = torch.from_numpy(np.linalg.inv(ALIGN) @ FRAME_POSE).float()
    torch.testing.assert_close(found.world_from_camera[0], expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("color/0.jpg", b"\xff\xd8\xff", "damaged or no image"),
        ("depth/0.png", None, "damaged or no image"),
        ("pose/0.txt", b"1 2 3\n", r"shape \(1, 3\), expected 4 x 4"),
        ("pose/0.txt", b"a b c\n", "expected 4 x 4 numbers"),
        ("pose/0.txt", None, "cannot be read"),
        ("intrinsic/intrinsic_color.txt", None, "the camera of the color frames"),
        ("intrinsic/intrinsic_depth.txt", b"0 0 0 0\n" * 4, "focal lengths"),
        ("intrinsic/extrinsic_color.txt", b"1 0 0 1\n" * 4, "expected the matrix 1"),
    ],
)
def test_files_of_a_color_frame_that_are_wrong_are_named(
    frames: Path, file: str, content: bytes | None, text: str
) -> None:
    path = frames / SCAN / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=text) as caught:
        ScanNetSource(path=frames).open("train").images(0)
    assert Path(file).name in str(caught.value)


def test_a_scan_without_color_frames_is_read_as_before_and_says_what_is_missing(
    scannet: tuple[Path, Known],
) -> None:
    scenes = ScanNetSource(path=scannet[0]).open("train")
    assert len(scenes[0].cloud) > 0
    with pytest.raises(DatasetError, match=r"color: no such folder.*SensReader"):
        scenes.num_images(0)


def test_a_scan_whose_place_is_never_known_has_no_color_frame(frames: Path) -> None:
    for number in (0, 2, 10):
        np.savetxt(frames / SCAN / f"pose/{number}.txt", LOST, fmt="%f")
    with pytest.raises(DatasetError, match="no frame with a pose"):
        ScanNetSource(path=frames).open("train").num_images(0)


# --- SUN RGB-D of VoteNet's scripts -------------------------------------------------------------


@pytest.fixture
def trainval(tmp_path: Path) -> tuple[Path, list[Known]]:
    root = tmp_path / "sunrgbd_trainval"
    scenes = [
        room("000003", ("bed", "night_stand", "lamp"), 0, floor_z=-1.4),
        room("005051", (), 1, floor_z=-1.4),
    ]
    write_trainval(root, (3, 5051), scenes)
    (root / "train_data_idx.txt").write_text("3\n5051\n")
    (root / "val_data_idx.txt").write_text("5051\n")
    return root, scenes


def test_frames_of_votenets_scripts(trainval: tuple[Path, list[Known]]) -> None:
    root, (first, empty) = trainval
    for path in (root, root.parent):
        source = SunRgbdTrainvalSource(path=path)
        scenes = source.open("train")
        assert scenes.names == ["000003", "005051"]
        assert "v2 labels" in scenes.notes[0]
        assert_scene(scenes[0], without_last(first), source.classes)
        assert len(scenes[1].targets) == 0
        assert len(scenes[1].cloud) == len(empty.xyz)
    assert SunRgbdTrainvalSource(path=root).open("val").names == ["005051"]


def test_v1_labels_are_others(trainval: tuple[Path, list[Known]]) -> None:
    root, (first, _) = trainval
    line = label_line("night stand", first.boxes[1])  # a class of two words
    (root / "label_v1/000003.txt").write_text(line)
    source = SunRgbdTrainvalSource(path=root, labels="v1")
    scenes = source.open("train", num=1)
    assert "v1 labels" in scenes.notes[0]
    (record,) = scenes.records(0)
    assert record.class_name == "night_stand"
    np.testing.assert_allclose(record.size, first.boxes[1, 3:6], atol=1e-9)


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("label/000003.txt", "bed 1 2 3\n", r"expected class xmin"),
        ("label/000003.txt", "bed " + "x " * 12, r"expected class xmin"),
        ("label/000003.txt", "bed " + "nan " * 12, r"boxes\[0\]"),
        ("label/000003.txt", None, "cannot be read"),
        ("depth/000003.mat", "", "damaged or no MATLAB file"),
        ("depth/000003.mat", None, "no such file"),
        ("depth/000003.mat", {"points": np.ones((3, 6))}, "no variable 'instance'"),
        ("depth/000003.mat", {"instance": np.ones((3, 5))}, r"shape \(3, 5\)"),
        ("depth/000003.mat", {"instance": np.zeros((0, 6))}, "none of its 0 points"),
        ("train_data_idx.txt", "000003.mat\n", "expected the number of a frame"),
    ],
)
def test_files_of_votenets_scripts_that_are_wrong_are_named(
    trainval: tuple[Path, list[Known]], file: str, content: Any, text: str
) -> None:
    root, _ = trainval
    if content is None:
        (root / file).unlink()
    elif isinstance(content, dict):
        savemat(root / file, content)
    else:
        (root / file).write_text(content)
    with pytest.raises(DatasetError, match=text) as caught:
        SunRgbdTrainvalSource(path=root).open("train")[0]
    assert Path(file).name in str(caught.value)


def test_a_mat_file_that_is_cut_off_is_named(trainval: tuple[Path, list[Known]]) -> None:
    root, _ = trainval
    path = root / "depth/000003.mat"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"000003\.mat: damaged"):
        SunRgbdTrainvalSource(path=root).open("train")[0]
    path.write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(600)
    )
    with pytest.raises(DatasetError, match=r"version 7\.3.*-v7"):
        SunRgbdTrainvalSource(path=root).open("train")[0]


# --- SUN RGB-D as it is downloaded --------------------------------------------------------------

FRAME = "SUNRGBD/kv2/kinect2data/000002_2014-05-26-resize"
K = np.array([[520.0, 0.0, 4.5], [0.0, 530.0, 3.0], [0.0, 0.0, 1.0]])
TILT = np.array([[1.0, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
"""From (x, depth, -y) of the camera to the upright frame: looking down by 0.2 rad."""
DEPTH_M = np.array([[0.0, 2.0, 2.5, 3.0], [1.5, 1.6, 0.0, 4.0], [8.191, 2.2, 2.3, 2.4]])
BOX = np.array([0.3, 2.4, -0.5, 1.2, 0.6, 0.8, 0.7])


def matlab_rows(boxes: list[dict[str, Any]]) -> np.ndarray:
    """A struct array 1 x N."""
    kinds = [(key, object) for key in boxes[0]]
    rows = np.zeros((1, len(boxes)), dtype=kinds)
    for index, box in enumerate(boxes):
        for key, value in box.items():
            rows[0, index][key] = value
    return rows


def box_of_table(name: str, box: np.ndarray) -> dict[str, Any]:
    along = np.array([np.cos(box[6]), np.sin(box[6]), 0.0])
    across = np.array([-along[1], along[0], 0.0])
    return {
        "basis": np.stack([across, along, [0, 0, 1]]),
        "coeffs": np.array([[box[4] / 2, box[3] / 2, box[5] / 2]]),
        "centroid": box[None, :3],
        "classname": name,
        "labelname": "",
        "orientation": along[None],
    }


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / FRAME
    for part in ("depth", "depth_bfx", "image", "extrinsics", "annotation3Dfinal"):
        (folder / part).mkdir(parents=True)
    filled = np.where(DEPTH_M == 0, 5.0, DEPTH_M)
    Image.fromarray(encoded_depth(DEPTH_M)).save(folder / "depth/0000002.png")
    Image.fromarray(encoded_depth(filled)).save(folder / "depth_bfx/0000002.png")
    colors = np.full((3, 4, 3), (255, 128, 0), dtype=np.uint8)
    Image.fromarray(colors).save(folder / "image/0000002.jpg", quality=100, subsampling=0)
    (folder / "intrinsics.txt").write_text(" ".join(str(value) for value in K.reshape(-1)))
    # The file's rotation is of axes x right, y down, z ahead.
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    rotation = np.hstack([axes.T @ TILT @ axes, np.zeros((3, 1))])
    np.savetxt(folder / "extrinsics/20140808.txt", rotation)
    corners = box_corners(BOX)
    objects = [
        None,
        {
            "name": "wall",
            "polygon": [{"X": [0, 1, 1, 0], "Z": [0, 0, 1, 1], "Ymin": 0, "Ymax": 1}],
        },
        {
            "name": "bed:occluded",
            "polygon": [
                {
                    "X": corners[:, 0].tolist(),
                    "Z": corners[:, 1].tolist(),
                    "Ymin": -(BOX[2] + BOX[5] / 2),
                    "Ymax": -(BOX[2] - BOX[5] / 2),
                    "rectangle": 1,
                }
            ],
        },
        {"name": "chair", "polygon": []},
    ]
    (folder / "annotation3Dfinal/index.json").write_text(json.dumps({"objects": objects}))
    toolbox = tmp_path / "SUNRGBDtoolbox/traintestSUNRGBD"
    toolbox.mkdir(parents=True)
    cells = np.empty((1, 2), dtype=object)
    cells[0] = [f"/n/fs/sun3d/data/{FRAME}", "/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001"]
    savemat(toolbox / "allsplit.mat", {"alltrain": cells, "alltest": cells[:, 1:]})
    write_meta(tmp_path, [box_of_table("bed", BOX), box_of_table("lamp", BOX)])
    return tmp_path


def write_meta(root: Path, boxes: list[dict[str, Any]]) -> None:
    rows = [
        {
            "sequenceName": name,
            "groundtruth3DBB": matlab_rows(found) if found else np.zeros((0, 0)),
            "Rtilt": TILT,
            "K": K,
            "depthpath": f"/n/fs/sun3d/data/{name}/depth_bfx/0000002.png",
        }
        for name, found in ((FRAME, boxes), ("SUNRGBD/kv1/NYUdata/NYU0001", []))
    ]
    savemat(root / "SUNRGBDMeta3DBB_v2.mat", {"SUNRGBDMeta": matlab_rows(rows)})


def box_corners(box: np.ndarray) -> np.ndarray:
    """The corners of a box from above, the first edge in front."""
    along = np.array([np.cos(box[6]), np.sin(box[6])])
    across = np.array([-along[1], along[0]])
    return np.array(
        [
            box[:2] + box[3] / 2 * a * along + box[4] / 2 * b * across
            for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))
        ]
    )


@pytest.mark.parametrize("labels", ["v2", "json"])
@pytest.mark.parametrize(("depth", "num"), [("filled", 12), ("raw", 10)])
def test_frames_as_they_are_downloaded(official: Path, labels: Any, depth: Any, num: int) -> None:
    source = SunRgbdSource(path=official, labels=labels, depth=depth)
    scenes = source.open("train", num=1)
    sample = scenes[0]
    assert sample.name == FRAME
    assert f"{labels} labels" in scenes.notes[0]
    assert sample.targets.labels.tolist() == [0]
    torch.testing.assert_close(
        sample.targets.boxes.array[0], torch.from_numpy(BOX).float(), atol=1e-5, rtol=0
    )
    assert len(sample.cloud) == num
    # The pixel in the second row and first column is (1, 2), counted from 1.
    d = 1.5
    camera = np.array([(1 - K[0, 2]) * d / K[0, 0], d, -(2 - K[1, 2]) * d / K[1, 1]])
    gap = (sample.cloud.xyz - torch.from_numpy(TILT @ camera).float()).norm(dim=1)
    assert gap.min() < 1e-6
    torch.testing.assert_close(
        sample.cloud.features[0], torch.tensor([1.0, 0.5, 0.0]), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("labels", ["v2", "json"])
def test_the_image_of_a_frame_sees_the_points_of_its_cloud(official: Path, labels: Any) -> None:
    scenes = SunRgbdSource(path=official, labels=labels, depth="raw").open("train", num=1)
    found, cloud = scenes.images(0), scenes[0].cloud
    assert (scenes.num_images(0), len(found)) == (1, 1)
    # The pixel in the second row and first column: (1, 2) counted from 1, (0, 1) from 0.
    d = 1.5
    camera = np.array([(1 - K[0, 2]) * d / K[0, 0], d, -(2 - K[1, 2]) * d / K[1, 1]])
    point = torch.from_numpy(TILT @ camera).float()[None, None]
    pixels, depth = project(point, found.intrinsics, found.world_from_camera)
    torch.testing.assert_close(pixels[0, 0], torch.tensor([0.0, 1.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(depth[0, 0], torch.tensor(d))
    assert found.depth is not None
    torch.testing.assert_close(found.depth[0], torch.from_numpy(DEPTH_M).float())
    is_known = found.depth[0] > 0
    points = unproject(
        pixel_centers(3, 4)[None],
        found.depth.reshape(1, -1),
        found.intrinsics,
        found.world_from_camera,
    )[0][is_known.reshape(-1)]
    torch.testing.assert_close(points, cloud.xyz, atol=1e-5, rtol=0)
    expected = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 3, 4)
    torch.testing.assert_close(found.pixels[0], expected, atol=0.02, rtol=0)


def test_a_frame_has_its_image_where_the_source_asks_for_it(official: Path) -> None:
    source = SunRgbdSource(path=official)
    bare = source.open("train", num=1)[0]
    scenes = with_images(source).open("train", num=1)
    assert bare.images is None
    assert scenes[0].images is not None
    torch.testing.assert_close(scenes[0].images.pixels, scenes.images(0).pixels)
    torch.testing.assert_close(scenes[0].cloud.xyz, bare.cloud.xyz)


def test_the_filled_depth_of_an_image_is_that_of_the_cloud(official: Path) -> None:
    scenes = SunRgbdSource(path=official).open("train", num=1)
    found = scenes.images(0, (0, 0))
    assert isinstance(found, Images)
    assert len(found) == 2
    assert found.depth is not None
    assert found.depth.max() == 8.0
    assert found.depth.min() > 0
    with pytest.raises(IndexError):
        scenes.images(0, (1,))


def test_an_image_of_another_size_than_its_depth_is_named(official: Path) -> None:
    path = official / FRAME / "image/0000002.jpg"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    with pytest.raises(DatasetError, match=r"0000002\.jpg: .*\(4, 4, 3\), expected \(3, 4, 3\)"):
        SunRgbdSource(path=official).open("train", num=1).images(0)


def test_depths_end_where_the_toolbox_of_the_data_set_ends_them(official: Path) -> None:
    """There 8 m is the farthest: 8.191 m is put at 8 m, what the sensor saw stays."""
    farthest = {}
    for depth in ("filled", "raw"):
        cloud = SunRgbdSource(path=official, depth=depth).open("train", num=1)[0].cloud
        farthest[depth] = float((cloud.xyz.double() @ torch.from_numpy(TILT))[:, 1].max())
    assert farthest["filled"] == pytest.approx(8.0, abs=1e-5)
    assert farthest["raw"] == pytest.approx(8.191, abs=1e-5)


def test_a_frame_without_boxes_is_normal(official: Path) -> None:
    write_meta(official, [])
    assert len(SunRgbdSource(path=official).open("train", num=1)[0].targets) == 0
    (official / FRAME / "annotation3Dfinal/index.json").unlink()
    scenes = SunRgbdSource(path=official, labels="json").open("train", num=1)
    assert len(scenes[0].targets) == 0


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("depth_bfx/0000002.png", b"\x89PNG\r\n\x1a\n", "damaged or no image"),
        ("depth_bfx/0000002.png", None, "0 files"),
        ("image/0000002.jpg", None, "0 files"),
        ("annotation3Dfinal/index.json", b"{", "no whole JSON"),
        ("annotation3Dfinal/index.json", b'{"objects": 5}', "objects is no list"),
        (
            "annotation3Dfinal/index.json",
            b'{"objects": [{"name": "bed", "polygon": [{"X": [1, 2]}]}]}',
            r"objects\[0\]",
        ),
        ("intrinsics.txt", b"a b c", "rows of numbers"),
        ("intrinsics.txt", b"1 2 3", "expected 3 x 3"),
    ],
)
def test_files_of_a_frame_that_are_wrong_are_named(
    official: Path, file: str, content: bytes | None, text: str
) -> None:
    path = official / FRAME / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=text) as caught:
        SunRgbdSource(path=official, labels="json").open("train")[0]
    assert FRAME in str(caught.value)


def test_tables_that_are_missing_or_lack_a_frame_are_named(official: Path) -> None:
    with pytest.raises(DatasetError, match=r"no SUNRGBDMeta\.mat"):
        SunRgbdSource(path=official, labels="v1").open("train")
    with pytest.raises(DatasetError, match="the frame SUNRGBD/kv1/NYUdata/NYU0001"):
        SunRgbdSource(path=official).open("val")[0]
    savemat(
        official / "SUNRGBDMeta3DBB_v2.mat", {"SUNRGBDMeta": matlab_rows([{"sequenceName": "a"}])}
    )
    with pytest.raises(DatasetError, match=f"no row of {FRAME}"):
        SunRgbdSource(path=official).open("train")[0]
    bad = box_of_table("bed", BOX) | {"coeffs": np.array([[1.0, 2.0]])}
    write_meta(official, [bad])
    with pytest.raises(DatasetError, match=f"SUNRGBDMeta of {FRAME}: a box without"):
        SunRgbdSource(path=official).open("train")[0]


# --- S3DIS --------------------------------------------------------------------------------------


def write_s3dis(root: Path, area: int, known: Known) -> Path:
    """A room as text, one file for each object, somewhere in its building."""
    folder = root / f"Area_{area}" / known.name / "Annotations"
    folder.mkdir(parents=True)
    parts = {"floor_1": slice(0, FLOOR_POINTS)}
    for index, name in enumerate(known.classes):
        start = FLOOR_POINTS + 60 * index
        parts[f"{name}_{index + 1}"] = slice(start, start + 60)
    for name, part in parts.items():
        lines = [
            f"{x:.6f} {y:.6f} {z:.6f} {r} {g} {b}"
            for (x, y, z), (r, g, b) in zip(
                (known.xyz[part] + [-20.0, 35.0, 1.0]).tolist(),
                known.rgb[part].tolist(),
                strict=True,
            )
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_rooms_of_s3dis_are_moved_to_zero(tmp_path: Path) -> None:
    known = room("office_1", ("bookcase", "chair", "chair"), 3, turned=False)
    folder = write_s3dis(tmp_path, 1, known)
    (tmp_path / "Area_1" / ".DS_Store").write_text("")
    source = S3disSource(path=tmp_path)
    scenes = source.open("train")
    assert scenes.names == ["Area_1_office_1"]
    assert "without areas 2, 3, 4, 6" in scenes.notes[0]
    sample = scenes[0]
    low = known.xyz.min(axis=0)
    boxes = known.boxes[:, :6] - [*low, 0, 0, 0]
    found = sample.targets
    assert [source.classes[label] for label in found.labels.tolist()] == [
        "bookcase",
        "chair",
        "chair",
    ]
    torch.testing.assert_close(
        found.boxes.array[:, :6], torch.from_numpy(boxes).float(), atol=2e-5, rtol=0
    )
    assert sample.cloud.xyz.amin(dim=0).tolist() == [0, 0, 0]
    assert len(sample.cloud) == len(known.xyz)
    # Annotations/bookcase_1.txt comes first.
    expected = torch.from_numpy(known.rgb[FLOOR_POINTS]).float() / 255
    torch.testing.assert_close(sample.cloud.features[0], expected)
    (folder / "chair_2.txt").write_text("1 2 3 4 5\n")
    with pytest.raises(DatasetError, match=r"chair_2\.txt: line 1 .*expected x y z r g b"):
        source.open("train")[0]


def test_the_known_fault_of_s3dis_is_told_apart(tmp_path: Path) -> None:
    folder = write_s3dis(tmp_path, 5, room("hallway_6", (), 0))
    (folder / "ceiling_1.txt").write_bytes(b"1 2 3 4 5 6\n22.3 6.2 3.1 185\x10187 182 9\n")
    with pytest.raises(DatasetError, match=r"line 2 .*known; put a space"):
        S3disSource(path=tmp_path).open("val")[0]


def test_rooms_without_objects_or_points(tmp_path: Path) -> None:
    known = room("office_1", (), 0)
    folder = write_s3dis(tmp_path, 5, known)
    scenes = S3disSource(path=tmp_path).open("val")
    assert (len(scenes[0].targets), len(scenes[0].cloud)) == (0, FLOOR_POINTS)
    (folder / "floor_1.txt").write_text("")
    with pytest.raises(DatasetError, match="no points in Annotations"):
        S3disSource(path=tmp_path).open("val")[0]
    with pytest.raises(DatasetError, match="no room in Area_1"):
        S3disSource(path=tmp_path).open("train")
    with pytest.raises(DatasetError, match="no split 'test'"):
        S3disSource(path=tmp_path).open("test")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("reader", ["s3dis", "infos"])
def test_an_area_that_is_none_is_refused_as_nothing_would_be_held_back(
    tmp_path: Path, reader: str, split: str
) -> None:
    for area in range(1, 7):
        write_s3dis(tmp_path, area, room("office_1", (), 0))
        (tmp_path / f"s3dis_infos_Area_{area}.pkl").write_bytes(pickle.dumps([]))
    with pytest.raises(DatasetError, match=r"val_area=9, expected one of 1, 2, 3, 4, 5, 6"):
        source_of(f"{reader}:{tmp_path},val_area=9").open(split)
