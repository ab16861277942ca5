"""Floor, walls with holes for doors and windows, ceiling: the unlabelled shell of a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, quad
from sr3d_core.data.rooms.scene.floor import Floor

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Wall:
    """A side of the floor from one corner to the next, the room on its left."""

    start: Float[ndarray, " 2"]
    end: Float[ndarray, " 2"]

    @property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(self.end - self.start))

    @property
    def along(self) -> Float[ndarray, " 2"]:
        """Unit vector from start to end."""
        return (self.end - self.start) / max(self.length, 1e-6)

    @property
    def inward(self) -> Float[ndarray, " 2"]:
        """Unit vector into the room."""
        x, y = self.along
        return np.array([-y, x])

    @property
    def yaw(self) -> float:
        """Direction of what has its back to the wall, radians."""
        return float(np.arctan2(self.inward[1], self.inward[0]))

    def point(self, where: float, into_room: float = 0.0) -> tuple[float, float]:
        """A point `where` metres along the wall and `into_room` metres away from it."""
        x, y = self.start + self.along * where + self.inward * into_room
        return float(x), float(y)


@dataclass(frozen=True, slots=True)
class Opening:
    """A rectangular hole in a wall."""

    start: float  # metres along the wall
    end: float
    low: float  # metres above the floor
    high: float
    depth: float  # metres to what closes it, or to the other side
    behind: float = 0.0  # metres to a wall behind a doorway; 0: nothing is seen there
    casing: float = 0.0  # width of the boards around it, metres; 0: none


def walls_of(floor: Floor) -> list[Wall]:
    """The walls around a floor."""
    outline = floor.outline
    return [Wall(a, b) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)]


def shell(floor: Floor, openings: Sequence[Sequence[Opening]], height: float, rng: Rng) -> Mesh:
    """Floor, walls with their openings, skirting, and mostly a ceiling `height` metres up."""
    tone, ground = palette.wall(rng), palette.ground(rng)
    skirting = palette.white(rng) if rng.random() < 0.6 else None
    frame = palette.furniture(rng)
    parts = slabs(floor, 0.0, ground)
    if rng.random() < 0.7:
        parts += slabs(floor, height, palette.white(rng))
    for wall, holes in zip(walls_of(floor), openings, strict=True):
        color = tone if rng.random() < 0.85 else palette.wall(rng)
        parts += _panels(wall, holes, height, color)
        if skirting is not None:
            gaps = [hole for hole in holes if hole.low == 0]
            parts += [
                _panel(wall, span, (0.0, 0.08), 0.015, skirting) for span in _between(wall, gaps)
            ]
        for hole in holes:
            parts += _reveal(wall, hole, color)
            parts += _casing(wall, hole, frame)
            parts += _beyond(wall, hole, height, color, ground)
    return Mesh.cat(parts)


def slabs(floor: Floor, z: float, color: Color) -> list[Mesh]:
    """The floor's area as one or two rectangles at height z."""
    w, d = floor.width, floor.depth
    nx, ny = floor.notch

    def slab(x0: float, y0: float, x1: float, y1: float) -> Mesh:
        return quad([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], color)

    if nx <= 0:
        return [slab(0, 0, w, d)]
    return [slab(0, 0, w, d - ny), slab(0, d - ny, w - nx, d)]


def _panel(
    wall: Wall, span: tuple[float, float], heights: tuple[float, float], out: float, color: Color
) -> Mesh:
    """An upright rectangle, `out` metres into the room."""
    p, q = wall.point(span[0], out), wall.point(span[1], out)
    low, high = heights
    return quad([(*p, low), (*q, low), (*q, high), (*p, high)], color)


def _between(wall: Wall, holes: Sequence[Opening]) -> list[tuple[float, float]]:
    """The spans of a wall beside its openings."""
    edges = [
        0.0,
        *(
            edge
            for hole in sorted(holes, key=lambda h: h.start)
            for edge in (hole.start, hole.end)
        ),
        wall.length,
    ]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]


def _panels(wall: Wall, holes: Sequence[Opening], height: float, color: Color) -> list[Mesh]:
    """The wall without its holes."""
    parts = [_panel(wall, span, (0.0, height), 0.0, color) for span in _between(wall, holes)]
    for hole in holes:
        span = (hole.start, hole.end)
        parts.append(_panel(wall, span, (hole.high, height), 0.0, color))
        if hole.low > 0:
            parts.append(_panel(wall, span, (0.0, hole.low), 0.0, color))
    return parts


def _reveal(wall: Wall, hole: Opening, color: Color) -> list[Mesh]:
    """The sides of a hole, from the wall's face to its depth."""
    if hole.depth <= 0:
        return []
    ends = [
        quad(
            [(*wall.point(at), z) for z in (hole.low, hole.high)]
            + [(*wall.point(at, -hole.depth), z) for z in (hole.high, hole.low)],
            color,
        )
        for at in (hole.start, hole.end)
    ]
    flats = [
        quad(
            [(*wall.point(at), z) for at in (hole.start, hole.end)]
            + [(*wall.point(at, -hole.depth), z) for at in (hole.end, hole.start)],
            color,
        )
        for z in ((hole.low, hole.high) if hole.low > 0 else (hole.high,))
    ]
    return ends + flats


def _casing(wall: Wall, hole: Opening, color: Color) -> list[Mesh]:
    """Boards on the wall around a hole; under a window it is its sill."""
    wide = hole.casing
    if wide <= 0:
        return []
    thick, (start, end, low, high) = 0.02, (hole.start, hole.end, hole.low, hole.high)
    boards = [
        ((thick, wide, high - low), (start - wide / 2, low)),
        ((thick, wide, high - low), (end + wide / 2, low)),
        ((thick, end - start + 2 * wide, wide), ((start + end) / 2, high)),
    ]
    if low > 0:
        boards.append(((0.1, end - start + 2 * wide, 0.03), ((start + end) / 2, low - 0.03)))
    return [
        box(size, (size[0] / 2, 0, z), color).moved(*wall.point(at), yaw=wall.yaw)
        for size, (at, z) in boards
    ]


def _beyond(wall: Wall, hole: Opening, height: float, color: Color, ground: Color) -> list[Mesh]:
    """Floor and wall of what is seen through a doorway."""
    if hole.behind <= 0:
        return []
    span = (hole.start - 0.5, hole.end + 0.5)
    near, far = ([wall.point(at, -out) for at in span] for out in (0.0, hole.behind))
    floor = quad([(*near[0], 0.0), (*near[1], 0.0), (*far[1], 0.0), (*far[0], 0.0)], ground)
    return [floor, _panel(wall, span, (0.0, height), -hole.behind, color)]
