"""How often the yaw of a box that was found points out of its front, as the label's does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.matches import Matches
from sr3d_core.structures import Detections, Targets

NEAR_RAD = math.pi / 4
"""A yaw farther from the label's says another side."""


@dataclass(frozen=True, slots=True)
class RightFronts:
    """How often boxes of one class that were found are turned as their label is."""

    num_matched: int  # right detections
    num_right: int  # of them, those whose yaw is within 45 degrees of the label's

    @property
    def share(self) -> float:
        """0..1, a quarter by chance; NaN where nothing was found."""
        return self.num_right / self.num_matched if self.num_matched else math.nan


def right_fronts(
    matches: Matches,
    detections: Sequence[Detections],
    targets: Sequence[Targets],
    classes: Sequence[str],
    front_classes: Sequence[str],
    iou: float,
) -> dict[str, RightFronts]:
    """Of the detections of each class that are right at a threshold, those of the right yaw."""
    is_right = matches.is_right(iou)
    found, truth = _yaws(detections), _yaws(targets)
    fronts = {}
    for name in front_classes:
        hits = np.flatnonzero(is_right & (matches.labels == classes.index(name)))
        apart = found[hits] - truth[matches.truth[hits]]
        num_right = int((np.cos(apart) >= math.cos(NEAR_RAD)).sum())
        fronts[name] = RightFronts(len(hits), num_right)
    return fronts


def _yaws(records: Sequence[Detections] | Sequence[Targets]) -> Float[ndarray, " N"]:
    yaws = [each.boxes.yaw.double().cpu() for each in records]
    return torch.cat([torch.zeros(0).double(), *yaws]).numpy()
