"""Where things stand: the floor plan of a room and the placing of pieces without (much) overlap.

A footprint is the piece's oriented rectangle on the floor. Two footprints may overlap by a small
slack, and things above each other do not collide at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, sin

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.footprints import Footprint, heights_below, is_parted, rectangle

_WALL_SLACK_M = 0.025
"""How deep a piece may stand in a wall: posters have boxes thicker than they are."""
_LEVEL_M = 0.05
"""How much higher than the rest a part of the ground below a thing may be."""


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


class _Taken:
    """Footprints and heights of all that stands somewhere."""

    def __init__(self) -> None:
        self._bounds = np.zeros((64, 6))  # rows as `_bounds` says
        self._footprints: list[Footprint] = []
        self._things: list[Placed | None] = []

    def add(self, footprint: Footprint, low: float, high: float, thing: Placed | None) -> None:
        """Take a footprint between two heights, for a thing or to keep it free."""
        count = len(self._things)
        if count == len(self._bounds):
            self._bounds = np.concatenate([self._bounds, np.zeros_like(self._bounds)])
        self._bounds[count] = _bounds(footprint, low, high)
        self._footprints.append(footprint)
        self._things.append(thing)

    def is_hit(
        self, footprint: Footprint, low: float, high: float, without: Placed | None = None
    ) -> bool:
        """Whether a footprint shares area with something between two heights."""
        x0, y0, x1, y1, down, up = _bounds(footprint, low, high)
        mine = np.array((-x1, -y1, -x0, -y0, -up, -down))
        near = (self._bounds[: len(self._things)] > mine).all(axis=1)
        return any(
            footprint.overlaps(self._footprints[k])
            for k in near.nonzero()[0].tolist()
            if without is None or self._things[k] is not without
        )


def _bounds(footprint: Footprint, low: float, high: float) -> tuple[float, ...]:
    """Far edges, negative near edges, negative bottom, top: two boxes meet where sums are > 0."""
    reach_x, reach_y = footprint.reach
    x, y = footprint.x, footprint.y
    return x + reach_x, y + reach_y, reach_x - x, reach_y - y, -low, high


class Layout:
    """A floor that fills up; what is placed is returned, or None if there is no room for it."""

    def __init__(self, floor: Floor, rng: np.random.Generator) -> None:
        self.floor = floor
        self.placed: list[Placed] = []
        self.parts: list[Layout] = []
        self._rng = rng
        self._taken = _Taken()
        self._partitions: list[Float[ndarray, "2 2"]] = []

    def part(self, floor: Floor) -> Layout:
        """A part of this floor: what is placed in one stands in the other, too."""
        part = Layout(floor, self._rng)
        part.placed, part._taken, part._partitions = self.placed, self._taken, self._partitions
        self.parts.append(part)
        return part

    def put(
        self,
        piece: Piece,
        at: tuple[float, float],
        yaw: float,
        *,
        z: float = 0.0,
        slack: float = 0.04,
        into: Placed | None = None,
        reach: float = 0.0,
    ) -> Placed | None:
        """Place a piece inside the floor and clear of all others but for `slack` metres.

        Below 0, `slack` is how much space it needs around it, walls included. It may stand
        `reach` metres deep in the thing `into`, as a chair under its table.
        """
        flat, top = piece.size[:2], z + piece.size[2]
        if top > self.floor.height + 1e-6:
            return None
        if not self.floor.holds(Footprint.of(at, flat, yaw, min(slack, _WALL_SLACK_M))):
            return None
        if self._taken.is_hit(Footprint.of(at, flat, yaw, slack), z + 1e-3, top - 1e-3, into):
            return None
        if into is not None:
            inner = Footprint.of(at, flat, yaw, max(reach, slack))
            other = Footprint.of((into.center[0], into.center[1]), tuple(into.size[:2]), into.yaw)
            if reach < np.inf and inner.overlaps(other):
                return None
        return self.add(piece, at, yaw, z=z)

    def add(self, piece: Piece, at: tuple[float, float], yaw: float, *, z: float = 0.0) -> Placed:
        """Place a piece whatever is there: walls, a sink in its counter."""
        size = np.asarray(piece.size)
        center = np.array([at[0], at[1], z + size[2] / 2])
        mesh = piece.mesh.moved(x=at[0], y=at[1], z=z, yaw=yaw)
        placed = Placed(mesh, piece.label, center, size, yaw)
        self.placed.append(placed)
        if size[2] > 0.03:
            self._taken.add(Footprint.of(at, piece.size[:2], yaw), z, z + float(size[2]), placed)
        return placed

    def block(
        self,
        center: tuple[float, float],
        size: tuple[float, float],
        yaw: float,
        heights: tuple[float, float] = (0.0, 2.0),
    ) -> None:
        """Keep a rectangle free between two heights, as in front of a door."""
        self._taken.add(Footprint.of(center, size, yaw), *heights, None)

    def partition(self, start: Float[ndarray, " 2"], end: Float[ndarray, " 2"]) -> None:
        """Tell that nobody sees through between two points."""
        self._partitions.append(np.stack([start, end]))

    def put_at_wall(
        self, piece: Piece, *, gap: float | None = None, z: float = 0.0, tries: int = 14
    ) -> Placed | None:
        """Place a piece with its back to a wall, `gap` metres away (drawn if None)."""
        dy = piece.size[1]
        sides = [(side, _length(side)) for side in self.floor.sides]
        sides = [(side, length) for side, length in sides if length >= dy + 0.02]
        if not sides:
            return None
        corner = self._rng.random() < 0.25
        for _ in range(tries):
            side, length = sides[self._rng.integers(len(sides))]
            turn = self._rng.normal(0, 0.02) if gap is None else 0.0
            away = (
                gap if gap is not None else self._rng.uniform(0.0, 0.06) + dy / 2 * abs(sin(turn))
            )
            where = self._rng.uniform(dy / 2, length - dy / 2)
            if corner:
                where = dy / 2 + 0.02 if self._rng.random() < 0.5 else length - dy / 2 - 0.02
            placed = self.put_along(piece, side, where, gap=away, z=z, turn=turn)
            if placed is not None:
                return placed
        return None

    def put_along(
        self,
        piece: Piece,
        side: Float[ndarray, "2 2"],
        where: float,
        *,
        gap: float = 0.0,
        z: float = 0.0,
        turn: float = 0.0,
    ) -> Placed | None:
        """Place a piece with its back to a side of the floor, its middle `where` metres along."""
        (x, y), length, away = side[0], _length(side), piece.size[0] / 2 + gap
        u, v = (side[1] - side[0]) / length
        at = (float(x + u * where - v * away), float(y + v * where + u * away))
        return self.put(piece, at, float(np.arctan2(u, -v)) + turn, z=z)

    def put_anywhere(
        self, piece: Piece, *, aligned: float = 0.6, tries: int = 14, slack: float = 0.04
    ) -> Placed | None:
        """Place a piece on free floor, with probability `aligned` square to the walls."""
        for _ in range(tries):
            yaw = self._rng.uniform(-np.pi, np.pi)
            if self._rng.random() < aligned:
                yaw = float(self._rng.integers(4)) * np.pi / 2 + self._rng.normal(0, 0.04)
            at = self.floor.any_point(self._rng)
            placed = self.put(piece, (float(at[0]), float(at[1])), yaw, slack=slack)
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
        reach: float = 0.0,
    ) -> Placed | None:
        """Place a piece at `local` (metres, in the frame of `other`), turned by `turn` from it.

        It may stand `reach` metres deep in `other`.
        """
        return self.put(piece, _room_from(other, local), other.yaw + turn, into=other, reach=reach)

    def put_on(
        self, piece: Piece, other: Placed, *, back: float = 0.0, tries: int = 3
    ) -> Placed | None:
        """Lay a small piece on another, where that is level; `back` shifts it to the rear edge."""
        dx, dy, _ = piece.size
        room = 0.85 * np.maximum(other.size[:2] - (dx, dy), 0.0) / 2
        for _ in range(tries):
            local = self._rng.uniform(-room, room)
            local[0] -= back * (room[0] + local[0])
            turn = self._rng.normal(0, 0.25) if back else self._rng.uniform(-np.pi, np.pi)
            at = _room_from(other, (float(local[0]), float(local[1])))
            feet = rectangle(np.asarray(at), np.array([dx, dy]) * 0.7, other.yaw + turn)
            ground = heights_below(other.mesh, feet)
            if np.isfinite(ground).all() and np.ptp(ground) <= _LEVEL_M:
                placed = self.put(
                    piece, at, other.yaw + turn, z=float(ground.max()), into=other, reach=np.inf
                )
                if placed is not None:
                    return placed
        return None

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
        for _ in range(tries):
            at = self.floor.any_point(rng)
            if self._is_clear(at, margin, height - 0.3, height):
                return at
        return None

    def is_free(self, at: Float[ndarray, " 2"], margin: float, height: float) -> bool:
        """Whether a point of the floor has nothing below `height` within `margin` metres of it."""
        return self._is_clear(at, margin, -np.inf, height)

    def is_open(self, start: Float[ndarray, " 2"], end: Float[ndarray, " 2"]) -> bool:
        """Whether no partition stands between two points."""
        if not self._partitions:
            return True
        walls = np.stack(self._partitions)
        sight = np.stack([start, end])[None]
        return not (is_parted(sight, walls) & is_parted(walls, sight)).any()

    def _is_clear(self, at: Float[ndarray, " 2"], margin: float, low: float, high: float) -> bool:
        if not self.floor.contains(at[None], margin).all():
            return False
        mine = Footprint.of((at[0], at[1]), (2 * margin, 2 * margin), 0.0)
        return not self._taken.is_hit(mine, low, high)


def _length(side: Float[ndarray, "2 2"]) -> float:
    return hypot(side[1, 0] - side[0, 0], side[1, 1] - side[0, 1])


def _room_from(other: Placed, local: tuple[float, float]) -> tuple[float, float]:
    """Where `local` in the frame of a thing is in the room."""
    c, s = cos(other.yaw), sin(other.yaw)
    x = other.center[0] + c * local[0] - s * local[1]
    y = other.center[1] + s * local[0] + c * local[1]
    return float(x), float(y)
