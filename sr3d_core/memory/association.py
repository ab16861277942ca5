"""Which detections are which of the objects that are known already.

Detections are assigned to objects by the Hungarian method (scipy), at a cost of
(1 - IoU) + distance / gate per pair. Pairs farther apart than the gate and without overlap are not
allowed, nor are pairs of different classes unless the boxes clearly share the same place: networks
take a desk for a table now and then, but two chairs side by side must not swap.

Tracker and map both ask here, so what is one object for the one is one for the other.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Boxes3D, Detections

SAME_PLACE_IOU = 0.3
"""From this overlap on, boxes of different classes may be the same object."""

_FORBIDDEN = 1e6
_AGREED = 0.5  # length of the mean direction; more than three of four looks, one opposite


@dataclass(frozen=True, slots=True, eq=False)
class Association:
    """What belongs together."""

    pairs: tuple[tuple[int, int], ...]  # known object, detection
    is_new: Bool[ndarray, " D"]  # detections of no object; a second one of an object is not new


def associated(
    known: Boxes3D, labels: Int[Tensor, " O"], found: Detections, gate_m: float
) -> Association:
    """Which of the `known` boxes with these `labels` the detections show; all in one frame.

    A second detection of a known object belongs to none, and is not new either.
    """
    overlap = pairwise_iou(known, found.boxes)
    is_new = ~(overlap >= SAME_PLACE_IOU).any(dim=0).numpy()
    if not len(known) or not len(found):
        return Association((), is_new)
    distance = torch.cdist(known.center, found.boxes.center)
    is_same = labels[:, None] == found.labels[None, :]
    is_allowed = (overlap >= SAME_PLACE_IOU) | (is_same & (distance <= gate_m))
    cost = (1.0 - overlap) + distance / gate_m + 0.5 * ~is_same
    rows, columns = linear_sum_assignment(torch.where(is_allowed, cost, _FORBIDDEN).numpy())
    pairs = tuple(
        (row, column)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if is_allowed[row, column]
    )
    is_new[[column for _, column in pairs]] = False
    return Association(pairs, is_new)


def sharing_a_place(known: Boxes3D) -> list[tuple[int, int]]:
    """Which of the `known` boxes, the best known first, have come to share the place of a better.

    Pairs of that one and the other: both are one object, which two detections of a frame showed.
    """
    overlap = pairwise_iou(known, known).triu(1).numpy()
    pairs, is_left = list[tuple[int, int]](), np.ones(len(known), dtype=bool)
    for keeper, other in zip(*np.nonzero(overlap >= SAME_PLACE_IOU), strict=True):
        if is_left[keeper] and is_left[other]:
            is_left[other] = False
            pairs.append((int(keeper), int(other)))
    return pairs


def written_alike(
    size: Float[ndarray, " 3"], yaw: float, reference: float
) -> tuple[Float[ndarray, " 3"], float]:
    """A box's size written so that it turns least from a `reference` yaw, and that turn, radians.

    A box is the same after half a turn, and after a quarter turn with its sides exchanged.
    """
    turn = math.remainder(yaw - reference, math.pi)
    if abs(turn) > math.pi / 4:
        return size[np.array([1, 0, 2])], turn - math.copysign(math.pi / 2, turn)
    return size, turn


def written_towards(
    size: Float[ndarray, " 3"], yaw: float, facing: complex
) -> tuple[Float[ndarray, " 3"], float]:
    """The same box written so that its yaw points where most of its looks said, if they agree.

    `facing` is the mean of `exp(i yaw)` over the looks. The yaw of classes with a front points out
    of it, and one look may take another side for it; of other classes it points along some side,
    which may change from look to look: such a box stays as it is written.
    """
    if abs(facing) <= _AGREED:
        return size, yaw
    quarters = round(math.remainder(cmath.phase(facing) - yaw, 2 * math.pi) / (math.pi / 2))
    side = size[np.array([1, 0, 2])] if quarters % 2 else size
    return side, yaw + quarters * math.pi / 2
