"""Small rooms and a small network to train on, for tests and for the processes they start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sr3d_core.checkpoint import load_checkpoint
from sr3d_core.config import Config, Network, Schedule
from sr3d_core.data.augment import Augment
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets


def room(seed: int) -> Sample:
    """A floor with two boxes on it: a cube (class 0) and a flat slab (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(2500, 3, generator=generator) * torch.tensor([3.0, 3.0, 0.0])
    rows = []
    for label, size in enumerate(([0.6, 0.6, 0.6], [0.7, 1.4, 0.3])):
        center = torch.rand(3, generator=generator) + torch.tensor([0.5, 0.4 + label * 1.2, 0.0])
        center[2] = size[2] / 2
        faces = torch.rand(900, 3, generator=generator) - 0.5
        axis = torch.randint(0, 3, (900,), generator=generator)
        faces[torch.arange(900), axis] = faces[torch.arange(900), axis].sign() / 2
        xyz = torch.cat([xyz, center + faces * torch.tensor(size)])
        rows.append([*center.tolist(), *size, 0.0])
    targets = Targets(Boxes3D.from_array(torch.tensor(rows)), torch.tensor([0, 1]))
    return Sample(PointCloud.single(xyz, None), targets, f"room {seed}")


def without_boxes(sample: Sample) -> Sample:
    """The same room with nothing to find in it."""
    return replace(sample, targets=sample.targets[:0])


def without_points(sample: Sample) -> Sample:
    """A scene in which the sensor saw nothing."""
    return replace(sample, cloud=sample.cloud[:0], targets=sample.targets[:0])


def use_scenes(scenes: Any, classes: tuple[str, ...] = ("cube", "slab")) -> None:
    """Make these scenes the procedural rooms, for good: for processes of their own."""
    for name, value in stand_in(scenes, classes).items():
        setattr(RoomsSource, name, value)


def stand_in(scenes: Any, classes: tuple[str, ...] = ("cube", "slab")) -> dict[str, Any]:
    """Attributes of `RoomsSource` that make it give these scenes."""
    return {
        "classes": classes,
        "front_classes": classes[1:],
        "open": lambda self, split: scenes,
    }


def config(num_steps: int = 4, changes: dict[str, Any] | None = None, **schedule: Any) -> Config:
    """A training of the smallest network, two scenes a step."""
    tiny: dict[str, Any] = {"widths": [8, 8, 8, 8], "stem_channels": 8, "neck_channels": 8}
    return Config(
        network=Network(preset="lite", changes={**tiny, **(changes or {})}),
        augment=Augment(flip_x=0.5, keep_fraction=(0.5, 1.0)),
        schedule=Schedule(
            **{"num_steps": num_steps, "batch_size": 2, "warmup_steps": 2, **schedule}
        ),
    )


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """What a weights file holds."""
    return load_checkpoint(path)[0].state_dict()
