"""Where one can stand: the outline of a floor and the walls along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.data.rooms.scene.footprints import Footprint


@dataclass(frozen=True, slots=True)
class Floor:
    """A rectangle with its lower left corner at `at`, less a notch at its far corner (an L).

    It may be a part of a larger floor; then there are not walls all around it.
    """

    width: float  # metres along x
    depth: float  # metres along y
    notch: tuple[float, float] = (0.0, 0.0)  # metres cut off along x and y
    at: tuple[float, float] = (0.0, 0.0)  # metres
    height: float = 2.6  # metres up to the ceiling
    walls: tuple[tuple[tuple[float, float], tuple[float, float]], ...] | None = None
    """From where to where walls stand, the floor to their left; None = all around it."""

    @property
    def outline(self) -> Float[ndarray, "n 2"]:
        """Corners in counter-clockwise order."""
        w, d = self.width, self.depth
        nx, ny = self.notch
        corners = [(0, 0), (w, 0), (w, d), (0, d)]
        if nx > 0 and ny > 0:
            corners = [(0, 0), (w, 0), (w, d - ny), (w - nx, d - ny), (w - nx, d), (0, d)]
        return np.array(corners, dtype=np.float64) + self.at

    @property
    def sides(self) -> Float[ndarray, "n 2 2"]:
        """The walls from corner to corner, the floor to their left."""
        if self.walls is not None:
            return np.array(self.walls, dtype=np.float64).reshape(-1, 2, 2)
        return np.stack([self.outline, np.roll(self.outline, -1, axis=0)], axis=1)

    def contains(self, points: Float[ndarray, "N 2"], margin: float = 0.0) -> Bool[ndarray, " N"]:
        """Which points lie inside, at least `margin` metres away from the walls."""
        x, y = points[:, 0] - self.at[0], points[:, 1] - self.at[1]
        inside = (x >= margin) & (y >= margin)
        inside &= (x <= self.width - margin) & (y <= self.depth - margin)
        cut_x, cut_y = self.width - self.notch[0] - margin, self.depth - self.notch[1] - margin
        return inside & ((x <= cut_x) | (y <= cut_y))

    def any_point(self, rng: np.random.Generator) -> Float[ndarray, " 2"]:
        """A point of the whole rectangle, the notch included."""
        return rng.random(2) * (self.width, self.depth) + self.at

    def holds(self, footprint: Footprint) -> bool:
        """Whether a whole rectangle lies inside."""
        reach_x, reach_y = footprint.reach
        x, y = footprint.x - self.at[0], footprint.y - self.at[1]
        if x < reach_x or y < reach_y or x + reach_x > self.width or y + reach_y > self.depth:
            return False
        return self.notch == (0.0, 0.0) or bool(self.contains(footprint.corners).all())
