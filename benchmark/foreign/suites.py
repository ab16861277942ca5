"""Another layout than our rooms': homes of one large space, 10 to 20 pieces on about 7 x 7 m.

A home is made of corners: to live, to eat, to sleep, to cook, to work, to wash, to store. Each is
furnished round one piece that has found a place, and low partitions stand between some. Unlike in
our rooms, half of the pieces that lean on walls there stand free here, and corners of all kinds
are seen at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.classes import LABELS, ON_FLOOR
from sr3d_core.data.rooms.furniture.mesh import box
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.programmes import Programme

Rng = np.random.Generator

FEWEST, MOST = 10, 18
"""Pieces of a home, before the odd ones that every room may get."""

_TRIES = 40
_ON_FLOOR = frozenset(LABELS.index(name) for name in ON_FLOOR)


def home(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Corner after corner until as many pieces stand as were drawn, or nothing fits any more."""
    wanted = int(rng.integers(FEWEST, MOST + 1))
    for _ in range(int(rng.integers(0, 4))):
        room.put_anywhere(_partition(rng), aligned=1.0)
    order = [corner for _ in range(3) for corner in rng.permutation(len(_CORNERS))]
    for corner in order:
        _CORNERS[corner](room, supply, rng, wanted)
        if _num_pieces(room) >= wanted:
            return


SUITES: tuple[tuple[Programme, float, tuple[float, float]], ...] = ((home, 1.0, (6.4, 7.6)),)
"""What `build_room` is given in place of our programmes."""


def _num_pieces(room: Layout) -> int:
    """What stands on the floor: doors and windows are there before."""
    return sum(placed.label in _ON_FLOOR for placed in room.placed)


def _partition(rng: Rng) -> Piece:
    """A piece of wall that ends below the ceiling."""
    size = (rng.uniform(0.08, 0.15), rng.uniform(1.2, 3.0), rng.uniform(1.6, 2.2))
    return Piece(box(size, (0, 0, 0), palette.wall(rng)), NO_LABEL)


def _main(room: Layout, piece: Piece, rng: Rng, free: float = 0.5) -> Placed | None:
    """Place a piece; with probability `free` not at a wall."""
    if rng.random() < free:
        return room.put_anywhere(piece, aligned=0.75, tries=_TRIES)
    return room.put_at_wall(piece, tries=_TRIES)


def _beside(
    room: Layout, supply: FurnitureSupply, name: str, other: Placed, rng: Rng
) -> Placed | None:
    """A piece to the left or right of another, backs in line."""
    piece, side = supply.make(name, rng), float(rng.choice([-1, 1]))
    x = (piece.size[0] - other.size[0]) / 2
    y = side * ((other.size[1] + piece.size[1]) / 2 + rng.uniform(0.03, 0.4))
    return room.put_near(piece, other, (float(x), float(y)), 0.0)


def _facing(
    room: Layout, supply: FurnitureSupply, name: str, other: Placed, rng: Rng, gap_m: float
) -> Placed | None:
    """A piece in front of another, turned towards it."""
    piece = supply.make(name, rng)
    x = (other.size[0] + piece.size[0]) / 2 + gap_m
    turn = np.pi + rng.normal(0, 0.25)
    return room.put_near(piece, other, (float(x), float(rng.normal(0, 0.3))), turn, reach=0.1)


def _living(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    sofa = _main(room, supply.make("sofa", rng), rng)
    if sofa is None:
        return
    low = supply.make("table", rng, "coffee_table")
    x = (sofa.size[0] + low.size[0]) / 2 + rng.uniform(0.2, 0.6)
    room.put_near(low, sofa, (float(x), 0.0), 0.0)
    if rng.random() < 0.5:
        _facing(room, supply, "sofa", sofa, rng, rng.uniform(1.2, 2.0))
    for name in ("chair", "table", "bookshelf"):
        if rng.random() < 0.5 and _num_pieces(room) < wanted:
            _beside(room, supply, name, sofa, rng)


def _eating(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    table = _main(room, supply.make("table", rng, "rectangular_table"), rng, free=0.8)
    if table is None:
        return
    seed = int(rng.integers(2**31))
    for side in (0.0, np.pi, np.pi / 2, -np.pi / 2)[: int(rng.integers(2, 5))]:
        for shift in (-0.25, 0.25):
            if _num_pieces(room) >= wanted:
                return
            chair = supply.make("chair", np.random.default_rng(seed))
            across = 0 if abs(np.cos(side)) > 0.5 else 1
            out = table.size[across] / 2 + chair.size[0] * rng.uniform(0.1, 0.6)
            away = np.array([np.cos(side), np.sin(side)]) * out
            along = np.array([-np.sin(side), np.cos(side)]) * shift * table.size[1 - across]
            x, y = away + along
            turn = side + np.pi + rng.normal(0, 0.15)
            room.put_near(chair, table, (float(x), float(y)), turn, reach=0.25)


def _sleeping(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    bed = _main(room, supply.make("bed", rng), rng, free=0.35)
    if bed is None:
        return
    for name, chance in (("night_stand", 0.6), ("dresser", 0.4), ("chair", 0.3)):
        if rng.random() < chance and _num_pieces(room) < wanted:
            _beside(room, supply, name, bed, rng)
    if rng.random() < 0.6 and _num_pieces(room) < wanted:
        room.put_at_wall(supply.make("cabinet", rng, "wardrobe"), tries=_TRIES)


def _cooking(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    unit = _main(room, supply.make("cabinet", rng, "kitchen_unit"), rng, free=0.2)
    if unit is None:
        return
    if rng.random() < 0.8:
        _beside(room, supply, "refrigerator", unit, rng)
    if rng.random() < 0.6 and _num_pieces(room) < wanted:
        island = supply.make("cabinet", rng, "kitchen_unit")
        x = (unit.size[0] + island.size[0]) / 2 + rng.uniform(0.8, 1.3)
        room.put_near(island, unit, (float(x), 0.0), np.pi)


def _working(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    desk = _main(room, supply.make("desk", rng), rng, free=0.4)
    if desk is None:
        return
    _facing(room, supply, "chair", desk, rng, float(rng.uniform(-0.2, 0.3)))
    if rng.random() < 0.5 and _num_pieces(room) < wanted:
        _beside(room, supply, "bookshelf", desk, rng)


def _washing(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    if _main(room, supply.make("toilet", rng), rng, free=0.0) and _num_pieces(room) < wanted:
        _main(room, supply.make("bathtub", rng), rng, free=0.3)


def _storing(room: Layout, supply: FurnitureSupply, rng: Rng, wanted: int) -> None:
    names = ("bookshelf", "cabinet", "dresser", "chair")
    for name in rng.permutation(names)[: int(rng.integers(1, 4))]:
        if _num_pieces(room) < wanted:
            _main(room, supply.make(str(name), rng), rng, free=0.4)


_CORNERS: tuple[Callable[[Layout, FurnitureSupply, Rng, int], None], ...] = (
    _living,
    _eating,
    _sleeping,
    _cooking,
    _working,
    _washing,
    _storing,
)
