"""What stands in which kind of room, and beside what: groups, walls, oddities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr3d_core.data.rooms.clutter import floor
from sr3d_core.data.rooms.clutter import table as table_top
from sr3d_core.data.rooms.clutter.lists import FLOOR, ON_TABLE, any_of, as_piece
from sr3d_core.data.rooms.furniture.classes import ON_FLOOR
from sr3d_core.data.rooms.furniture.mesh import turn_x, turn_y, turn_z
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, offered
from sr3d_core.data.rooms.scene.layout import Layout, Placed

Rng = np.random.Generator


def _chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def _bedside(room: Layout, bed: Placed, supply: FurnitureSupply, rng: Rng) -> None:
    """Night stands left and right of the head, with a lamp now and then."""
    for side in (-1, 1):
        if not _chance(rng, 0.75):
            continue
        stand = supply.make("night_stand", rng)
        dx, dy, _ = stand.size
        gap = rng.uniform(0.02, 0.2)
        x = -bed.size[0] / 2 + dx / 2 + rng.uniform(0.0, 0.12)
        placed = room.put_near(stand, bed, (x, side * (bed.size[1] / 2 + dy / 2 + gap)), 0.0)
        if placed is not None and _chance(rng, 0.6):
            room.put_on(as_piece(table_top.table_lamp(rng)), placed)


def _chairs_around(
    room: Layout, table: Placed, supply: FurnitureSupply, rng: Rng, count: int
) -> None:
    """Chairs that face a table, more or less tucked in, some turned away."""
    kind = _one_kind_of_chair(supply, rng)
    seed = int(rng.integers(2**31))
    same = _chance(rng, 0.7)
    slots = _slots(table, count)
    for x, y, turn in slots:
        chair = supply.make(
            "chair", np.random.default_rng(seed) if same else rng, kind if same else None
        )
        dx, _, _ = chair.size
        tucked = rng.uniform(-0.15, 0.65) * dx
        out = np.array([np.cos(turn + np.pi), np.sin(turn + np.pi)]) * (dx / 2 - tucked)
        jitter = rng.normal(0, 0.04, 2)
        spin = rng.normal(0, 0.12) if _chance(rng, 0.8) else rng.uniform(-1.2, 1.2)
        local = (float(x + out[0] + jitter[0]), float(y + out[1] + jitter[1]))
        room.put_near(chair, table, local, turn + spin, slack=max(0.05, tucked + 0.02))


def _one_kind_of_chair(supply: FurnitureSupply, rng: Rng) -> str:
    """A kind to use for all chairs of a table."""
    kinds = supply.kinds("chair")
    return kinds[rng.integers(len(kinds))]


def _slots(table: Placed, count: int) -> list[tuple[float, float, float]]:
    """Places along the edges of a table: x, y in its frame, and the direction to look."""
    dx, dy = float(table.size[0]), float(table.size[1])
    along = max(1, int(dy / 0.62))
    places = [(k + 0.5) / along * dy - dy / 2 for k in range(along)]
    slots = [(-dx / 2, y, 0.0) for y in places] + [(dx / 2, y, np.pi) for y in places]
    slots += [(0.0, side * dy / 2, -side * np.pi / 2) for side in (-1, 1)]
    return slots[:count]


def _strew(room: Layout, top: Placed, rng: Rng, most: int) -> None:
    """Small things on a table top."""
    for _ in range(int(rng.integers(0, most + 1))):
        room.put_on(any_of(ON_TABLE, rng), top)


def _work_place(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A desk at a wall or on the floor with a chair, a screen and papers."""
    desk = supply.make("desk", rng)
    placed = room.put_at_wall(desk) if _chance(rng, 0.8) else room.put_anywhere(desk)
    if placed is None:
        return
    if placed.size[2] < 0.85:
        for _ in range(int(rng.integers(0, 3))):
            room.put_on(as_piece(table_top.monitor(rng)), placed, back=0.8)
        _strew(room, placed, rng, 4)
    if _chance(rng, 0.85):
        chair = supply.make("chair", rng)
        tucked = rng.uniform(-0.25, 0.5) * chair.size[0]
        local = (placed.size[0] / 2 + chair.size[0] / 2 - tucked, rng.uniform(-0.25, 0.25))
        turn = np.pi + rng.normal(0, 0.5)
        room.put_near(chair, placed, local, turn, slack=max(0.05, tucked + 0.02))


def _table_group(room: Layout, supply: FurnitureSupply, rng: Rng, chairs: int) -> None:
    kind = "rectangular_table" if _chance(rng, 0.7) else "round_table"
    placed = room.put_anywhere(supply.make("table", rng, kind), aligned=0.85)
    if placed is not None:
        _strew(room, placed, rng, 6)
        _chairs_around(room, placed, supply, rng, chairs)


