"""Which objects a sensor saw well enough to ask for their boxes, and which it saw at all.

The share of an object that is seen is that of its surface inside the image and range, times that
of its silhouette which nothing hides. An object is clear where its points tell its size: at least
30 of them, along half of its longer side and up to six tenths of its height. Of what is not clear,
but of which 3 % or 30 points are seen, nobody can say the size, and nobody should call it
background: it is to be ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.scene.layout import Placed

MIN_SHARE = 0.05
"""Share of an object that is seen, below which it is never clear."""

_NOTICED_SHARE = 0.03
_MIN_POINTS = 30
_MIN_SPAN = 0.5
_MIN_HEIGHT = 0.6
_NOTICED_POINTS = 3


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
    longest = int(np.argmax(placed.size[:2]))
    angle = placed.yaw + longest * np.pi / 2
    along = points[:, 0] * np.cos(angle) + points[:, 1] * np.sin(angle)
    low, high = np.quantile(along, (0.01, 0.99))
    top = np.quantile(points[:, 2], 0.99) - (placed.center[2] - placed.size[2] / 2)
    return bool(
        high - low >= _MIN_SPAN * placed.size[longest] and top >= _MIN_HEIGHT * placed.size[2]
    )
