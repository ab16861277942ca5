"""Kitchens: runs of flush units along walls, a counter with a sink on them, what hangs above.

A run starts in a corner of the floor. In an L it goes on along the next wall; the units of both
walls are equal. Everything of one wall that is built in side by side is one box, as people label
it; an oven, a refrigerator or a tall unit ends it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.clutter import floor
from sr3d_core.data.rooms.clutter.lists import as_piece
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.sinks import rim_height
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made
from sr3d_core.data.rooms.scene.footprints import heights_below
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.programmes.groups import (
    against_wall,
    beside,
    chance,
    row_of,
    stretched,
    strew,
    table_group,
)

Rng = np.random.Generator

_LONGEST_M = 4.2
_TOP_M = 0.7
"""What is higher is no counter top to be laid on units, and no basin to be let into it."""


@dataclass(slots=True)
class _Line:
    """A wall that fills up from one of its ends."""

    side: Float[ndarray, "2 2"]
    from_end: bool  # whether it fills up from side[1]
    used: float  # metres
    length: float  # metres

    def put(
        self, room: Layout, piece: Piece, *, ahead: float | None = None, z: float = 0.0
    ) -> Placed | None:
        """Place a piece flush with what is there, or `ahead` metres from the end."""
        start = self.used if ahead is None else ahead
        wide = piece.size[1]
        if start + wide > self.length + 1e-6:
            return None
        where = start + wide / 2
        total = float(np.linalg.norm(self.side[1] - self.side[0]))
        placed = room.put_along(
            piece, self.side, total - where if self.from_end else where, gap=0.005, z=z
        )
        if placed is not None and ahead is None:
            self.used = start + wide
        return placed


def kitchen(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Units along one wall, both of a corner or facing ones; perhaps an island, a table."""
    unit = made(supply, "cabinet", rng, "kitchen_unit")
    lines = _lines(room, rng)
    if unit is not None and unit.size[2] < 1.2 and lines:
        upper = made(supply, "cabinet", rng, "wall_unit") if chance(rng, 0.75) else None
        for k, line in enumerate(lines):
            if k > 0 and line.used > 0:
                line.used = unit.size[0] + 0.01  # behind the corner, flush with the first run
            _run(room, line, unit, supply, rng, has_sink=k == 0)
            if upper is not None:
                _hang(room, line, upper, unit, rng, after=0.01 + (upper.size[0] if k else 0.0))
            if k == 0:
                _tall(room, line, supply, rng)
        if chance(rng, 0.35):
            _island(room, unit, supply, rng)
    else:
        against_wall(room, supply, rng, "refrigerator")
    if chance(rng, 0.35):
        against_wall(room, supply, rng, "garbage_bin")
    if chance(rng, 0.5):
        table_group(room, supply, rng, int(rng.integers(1, 5)))


def _lines(room: Layout, rng: Rng) -> list[_Line]:
    """The walls for units, the first one longest: one, both of a corner, or two facing ones."""
    sides = [side for side in room.floor.sides if np.linalg.norm(side[1] - side[0]) > 1.3]
    if not sides:
        return []
    rng.shuffle(sides)
    style = rng.random()
    for first in sides:
        for other in sides if style < 0.75 else []:
            if style < 0.5 and np.linalg.norm(first[1] - other[0]) < 0.35:
                return [_line(first, True, 0.0), _line(other, False, 1.0)]
            if style < 0.5 and np.linalg.norm(first[0] - other[1]) < 0.35:
                return [_line(first, False, 0.0), _line(other, True, 1.0)]
            is_facing = float((first[1] - first[0]) @ (other[1] - other[0])) < 0
            middles = float(np.linalg.norm(first.mean(axis=0) - other.mean(axis=0)))
            if style >= 0.5 and is_facing and 1.9 < middles < 3.6:
                return [_line(first, chance(rng, 0.5), 0.0), _line(other, chance(rng, 0.5), 0.0)]
    return [_line(sides[0], chance(rng, 0.5), 0.0)]


def _line(side: Float[ndarray, "2 2"], from_end: bool, used: float) -> _Line:
    return _Line(side, from_end, used, float(np.linalg.norm(side[1] - side[0])))


def _run(
    room: Layout, line: _Line, unit: Piece, supply: FurnitureSupply, rng: Rng, *, has_sink: bool
) -> None:
    """Base units from the corner on, an oven among them, counters with a sink on them."""
    wanted = min(line.length - line.used, rng.uniform(1.3, _LONGEST_M))
    count = max(1, int(wanted / unit.size[1]))
    first = int(rng.integers(1, count + 1)) if chance(rng, 0.5) else count
    with_sink = int(rng.integers(2)) if count > first else 0
    for k, num in enumerate((first, count - first)):
        base = _longest(room, line, unit, num)
        if base is not None:
            _top(room, base, supply, rng, has_sink=has_sink and k == with_sink)
        if k == 0 and count > first:
            oven = as_piece(floor.oven(rng))
            dx, _, dz = unit.size
            tall = Piece(oven.mesh.scaled((dx / oven.size[0], 1.0, dz / oven.size[2])), -1)
            line.put(room, tall)


