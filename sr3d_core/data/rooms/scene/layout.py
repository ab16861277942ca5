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

_WALL_SLACK_M = 0.025
"""How deep a piece may stand in a wall: posters have boxes thicker than they are."""
_LEVEL_M = 0.05
"""How much higher than the rest a part of the ground below a thing may be."""


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
        return rng.uniform((0, 0), (self.width, self.depth)) + self.at


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


class _Taken:
    """Footprints and heights of all that stands somewhere, in arrays that grow."""

    def __init__(self) -> None:
        self._corners = np.zeros((64, 4, 2))
        self._heights = np.zeros((64, 2))
        self._things: list[Placed | None] = []

    def add(
        self, corners: Float[ndarray, "4 2"], low: float, high: float, thing: Placed | None
    ) -> None:
        count = len(self._things)
        if count == len(self._corners):
            self._corners = np.concatenate([self._corners, np.zeros_like(self._corners)])
            self._heights = np.concatenate([self._heights, np.zeros_like(self._heights)])
        self._corners[count] = corners
        self._heights[count] = low, high
        self._things.append(thing)

    def between(
        self, low: float, high: float, without: Placed | None = None
    ) -> Float[ndarray, "M 4 2"]:
        """Footprints of what reaches between two heights."""
        count = len(self._things)
        mine = self._heights[:count]
        is_there = (mine[:, 0] < high) & (mine[:, 1] > low)
        if without is not None:
            is_there &= [thing is not without for thing in self._things]
        return self._corners[:count][is_there]


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

        It may stand `reach` metres deep in the thing `into`, as a chair under its table.
        """
        size, middle = np.asarray(piece.size), np.asarray(at)
        if z + size[2] > self.floor.height + 1e-6:
            return None
        if not self.floor.contains(_shrunk(middle, size, yaw, _WALL_SLACK_M)).all():
            return None
        low, high = z + 1e-3, z + size[2] - 1e-3
        if overlaps(
            _shrunk(middle, size, yaw, slack), self._taken.between(low, high, without=into)
        ).any():
            return None
        if into is not None:
            inner = _shrunk(middle, size, yaw, max(reach, slack))
            if overlaps(inner, into.footprint[None]).any():
                return None
        return self.add(piece, at, yaw, z=z)

    def add(
        self, piece: Piece, at: tuple[float, float], yaw: float, *, z: float = 0.0
    ) -> Placed:
        """Place a piece whatever is there: walls, a sink in its counter."""
        size = np.asarray(piece.size)
        center = np.array([at[0], at[1], z + size[2] / 2])
        mesh = piece.mesh.moved(x=at[0], y=at[1], z=z, yaw=yaw)
        placed = Placed(mesh, piece.label, center, size, yaw)
        self.placed.append(placed)
        if size[2] > 0.03:
            self._taken.add(placed.footprint, z, z + float(size[2]), placed)
        return placed

    def block(self, center: tuple[float, float], size: tuple[float, float], yaw: float) -> None:
        """Keep a rectangle free, as in front of a door."""
        corners = rectangle(np.asarray(center), np.asarray(size), yaw)
        self._taken.add(corners, 0.0, 2.0, None)

    def partition(self, start: Float[ndarray, " 2"], end: Float[ndarray, " 2"]) -> None:
        """Tell that nobody sees through between two points."""
        self._partitions.append(np.stack([start, end]))

    def put_at_wall(
        self, piece: Piece, *, gap: float | None = None, z: float = 0.0, tries: int = 14
    ) -> Placed | None:
        """Place a piece with its back to a wall, `gap` metres away (drawn if None)."""
        sides, dy = self.floor.sides, piece.size[1]
        sides = sides[np.linalg.norm(sides[:, 1] - sides[:, 0], axis=1) >= dy + 0.02]
        if len(sides) == 0:
            return None
        corner = self._rng.random() < 0.25
        for _ in range(tries):
            side = sides[self._rng.integers(len(sides))]
            length = float(np.linalg.norm(side[1] - side[0]))
            turn = self._rng.normal(0, 0.02) if gap is None else 0.0
            away = self._rng.uniform(0.0, 0.06) if gap is None else gap
            where = self._rng.uniform(dy / 2, length - dy / 2)
            if corner:
                where = dy / 2 + 0.02 if self._rng.random() < 0.5 else length - dy / 2 - 0.02
            away = max(away, dy / 2 * abs(np.sin(turn)))
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
        along = (side[1] - side[0]) / np.linalg.norm(side[1] - side[0])
        normal = np.array([-along[1], along[0]])
        x, y = side[0] + along * where + normal * (piece.size[0] / 2 + gap)
        yaw = float(np.arctan2(normal[1], normal[0])) + turn
        return self.put(piece, (float(x), float(y)), yaw, z=z)

    def put_anywhere(
        self, piece: Piece, *, aligned: float = 0.6, tries: int = 14
    ) -> Placed | None:
        """Place a piece on free floor, with probability `aligned` square to the walls."""
        for _ in range(tries):
            yaw = self._rng.uniform(-np.pi, np.pi)
            if self._rng.random() < aligned:
                yaw = float(self._rng.integers(4)) * np.pi / 2 + self._rng.normal(0, 0.04)
            at = self.floor.any_point(self._rng)
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
            ground = heights_below(other.mesh, np.vstack([feet, at]))
            if np.ptp(ground) <= _LEVEL_M and np.isfinite(ground).all():
                placed = self.put(
                    piece, at, other.yaw + turn, z=float(ground.max()), into=other, reach=np.inf
                )
                if placed is not None:
                    return placed
        return None

    def free_spot(
        self, margin: float, height: float, tries: int = 40
    ) -> Float[ndarray, " 2"] | None:
        """A point of the floor with nothing up to `height` within `margin` metres of it."""
        shapes = self._taken.between(height - 0.3, height)
        for _ in range(tries):
            at = self.floor.any_point(self._rng)
            if self._is_clear_of(shapes, at, margin):
                return at
        return None

    def is_free(self, at: Float[ndarray, " 2"], margin: float, height: float) -> bool:
        """Whether a point of the floor has nothing below `height` within `margin` metres of it."""
        return self._is_clear_of(self._taken.between(-np.inf, height), at, margin)

    def is_open(self, start: Float[ndarray, " 2"], end: Float[ndarray, " 2"]) -> bool:
        """Whether no partition stands between two points."""
        if not self._partitions:
            return True
        walls = np.stack(self._partitions)
        sight = np.stack([start, end])[None]
        return not (_is_parted(sight, walls) & _is_parted(walls, sight)).any()

    def _is_clear_of(
        self, shapes: Float[ndarray, "M 4 2"], at: Float[ndarray, " 2"], margin: float
    ) -> bool:
        if not self.floor.contains(at[None], margin).all():
            return False
        return not overlaps(rectangle(at, np.full(2, 2 * margin), 0.0), shapes).any()


def _shrunk(
    middle: Float[ndarray, " 2"], size: Float[ndarray, " 3"], yaw: float, slack: float
) -> Float[ndarray, "4 2"]:
    return rectangle(middle, np.maximum(size[:2] - 2 * slack, 0.02), yaw)


def _room_from(other: Placed, local: tuple[float, float]) -> tuple[float, float]:
    """Where `local` in the frame of a thing is in the room."""
    c, s = np.cos(other.yaw), np.sin(other.yaw)
    x = other.center[0] + c * local[0] - s * local[1]
    y = other.center[1] + s * local[0] + c * local[1]
    return float(x), float(y)


def _is_parted(lines: Float[ndarray, "M 2 2"], pairs: Float[ndarray, "N 2 2"]) -> ndarray:
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
