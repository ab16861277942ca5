"""The lists of clutter: things in rooms that are not in the label space.

Most false positives come from them. A new one is one line here and its maker in a file of this
folder.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr3d_core.data.rooms.clutter import floor, people, soft, table, wall
from sr3d_core.data.rooms.furniture import sofas
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece

Rng = np.random.Generator


FLOOR: tuple[Callable[[Rng], Mesh], ...] = (
    floor.carton,
    floor.carton,
    floor.floor_lamp,
    floor.plant,
    floor.plant,
    floor.bag,
    floor.bag,
    floor.suitcase,
    people.standing,
    people.standing,
    floor.basket,
    floor.stool,
    sofas.bench,
    sofas.ottoman,
    floor.washing_machine,
    floor.piano,
    floor.pillar,
    floor.tripod,
    floor.pile,
    floor.boxes,
    floor.cables,
    floor.fan,
    floor.ladder,
    floor.toys,
)
"""Makers of clutter for the floor; those listed twice are twice as common."""

SOFT: tuple[Callable[[Rng], Mesh], ...] = (
    soft.pillow,
    soft.pillow,
    soft.clothes,
    floor.bag,
)
"""Makers of things that lie on beds, sofas and chairs."""

ON_WALL: tuple[Callable[[Rng], Mesh], ...] = (
    wall.mirror,
    wall.board,
    wall.clock,
    wall.radiator,
    wall.television,
    wall.coats,
)
"""Makers of flat things on walls; their heights above the floor are built in."""

ON_TABLE: tuple[Callable[[Rng], Mesh], ...] = (
    table.laptop,
    table.keyboard,
    table.book_stack,
    table.book_stack,
    table.bottle,
    table.bottle,
    table.package,
    table.package,
    table.table_lamp,
    table.bowl,
    table.monitor,
)
"""Makers of things for table tops."""


def any_of(makers: tuple[Callable[[Rng], Mesh], ...], rng: Rng) -> Piece:
    """Any piece of `makers`, centred, standing on z = 0."""
    return as_piece(makers[rng.integers(len(makers))](rng))


def on_wall(rng: Rng) -> tuple[Piece, float]:
    """Any flat thing for a wall and the height of its lower edge, metres."""
    mesh = ON_WALL[rng.integers(len(ON_WALL))](rng)
    return as_piece(mesh), float(mesh.bounds[0][2])


def as_piece(mesh: Mesh) -> Piece:
    """A mesh as an unlabelled piece, centred, standing on z = 0."""
    return Piece(mesh.grounded(), NO_LABEL)
