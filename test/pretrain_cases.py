"""A small pre-training, for tests and for the processes they start.

As a program it trains every case into the folder it is given; torchrun starts two of these. With
`unreadable` as well, the second process cannot read what it is to see in the third step.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from training_cases import room

from sr3d_core.pretrain.loop import pretrain
from sr3d_core.pretrain.settings import (
    Asymmetric,
    Mask,
    Pretraining,
    Steps,
    Targets,
    Views,
)

SETTINGS = Pretraining(
    changes={
        "voxel_size_m": 0.04,
        "stem_channels": 8,
        "widths": (8, 8, 8, 8),
        "depths": (1, 1, 1, 1),
        "neck_channels": 8,
    },
    backend="torch",
    views=Views(max_points=3000),
    mask=Mask(ratio=0.5, block_m=0.32),
    targets=Targets(hidden=16, bottleneck=8),
    steps=Steps(num=4, batch_size=2, log_steps=1, precision="float32"),
)


ASYMMETRIC = replace(
    SETTINGS,
    method="asymdsd",
    asymmetric=Asymmetric(width=16, layers=1, heads=2, spread=0.0),
    targets=replace(SETTINGS.targets, prototypes=12),
)
"""Without KoLeo, which each process works out among its own clouds."""
CASES = {"dos": SETTINGS, "asymdsd": ASYMMETRIC}


class Clouds(list[Any]):
    """Rooms, whose labels nobody is to look at."""

    classes = ()


CLOUDS = Clouds(room(seed) for seed in range(4))


class Unreadable(Clouds):
    """The same, which cannot be read after so many times."""

    num_good = 0

    def __getitem__(self, index: Any) -> Any:
        self.num_good -= 1
        if self.num_good < 0:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


def unreadable_after(num_good: int) -> Unreadable:
    clouds = Unreadable(CLOUDS)
    clouds.num_good = num_good
    return clouds


def pretrained(path: Path, settings: Pretraining, clouds: Clouds = CLOUDS, **options: Any) -> Path:
    """Pre-train into a file."""
    return pretrain(settings, clouds, path, sources={"four rooms": "0"}, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2:] == ["unreadable"]:
        # One cloud for the count of prototypes, then one a step.
        clouds = unreadable_after(3) if os.environ["RANK"] == "1" else CLOUDS
        pretrained(Path(sys.argv[1]) / "dos.safetensors", SETTINGS, clouds)
    for name, settings in CASES.items():
        pretrained(Path(sys.argv[1]) / f"{name}.safetensors", settings)
