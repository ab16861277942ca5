"""Detections that are easy to check by hand, and a frame that is not level to send them in."""

from __future__ import annotations

import numpy as np
import torch

from sr3d_core.structures import Boxes3D, Detections

CLASSES = ("chair", "night_stand")
# z up to a camera's optical frame: x right, y down, z forward.
OPTICAL_FROM_LEVEL = np.array([[0.0, -1, 0, 0.5], [0, 0, -1, 1.2], [1, 0, 0, -0.3], [0, 0, 0, 1]])


def found(*rows: tuple[float, int, list[float]]) -> Detections:
    """Detections of (score, label, x y z dx dy dz yaw)."""
    return Detections(
        Boxes3D.from_array(torch.tensor([row[2] for row in rows]).reshape(-1, 7)),
        torch.tensor([row[0] for row in rows]),
        torch.tensor([row[1] for row in rows], dtype=torch.int64),
    )


TWO = found(
    (0.5, 0, [1.0, 2.0, 0.4, 0.5, 0.6, 0.8, 0.3]),
    (0.875, 1, [-1.0, 0.0, 0.3, 0.4, 0.4, 0.5, 3.0]),
)
