"""Rooms of schools, offices and hotels: many equal tables and chairs, corridors, guest rooms."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.programmes.groups import (
    against_wall,
    beds,
    beside,
    chairs_around,
    chance,
    desk_chair,
    some,
    strew,
    table_group,
    wardrobes,
    work_place,
)

Rng = np.random.Generator


def meeting_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """One long table, some tables, or rows of chairs; a pile of chairs in a corner."""
    style = rng.random()
    if style < 0.35:
        table_group(room, supply, rng, int(rng.integers(4, 13)), "conference_table")
    elif style < 0.7:
        for _ in range(int(rng.integers(2, 4))):
            table_group(room, supply, rng, int(rng.integers(3, 9)))
    else:
        _rows_of_chairs(room, supply, rng)
    if chance(rng, 0.2):
        _pile_of_chairs(room, supply, rng)
    against_wall(room, supply, rng, *some(rng, 0.4, "cabinet", "bookshelf", "desk"))
    against_wall(room, supply, rng, *some(rng, 0.3, "garbage_bin"))


def _rows_of_chairs(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    yaw, chair = float(rng.integers(4)) * np.pi / 2, made(supply, "chair", rng)
    if chair is None:
        return
    start, step = rng.uniform(0.6, 1.5, 2), (rng.uniform(0.8, 1.2), rng.uniform(0.6, 0.8))
    for row in range(int(rng.integers(2, 4))):
        for column in range(int(rng.integers(2, 6))):
            at = start + np.array([row * step[0], column * step[1]]) + rng.normal(0, 0.04, 2)
            at = at + room.floor.at
            room.put(chair, (float(at[0]), float(at[1])), yaw + rng.normal(0, 0.1))


def _pile_of_chairs(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Equal chairs that are stacked: each a little higher and before the one below."""
    chair = made(supply, "chair", rng, "sled_chair")
    below = None if chair is None else room.put_at_wall(chair, gap=0.1)
    for _ in range(int(rng.integers(1, 4))):
        if chair is None or below is None:
            return
        c, s = np.cos(below.yaw), np.sin(below.yaw)
        at = (float(below.center[0] + 0.05 * c), float(below.center[1] + 0.05 * s))
        low = float(below.center[2] - below.size[2] / 2)
        below = room.add(chair, at, below.yaw, z=low + rng.uniform(0.08, 0.14))


def class_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Rows of equal tables with chairs tucked under them, a teacher's desk, shelves."""
    name, kind = ("table", "rectangular_table") if chance(rng, 0.6) else ("desk", "frame_desk")
    table, chair = made(supply, name, rng, kind), made(supply, "chair", rng)
    if table is not None and chair is not None:
        _rows_of_tables(room, table, chair, rng)
    desk = made(supply, "desk", rng)
    placed = None if desk is None else room.put_anywhere(desk, aligned=1.0)
    if placed is not None:
        desk_chair(room, placed, supply, rng)
    against_wall(room, supply, rng, *some(rng, 0.4, "bookshelf", "cabinet", "garbage_bin"))


def _rows_of_tables(room: Layout, piece: Piece, chair: Piece, rng: Rng) -> None:
    """As many as fit, up to five rows of five, some left out; all chairs on one side."""
    floor, (dx, dy, _) = room.floor, piece.size
    is_across = floor.depth > floor.width
    yaw = (np.pi / 2 if is_across else 0.0) + (np.pi if chance(rng, 0.5) else 0.0)
    row_m, column_m = dx + rng.uniform(0.75, 1.1), dy + rng.uniform(0.02, 0.6)
    length, width = (floor.depth, floor.width) if is_across else (floor.width, floor.depth)
    left_out = rng.uniform(0.0, 0.2)
    for row in range(min(5, int((length - 1.6) / row_m))):
        for column in range(min(5, int((width - 0.7) / column_m))):
            if chance(rng, left_out):
                continue
            along, aside = 1.1 + row * row_m + dx / 2, 0.35 + column * column_m + dy / 2
            at = np.array((aside, along) if is_across else (along, aside))
            x, y = at + rng.normal(0, 0.03, 2) + floor.at
            table = room.put(piece, (float(x), float(y)), yaw + rng.normal(0, 0.02))
            if table is not None:
                _pupils_at(room, table, chair, rng)
                strew(room, table, rng, 1)


def _pupils_at(room: Layout, table: Placed, chair: Piece, rng: Rng) -> None:
    """Chairs along the front of a table, more or less tucked in."""
    dx, dy, _ = table.size
    places = max(1, int(dy / 0.65))
    for k in range(places):
        if chance(rng, 0.12):
            continue
        tucked = rng.uniform(0.1, 0.65) * chair.size[0]
        x = dx / 2 + chair.size[0] / 2 - tucked
        y = ((k + 0.5) / places - 0.5) * dy + rng.normal(0, 0.03)
        turn = np.pi + rng.normal(0, 0.12)
        room.put_near(chair, table, (float(x), float(y)), turn, reach=tucked + 0.02)


def corridor(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Wardrobes, a low cabinet, a seat, a bin."""
    if chance(rng, 0.4):
        wardrobes(room, supply, rng)
    names = ("cabinet", "dresser", "chair", "garbage_bin", "bookshelf")
    against_wall(room, supply, rng, *some(rng, 0.35, *names), *some(rng, 0.15, "sofa", "counter"))


def hotel_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """One or two equal beds, a desk that serves as a table, a wardrobe beside a small fridge."""
    beds(room, supply, rng, 1 if chance(rng, 0.6) else 2)
    closet = wardrobes(room, supply, rng)
    if closet is not None and chance(rng, 0.45):
        fridge = made(supply, "refrigerator", rng, "small_refrigerator")
        beside(room, fridge, closet, rng, (0.0, 0.05))
    work_place(room, supply, rng)
    if chance(rng, 0.5):
        table_group(room, supply, rng, int(rng.integers(1, 3)), "small_table")
    against_wall(room, supply, rng, *some(rng, 0.35, "chair", "dresser", "sofa"))


def student_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A bed, a desk, a shelf, a wardrobe, a refrigerator and a sink in one small room."""
    beds(room, supply, rng, 1)
    for _ in range(1 if chance(rng, 0.7) else 2):
        work_place(room, supply, rng)
    closet = wardrobes(room, supply, rng)
    if closet is not None and chance(rng, 0.5):
        beside(room, made(supply, "refrigerator", rng), closet, rng, (0.0, 0.06))
    against_wall(room, supply, rng, *some(rng, 0.6, "bookshelf"), *some(rng, 0.25, "sink"))
    against_wall(room, supply, rng, *some(rng, 0.3, "chair", "cabinet", "garbage_bin"))


def break_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A reception or cafeteria: a counter, some tables, a refrigerator, bins."""
    against_wall(room, supply, rng, *some(rng, 0.7, "counter"), *some(rng, 0.5, "refrigerator"))
    for _ in range(int(rng.integers(1, 4))):
        table = table_group(room, supply, rng, 0)
        if table is not None:
            chairs_around(room, table, supply, rng, int(rng.integers(2, 5)))
    against_wall(room, supply, rng, *some(rng, 0.4, "garbage_bin", "garbage_bin", "cabinet"))