def _longest(room: Layout, line: _Line, unit: Piece, most: int) -> Placed | None:
    """As many units as there is room for, at most `most`; they begin behind a doorway."""
    start = line.used
    while start + unit.size[1] <= line.length and most > 0:
        line.used = start
        for count in range(most, 0, -1):
            placed = line.put(room, row_of(unit, count))
            if placed is not None:
                return placed
        start += 0.4
    return None


def _top(room: Layout, base: Placed, supply: FurnitureSupply, rng: Rng, *, has_sink: bool) -> None:
    """A counter on base units, a sink let into it, things on it."""
    top = made(supply, "counter", rng, "counter_top") if chance(rng, 0.9) else None
    laid = None
    if top is not None and top.size[2] < _TOP_M:
        fitting = stretched(top, depth=float(base.size[0]), width=float(base.size[1]))
        at = (float(base.center[0]), float(base.center[1]))
        laid = room.put(fitting, at, base.yaw, z=float(base.center[2] + base.size[2] / 2))
    ground = laid or base
    if has_sink:
        let_in(room, ground, made(supply, "sink", rng, "kitchen_sink"), rng)
    strew(room, ground, rng, 5)


def let_in(room: Layout, ground: Placed, sink: Piece | None, rng: Rng) -> Placed | None:
    """A sink in the top of a counter or a cabinet, its rim on the surface."""
    if sink is None or sink.size[2] > _TOP_M:
        return None
    fit = min(1.0, 0.94 * ground.size[0] / sink.size[0], 0.94 * ground.size[1] / sink.size[1])
    if fit < 0.6:
        return None
    fitting = Piece(sink.mesh.scaled((fit, fit, 1.0)), sink.label)
    y = rng.uniform(-1, 1) * 0.9 * (ground.size[1] - fitting.size[1]) / 2
    c, s = np.cos(ground.yaw), np.sin(ground.yaw)
    at = (float(ground.center[0] - s * y), float(ground.center[1] + c * y))
    top = float(heights_below(ground.mesh, np.array([at]))[0])
    if not np.isfinite(top):
        return None
    return room.add(fitting, at, ground.yaw, z=top - rim_height(fitting.mesh) + 0.006)


def _hang(room: Layout, line: _Line, upper: Piece, unit: Piece, rng: Rng, *, after: float) -> None:
    """Wall units above the run, flush with each other."""
    over = line.used - after
    low = max(float(rng.uniform(1.35, 1.55)), unit.size[2] + 0.45)
    for count in range(max(1, int(over / upper.size[1])), 0, -1):
        if line.put(room, row_of(upper, count), ahead=after, z=low) is not None:
            return


def _tall(room: Layout, line: _Line, supply: FurnitureSupply, rng: Rng) -> None:
    """A refrigerator and tall units where the run ends; else somewhere at a wall."""
    names: list[tuple[str, str | None]] = []
    if chance(rng, 0.85):
        names.append(("refrigerator", None))
    count = int(rng.integers(0, 3))
    names += [("cabinet", "tall_unit" if chance(rng, 0.7) else "wardrobe") for _ in range(count)]
    rng.shuffle(names)
    for name, kind in names:
        piece = made(supply, name, rng, kind)
        if piece is None:
            continue
        placed = line.put(room, piece)
        if placed is None and name == "refrigerator":
            placed = room.put_at_wall(piece)
            if placed is not None and chance(rng, 0.4):
                beside(room, made(supply, "cabinet", rng, "wardrobe"), placed, rng, (0.0, 0.05))


def _island(room: Layout, unit: Piece, supply: FurnitureSupply, rng: Rng) -> None:
    """A counter by itself, or a row of units with a top, with a chair or two before it."""
    if chance(rng, 0.5):
        piece = made(supply, "counter", rng)
        placed = None if piece is None else room.put_anywhere(piece, aligned=1.0)
    else:
        placed = room.put_anywhere(row_of(unit, int(rng.integers(1, 4))), aligned=1.0)
        if placed is not None:
            _top(room, placed, supply, rng, has_sink=chance(rng, 0.3))
    if placed is None:
        return
    for _ in range(int(rng.integers(0, 3))):
        stool = made(supply, "chair", rng, "high_chair")
        if stool is None:
            return
        x = (placed.size[0] + stool.size[0]) / 2 + rng.uniform(0.02, 0.2)
        y = rng.uniform(-0.4, 0.4) * placed.size[1]
        room.put_near(stool, placed, (float(x), float(y)), np.pi + rng.normal(0, 0.2))
