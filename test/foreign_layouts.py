"""Tiny data sets in other people's layouts, byte for byte as their tools write them.

Written from the descriptions of the formats, with nothing of the readers, so that what they read
can be compared with what was meant: boxes with full sizes and counter-clockwise yaw, and points
whose number in each box is known.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D, Sample

POINTS_A_BOX = 60
FLOOR_POINTS = 400


@dataclass(frozen=True)
class Known:
    """One scene: its boxes in our convention, and its points with colors 0..255."""

    name: str
    classes: tuple[str, ...]
    boxes: np.ndarray  # (M,7)
    xyz: np.ndarray  # (N,3) float32
    rgb: np.ndarray  # (N,3) uint8

    @property
    def table(self) -> np.ndarray:
        """x y z r g b, colors 0..255."""
        return np.hstack([self.xyz, self.rgb]).astype(np.float32)


def room(
    name: str, classes: Sequence[str], seed: int, turned: bool = True, floor_z: float = 0.0
) -> Known:
    """A floor and long boxes on it, apart from each other, each full of points."""
    random = np.random.default_rng(seed)
    boxes, xyz = [], [random.uniform((-4, -4, 0), (4, 4, 0.01), (FLOOR_POINTS, 3))]
    for index, _ in enumerate(classes):
        size = np.array([2.0, 0.8, 0.5]) * random.uniform(0.8, 1.1, 3)
        center = np.array(
            [-3.0 + 3.0 * (index % 3), -2.0 + 3.0 * (index // 3), 0.05 + size[2] / 2]
        )
        yaw = random.uniform(0.4, 1.2) if turned else 0.0
        inside = random.uniform(-0.499, 0.499, (POINTS_A_BOX, 3)) * size
        # The outermost points lie on the faces, so that bounds are the box itself.
        inside[:2] = np.array([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]) * size
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        xyz.append(center + inside @ turn.T)
        boxes.append([*center, *size, yaw])
    points = np.concatenate(xyz).astype(np.float32)
    points[:, 2] += np.float32(floor_z)
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    rows[:, 2] += floor_z
    rgb = random.integers(0, 256, points.shape).astype(np.uint8)
    rgb[0] = 255
    return Known(name, tuple(classes), rows, points, rgb)


ALIGN = np.array(
    [[0.8, -0.6, 0.0, 1.5], [0.6, 0.8, 0.0, -2.0], [0.0, 0.0, 1.0, -0.1], [0.0, 0.0, 0.0, 1.0]]
)
"""p' = R p + t, a turn of 36.87 degrees."""


def unaligned(xyz: np.ndarray) -> np.ndarray:
    """What is moved to `xyz` by ALIGN."""
    return (xyz - ALIGN[:3, 3]) @ ALIGN[:3, :3]


# --- mmdetection3d ------------------------------------------------------------------------------


def write_bin(path: Path, table: np.ndarray, kind: str = "<f4") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table.astype(kind).tobytes())


def info_v0(known: Known, labels: Sequence[int], **changes: Any) -> dict[str, Any]:
    """A scene of the lists of mmdetection3d before 1.1."""
    num = len(known.boxes)
    annos: dict[str, Any] = {"gt_num": num}
    if num:
        annos |= {
            "name": np.array(known.classes),
            "location": known.boxes[:, :3],
            "dimensions": known.boxes[:, 3:6],
            "gt_boxes_upright_depth": known.boxes,
            "index": np.arange(num, dtype=np.int32),
            "class": np.array(labels),
        }
    info: dict[str, Any] = {
        "point_cloud": {"num_features": 6, "lidar_idx": known.name},
        "pts_path": f"points/{known.name}.bin",
        "annos": annos | changes.pop("annos", {}),
    }
    return info | changes


