"""Toy scenes with images, and short trainings of a camera student on them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.distill.settings import CameraConfig, parse_camera_config
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.network import LITE, SR3D
from sr3d_core.structures import Boxes3D, Images, PointCloud, Sample, Targets

SMALL = replace(LITE, num_classes=2, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), neck_channels=8)
CAMERA = CameraArchitecture(size=(64, 48), channels=8)
CLASSES = ("chair", "table")


def scene(seed: int, num_boxes: int = 2) -> Sample:
    """A wall three metres ahead, with boxes in front of it that the image shows by color."""
    generator = torch.Generator().manual_seed(seed)
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.0], [0, 0, 0, 1]])
    intrinsics = torch.tensor([[56.0, 0.0, 31.5], [0.0, 56.0, 23.5], [0.0, 0.0, 1.0]])
    pixels = 0.3 + 0.05 * torch.rand(1, 3, 48, 64, generator=generator)
    depth = torch.full((1, 48, 64), 3.0)
    rows, labels = [], []
    for index in range(num_boxes):
        left, far = 8 + 28 * index, 1.5 + 0.7 * float(torch.rand((), generator=generator))
        depth[:, 16:36, left : left + 20] = far
        pixels[:, index, 16:36, left : left + 20] = 0.9
        y = [(31.5 - u) / 56 * far for u in (left, left + 20)]
        z = [1 + (23.5 - v) / 56 * far for v in (36, 16)]
        center = [far + 0.1, sum(y) / 2, sum(z) / 2]
        rows.append([*center, 0.2, y[0] - y[1], z[1] - z[0], 0.0])
        labels.append(index)
    images = Images(pixels, intrinsics[None], pose[None], depth, torch.ones(1))
    rays = _rays(images)
    xyz = (pose[:3, 3] + rays * depth[0, ..., None]).reshape(-1, 3)
    boxes = Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))
    targets = Targets(boxes, torch.tensor(labels, dtype=torch.int64))
    return Sample(PointCloud.single(xyz, None), targets, f"toy {seed}", images)


def _rays(images: Images) -> Tensor:
    columns, rows = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy")
    focal, (u, v) = 56.0, (31.5, 23.5)
    ahead = torch.ones_like(columns)
    return torch.stack([ahead, -(columns - u) / focal, -(rows - v) / focal], dim=-1)


def save_teacher(path: Path, seed: int = 0) -> Path:
    """The weights of a network of clouds that has learnt nothing."""
    torch.manual_seed(seed)
    save_checkpoint(path, SR3D(SMALL), Manifest(architecture=SMALL, classes=CLASSES))
    return path


def save_depth_teacher(path: Path) -> Path:
    """The same of a network of images of depth, built as the student is."""
    torch.manual_seed(7)
    camera = replace(CAMERA, input="depth")
    manifest = Manifest(architecture=SMALL, classes=CLASSES, camera=camera)
    save_checkpoint(path, CameraSR3D(SMALL, camera), manifest)
    return path


def config(weights: Path, source: Any, **changes: Any) -> CameraConfig:
    """A short training on toy scenes; the source is put in, as no reader makes such scenes."""
    tree = {
        "student": {"camera": {"size": [64, 48], "channels": 8}},
        "teacher": {"weights": str(weights)},
        "schedule": {"num_steps": 4, "batch_size": 2, "warmup_steps": 0},
    }
    tree |= {key: {**tree.get(key, {}), **value} for key, value in changes.items()}
    return replace(parse_camera_config(tree), data=source)


@dataclass(frozen=True, kw_only=True)
class Toys(RoomsSource):
    """Six scenes in the place of rooms; the last one is empty."""

    has_images: ClassVar[bool] = True

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def front_classes(self) -> tuple[str, ...]:
        return ()

    def open(self, *_: Any, **__: Any) -> Any:
        return self

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        sample = scene(index, num_boxes=0 if index == 5 else 2)
        return sample if self.has_images else replace(sample, images=None)


class Blind(Toys):
    """The same without images."""

    has_images = False


TAUGHT = dict.fromkeys(("none", "plain", "monostl", "monostl_literal"), "points")
TAUGHT["monostl_literal of cells"] = "depth_image"
TAUGHT["monostl by centres"] = "points"
"""Students: the preset each name begins with, and the kind of teacher."""


def taught(folder: Path, name: str) -> CameraConfig:
    """A single step of one of `TAUGHT`, by a teacher that is written into a folder.

    After a step of Adam, which moves weights whose gradient is nothing but rounding as far as all
    others, two trainings see different voxels. The true depth gives student and teacher voxels to
    be compared on.
    """
    kind, preset = TAUGHT[name], name.split()[0]
    weights = folder / f"{kind}.safetensors"
    save = save_depth_teacher if kind == "depth_image" else save_teacher
    save(weights.with_name(f"{os.getpid()}.safetensors")).replace(weights)  # two may do so
    return config(
        weights,
        Toys(),
        schedule={"num_steps": 1, "batch_size": 6, "warmup_steps": 0},
        distill={
            "preset": preset,
            "uncertainty": {"source": "centre" if "centres" in name else "pixels"},
        },
        teacher={"kind": kind},
        student={"sees_depth": preset in ("plain", "monostl")},
    )
