"""Geometry of things seen from above: rectangles, lines of sight, heights of surfaces."""

from __future__ import annotations

from math import cos, sin
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.mesh import Mesh

_UNIT = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])


def rectangle(
    center: Float[ndarray, " 2"], size: Float[ndarray, " 2"], yaw: float
) -> Float[ndarray, "4 2"]:
    """Corners of an oriented rectangle."""
    c, s = cos(yaw), sin(yaw)
    return (_UNIT * size) @ np.array([[c, s], [-s, c]]) + center


class Footprint(NamedTuple):
    """An oriented rectangle on the floor. Plain numbers: rooms ask for thousands of overlaps."""

    x: float  # of the middle, metres
    y: float
    half_x: float  # half of the extents along its own axes
    half_y: float
    cos: float  # of its yaw
    sin: float

    @classmethod
    def of(
        cls, at: tuple[float, float], size: tuple[float, float], yaw: float, less: float = 0.0
    ) -> Footprint:
        """`size` metres wide, `less` metres smaller all around, but not to nothing."""
        half = max(size[0] / 2 - less, 0.01), max(size[1] / 2 - less, 0.01)
        return cls(at[0], at[1], *half, cos(yaw), sin(yaw))

    @property
    def reach(self) -> tuple[float, float]:
        """Half of the extents along x and y of the floor."""
        c, s = abs(self.cos), abs(self.sin)
        return c * self.half_x + s * self.half_y, s * self.half_x + c * self.half_y

    @property
    def corners(self) -> Float[ndarray, "4 2"]:
        """Corners on the floor."""
        c, s = self.cos, self.sin
        turn = np.array([[c, s], [-s, c]])
        return (_UNIT * (2 * self.half_x, 2 * self.half_y)) @ turn + (self.x, self.y)

    def overlaps(self, other: Footprint) -> bool:
        """Whether both share area (separating axes: those of the sides of either)."""
        return not (_is_apart(self, other) or _is_apart(other, self))


def _is_apart(one: Footprint, other: Footprint) -> bool:
    """Whether an axis of the first rectangle separates them."""
    away_x, away_y = other.x - one.x, other.y - one.y
    c = abs(one.cos * other.cos + one.sin * other.sin)
    s = abs(one.cos * other.sin - one.sin * other.cos)
    along = abs(one.cos * away_x + one.sin * away_y)
    if along >= one.half_x + c * other.half_x + s * other.half_y:
        return True
    across = abs(one.cos * away_y - one.sin * away_x)
    return across >= one.half_y + s * other.half_x + c * other.half_y


def is_parted(lines: Float[ndarray, "M 2 2"], pairs: Float[ndarray, "N 2 2"]) -> ndarray:
    """Whether the ends of each pair lie on different sides of each line (broadcast)."""
    along = lines[:, 1] - lines[:, 0]
    away = pairs - lines[:, :1]
    side = along[:, None, 0] * away[:, :, 1] - along[:, None, 1] * away[:, :, 0]
    return side[:, 0] * side[:, 1] < 0


def heights_below(mesh: Mesh, points: Float[ndarray, "P 2"]) -> Float[ndarray, " P"]:
    """How high a mesh reaches above each point of the floor; -inf where it is not above it."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    is_flat = np.abs(area) > 1e-9  # a wall has no height above a point
    a, u, v, area = a[is_flat], u[is_flat], v[is_flat], area[is_flat]
    away = points[:, None] - a[None, :, :2]
    s = (away[..., 0] * v[:, 1] - away[..., 1] * v[:, 0]) / area
    t = (u[:, 0] * away[..., 1] - u[:, 1] * away[..., 0]) / area
    is_inside = (s >= -1e-9) & (t >= -1e-9) & (s + t <= 1 + 1e-9)
    z = np.where(is_inside, a[:, 2] + s * u[:, 2] + t * v[:, 2], -np.inf)
    return z.max(axis=1, initial=-np.inf)
