"""A folder of labelled scenes as users write them, and the mistakes that they make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from training_cases import room

from sr3d_core.data.rooms import LABELS
from sr3d_core.data.rooms.dataset import Rooms

Box = dict[str, Any]
NUM_ROOMS = 10


def write_rooms(
    root: Path,
    change: Callable[[Box], Box] = lambda box: box,
    points: Callable[[np.ndarray], np.ndarray] = lambda xyz: xyz,
) -> Path:
    """Scans of rendered rooms with labels, each box and each cloud changed."""
    for name in ("clouds", "labels"):
        (root / name).mkdir(parents=True)
    rooms = Rooms("val", NUM_ROOMS, sensors=("scan",))
    for index in range(len(rooms)):
        sample = rooms[index]
        xyz = sample.cloud.xyz.numpy()[::2].astype(np.float64)
        np.savez(root / f"clouds/room{index}.npz", xyz=points(xyz))
        rows = zip(
            sample.targets.boxes.array.tolist(), sample.targets.labels.tolist(), strict=True
        )
        boxes = [
            {"class": LABELS[label], "center": row[0:3], "size": row[3:6], "yaw": row[6]}
            for row, label in rows
        ]
        write_labels(root, f"room{index}", [change(box) for box in boxes])
    (root / "classes.txt").write_text("\n".join(LABELS))
    (root / "train.txt").write_text("".join(f"room{index}\n" for index in range(NUM_ROOMS - 1)))
    (root / "val.txt").write_text(f"room{NUM_ROOMS - 1}\n")
    return root


def write_small_rooms(root: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    """Scenes of a floor and two boxes, one of which is labelled."""
    for below in ("clouds", "labels"):
        (root / below).mkdir(parents=True)
    (root / "classes.txt").write_text("cube\nslab\n")
    (root / "train.txt").write_text("\n".join(names))
    for seed, name in enumerate(names):
        sample = room(seed)
        np.save(root / "clouds" / f"{name}.npy", sample.cloud.xyz.numpy())
        box = {"class": "cube", "center": [1, 1, 0.3], "size": [0.6, 0.6, 0.6]}
        (root / "labels" / f"{name}.json").write_text(json.dumps({"boxes": [box]}))
    return root


def write_labels(root: Path, scene: str, boxes: list[Box]) -> None:
    """The labels of one scene."""
    (root / "labels" / f"{scene}.json").write_text(json.dumps({"boxes": boxes}))


def read_labels(root: Path, scene: str) -> list[Box]:
    """The labels of one scene."""
    return json.loads((root / "labels" / f"{scene}.json").read_text())["boxes"]
