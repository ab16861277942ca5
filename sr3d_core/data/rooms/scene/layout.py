"""Where things stand: the floor plan of a room and the placing of pieces without (much) overlap.

A footprint is the piece's oriented rectangle on the floor. Two footprints may overlap by a small
slack, and things above each other do not collide at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import Piece


@dataclass(frozen=True, slots=True)
class Floor:
    """A rectangle [0, width] x [0, depth], less a notch at its far corner (an L-shape)."""

    width: float  # metres along x
    depth: float  # metres along y
    notch: tuple[float, float] = (0.0, 0.0)  # metres cut off along x and y

    @property
    def outline(self) -> Float[ndarray, "n 2"]:
        """Corners in counter-clockwise order."""
        w, d = self.width, self.depth
        nx, ny = self.notch
        if nx <= 0 or ny <= 0:
            return np.array([(0, 0), (w, 0), (w, d), (0, d)])
        return np.array([(0, 0), (w, 0), (w, d - ny), (w - nx, d - ny), (w - nx, d), (0, d)])

    def contains(self, points: Float[ndarray, "N 2"], margin: float = 0.0) -> Bool[ndarray, " N"]:
        """Which points lie inside, at least `margin` metres away from the walls."""
        x, y = points[:, 0], points[:, 1]
        inside = (x >= margin) & (y >= margin)
        inside &= (x <= self.width - margin) & (y <= self.depth - margin)
        cut_x, cut_y = self.width - self.notch[0] - margin, self.depth - self.notch[1] - margin
        return inside & ((x <= cut_x) | (y <= cut_y))


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A piece in the room."""

    mesh: Mesh  # in room coordinates
    label: int
    center: Float[ndarray, " 3"]  # of the box, metres
    size: Float[ndarray, " 3"]  # full extents
    yaw: float  # radians

    @property
    def footprint(self) -> Float[ndarray, "4 2"]:
        """Corners on the floor."""
        return rectangle(self.center[:2], self.size[:2], self.yaw)


def rectangle(
    center: Float[ndarray, " 2"], size: Float[ndarray, " 2"], yaw: float
) -> Float[ndarray, "4 2"]:
    """Corners of an oriented rectangle."""
    c, s = np.cos(yaw), np.sin(yaw)
    local = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * size
    return local @ np.array([[c, s], [-s, c]]) + center


def overlaps(first: Float[ndarray, "4 2"], others: Float[ndarray, "M 4 2"]) -> Bool[ndarray, " M"]:
    """Which rectangles share area with the first one (separating axes)."""
    is_apart = np.zeros(len(others), dtype=bool)
    for edge in (0, 1):
        axis = first[edge + 1] - first[edge]
        is_apart |= _is_separated(first @ axis, others @ axis)
        axes = others[:, edge + 1] - others[:, edge]
        mine = np.einsum("kd,md->mk", first, axes)
        theirs = np.einsum("mkd,md->mk", others, axes)
        is_apart |= _is_separated(mine, theirs)
    return ~is_apart


def _is_separated(a: Float[ndarray, ...], b: Float[ndarray, "M 4"]) -> Bool[ndarray, " M"]:
    return (a.max(axis=-1) <= b.min(axis=-1)) | (b.max(axis=-1) <= a.min(axis=-1))


