"""The list of furniture classes: the label space of the rooms, and who makes each class.

A new class is one line here and its makers in a file of this folder; `mixed_room` then furnishes
rooms with it, other programmes where they name it. Labels index this list, so a new class goes to
the end.

Every maker takes a generator and returns a mesh whose front is +x. Yaw of a label is the direction
of that front; for classes without a front (tables) it is whatever the maker drew. Whoever
compares boxes by IoU needs yaw modulo pi only; labels hold it in [-pi, pi).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sr3d_core.data.rooms.furniture import (
    bath,
    beds,
    bins,
    chairs,
    counters,
    desks,
    hangings,
    openings,
    refrigerators,
    shelves,
    sinks,
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
    fitted: tuple[Maker, ...] = ()
    """Archetypes for a place of their own, as in a counter: made only where asked for by kind."""
    hangs: bool = False
    """Whether it belongs on or in a wall rather than on the floor."""
    has_front: bool = False
    """Whether one side is the front, by which people use it, so that its yaw says something."""
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
        has_front=True,
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
        has_front=True,
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
        has_front=True,
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
        has_front=True,
    ),
    FurnitureClass(
        "bookshelf",
        (shelves.open_bookshelf, shelves.wide_bookshelf, shelves.cube_bookshelf),
        has_front=True,
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
        has_front=True,
    ),
    FurnitureClass(
        "night_stand",
        (storage.drawer_night_stand, storage.open_night_stand),
        has_front=True,
        interest=1.5,
    ),
    FurnitureClass(
        "dresser",
        (storage.wide_dresser, storage.wide_dresser, storage.tall_dresser, storage.door_dresser),
        has_front=True,
        interest=2.5,
    ),
    FurnitureClass(
        "toilet",
        (bath.tank_toilet, bath.wall_toilet, bath.one_piece_toilet),
        has_front=True,
        interest=3.0,
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
        has_front=True,
        interest=3.0,
    ),
    FurnitureClass(
        "door",
        (
            openings.flush_door,
            openings.flush_door,
            openings.panel_door,
            openings.panel_door,
            openings.glass_door,
            openings.double_door,
            openings.sliding_door,
        ),
        hangs=True,
        interest=0.5,
    ),
    FurnitureClass(
        "window",
        (openings.small_window, openings.casement_window, openings.wide_window),
        hangs=True,
        interest=0.5,
    ),
    FurnitureClass(
        "curtain", (hangings.drawn_curtain, hangings.open_curtain), hangs=True, interest=0.5
    ),
    FurnitureClass(
        "counter",
        (
            counters.service_counter,
            counters.service_counter,
            counters.corner_counter,
            counters.bar_shelf,
        ),
        fitted=(counters.counter_top, counters.corner_counter_top),
        has_front=True,
        interest=1.5,
    ),
    FurnitureClass(
        "sink",
        (sinks.pedestal_sink, sinks.pedestal_sink, sinks.utility_sink),
        fitted=(sinks.inset_sink, sinks.kitchen_sink, sinks.vessel_sink, sinks.wall_sink),
        has_front=True,
        interest=2.0,
    ),
    FurnitureClass(
        "garbage_bin",
        (
            bins.paper_basket,
            bins.paper_basket,
            bins.pedal_bin,
            bins.swing_bin,
            bins.lined_can,
            bins.wheelie_bin,
        ),
    ),
    FurnitureClass(
        "picture",
        (hangings.framed_picture, hangings.framed_picture, hangings.canvas, hangings.poster),
        hangs=True,
        interest=0.5,
    ),
    FurnitureClass(
        "shower_curtain",
        (
            hangings.drawn_shower_curtain,
            hangings.drawn_shower_curtain,
            hangings.open_shower_curtain,
        ),
        hangs=True,
        interest=1.5,
    ),
)

LABELS: tuple[str, ...] = tuple(each.name for each in CLASSES)
"""Class names; a label is an index into them."""

WITH_FRONT: tuple[str, ...] = tuple(each.name for each in CLASSES if each.has_front)
"""The classes whose labels have a yaw that points out of the front."""

ON_FLOOR: tuple[str, ...] = tuple(each.name for each in CLASSES if not each.hangs)
"""The classes that stand on a floor, with or without a wall behind them."""

MAKERS: dict[str, tuple[Maker, ...]] = {each.name: each.makers for each in CLASSES}
"""Archetypes by class name, without those for a place of their own."""

ARCHETYPES: dict[str, tuple[Maker, ...]] = {
    each.name: each.makers + each.fitted for each in CLASSES
}
"""The same with those for a place of their own."""


def make(name: str, rng: np.random.Generator, maker: Maker | None = None) -> Piece:
    """A new piece of the class `name`, of a given archetype or any of them."""
    archetypes = MAKERS[name]
    chosen = maker or archetypes[rng.integers(len(archetypes))]
    return Piece(stretched(chosen(rng).grounded(), name, rng), LABELS.index(name))


class OwnFurniture:
    """The makers of this list as a supply of rooms: what rooms are furnished with by default."""

    def kinds(self, name: str) -> tuple[str, ...]:
        """The archetypes of a class, also those for a place of their own."""
        return tuple(maker.__name__ for maker in ARCHETYPES[name])

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        """A new piece of the class `name`, of a given archetype or any that stands by itself."""
        named = (maker for maker in ARCHETYPES[name] if maker.__name__ == kind)
        return make(name, rng, next(named, None))


OWN_FURNITURE = OwnFurniture()
"""The supply that rooms are furnished from where no other is given."""
