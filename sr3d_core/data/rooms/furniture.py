"""The label space of the rooms and who makes each class.

Every maker takes a generator and returns a mesh whose front is +x. Yaw of a label is the direction
of that front; for classes without a front (round tables) it is whatever the maker drew. Whoever
compares boxes by IoU needs yaw modulo pi only; labels hold it in [-pi, pi).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sr3d_core.data.rooms import bath, beds, chairs, sofas, storage, tables
from sr3d_core.data.rooms.mesh import Mesh

LABELS: tuple[str, ...] = (
    "chair",
    "table",
    "desk",
    "bed",
    "sofa",
    "bookshelf",
    "cabinet",
    "night_stand",
    "dresser",
    "toilet",
    "bathtub",
    "refrigerator",
)
"""Class names; a label is an index into them."""

NO_LABEL = -1
"""The label of walls and clutter."""

Maker = Callable[[np.random.Generator], Mesh]

MAKERS: dict[str, tuple[Maker, ...]] = {
    "chair": (
        chairs.four_leg_chair,
        chairs.four_leg_chair,
        chairs.swivel_chair,
        chairs.swivel_chair,
        sofas.armchair,
        chairs.sled_chair,
        chairs.shell_chair,
        chairs.lounge_chair,
        chairs.barrel_chair,
    ),
    "table": (
        tables.rectangular_table,
        tables.round_table,
        tables.coffee_table,
        tables.small_table,
    ),
    "desk": (tables.pedestal_desk, tables.frame_desk, tables.hutch_desk, tables.corner_desk),
    "bed": (beds.framed_bed, beds.box_bed, beds.day_bed),
    "sofa": (sofas.straight_sofa, sofas.straight_sofa, sofas.corner_sofa, sofas.futon),
    "bookshelf": (storage.open_bookshelf, storage.wide_bookshelf, storage.cube_bookshelf),
    "cabinet": (
        storage.wardrobe,
        storage.kitchen_unit,
        storage.wall_unit,
        storage.file_cabinet,
        storage.sideboard,
    ),
    "night_stand": (storage.drawer_night_stand, storage.open_night_stand),
    "dresser": (storage.wide_dresser, storage.tall_dresser),
    "toilet": (bath.tank_toilet, bath.wall_toilet, bath.one_piece_toilet),
    "bathtub": (bath.built_in_tub, bath.oval_tub, bath.corner_tub),
    "refrigerator": (
        storage.upright_refrigerator,
        storage.double_refrigerator,
        storage.small_refrigerator,
    ),
}
"""Archetypes of every class; some are listed twice because they are twice as common."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One thing before it is placed: front +x, standing on z = 0, its box centred on the axis."""

    mesh: Mesh
    label: int  # index into LABELS, or NO_LABEL

    @property
    def size(self) -> tuple[float, float, float]:
        """Full extents (dx, dy, dz), metres."""
        low, high = self.mesh.bounds
        dx, dy, dz = high - low
        return float(dx), float(dy), float(dz)


def make(name: str, rng: np.random.Generator, maker: Maker | None = None) -> Piece:
    """A new piece of the class `name`, of a given archetype or any of them."""
    archetypes = MAKERS[name]
    chosen = maker or archetypes[rng.integers(len(archetypes))]
    return Piece(chosen(rng).grounded(), LABELS.index(name))
