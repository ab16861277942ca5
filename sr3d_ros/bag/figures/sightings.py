"""What one frame shows of each object, at the thresholds of the robot.

Right, wrong and missed are those of `sr3d_core.matches` at an IoU of `FOUND_IOU`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.matches import match_all
from sr3d_core.memory.association import written_alike
from sr3d_core.structures import Detections, Targets

FOUND_IOU = 0.25
"""An object is found where a box of its class overlaps it by more than this."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundBox:
    """The box that found an object, beside the true one."""

    score: float
    iou: float
    offset_m: Float[ndarray, " 3"]  # of its centre, along the sides of the true box
    log_size: Float[ndarray, " 3"]  # logarithm of found over true length, side by side
    turn_rad: float  # how far its sides are turned, -45 to 45 degrees
    identity: str = ""  # that tracking gave it, "" = none


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One object in view in one frame."""

    object_: str  # "" = nobody says which
    label: int
    found: FoundBox | None


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """One frame: what was to be found, and what was found."""

    stamp_ns: int
    time_ms: float  # cloud to boxes
    num_points: int
    sightings: tuple[Sighting, ...]  # of each target
    is_right: Bool[ndarray, " D"]  # of the detections
    is_wrong: Bool[ndarray, " D"]  # the others are neither, as they hit what is ignored

    @property
    def num_missed(self) -> int:
        """How many targets nothing found."""
        return sum(sighting.found is None for sighting in self.sightings)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "stamp_ns": self.stamp_ns,
            "time_ms": self.time_ms,
            "num_points": self.num_points,
            "right": int(self.is_right.sum()),
            "wrong": int(self.is_wrong.sum()),
            "missed": self.num_missed,
        }


def viewed(
    found: Detections,
    ids: Sequence[str],
    targets: Targets,
    objects: Sequence[str],
    about: tuple[int, float, int],
) -> FrameView:
    """A frame with its detections, their `ids`, and the `objects` that the targets are.

    `about` are its stamp in nanoseconds, its time in milliseconds and its number of points.
    """
    matches = match_all([found], [targets])
    is_right = matches.is_right(FOUND_IOU)
    is_wrong = matches.is_scored(FOUND_IOU) & ~is_right
    row_of = {int(matches.truth[row]): row for row in np.flatnonzero(is_right).tolist()}
    found_rows = found.boxes.array.double().numpy()
    true_rows = targets.boxes.array.double().numpy()
    sightings = []
    for number, (object_, label) in enumerate(zip(objects, targets.labels.tolist(), strict=True)):
        row, box = row_of.get(number), None
        if row is not None:
            offset, log_size, turn = _difference(found_rows[row], true_rows[number])
            score, iou = float(found.scores[row]), float(matches.iou[row])
            box = FoundBox(score, iou, offset, log_size, turn, ids[row])
        sightings.append(Sighting(object_, label, box))
    return FrameView(*about, tuple(sightings), is_right, is_wrong)


def _difference(
    found: Float[ndarray, " 7"], true: Float[ndarray, " 7"]
) -> tuple[Float[ndarray, " 3"], Float[ndarray, " 3"], float]:
    """How a found box differs from the true one, in that one's frame."""
    yaw = float(true[6])
    size, turn = written_alike(found[3:6], float(found[6]), yaw)
    along, across, up = found[:3] - true[:3]
    c, s = math.cos(yaw), math.sin(yaw)
    offset = np.array([along * c + across * s, across * c - along * s, up])
    return offset, np.log(size / true[3:6]), turn