def _against_wall(room: Layout, supply: FurnitureSupply, rng: Rng, *names: str) -> None:
    """Pieces with their backs to the walls, each with things on top if it is low."""
    for name in names:
        piece = supply.make(name, rng)
        if (
            name == "cabinet"
            and piece.size[2] < 0.82
            and piece.size[0] < 0.46
            and _chance(rng, 0.75)
        ):
            room.put_at_wall(piece, gap=0.0, z=rng.uniform(1.3, 1.6))
            continue
        placed = room.put_at_wall(piece)
        if placed is not None and placed.size[2] < 1.2 and name not in ("toilet", "bathtub"):
            _strew(room, placed, rng, 3)


def bedroom(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """One or two beds with night stands, storage, perhaps a desk."""
    for _ in range(1 if _chance(rng, 0.8) else 2):
        bed = room.put_at_wall(supply.make("bed", rng), tries=40)
        if bed is not None:
            _bedside(room, bed, supply, rng)
    _against_wall(room, supply, rng, *[n for n in ("dresser", "cabinet") if _chance(rng, 0.75)])
    if _chance(rng, 0.4):
        _work_place(room, supply, rng)
    _against_wall(
        room, supply, rng, *[n for n in ("bookshelf", "chair", "dresser") if _chance(rng, 0.3)]
    )


def living_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Sofas around a low table, shelves and cabinets along the walls."""
    for k in range(int(rng.integers(1, 3))):
        sofa = supply.make("sofa", rng)
        placed = room.put_at_wall(sofa) if _chance(rng, 0.7) else room.put_anywhere(sofa)
        if placed is None or k > 0:
            continue
        if _chance(rng, 0.8):
            table = supply.make("table", rng, "coffee_table")
            x = placed.size[0] / 2 + table.size[0] / 2 + rng.uniform(0.15, 0.5)
            low = room.put_near(table, placed, (x, rng.normal(0, 0.1)), rng.normal(0, 0.08))
            if low is not None:
                _strew(room, low, rng, 4)
        if _chance(rng, 0.4):
            side = supply.make("table", rng, "small_table")
            y = placed.size[1] / 2 + side.size[1] / 2 + rng.uniform(0.02, 0.15)
            room.put_near(side, placed, (0.0, float(rng.choice([-1, 1])) * y), 0.0)
    names = ["bookshelf", "cabinet", "chair", "chair", "bookshelf", "cabinet"]
    _against_wall(room, supply, rng, *[name for name in names if _chance(rng, 0.5)])
    if _chance(rng, 0.3):
        _table_group(room, supply, rng, int(rng.integers(2, 5)))
    if _chance(rng, 0.5):
        room.put_anywhere(supply.make("chair", rng))


def dining_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A table with chairs, a sideboard."""
    _table_group(room, supply, rng, int(rng.integers(2, 9)))
    names = [n for n in ("cabinet", "bookshelf", "refrigerator") if _chance(rng, 0.55)]
    _against_wall(room, supply, rng, *names)


def office(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Work places, shelves, file cabinets, maybe a meeting table."""
    for _ in range(int(rng.integers(1, 4))):
        _work_place(room, supply, rng)
    names = [n for n in ("bookshelf", "cabinet", "bookshelf", "cabinet") if _chance(rng, 0.5)]
    _against_wall(room, supply, rng, *names)
    if _chance(rng, 0.35):
        _table_group(room, supply, rng, int(rng.integers(2, 7)))
    if _chance(rng, 0.2):
        _against_wall(room, supply, rng, "sofa")


def kitchen(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A fridge, base units, hanging units, perhaps a table."""
    _against_wall(room, supply, rng, "refrigerator")
    for _ in range(int(rng.integers(1, 4))):
        unit = room.put_at_wall(supply.make("cabinet", rng, "kitchen_unit"), gap=0.01)
        if unit is None:
            continue
        _strew(room, unit, rng, 4)
        if _chance(rng, 0.6):
            upper = supply.make("cabinet", rng, "wall_unit")
            x = -unit.size[0] / 2 + upper.size[0] / 2
            c, s = np.cos(unit.yaw), np.sin(unit.yaw)
            at = (float(unit.center[0] + c * x), float(unit.center[1] + s * x))
            room.put(upper, at, unit.yaw, z=rng.uniform(1.35, 1.55))
    if _chance(rng, 0.6):
        _table_group(room, supply, rng, int(rng.integers(1, 5)))


def bathroom(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Toilet, bathtub, sink."""
    if _chance(rng, 0.75):
        room.put_at_wall(supply.make("bathtub", rng), gap=rng.choice([0.0, 0.02, 0.15]))
    if _chance(rng, 0.9):
        room.put_at_wall(supply.make("toilet", rng), gap=0.01)
    if supply.kinds("sink"):
        room.put_at_wall(supply.make("sink", rng, "pedestal_sink"), gap=0.0)
    if _chance(rng, 0.35):
        room.put_at_wall(as_piece(floor.washing_machine(rng)))
    if _chance(rng, 0.4):
        _against_wall(room, supply, rng, "cabinet")


def meeting_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Tables or rows of chairs."""
    if _chance(rng, 0.6):
        for _ in range(int(rng.integers(1, 3))):
            _table_group(room, supply, rng, int(rng.integers(3, 9)))
    else:
        yaw, seed = float(rng.integers(4)) * np.pi / 2, int(rng.integers(2**31))
        start, step = rng.uniform(0.6, 1.5, 2), (rng.uniform(0.8, 1.2), rng.uniform(0.6, 0.8))
        for row in range(int(rng.integers(2, 4))):
            for column in range(int(rng.integers(2, 5))):
                at = start + np.array([row * step[0], column * step[1]]) + rng.normal(0, 0.04, 2)
                chair = supply.make("chair", np.random.default_rng(seed))
                room.put(chair, (float(at[0]), float(at[1])), yaw + rng.normal(0, 0.1))
    _against_wall(
        room, supply, rng, *[n for n in ("cabinet", "bookshelf", "desk") if _chance(rng, 0.4)]
    )


def mixed_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Anything beside anything: a store room, a studio flat, a show room."""
    names = offered(supply, ON_FLOOR)
    for _ in range(int(rng.integers(5, 11))):
        name = names[rng.integers(len(names))]
        piece = supply.make(name, rng)
        if _chance(rng, 0.6):
            room.put_at_wall(piece)
        else:
            room.put_anywhere(piece)


Programme = Callable[[Layout, FurnitureSupply, Rng], None]
"""Furnishes an empty floor from a supply."""

PROGRAMMES: tuple[tuple[Programme, float, tuple[float, float]], ...] = (
    (bedroom, 0.26, (2.8, 5.5)),
    (living_room, 0.15, (3.2, 8.0)),
    (dining_room, 0.07, (2.8, 6.0)),
    (office, 0.12, (2.8, 7.5)),
    (kitchen, 0.10, (2.5, 5.5)),
    (bathroom, 0.12, (2.0, 3.8)),
    (meeting_room, 0.04, (3.5, 8.0)),
    (mixed_room, 0.14, (3.0, 7.0)),
)
"""Rooms, how often they come, and the range of their sides in metres."""

_RARE = ("toilet", "bathtub", "refrigerator", "night_stand", "dresser", "desk", "bookshelf")


def furnish(room: Layout, programme: Programme, supply: FurnitureSupply, rng: Rng) -> None:
    """The programme's furniture, then rare pieces from other rooms, oddities and clutter."""
    programme(room, supply, rng)
    if _chance(rng, 0.3):
        rare = supply.make(_RARE[rng.integers(len(_RARE))], rng)
        room.put_at_wall(rare)
    if _chance(rng, 0.12):
        kind = "swivel_chair" if _chance(rng, 0.4) else None
        room.put_anywhere(_toppled(supply.make("chair", rng, kind), rng))
    if _chance(rng, 0.1):
        names = offered(supply, ON_FLOOR)
        room.put_anywhere(supply.make(names[rng.integers(len(names))], rng), aligned=0.0)
    for _ in range(int(rng.integers(0, 8))):
        piece = any_of(FLOOR, rng)
        if _chance(rng, 0.5):
            room.put_at_wall(piece)
        else:
            room.put_anywhere(piece, aligned=0.3)
    if _chance(rng, 0.4):
        room.put_anywhere(as_piece(floor.rug(rng)), aligned=0.8)


def _toppled(piece: Piece, rng: Rng) -> Piece:
    """The piece lying on its back, front or side, still boxed tightly about the vertical."""
    tip = (
        turn_x(np.pi / 2) if _chance(rng, 0.4) else turn_y(float(rng.choice([-1, 1])) * np.pi / 2)
    )
    wobble = turn_z(rng.uniform(-np.pi, np.pi)) @ turn_y(rng.normal(0, 0.15))
    mesh = piece.mesh.turned(wobble @ tip)
    return Piece(mesh.squared().grounded(), piece.label)
