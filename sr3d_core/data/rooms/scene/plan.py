"""Floor plans of several rooms: how a floor is divided, and the partitions with their doorways.

A floor is cut by straight lines into rectangles, the regions. Where two regions meet along a cut
there is a border: open, or a wall; every cut has one way through at least, so that all regions can
be reached. Regions become parts of the layout that know which of their sides are walls.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, box
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout

Rng = np.random.Generator
Span = tuple[float, float]

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the floor, metres."""

    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def size(self) -> tuple[float, float]:
        """Extents along x and y."""
        return self.high[0] - self.low[0], self.high[1] - self.low[1]

    @property
    def area(self) -> float:
        """Square metres."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True)
class Cut:
    """A line across the floor: `axis` is constant along it (0: x), over a span of the other."""

    axis: int
    at: float
    span: Span


@dataclass(frozen=True, slots=True)
class Border:
    """Where two regions meet along a cut."""

    cut: int
    span: Span
    regions: tuple[int, int]
    is_wall: bool = True
    doorway: Span | None = None


def divided(
    floor: Floor, num: int, rng: Rng, shortest_m: float = 1.7
) -> tuple[list[Region], list[Cut]]:
    """Cut a floor into at most `num` regions, largest first, and at least into rectangles."""
    regions = [Region((0.0, 0.0), (floor.width, floor.depth))]
    cuts: list[Cut] = []
    (nx, ny), (w, d) = floor.notch, (floor.width, floor.depth)
    if nx > 0 and ny > 0:
        axis = int(rng.integers(2))
        if axis == 0:
            regions = [Region((0.0, 0.0), (w - nx, d)), Region((w - nx, 0.0), (w, d - ny))]
            cuts = [Cut(0, w - nx, (0.0, d - ny))]
        else:
            regions = [Region((0.0, 0.0), (w, d - ny)), Region((0.0, d - ny), (w - nx, d))]
            cuts = [Cut(1, d - ny, (0.0, w - nx))]
    while len(regions) < num:
        regions.sort(key=lambda region: -region.area)
        first = regions[0]
        axis = int(first.size[1] > first.size[0])
        if first.size[axis] < 2 * shortest_m:
            break
        share = rng.uniform(0.32, 0.68)
        length = np.clip(share * first.size[axis], shortest_m, first.size[axis] - shortest_m)
        at = float(first.low[axis] + length)
        cuts.append(Cut(axis, at, (first.low[1 - axis], first.high[1 - axis])))
        below = replace(first, high=(at, first.high[1]) if axis == 0 else (first.high[0], at))
        above = replace(first, low=(at, first.low[1]) if axis == 0 else (first.low[0], at))
        regions[:1] = [below, above]
    return sorted(regions, key=lambda region: -region.area), cuts


def borders_of(regions: Sequence[Region], cuts: Sequence[Cut]) -> list[Border]:
    """All borders, in the order of the cuts."""
    found = []
    for k, cut in enumerate(cuts):
        across = 1 - cut.axis
        below = [i for i, r in enumerate(regions) if abs(r.high[cut.axis] - cut.at) < _EPS]
        above = [i for i, r in enumerate(regions) if abs(r.low[cut.axis] - cut.at) < _EPS]
        for i, j in itertools.product(below, above):
            low = max(regions[i].low[across], regions[j].low[across], cut.span[0])
            high = min(regions[i].high[across], regions[j].high[across], cut.span[1])
            if high - low > _EPS:
                found.append(Border(k, (low, high), (i, j)))
    return found


def with_doorways(borders: Sequence[Border], rng: Rng) -> list[Border]:
    """The borders with a way through every cut: its longest wall has a doorway, others may."""
    out = []
    for _, group in itertools.groupby(borders, key=lambda border: border.cut):
        mine = list(group)
        is_passable = any(not border.is_wall for border in mine)
        longest = max(range(len(mine)), key=lambda k: mine[k].span[1] - mine[k].span[0])
        for k, border in enumerate(mine):
            needed = k == longest and not is_passable
            if border.is_wall and (needed or rng.random() < 0.3):
                border = replace(border, doorway=_doorway(border.span, rng))
            out.append(border)
    return out


def _doorway(span: Span, rng: Rng) -> Span | None:
    """As wide as a door or wider; None where the wall is too short for one."""
    length = span[1] - span[0]
    wide = float(rng.uniform(0.8, 1.1) if rng.random() < 0.7 else rng.uniform(1.2, 2.2))
    wide = min(wide, length - 0.2)
    if wide < 0.6:
        return None
    start = float(span[0] + 0.1 + rng.random() * (length - 0.2 - wide))
    return start, start + wide


def raised(
    room: Layout,
    regions: Sequence[Region],
    cuts: Sequence[Cut],
    borders: Sequence[Border],
    supply: FurnitureSupply,
    rng: Rng,
) -> list[Layout]:
    """Stand the walls up; returns a part of the layout for every region."""
    thick, color = float(rng.uniform(0.07, 0.18)), palette.wall(rng)
    for border in borders:
        if border.is_wall:
            _stand_up(room, cuts[border.cut], border, thick, color, supply, rng)
    parts = []
    for k, region in enumerate(regions):
        floor = _floor_of(region, k, room.floor, cuts, borders, thick)
        parts.append(room.part(floor))
    return parts


def _stand_up(
    room: Layout,
    cut: Cut,
    border: Border,
    thick: float,
    color: Color,
    supply: FurnitureSupply,
    rng: Rng,
) -> None:
    """The wall of one border, its lintel, its door if there is one; the way through stays free."""
    top = room.floor.height
    opening = border.doorway
    ends = [border.span] if opening is None else [
        (border.span[0], opening[0]), (opening[1], border.span[1])
    ]  # fmt: skip
    for low, high in ends:
        _panel(room, cut, (low, high), (0.0, top), thick, color)
        room.partition(np.array(_point(cut, low)), np.array(_point(cut, high)))
    if opening is None:
        return
    door = _door_for(opening, supply, rng)
    lintel = float(rng.uniform(2.0, 2.3)) if door is None else door.size[2] + 0.02
    if lintel < top - 0.05:
        _panel(room, cut, opening, (lintel, top), thick, color)
    if door is not None:
        _hang(room, cut, opening, door, rng)
    middle, wide = _point(cut, sum(opening) / 2), opening[1] - opening[0]
    room.block(middle, (thick + 1.0, wide), 0.0 if cut.axis == 0 else np.pi / 2)


def _point(cut: Cut, where: float) -> tuple[float, float]:
    return (cut.at, where) if cut.axis == 0 else (where, cut.at)


def _panel(room: Layout, cut: Cut, span: Span, heights: Span, thick: float, color: Color) -> None:
    """A cuboid of wall along a cut."""
    size = (thick, span[1] - span[0], heights[1] - heights[0])
    wall = Piece(box(size, (0, 0, 0), color), NO_LABEL)
    yaw = 0.0 if cut.axis == 0 else np.pi / 2
    room.add(wall, _point(cut, sum(span) / 2), yaw, z=heights[0])


def _door_for(opening: Span, supply: FurnitureSupply, rng: Rng) -> Piece | None:
    """A door as wide as a doorway, in seven of ten that are no wider than a door."""
    wide = opening[1] - opening[0]
    if wide > 1.15 or rng.random() < 0.3:
        return None
    door = made(supply, "door", rng)
    if door is None:
        return None
    return Piece(door.mesh.scaled((1.0, (wide - 0.02) / door.size[1], 1.0)), door.label)


def _hang(room: Layout, cut: Cut, opening: Span, door: Piece, rng: Rng) -> None:
    """Closed, or turned about the hinge at one end of the doorway."""
    wall_yaw = 0.0 if cut.axis == 0 else np.pi / 2
    if rng.random() < 0.45:
        room.add(door, _point(cut, sum(opening) / 2), wall_yaw)
        return
    end, side = int(rng.integers(2)), float(rng.choice([-1, 1]))
    inward = 1.0 if end == 0 else -1.0
    swing = rng.uniform(0.35, 0.5) * np.pi
    along = np.array([0.0, 1.0]) if cut.axis == 0 else np.array([1.0, 0.0])
    out = np.array([1.0, 0.0]) if cut.axis == 0 else np.array([0.0, 1.0])
    leaf = np.cos(swing) * inward * along + np.sin(swing) * side * out
    middle = np.array(_point(cut, opening[end])) + leaf * door.size[1] / 2
    yaw = float(np.arctan2(leaf[1], leaf[0])) - np.pi / 2
    room.put(door, (float(middle[0]), float(middle[1])), yaw, slack=0.1)


def _floor_of(
    region: Region,
    index: int,
    whole: Floor,
    cuts: Sequence[Cut],
    borders: Sequence[Border],
    thick: float,
) -> Floor:
    """The floor between the walls of a region, and where along it there are walls."""
    low, high = np.array(region.low), np.array(region.high)
    mine = [border for border in borders if index in border.regions and border.is_wall]
    for border in mine:
        axis = cuts[border.cut].axis
        if border.regions[0] == index:
            high[axis] = region.high[axis] - thick / 2
        else:
            low[axis] = region.low[axis] + thick / 2
    walls = []
    for axis in (0, 1):
        for is_high, edge in ((False, low[axis]), (True, high[axis])):
            outer = region.high[axis] if is_high else region.low[axis]
            for start, end in _walls_along(region, index, (axis, outer), cuts, borders):
                start = max(start, low[1 - axis])
                end = min(end, high[1 - axis])
                if end - start > 0.3:
                    walls.append(_segment(axis, float(edge), start, end, is_high))
    size = high - low
    return Floor(
        float(size[0]), float(size[1]), at=(float(low[0]), float(low[1])), height=whole.height,
        walls=tuple(walls),
    )  # fmt: skip


def _walls_along(
    region: Region,
    index: int,
    line: tuple[int, float],
    cuts: Sequence[Cut],
    borders: Sequence[Border],
) -> list[Span]:
    """The spans of one edge of a region that are walls: what is no border is the outer wall."""
    axis, at = line
    edge = (region.low[1 - axis], region.high[1 - axis])
    gaps: list[Span] = []
    for border in borders:
        cut = cuts[border.cut]
        if index not in border.regions or cut.axis != axis or abs(cut.at - at) > _EPS:
            continue
        if not border.is_wall:
            gaps.append(border.span)
        elif border.doorway is not None:
            gaps.append(border.doorway)
    spans, start = [], edge[0]
    for low, high in sorted(gaps):
        spans.append((start, low))
        start = high
    return [*spans, (start, edge[1])]


def _segment(
    axis: int, at: float, start: float, end: float, is_high: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """A wall from corner to corner with the floor on its left."""
    first, last = ((at, start), (at, end)) if axis == 0 else ((start, at), (end, at))
    runs_forward = is_high if axis == 0 else not is_high
    return (first, last) if runs_forward else (last, first)
