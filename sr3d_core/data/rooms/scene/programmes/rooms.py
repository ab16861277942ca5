"""What stands in the rooms of a home: to sleep, to live, to eat, to work, to store."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture.classes import ON_FLOOR
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made, offered
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.programmes.groups import (
    against_wall,
    beds,
    chance,
    sofa_corner,
    some,
    table_group,
    wardrobes,
    work_place,
)

Rng = np.random.Generator


def bedroom(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """One or two beds with night stands, a run of wardrobes, perhaps a desk."""
    beds(room, supply, rng, 1 if chance(rng, 0.8) else 2)
    if chance(rng, 0.4):
        wardrobes(room, supply, rng)
    against_wall(room, supply, rng, *some(rng, 0.75, "dresser"), *some(rng, 0.5, "cabinet"))
    if chance(rng, 0.4):
        work_place(room, supply, rng)
    against_wall(room, supply, rng, *some(rng, 0.3, "bookshelf", "chair", "dresser"))


def living_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Sofas around a low table, shelves and cabinets along the walls."""
    sofa_corner(room, supply, rng)
    names = ["bookshelf", "cabinet", "chair", "chair", "bookshelf", "cabinet"]
    against_wall(room, supply, rng, *some(rng, 0.3, "sofa"), *some(rng, 0.5, *names))
    if chance(rng, 0.3):
        table_group(room, supply, rng, int(rng.integers(2, 5)))
    chair = made(supply, "chair", rng) if chance(rng, 0.5) else None
    if chair is not None:
        room.put_anywhere(chair)


def dining_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A table with chairs, a sideboard."""
    table_group(room, supply, rng, int(rng.integers(2, 9)))
    against_wall(room, supply, rng, *some(rng, 0.5, "cabinet", "bookshelf"))
    against_wall(room, supply, rng, *some(rng, 0.25, "refrigerator", "counter"))


def office(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Work places, some back to back, shelves, file cabinets, maybe a meeting table."""
    for _ in range(int(rng.integers(1, 4))):
        work_place(room, supply, rng)
    names = ["bookshelf", "cabinet", "bookshelf", "cabinet"]
    against_wall(room, supply, rng, *some(rng, 0.5, *names), *some(rng, 0.35, "garbage_bin"))
    if chance(rng, 0.35):
        table_group(room, supply, rng, int(rng.integers(2, 7)))
    against_wall(room, supply, rng, *some(rng, 0.2, "sofa"))


def mixed_room(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Anything beside anything: a store room, a studio flat, a show room."""
    names = offered(supply, ON_FLOOR)
    for _ in range(int(rng.integers(5, 11))):
        piece = supply.make(names[rng.integers(len(names))], rng)
        if chance(rng, 0.6):
            room.put_at_wall(piece)
        else:
            room.put_anywhere(piece)
