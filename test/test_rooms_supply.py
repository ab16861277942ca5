"""Rooms take their furniture from a supply, and do without what it does not have."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d_core.data.rooms.furniture.classes import CLASSES, LABELS, MAKERS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import box
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES
from sr3d_core.data.rooms.scene.room import build_room


class Cubes:
    """Cubes of an edge of 40 cm for every class, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.lacks: tuple[str, ...] = ()

    def kinds(self, name: str) -> tuple[str, ...]:
        return () if name in self.lacks else ("cube",)

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        assert name not in self.lacks
        self.asked.append((name, kind))
        return Piece(box((0.4, 0.4, 0.4), (0, 0, 0), (0.5, 0.5, 0.5)), LABELS.index(name))


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, str | None]]:
    """What rooms of every programme ask a supply for."""
    cubes = Cubes()
    for programme, _, _ in PROGRAMMES:
        for seed in range(4):
            build_room(np.random.default_rng(seed), cubes, ((programme, 1.0, (4.0, 6.0)),))
    return cubes.asked


def test_all_furniture_of_a_room_comes_from_the_supply() -> None:
    for seed in range(12):
        room = build_room(np.random.default_rng(seed), Cubes())
        assert len(room.things) > 0
        triangles = np.bincount(room.owner[room.owner >= 0])
        assert (triangles % 12 == 0).all()  # of a cube, or of some in a row


def test_rooms_do_without_classes_that_the_supply_lacks() -> None:
    cubes = Cubes()
    cubes.lacks = LABELS[12:]
    for seed in range(12):
        assert len(build_room(np.random.default_rng(seed), cubes).things) > 0


def test_a_room_is_furnished_by_one_of_the_given_programmes() -> None:
    def two_beds(room: Layout, supply: Cubes, rng: np.random.Generator) -> None:
        room.put(supply.make("bed", rng), (1.0, 1.0), 0.0)
        room.put(supply.make("bed", rng), (3.0, 3.0), 0.0)

    room = build_room(np.random.default_rng(0), Cubes(), ((two_beds, 1.0, (6.0, 6.5)),))
    on_floor = [LABELS[placed.label] for placed in room.things if placed.label < 12]
    assert on_floor[:2] == ["bed", "bed"]
    assert 6.0 <= room.layout.floor.width <= 6.5


def test_what_programmes_wish_is_a_kind_of_our_own(asked: list[tuple[str, str | None]]) -> None:
    wishes = {(name, kind) for name, kind in asked if kind not in (None, "cube")}
    assert len(wishes) >= 5
    known = {(c.name, m.__name__) for c in CLASSES for m in (*c.makers, *c.fitted)}
    assert wishes <= known


def test_kinds_of_our_own_are_the_archetypes() -> None:
    rng = np.random.default_rng(0)
    kinds = OWN_FURNITURE.kinds("table")
    assert len(kinds) == len(MAKERS["table"])
    heights = [OWN_FURNITURE.make("table", rng, "coffee_table").size[2] for _ in range(20)]
    assert max(heights) < 0.66  # 0.52 m, stretched by a quarter


def test_a_kind_that_our_own_do_not_have_is_any_of_the_class() -> None:
    piece = OWN_FURNITURE.make("sofa", np.random.default_rng(0), "hammock")
    assert piece.label == LABELS.index("sofa")


def test_there_are_programmes_for_every_class(asked: list[tuple[str, str | None]]) -> None:
    assert {name for name, _ in asked} == set(LABELS)
