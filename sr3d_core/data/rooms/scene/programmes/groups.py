"""Furniture that stands together: chairs at tables, night stands at beds, runs of units.

All of it comes from a supply; a class that the supply does not have is left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr3d_core.data.rooms.clutter import table as table_top
from sr3d_core.data.rooms.clutter.lists import ON_TABLE, any_of, as_piece
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made
from sr3d_core.data.rooms.scene.layout import Layout, Placed

Rng = np.random.Generator

Programme = Callable[[Layout, FurnitureSupply, Rng], None]
"""Furnishes an empty floor from a supply."""

_TOPS = ("cabinet", "dresser", "bookshelf", "desk", "counter", "table", "night_stand")
"""What small things are put on, where it is low."""


def chance(rng: Rng, probability: float) -> bool:
    """True with a probability."""
    return bool(rng.random() < probability)


def some(rng: Rng, probability: float, *names: str) -> list[str]:
    """Each of the names with a probability."""
    return [name for name in names if chance(rng, probability)]


def strew(room: Layout, top: Placed, rng: Rng, most: int) -> None:
    """Small things on a table top."""
    for _ in range(int(rng.integers(0, most + 1))):
        room.put_on(any_of(ON_TABLE, rng), top)


def row_of(piece: Piece, count: int) -> Piece:
    """Equal pieces side by side without a gap, as one: what is built in is one thing."""
    wide = piece.size[1]
    shifts = (np.arange(count) - (count - 1) / 2) * wide
    return Piece(Mesh.cat([piece.mesh.shifted((0, float(y), 0)) for y in shifts]), piece.label)


def stretched(piece: Piece, *, depth: float | None = None, width: float | None = None) -> Piece:
    """The piece made to measure: as deep and as wide as asked for."""
    dx, dy, _ = piece.size
    factor = ((depth or dx) / dx, (width or dy) / dy, 1.0)
    return Piece(piece.mesh.scaled(factor), piece.label)


def beside(
    room: Layout, piece: Piece | None, other: Placed, rng: Rng, gap_m: tuple[float, float]
) -> Placed | None:
    """A piece to the left or right of another, their backs in line."""
    if piece is None:
        return None
    side = float(rng.choice([-1, 1]))
    gap = rng.uniform(*gap_m)
    for way in (side, -side):
        y = way * ((other.size[1] + piece.size[1]) / 2 + gap)
        x = (piece.size[0] - other.size[0]) / 2
        placed = room.put_near(piece, other, (float(x), float(y)), 0.0)
        if placed is not None:
            return placed
    return None


def against_wall(room: Layout, supply: FurnitureSupply, rng: Rng, *names: str) -> None:
    """Pieces with their backs to the walls, each with things on top if it is low."""
    for name in names:
        piece = made(supply, name, rng)
        if piece is None:
            continue
        is_small = piece.size[2] < 0.82 and piece.size[0] < 0.46
        if name == "cabinet" and is_small and chance(rng, 0.75):
            room.put_at_wall(piece, gap=0.0, z=rng.uniform(1.3, 1.6))
            continue
        placed = room.put_at_wall(piece)
        if placed is not None and placed.size[2] < 1.2 and name in _TOPS:
            strew(room, placed, rng, 3)


def beds(room: Layout, supply: FurnitureSupply, rng: Rng, count: int) -> None:
    """Beds at walls, some with a low cabinet behind their heads, and what goes with them."""
    for _ in range(count):
        piece = made(supply, "bed", rng)
        if piece is None:
            return
        bed = _before_cabinet(room, piece, supply, rng) if chance(rng, 0.12) else None
        bed = bed or room.put_at_wall(piece, tries=40)
        if bed is None:
            continue
        _night_stands(room, bed, supply, rng)
        if chance(rng, 0.22):
            _at_foot(room, bed, supply, rng)


def _before_cabinet(
    room: Layout, piece: Piece, supply: FurnitureSupply, rng: Rng
) -> Placed | None:
    """A bed whose head leans on a cabinet, as on a head board."""
    cabinet = made(supply, "cabinet", rng, "sideboard")
    if cabinet is None or cabinet.size[0] > 0.8:
        return None
    if cabinet.size[1] < piece.size[1]:
        cabinet = stretched(cabinet, width=piece.size[1] + rng.uniform(0.0, 0.5))
    head = room.put_at_wall(cabinet, gap=0.01, tries=30)
    if head is None:
        return None
    x = (head.size[0] + piece.size[0]) / 2 + rng.uniform(0.0, 0.02)
    return room.put_near(piece, head, (float(x), float(rng.normal(0, 0.03))), 0.0)


def _night_stands(room: Layout, bed: Placed, supply: FurnitureSupply, rng: Rng) -> None:
    """Night stands left and right of the head, with a lamp now and then."""
    for side in (-1, 1):
        stand = made(supply, "night_stand", rng) if chance(rng, 0.75) else None
        if stand is None:
            continue
        dx, dy, _ = stand.size
        x = -bed.size[0] / 2 + dx / 2 + rng.uniform(0.0, 0.12)
        y = side * (bed.size[1] / 2 + dy / 2 + rng.uniform(0.02, 0.2))
        placed = room.put_near(stand, bed, (x, y), 0.0)
        if placed is not None and chance(rng, 0.6):
            room.put_on(as_piece(table_top.table_lamp(rng)), placed)


def _at_foot(room: Layout, bed: Placed, supply: FurnitureSupply, rng: Rng) -> None:
    """A bench, an ottoman or a low chest across the foot of a bed."""
    wanted: list[tuple[str, str]]
    wanted = [("sofa", kind) for kind in ("bench", "ottoman") if kind in supply.kinds("sofa")]
    wanted += [("cabinet", "sideboard")]
    name, kind = wanted[rng.integers(len(wanted))]
    piece = made(supply, name, rng, kind)
    if piece is None or piece.size[2] > 0.9 or piece.size[0] > 0.8:
        return
    x = (bed.size[0] + piece.size[0]) / 2 + rng.uniform(0.01, 0.15)
    room.put_near(piece, bed, (float(x), float(rng.normal(0, 0.05))), 0.0)


def chairs_around(
    room: Layout, table: Placed, supply: FurnitureSupply, rng: Rng, count: int
) -> None:
    """Chairs that face a table, more or less tucked in, some turned away."""
    same = made(supply, "chair", rng) if chance(rng, 0.7) else None
    all_in = chance(rng, 0.3)
    slots = _slots(table)
    if chance(rng, 0.4):
        rng.shuffle(slots)
    for x, y, turn in slots[:count]:
        chair = same or made(supply, "chair", rng)
        if chair is None:
            return
        dx, _, _ = chair.size
        tucked = rng.uniform(0.4, 0.7) * dx if all_in else rng.uniform(-0.15, 0.65) * dx
        spin = rng.normal(0, 0.12) if all_in or chance(rng, 0.8) else rng.uniform(-1.2, 1.2)
        out = np.array([np.cos(turn + np.pi), np.sin(turn + np.pi)]) * (dx / 2 - tucked)
        jitter = rng.normal(0, 0.04, 2)
        local = (float(x + out[0] + jitter[0]), float(y + out[1] + jitter[1]))
        room.put_near(chair, table, local, turn + spin, reach=max(0.05, tucked + 0.02))


def _slots(table: Placed) -> list[tuple[float, float, float]]:
    """Places along the edges of a table: x, y in its frame, and the direction to look."""
    dx, dy = float(table.size[0]), float(table.size[1])
    along = max(1, int(dy / 0.62))
    places = [(k + 0.5) / along * dy - dy / 2 for k in range(along)]
    slots = [(-dx / 2, y, 0.0) for y in places] + [(dx / 2, y, np.pi) for y in places]
    slots += [(0.0, side * dy / 2, -side * np.pi / 2) for side in (-1, 1)]
    return slots


def table_group(
    room: Layout, supply: FurnitureSupply, rng: Rng, chairs: int, kind: str | None = None
) -> Placed | None:
    """A table on free floor with chairs around it."""
    kind = kind or ("rectangular_table" if chance(rng, 0.7) else "round_table")
    table = made(supply, "table", rng, kind)
    if table is None:
        return None
    placed = room.put_anywhere(table, aligned=0.9, tries=24, slack=-0.5)  # space for chairs
    placed = placed or room.put_anywhere(table, aligned=0.85)
    if placed is not None:
        strew(room, placed, rng, 6)
        chairs_around(room, placed, supply, rng, chairs)
    return placed


def work_place(room: Layout, supply: FurnitureSupply, rng: Rng) -> Placed | None:
    """A desk at a wall or on the floor with a chair, a screen, cables and papers."""
    desk = made(supply, "desk", rng)
    if desk is None:
        return None
    placed = room.put_at_wall(desk) if chance(rng, 0.8) else room.put_anywhere(desk)
    if placed is None:
        return None
    if placed.size[2] < 0.85:
        for _ in range(int(rng.integers(0, 3))):
            room.put_on(as_piece(table_top.monitor(rng)), placed, back=0.8)
        strew(room, placed, rng, 4)
    desk_chair(room, placed, supply, rng)
    if chance(rng, 0.12):
        beside(room, made(supply, "table", rng, "rectangular_table"), placed, rng, (0.0, 0.1))
    return placed


def desk_chair(room: Layout, desk: Placed, supply: FurnitureSupply, rng: Rng) -> None:
    """Mostly a chair before a desk, pushed in or turned away; a bin beside it now and then."""
    chair = made(supply, "chair", rng) if chance(rng, 0.85) else None
    if chair is not None:
        tucked = rng.uniform(-0.25, 0.5) * chair.size[0]
        local = (desk.size[0] / 2 + chair.size[0] / 2 - tucked, rng.uniform(-0.25, 0.25))
        turn = np.pi + rng.normal(0, 0.5)
        room.put_near(chair, desk, local, turn, reach=max(0.05, tucked + 0.02))
    if chance(rng, 0.3):
        beside(room, made(supply, "garbage_bin", rng), desk, rng, (0.02, 0.25))


def wardrobes(room: Layout, supply: FurnitureSupply, rng: Rng) -> Placed | None:
    """A run of equal wardrobes along a wall, flush, as long as there is room for."""
    unit = made(supply, "cabinet", rng, "wardrobe")
    if unit is None:
        return None
    most = max(1, int(rng.uniform(1.2, 4.2) / unit.size[1]))
    for count in range(most, 0, -1):
        placed = room.put_at_wall(row_of(unit, count), gap=0.01)
        if placed is not None:
            return placed
    return None


def sofa_corner(room: Layout, supply: FurnitureSupply, rng: Rng) -> Placed | None:
    """A sofa with a low table before it, one beside it, a second seat across the table."""
    sofa = made(supply, "sofa", rng)
    if sofa is None:
        return None
    placed = room.put_at_wall(sofa) if chance(rng, 0.7) else room.put_anywhere(sofa, aligned=0.9)
    if placed is None:
        return None
    low = _low_table(room, placed, supply, rng) if chance(rng, 0.8) else None
    if chance(rng, 0.4):
        beside(room, made(supply, "table", rng, "small_table"), placed, rng, (0.02, 0.15))
    if low is not None and chance(rng, 0.45):
        seat = made(supply, "sofa" if chance(rng, 0.4) else "chair", rng)
        if seat is not None:
            x = (low.size[0] + seat.size[0]) / 2 + rng.uniform(0.15, 0.5)
            turn = np.pi + rng.normal(0, 0.15)
            room.put_near(seat, low, (float(x), float(rng.normal(0, 0.15))), turn)
    return placed


def _low_table(room: Layout, sofa: Placed, supply: FurnitureSupply, rng: Rng) -> Placed | None:
    table = made(supply, "table", rng, "coffee_table")
    if table is None:
        return None
    x = sofa.size[0] / 2 + table.size[0] / 2 + rng.uniform(0.15, 0.5)
    low = room.put_near(table, sofa, (x, rng.normal(0, 0.1)), rng.normal(0, 0.08))
    if low is not None:
        strew(room, low, rng, 4)
    return low
