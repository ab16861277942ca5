"""Detections made from the truth of a drive: what memory does where errors are independent.

A stand-in for a detector in `bench_map.py`: each visible object is missed with a chance, else
found with errors of centre and size that are drawn anew in every frame, so that time can average
them out; false boxes stand on drawn points of the cloud, and their classes are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.sequence import SequenceFrame
from sr3d_core.structures import Boxes3D, Detections

MISSED = 0.35
FALSE_A_FRAME = 0.6
CENTER_M = 0.08  # standard deviation along each axis
LOG_SIZE = 0.2  # of the logarithm of each length


@dataclass
class MadeDetections:
    """Finds what `SequenceFrame.targets` says, with errors; the same seed errs alike."""

    seed: int
    classes: tuple[str, ...] = tuple(LABELS)
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def of(self, frame: SequenceFrame) -> Detections:
        """Boxes in the base's frame, by falling score."""
        rng = self._rng
        rows = frame.targets.boxes.array.double().numpy()
        is_found = rng.random(len(rows)) >= MISSED
        rows, labels = rows[is_found], frame.targets.labels.numpy()[is_found]
        turn, shift = frame.map_from_base[:3, :3], frame.map_from_base[:3, 3]
        rows[:, :3] = (rows[:, :3] - shift) @ turn
        rows[:, 6] -= np.arctan2(turn[1, 0], turn[0, 0])
        rows[:, :3] += rng.normal(0, CENTER_M, (len(rows), 3))
        rows[:, 3:6] *= np.exp(rng.normal(0, LOG_SIZE, (len(rows), 3)))
        num_false = int(rng.poisson(FALSE_A_FRAME)) if len(frame.cloud) else 0
        at = frame.cloud.xyz.double().numpy()[rng.integers(0, len(frame.cloud), num_false)]
        at = at @ frame.base_from_optical[:3, :3].T + frame.base_from_optical[:3, 3]
        size, yaw = rng.uniform(0.3, 1.0, (num_false, 3)), rng.uniform(-3, 3, (num_false, 1))
        rows = np.concatenate([rows, np.concatenate([at, size, yaw], axis=1)])
        labels = np.concatenate([labels, rng.integers(0, len(self.classes), num_false)])
        scores = np.concatenate(
            [rng.uniform(0.4, 0.95, is_found.sum()), rng.uniform(0.3, 0.6, num_false)]
        )
        order = np.argsort(-scores)
        return Detections(
            Boxes3D.from_array(torch.from_numpy(rows[order].astype(np.float32))),
            torch.from_numpy(scores[order].astype(np.float32)),
            torch.from_numpy(labels[order]),
        )
