"""Which objects a sensor saw well enough to ask for their boxes, and which it saw at all.

The share of an object that is seen is that of its surface inside the image and near enough to be
measured well, times that of its silhouette which nothing hides. An object is clear where at least
5 % of it are seen and its points tell its size: 30 of them or more, along half of its longer side
and up to six tenths of its height. Of what is not clear, but of which 3 % or 30 points are seen,
nobody can say the size, and nobody should call it background: it is to be ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.furniture.mesh import turn_z
from sr3d_core.data.rooms.scene.layout import Placed

MIN_SHARE = 0.05
"""Share of an object that is seen, below which it is never clear."""

_NOTICED_SHARE = 0.03
_MIN_POINTS = 30
_MIN_SPAN = 0.5
_MIN_HEIGHT = 0.6
_NOTICED_POINTS = 3
_OFF_M = 0.08  # noise and registration move points out of their box by so much


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Indices of a room's things."""

    clear: Int[ndarray, " C"]
    ignored: Int[ndarray, " I"]


def sight_of(
    things: tuple[Placed, ...],
    share: Float[ndarray, " O"],
    xyz: Float[ndarray, "N 3"],
    thing: Int[ndarray, " N"],
) -> Sight:
    """Sort a room's things by how well points in room coordinates show them."""
    count = np.bincount(thing[thing >= 0], minlength=len(things))
    is_clear = np.zeros(len(things), dtype=bool)
    for k in np.flatnonzero((count >= _MIN_POINTS) & (share >= MIN_SHARE)):
        is_clear[k] = _tells_its_size(things[k], xyz[thing == k])
    is_noticed = (share >= _NOTICED_SHARE) & (count >= _NOTICED_POINTS) | (count >= _MIN_POINTS)
    return Sight(np.flatnonzero(is_clear), np.flatnonzero(is_noticed & ~is_clear))


def _tells_its_size(placed: Placed, points: Float[ndarray, "n 3"]) -> bool:
    """Whether points show enough of a thing; those of its rims that landed elsewhere do not."""
    half = placed.size / 2
    local = (points - placed.center) @ turn_z(placed.yaw)
    local = local[(np.abs(local) <= half + _OFF_M).all(axis=1)]
    if len(local) < _MIN_POINTS:
        return False
    low, high = np.quantile(np.clip(local, -half, half), (0.02, 0.98), axis=0)
    longest = int(np.argmax(placed.size[:2]))
    is_long = high[longest] - low[longest] >= _MIN_SPAN * placed.size[longest]
    return bool(is_long and high[2] + half[2] >= _MIN_HEIGHT * placed.size[2])
