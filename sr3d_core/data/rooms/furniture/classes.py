"""The list of furniture classes: the label space of the rooms, and who makes each class.

A new class is one line here and its makers in a file of this folder; `mixed_room` then furnishes
rooms with it, other programmes where they name it. Labels index this list, so a new class goes to
the end.

Every maker takes a generator and returns a mesh whose front is +x. Yaw of a label is the direction
of that front; for classes without a front (round tables) it is whatever the maker drew. Whoever
compares boxes by IoU needs yaw modulo pi only; labels hold it in [-pi, pi).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sr3d_core.data.rooms.furniture import (
    bath,
    beds,
    chairs,
    desks,
    refrigerators,
    shelves,
    sofas,
    storage,
    tables,
)
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.stretch import stretched

Maker = Callable[[np.random.Generator], Mesh]


@dataclass(frozen=True, slots=True)
class FurnitureClass:
    """A class of the label space."""

    name: str
    makers: tuple[Maker, ...]
    """Archetypes; some are listed twice because they are twice as common."""
    interest: float = 1.0
    """How much more often than others it is aimed at, so that rare classes are seen enough."""


CLASSES: tuple[FurnitureClass, ...] = (
    FurnitureClass(
        "chair",
        (
            chairs.four_leg_chair,
            chairs.four_leg_chair,
            chairs.swivel_chair,
            chairs.swivel_chair,
            sofas.armchair,
            chairs.sled_chair,
            chairs.shell_chair,
            chairs.lounge_chair,
            chairs.barrel_chair,
            chairs.child_chair,
            chairs.high_chair,
            chairs.wing_chair,
        ),
    ),
    FurnitureClass(
        "table",
        (
            tables.rectangular_table,
            tables.rectangular_table,
            tables.round_table,
            tables.coffee_table,
            tables.coffee_table,
            tables.small_table,
            tables.bar_table,
            tables.conference_table,
        ),
    ),
    FurnitureClass(
        "desk",
        (
            desks.pedestal_desk,
            desks.frame_desk,
            desks.hutch_desk,
            desks.hutch_desk,
            desks.corner_desk,
            desks.standing_desk,
            desks.child_desk,
        ),
    ),
    FurnitureClass(
        "bed",
        (
            beds.framed_bed,
            beds.framed_bed,
            beds.framed_bed,
            beds.box_bed,
            beds.box_bed,
            beds.day_bed,
            beds.low_bed,
            beds.canopy_bed,
            beds.bunk_bed,
        ),
        interest=2.0,
    ),
    FurnitureClass(
        "sofa",
        (
            sofas.straight_sofa,
            sofas.straight_sofa,
            sofas.straight_sofa,
            sofas.corner_sofa,
            sofas.sectional,
            sofas.chaise,
            sofas.futon,
        ),
    ),
    FurnitureClass(
        "bookshelf", (shelves.open_bookshelf, shelves.wide_bookshelf, shelves.cube_bookshelf)
    ),
    FurnitureClass(
        "cabinet",
        (
            storage.wardrobe,
            storage.closet_wall,
            storage.tall_unit,
            storage.kitchen_unit,
            storage.wall_unit,
            storage.file_cabinet,
            storage.sideboard,
            storage.cupboard,
        ),
    ),
    FurnitureClass(
        "night_stand", (storage.drawer_night_stand, storage.open_night_stand), interest=1.5
    ),
    FurnitureClass(
        "dresser",
        (storage.wide_dresser, storage.wide_dresser, storage.tall_dresser, storage.door_dresser),
        interest=2.5,
    ),
    FurnitureClass(
        "toilet", (bath.tank_toilet, bath.wall_toilet, bath.one_piece_toilet), interest=3.0
    ),
    FurnitureClass(
        "bathtub",
        (bath.built_in_tub, bath.built_in_tub, bath.oval_tub, bath.corner_tub, bath.sitz_tub),
        interest=3.0,
    ),
    FurnitureClass(
        "refrigerator",
        (
            refrigerators.upright_refrigerator,
            refrigerators.upright_refrigerator,
            refrigerators.double_refrigerator,
            refrigerators.small_refrigerator,
        ),
        interest=3.0,
    ),
)

LABELS: tuple[str, ...] = tuple(each.name for each in CLASSES)
"""Class names; a label is an index into them."""

MAKERS: dict[str, tuple[Maker, ...]] = {each.name: each.makers for each in CLASSES}
"""Archetypes by class name."""


def make(name: str, rng: np.random.Generator, maker: Maker | None = None) -> Piece:
    """A new piece of the class `name`, of a given archetype or any of them."""
    archetypes = MAKERS[name]
    chosen = maker or archetypes[rng.integers(len(archetypes))]
    return Piece(stretched(chosen(rng).grounded(), name, rng), LABELS.index(name))


class OwnFurniture:
    """The makers of this list as a supply of rooms: what rooms are furnished with by default."""

    def kinds(self, name: str) -> tuple[str, ...]:
        """The archetypes of a class."""
        return tuple(maker.__name__ for maker in MAKERS[name])

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        """A new piece of the class `name`, of a given archetype or any of them."""
        named = (maker for maker in MAKERS[name] if maker.__name__ == kind)
        return make(name, rng, next(named, None))


OWN_FURNITURE = OwnFurniture()
"""The supply that rooms are furnished from where no other is given."""