class Layout:
    """A floor that fills up; what is placed is returned, or None if there is no room for it."""

    def __init__(self, floor: Floor, rng: np.random.Generator) -> None:
        self.floor = floor
        self.placed: list[Placed] = []
        self._rng = rng
        self._blocked: list[tuple[Float[ndarray, "4 2"], float, float]] = []

    def put(
        self,
        piece: Piece,
        at: tuple[float, float],
        yaw: float,
        *,
        z: float = 0.0,
        slack: float = 0.04,
    ) -> Placed | None:
        """Place a piece inside the floor and clear of all others but for `slack` metres."""
        size = np.asarray(piece.size)
        inner = rectangle(np.asarray(at), np.maximum(size[:2] - 2 * slack, 0.02), yaw)
        if not self.floor.contains(inner).all():
            return None
        if self._blocked:
            corners = np.stack([corner for corner, _, _ in self._blocked])
            low = np.array([bottom for _, bottom, _ in self._blocked])
            high = np.array([top for _, _, top in self._blocked])
            same_height = (low < z + size[2]) & (high > z)
            if (overlaps(inner, corners) & same_height).any():
                return None
        return self.add(piece, at, yaw, z=z)

    def add(self, piece: Piece, at: tuple[float, float], yaw: float, *, z: float = 0.0) -> Placed:
        """Place a piece whatever is there: a window in its wall, a sink in its counter."""
        size = np.asarray(piece.size)
        center = np.array([at[0], at[1], z + size[2] / 2])
        mesh = piece.mesh.moved(x=at[0], y=at[1], z=z, yaw=yaw)
        placed = Placed(mesh, piece.label, center, size, yaw)
        self.placed.append(placed)
        if size[2] > 0.03:
            self._blocked.append((placed.footprint, z, z + float(size[2])))
        return placed

    def block(
        self,
        center: tuple[float, float],
        size: tuple[float, float],
        yaw: float,
        heights: tuple[float, float] = (0.0, 2.0),
    ) -> None:
        """Keep a rectangle free between two heights, as in front of a door."""
        corners = rectangle(np.asarray(center), np.asarray(size), yaw)
        self._blocked.append((corners, *heights))

    def put_at_wall(
        self, piece: Piece, *, gap: float | None = None, z: float = 0.0, tries: int = 14
    ) -> Placed | None:
        """Place a piece with its back to a wall, `gap` metres away (drawn if None)."""
        outline = self.floor.outline
        corner = self._rng.random() < 0.25
        for _ in range(tries):
            k = self._rng.integers(len(outline))
            a, b = outline[k], outline[(k + 1) % len(outline)]
            length = float(np.linalg.norm(b - a))
            dx, dy, _ = piece.size
            if length < dy + 0.02:
                continue
            along = (b - a) / length
            normal = np.array([-along[1], along[0]])
            away = self._rng.uniform(0.0, 0.06) if gap is None else gap
            where = self._rng.uniform(dy / 2, length - dy / 2)
            if corner:
                where = dy / 2 + 0.02 if self._rng.random() < 0.5 else length - dy / 2 - 0.02
            x, y = a + along * where + normal * (dx / 2 + away)
            yaw = float(np.arctan2(normal[1], normal[0]))
            if gap is None:
                yaw += self._rng.normal(0, 0.02)
            placed = self.put(piece, (float(x), float(y)), yaw, z=z)
            if placed is not None:
                return placed
        return None

    def put_anywhere(
        self, piece: Piece, *, aligned: float = 0.6, tries: int = 14
    ) -> Placed | None:
        """Place a piece on free floor, with probability `aligned` square to the walls."""
        for _ in range(tries):
            yaw = self._rng.uniform(-np.pi, np.pi)
            if self._rng.random() < aligned:
                yaw = float(self._rng.integers(4)) * np.pi / 2 + self._rng.normal(0, 0.04)
            at = self._rng.uniform((0, 0), (self.floor.width, self.floor.depth))
            placed = self.put(piece, (float(at[0]), float(at[1])), yaw)
            if placed is not None:
                return placed
        return None

    def put_near(
        self,
        piece: Piece,
        other: Placed,
        local: tuple[float, float],
        turn: float,
        *,
        slack: float = 0.04,
    ) -> Placed | None:
        """Place a piece at `local` (metres, in the frame of `other`), turned by `turn` from it."""
        c, s = np.cos(other.yaw), np.sin(other.yaw)
        x = other.center[0] + c * local[0] - s * local[1]
        y = other.center[1] + s * local[0] + c * local[1]
        return self.put(piece, (float(x), float(y)), other.yaw + turn, slack=slack)

    def put_on(self, piece: Piece, other: Placed, *, back: float = 0.0) -> None:
        """Stand a small piece on top of another; `back` shifts it towards the rear edge."""
        dx, dy, _ = piece.size
        room = 0.85 * np.maximum(other.size[:2] - (dx, dy), 0.0) / 2
        local = self._rng.uniform(-room, room)
        local[0] -= back * (room[0] + local[0])
        turn = self._rng.normal(0, 0.25) if back else self._rng.uniform(-np.pi, np.pi)
        c, s = np.cos(other.yaw), np.sin(other.yaw)
        x = other.center[0] + c * local[0] - s * local[1]
        y = other.center[1] + s * local[0] + c * local[1]
        z = float(other.center[2] + other.size[2] / 2)
        self.add(piece, (float(x), float(y)), other.yaw + turn, z=z)

    def free_spot(
        self,
        margin: float,
        height: float,
        tries: int = 40,
        rng: np.random.Generator | None = None,
    ) -> Float[ndarray, " 2"] | None:
        """A point of the floor with nothing up to `height` within `margin` metres of it.

        Samples of one room draw from their own `rng`, so that none depends on the others.
        """
        rng = rng or self._rng
        shapes = [c for c, low, high in self._blocked if low < height and high > height - 0.3]
        for _ in range(tries):
            at = rng.uniform((0, 0), (self.floor.width, self.floor.depth))
            if self._is_clear_of(shapes, at, margin):
                return at
        return None

    def is_free(self, at: Float[ndarray, " 2"], margin: float, height: float) -> bool:
        """Whether a point of the floor has nothing below `height` within `margin` metres of it."""
        shapes = [c for c, low, _ in self._blocked if low < height]
        return self._is_clear_of(shapes, at, margin)

    def _is_clear_of(
        self, shapes: list[Float[ndarray, "4 2"]], at: Float[ndarray, " 2"], margin: float
    ) -> bool:
        if not self.floor.contains(at[None], margin).all():
            return False
        mine = rectangle(at, np.full(2, 2 * margin), 0.0)
        return not shapes or not overlaps(mine, np.stack(shapes)).any()
