"""Rooms of several parts: plans, walls, doorways, kitchens, and nothing through anything."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.plan import borders_of, divided, with_doorways
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES, SUITES
from sr3d_core.data.rooms.scene.programmes.kitchen import kitchen
from sr3d_core.data.rooms.scene.room import Room, build_room

NUM = 8
MEANT = {
    frozenset(pair)
    for pair in (
        ("chair", "table"), ("chair", "desk"), ("chair", "chair"), ("sink", "counter"),
        ("sink", "cabinet"), ("bathtub", "shower_curtain"), ("chair", "counter"),
    )
}  # fmt: skip
"""What may stand in each other: tucked in, piled up, let in, hanging into."""


@pytest.fixture(scope="module")
def suites() -> list[Room]:
    return [build_room(np.random.default_rng(seed), programmes=SUITES) for seed in range(NUM)]


def spread(placed: Placed, less: float) -> np.ndarray:
    """Points all over a footprint that is `less` metres smaller all around."""
    half = np.maximum(placed.size[:2] / 2 - less, 0.0)
    steps = np.linspace(-1, 1, 13)
    local = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) * half
    c, s = np.cos(placed.yaw), np.sin(placed.yaw)
    return local @ np.array([[c, s], [-s, c]]) + placed.center[:2]


def is_inside(points: np.ndarray, placed: Placed, less: float) -> np.ndarray:
    c, s = np.cos(placed.yaw), np.sin(placed.yaw)
    local = (points - placed.center[:2]) @ np.array([[c, -s], [s, c]])
    return (np.abs(local) < placed.size[:2] / 2 - less).all(axis=1)


def share_height(a: Placed, b: Placed) -> bool:
    return bool(abs(a.center[2] - b.center[2]) < (a.size[2] + b.size[2]) / 2 - 0.01)


def test_furniture_shares_no_space_but_where_it_is_meant_to(suites: list[Room]) -> None:
    for room in suites:
        for k, thing in enumerate(room.things):
            points = spread(thing, 0.045)
            for other in room.things[:k]:
                names = frozenset((LABELS[thing.label], LABELS[other.label]))
                if names not in MEANT and share_height(thing, other):
                    assert not is_inside(points, other, 0.045).any(), names


def test_no_furniture_stands_in_a_wall(suites: list[Room]) -> None:
    in_walls = [LABELS.index(name) for name in ("door", "window")]
    for room in suites:
        walls = [p for p in room.layout.placed if p.label == NO_LABEL and p.size[2] > 2.35]
        for thing in (thing for thing in room.things if thing.label not in in_walls):
            points = spread(thing, 0.045)
            assert room.layout.floor.contains(points).all()
            assert not any(is_inside(points, wall, 0.0).all() for wall in walls)
            assert not any(is_inside(points, wall, 0.035).any() for wall in walls)


def test_suites_are_at_least_seven_metres_wide_and_hold_many_things(suites: list[Room]) -> None:
    counts = [len(room.things) for room in suites]
    assert min(min(r.layout.floor.width, r.layout.floor.depth) for r in suites) >= 7.0
    assert np.quantile(counts, 0.1) >= 10


def test_a_camera_can_stand_in_nearly_every_part(suites: list[Room]) -> None:
    parts = [part for room in suites for part in room.layout.parts]
    has_spot = [part.free_spot(0.2, 1.5, tries=200) is not None for part in parts]
    assert len(parts) > 2 * NUM
    assert np.mean(has_spot) > 0.95


def test_a_seed_always_gives_the_same_suite(suites: list[Room]) -> None:
    again = build_room(np.random.default_rng(3), programmes=SUITES)
    assert np.array_equal(again.corners, suites[3].corners)


def test_two_of_five_rooms_are_suites() -> None:
    total = sum(weight for _, weight, _ in PROGRAMMES)
    assert sum(weight for _, weight, _ in SUITES) / total == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("notch", [(0.0, 0.0), (2.5, 2.0)])
def test_all_regions_of_a_plan_tile_the_floor_and_can_be_reached(
    notch: tuple[float, float],
) -> None:
    floor = Floor(9.0, 8.0, notch)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        regions, cuts = divided(floor, 5, rng)
        borders = with_doorways(borders_of(regions, cuts), rng)
        assert sum(region.area for region in regions) == pytest.approx(72 - notch[0] * notch[1])
        reached, last = {0}, set()
        while reached != last:
            last = set(reached)
            for border in borders:
                if border.doorway is not None and reached & set(border.regions):
                    reached |= set(border.regions)
        assert reached == set(range(len(regions)))


def test_a_partition_hides_what_is_behind_it() -> None:
    layout = Layout(Floor(6.0, 6.0), np.random.default_rng(0))
    layout.partition(np.array([3.0, 0.0]), np.array([3.0, 4.0]))
    assert not layout.is_open(np.array([1.0, 2.0]), np.array([5.0, 2.0]))
    assert layout.is_open(np.array([1.0, 5.0]), np.array([5.0, 5.0]))
    assert layout.is_open(np.array([1.0, 1.0]), np.array([1.0, 5.0]))


def test_kitchens_have_counters_on_units_with_sinks_let_in_and_units_above() -> None:
    on_top, let_in, above = 0, 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        layout = Layout(Floor(4.0, 4.5), rng)
        kitchen(layout, OWN_FURNITURE, rng)
        things = [p for p in layout.placed if p.label != NO_LABEL]
        tops = {p: p.center[2] + p.size[2] / 2 for p in things}
        cabinets = [p for p in things if LABELS[p.label] == "cabinet"]
        for thing in things:
            low = thing.center[2] - thing.size[2] / 2
            if LABELS[thing.label] == "counter" and low > 0.5:
                assert any(low == pytest.approx(tops[c], abs=0.005) for c in cabinets)
                on_top += 1
            let_in += LABELS[thing.label] == "sink" and 0.3 < low < 1.0
            above += LABELS[thing.label] == "cabinet" and low > 1.3
    assert on_top >= 4
    assert let_in >= 4
    assert above >= 3


def test_every_class_occurs_in_some_rooms(suites: list[Room]) -> None:
    rooms = [*suites, *(build_room(np.random.default_rng(seed)) for seed in range(10))]
    counts = Counter(LABELS[thing.label] for room in rooms for thing in room.things)
    assert all(counts[name] >= 1 for name in LABELS), counts


class NoneOf:
    """Our own furniture without some classes."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def kinds(self, name: str) -> tuple[str, ...]:
        return () if name in self._names else OWN_FURNITURE.kinds(name)

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        assert name not in self._names
        return OWN_FURNITURE.make(name, rng, kind)


def test_a_class_that_the_supply_lacks_is_left_out() -> None:
    lacking = NoneOf("chair", "counter", "sink", "door", "bed", "garbage_bin")
    for seed in range(3):
        assert build_room(np.random.default_rng(seed), lacking, SUITES).things