def info_v1(known: Known, labels: Sequence[int], **changes: Any) -> dict[str, Any]:
    """A scene of `data_list` of mmdetection3d 1.1."""
    return {
        "lidar_points": {"num_pts_feats": 6, "lidar_path": f"{known.name}.bin"},
        "instances": [
            {"bbox_3d": box.tolist(), "bbox_label_3d": label}
            for box, label in zip(known.boxes, labels, strict=True)
        ],
        **changes,
    }


def write_v1(path: Path, categories: Sequence[str], infos: Sequence[Any], version: str) -> None:
    metainfo = {
        "categories": {name: index for index, name in enumerate(categories)},
        "dataset": path.name.partition("_")[0],
        "info_version": version,
    }
    path.write_bytes(pickle.dumps({"metainfo": metainfo, "data_list": list(infos)}, protocol=4))


# --- ScanNet ------------------------------------------------------------------------------------


def write_scannet(root: Path, known: Known, raw_names: Sequence[str]) -> None:
    """A scan as it is downloaded: ply with triangles, segments, aggregation, meta data."""
    folder = root / "scans" / known.name
    folder.mkdir(parents=True)
    xyz = unaligned(known.xyz.astype(np.float64)).astype("<f4")
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment MLIB generated\n"
        f"element vertex {len(xyz)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty uchar alpha\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    body = b"".join(
        struct.pack("<3f4B", *point, *color, 255)
        for point, color in zip(xyz.tolist(), known.rgb.tolist(), strict=True)
    )
    face = struct.pack("<B3i", 3, 0, 1, 2)
    (folder / f"{known.name}_vh_clean_2.ply").write_bytes(header.encode() + body + face)
    # The floor is segment 7, every object has two segments; the numbers have gaps.
    segments = [7] * FLOOR_POINTS
    groups = []
    for index, raw in enumerate(raw_names):
        own = [100 + 10 * index, 101 + 10 * index]
        segments += [own[0]] * (POINTS_A_BOX // 2) + [own[1]] * (POINTS_A_BOX // 2)
        groups.append({"id": index, "objectId": index, "segments": own, "label": raw})
    text = {
        f"{known.name}_vh_clean_2.0.010000.segs.json": {
            "params": {"kThresh": "0.0001", "segMinVerts": "20"},
            "sceneId": known.name,
            "segIndices": segments,
        },
        f"{known.name}.aggregation.json": {
            "sceneId": f"scannet.{known.name}",
            "appId": "Aggregator.v2",
            "segGroups": groups,
            "segmentsFile": f"scannet.{known.name}_vh_clean_2.0.010000.segs.json",
        },
    }
    for name, tree in text.items():
        (folder / name).write_text(json.dumps(tree))
    numbers = " ".join(f"{value:.6f}" for value in ALIGN.reshape(-1))
    (folder / f"{known.name}.txt").write_text(
        f"axisAlignment = {numbers} \ncolorHeight = 968\nsceneType = Bedroom / Hotel\n"
    )


def write_scannet_frame(
    folder: Path, stem: str, color: np.ndarray, depth_m: np.ndarray, pose: np.ndarray
) -> None:
    """A frame as SensReader's export writes it: jpg, png of millimetres, pose in six decimals."""
    for part in ("color", "depth", "pose"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(color).save(folder / f"color/{stem}.jpg", quality=100, subsampling=0)
    Image.fromarray(np.rint(depth_m * 1000).astype(np.uint16)).save(folder / f"depth/{stem}.png")
    np.savetxt(folder / f"pose/{stem}.txt", pose, fmt="%f")


def write_scannet_cameras(folder: Path, k_color: np.ndarray, k_depth: np.ndarray) -> None:
    """The cameras of a scan's frames, as SensReader's export writes them."""
    (folder / "intrinsic").mkdir(parents=True, exist_ok=True)
    for what, k in (("color", k_color), ("depth", k_depth)):
        np.savetxt(folder / f"intrinsic/intrinsic_{what}.txt", k, fmt="%f")
        np.savetxt(folder / f"intrinsic/extrinsic_{what}.txt", np.eye(4), fmt="%f")


def write_label_map(root: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """scannetv2-labels.combined.tsv with raw name, NYU-40 number and NYU-40 name."""
    columns = ("id", "raw_category", "category", "count", "nyu40id", "eigen13id", "nyuClass")
    lines = ["\t".join((*columns, "nyu40class"))]
    lines += [
        "\t".join((str(index), raw, raw, "5", number, "1", raw, nyu40))
        for index, (raw, number, nyu40) in enumerate(rows)
    ]
    (root / "scannetv2-labels.combined.tsv").write_text("\n".join(lines) + "\n")


# --- SUN RGB-D ----------------------------------------------------------------------------------


def label_line(name: str, box: np.ndarray) -> str:
    """class xmin ymin w h cx cy cz W L H ox oy, with half sizes."""
    x, y, z, dx, dy, dz, yaw = box
    numbers = (120, 80, 200, 150, x, y, z, dy / 2, dx / 2, dz / 2, np.cos(yaw), np.sin(yaw))
    return " ".join([name, *(f"{number:.10f}" for number in numbers)])


def write_trainval(root: Path, numbers: Sequence[int], scenes: Sequence[Known]) -> None:
    """`sunrgbd_trainval` of VoteNet's MATLAB scripts, v2 labels."""
    for folder in ("depth", "label", "label_v1", "calib"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, known in zip(numbers, scenes, strict=True):
        table = np.hstack([known.xyz, known.rgb / 255.0])
        savemat(root / f"depth/{number:06d}.mat", {"instance": table}, do_compression=True)
        lines = [
            label_line(name, box) for name, box in zip(known.classes, known.boxes, strict=True)
        ]
        (root / f"label/{number:06d}.txt").write_text("".join(f"{line}\n" for line in lines))


def encoded_depth(depth_m: np.ndarray) -> np.ndarray:
    """16 bits turned left by three: the inverse of d = (v >> 3) | (v << 13)."""
    value = np.rint(depth_m * 1000).astype(np.uint32)
    return (((value << 3) | (value >> 13)) & 0xFFFF).astype(np.uint16)


# --- labels of tools ----------------------------------------------------------------------------


def write_pcd(path: Path, known: Known) -> None:
    """A PCD file with xyz, binary."""
    num = len(known.xyz)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\n"
        f"TYPE F F F\nCOUNT 1 1 1\nWIDTH {num}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {num}\nDATA binary\n"
    )
    path.write_bytes(header.encode() + known.xyz.astype("<f4").tobytes())


# --- what comes out -----------------------------------------------------------------------------


def assert_scene(sample: Sample, known: Known, classes: Sequence[str]) -> None:
    """Boxes, labels, points and colors are those that were meant."""
    assert [classes[label] for label in sample.targets.labels.tolist()] == list(known.classes)
    boxes = sample.targets.boxes
    expected = torch.from_numpy(known.boxes).float()
    torch.testing.assert_close(boxes.array[:, :6], expected[:, :6], atol=1e-5, rtol=0)
    half_turns = torch.remainder(boxes.yaw - expected[:, 6] + np.pi / 2, np.pi) - np.pi / 2
    assert half_turns.abs().max() < 1e-5
    xyz = sample.cloud.xyz
    torch.testing.assert_close(xyz, torch.from_numpy(known.xyz), atol=1e-5, rtol=0)
    if not sample.cloud.features.isnan().all():
        rgb = torch.from_numpy(known.rgb).float() / 255
        torch.testing.assert_close(sample.cloud.features, rgb, atol=1e-6, rtol=0)
    # The boxes a hair larger, for the points on their faces.
    held = points_in_boxes(xyz, Boxes3D(boxes.center, boxes.size + 1e-4, boxes.yaw))
    assert held[FLOOR_POINTS:].sum(dim=0).tolist() == [POINTS_A_BOX] * len(boxes)
