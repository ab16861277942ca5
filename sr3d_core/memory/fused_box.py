"""One box of an object from the boxes of many views.

Each view's box is first written like the others: a box is the same after half a turn, and after a
quarter turn with its sides exchanged. Yaw is the weighted mean modulo a quarter turn, and of the
four the one that most views say, as the yaw of some classes points out of a front; centres and
logarithms of sizes are averaged robustly (one step of Huber's M-estimate from the weighted median,
P. Huber, "Robust Statistics", 1981), so that a view that cut the object in two does not count.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.memory.association import written_alike, written_towards

_HUBER = 1.345  # 95 % as good as the mean where errors are normal
_PLACE_M, _LOG_SIZE = 0.03, 0.05  # differences below these are noise, not outliers


@dataclass(frozen=True, slots=True, eq=False)
class BoxView:
    """An object's box as one frame showed it, in the static frame."""

    box: Float[ndarray, " 7"]  # x y z dx dy dz yaw, metres and radians
    weight: float  # how well it was seen, above 0
    sensor: tuple[float, float, float] | None = None  # from where, metres; None = not known
    looks: int = 1  # how many frames from one place it is the mean of
    facing: complex | None = None  # mean of exp(i yaw) over these; None = that of the box

    @property
    def direction(self) -> complex:
        """Where yaw points on average over the looks; shorter than 1 where they disagree."""
        return cmath.exp(1j * self.box[6]) if self.facing is None else self.facing


def fused_box(views: Sequence[BoxView], yaw: float | None = None) -> Float[ndarray, " 7"]:
    """The box of one or more views.

    Of its writings the one that most views say, where they agree; else the one that turns least
    from `yaw`.
    """
    rows = np.stack([view.box for view in views])
    weight = np.array([view.weight for view in views])
    quarter = (weight * np.exp(4j * rows[:, 6])).sum()
    mean = float(np.angle(quarter)) / 4 if abs(quarter) > 1e-9 else float(rows[-1, 6])
    reference = float(rows[0, 6]) if yaw is None else yaw
    mean += round((reference - mean) / (math.pi / 2)) * (math.pi / 2)
    sizes = np.stack([written_alike(row[3:6], float(row[6]), mean)[0] for row in rows])
    center = robust_mean(rows[:, :3], weight, _PLACE_M)
    size = np.exp(robust_mean(np.log(sizes), weight, _LOG_SIZE))
    facing = (weight * [view.direction for view in views]).sum() / weight.sum()
    size, mean = written_towards(size, mean, complex(facing))
    return np.array([*center, *size, math.remainder(mean, 2 * math.pi)])


def averaged(before: BoxView, look: BoxView, most_looks: int) -> BoxView:
    """A view and one more look from the same place, as one view.

    It weighs as its looks do on average: their errors are much alike. At most `most_looks` are
    remembered.
    """
    total = before.weight * before.looks
    share = look.weight / (total + look.weight)
    size, turn = written_alike(look.box[3:6], float(look.box[6]), float(before.box[6]))
    center = before.box[:3] + share * (look.box[:3] - before.box[:3])
    size = before.box[3:6] * (size / before.box[3:6]) ** share
    box = np.array([*center, *size, before.box[6] + share * turn])
    facing = before.direction + share * (look.direction - before.direction)
    looks = before.looks + 1
    weight = (total + look.weight) / looks
    return BoxView(box, weight, before.sensor, min(looks, most_looks), facing)


def robust_mean(
    values: Float[ndarray, "V D"], weight: Float[ndarray, " V"], floor: float
) -> Float[ndarray, " D"]:
    """The mean of each column, in which what lies far from the median counts less.

    `floor` is the smallest standard deviation that is believed, in the unit of the values.
    """
    middle = _median(values, weight)
    away = np.abs(values - middle)
    sigma = np.maximum(1.4826 * _median(away, weight), floor)
    counted = weight[:, None] * np.minimum(1.0, _HUBER * sigma / np.maximum(away, 1e-12))
    mean: Float[ndarray, " D"] = (counted * values).sum(axis=0) / counted.sum(axis=0)
    return mean


def _median(values: Float[ndarray, "V D"], weight: Float[ndarray, " V"]) -> Float[ndarray, " D"]:
    """Of each column the value at which half of the weight is reached."""
    order = np.argsort(values, axis=0, kind="stable")
    reached = np.cumsum(weight[order], axis=0)
    row = (reached < 0.5 * weight.sum() * (1 - 1e-9)).sum(axis=0)
    chosen = np.take_along_axis(order, row[None], axis=0)
    median: Float[ndarray, " D"] = np.take_along_axis(values, chosen, axis=0)[0]
    return median
