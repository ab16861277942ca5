from __future__ import annotations

import numpy as np
import pytest

from sr3d_core.data.rooms.clutter import lists as clutter
from sr3d_core.data.rooms.furniture.classes import ARCHETYPES, LABELS, MAKERS, make
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cylinder, turn_z
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.footprints import Footprint
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.room import build_room

GREY = (0.5, 0.5, 0.5)

SIZES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "chair": ((0.2, 0.2, 0.4), (1.35, 1.3, 1.6)),
    "table": ((0.3, 0.3, 0.2), (1.9, 4.1, 1.2)),
    "desk": ((0.35, 0.55, 0.45), (2.0, 2.4, 1.75)),
    "bed": ((1.65, 0.68, 0.1), (2.5, 2.6, 2.25)),
    "sofa": ((0.6, 0.6, 0.45), (2.6, 3.8, 1.3)),
    "bookshelf": ((0.17, 0.28, 0.45), (0.52, 2.75, 2.55)),
    "cabinet": ((0.22, 0.26, 0.28), (0.8, 4.5, 2.5)),
    "night_stand": ((0.25, 0.28, 0.3), (0.7, 0.95, 0.95)),
    "dresser": ((0.3, 0.42, 0.55), (0.78, 2.0, 1.75)),
    "toilet": ((0.4, 0.29, 0.3), (0.98, 0.62, 1.2)),
    "bathtub": ((0.5, 0.9, 0.3), (1.65, 2.1, 1.05)),
    "refrigerator": ((0.4, 0.4, 0.45), (1.05, 1.25, 2.15)),
    "door": ((0.05, 0.6, 1.85), (0.2, 3.3, 2.45)),
    "window": ((0.05, 0.35, 0.35), (0.2, 3.05, 2.4)),
    "curtain": ((0.05, 0.2, 0.7), (0.35, 3.3, 2.7)),
    "counter": ((0.25, 0.6, 0.05), (3.2, 4.05, 1.25)),
    "sink": ((0.25, 0.34, 0.1), (0.7, 1.1, 1.15)),
    "garbage_bin": ((0.15, 0.15, 0.2), (0.8, 0.65, 1.1)),
    "picture": ((0.05, 0.05, 0.05), (0.07, 1.8, 1.8)),
    "shower_curtain": ((0.05, 0.2, 1.6), (0.3, 2.0, 2.1)),
}
"""Smallest and largest depth, width and height (metres) that such furniture has in shops."""


def cube(edge: float = 1.0) -> Piece:
    return Piece(box((edge, edge, edge), (0, 0, 0), GREY), NO_LABEL)


def room(seed: int = 0, floor: Floor | None = None) -> Layout:
    return Layout(floor or Floor(6.0, 5.0), np.random.default_rng(seed))


@pytest.mark.parametrize("name", LABELS)
def test_furniture_has_the_size_of_its_class(name: str) -> None:
    rng = np.random.default_rng(1)
    for maker in dict.fromkeys(ARCHETYPES[name]):
        for _ in range(12):
            size = make(name, rng, maker).size
            low, high = SIZES[name]
            assert (np.asarray(low) <= size).all(), (maker, size)
            assert (np.asarray(high) >= size).all(), (maker, size)


@pytest.mark.parametrize("name", LABELS)
def test_furniture_stands_on_the_floor_in_the_middle_of_its_box(name: str) -> None:
    low, high = make(name, np.random.default_rng(2)).mesh.bounds
    np.testing.assert_allclose(low[:2], -high[:2], atol=1e-9)
    assert low[2] == pytest.approx(0.0)


@pytest.mark.parametrize("name", LABELS)
def test_every_class_has_two_archetypes_at_least(name: str) -> None:
    assert len(set(MAKERS[name])) >= 2


def test_chairs_have_their_back_at_minus_x() -> None:
    for seed in range(5):
        mesh = make("chair", np.random.default_rng(seed), MAKERS["chair"][0]).mesh
        top = mesh.vertices[mesh.vertices[:, 2] > 0.9 * mesh.vertices[:, 2].max()]
        assert top[:, 0].mean() < 0


def test_colors_and_absorption_stay_between_0_and_1() -> None:
    rng = np.random.default_rng(0)
    makers = [*clutter.FLOOR, *clutter.ON_WALL, *clutter.ON_TABLE]
    mesh = Mesh.cat([maker(rng) for maker in makers])
    assert 0 <= mesh.color.min() <= mesh.color.max() <= 1
    assert 0 <= mesh.absorbs.min() <= mesh.absorbs.max() <= 1


def test_clutter_has_no_label() -> None:
    assert clutter.any_of(clutter.FLOOR, np.random.default_rng(0)).label == NO_LABEL


def test_no_parts_make_an_empty_mesh() -> None:
    assert len(Mesh.cat([]).faces) == 0


def test_a_cylinder_has_the_volume_bounds_of_its_radius() -> None:
    low, high = cylinder(0.5, 2.0, (1, 0, 3), GREY, n=12).bounds
    np.testing.assert_allclose(low, (0.5, -0.5, 3.0))
    np.testing.assert_allclose(high, (1.5, 0.5, 5.0))


def test_squaring_finds_the_smallest_footprint() -> None:
    mesh = box((2.0, 0.5, 1.0), (0, 0, 0), GREY).turned(turn_z(np.deg2rad(30))).squared()
    low, high = mesh.bounds
    np.testing.assert_allclose(sorted((high - low)[:2]), (0.5, 2.0), atol=1e-9)


def test_diamond_and_square_that_only_their_bounds_share_do_not_overlap() -> None:
    diamond = Footprint.of((0.0, 0.0), (1.0, 1.0), np.pi / 4)
    near_corner = Footprint.of((0.6, 0.6), (0.4, 0.4), 0.0)
    at_tip = Footprint.of((0.8, 0.0), (0.4, 0.4), 0.0)
    assert not diamond.overlaps(near_corner)
    assert diamond.overlaps(at_tip)


def test_a_chair_stands_under_its_table_as_deep_as_it_may_and_in_nothing_else() -> None:
    layout = room()
    table = layout.put(cube(), (2.0, 2.0), 0.0)
    other = layout.put(cube(), (2.0, 3.2), 0.0)
    assert table is not None
    assert other is not None
    assert layout.put_near(cube(0.6), table, (0.6, 0.0), 0.0, reach=0.1) is None
    assert layout.put_near(cube(0.6), table, (0.0, 0.6), 0.0, reach=0.25) is None  # in the other
    assert layout.put_near(cube(0.6), table, (0.6, 0.0), 0.0, reach=0.25) is not None


def test_what_is_higher_than_the_ceiling_does_not_stand_in_the_room() -> None:
    layout = room(floor=Floor(4.0, 4.0, height=2.4))
    assert layout.put(cube(2.5), (2.0, 2.0), 0.0) is None
    assert layout.put(cube(2.3), (2.0, 2.0), 0.0) is not None


def test_a_piece_that_needs_space_stands_away_from_walls_and_things() -> None:
    layout = room()
    layout.put(cube(), (2.0, 2.0), 0.0)
    assert layout.put(cube(), (3.4, 2.0), 0.0, slack=-0.5) is None
    assert layout.put(cube(), (5.4, 2.0), 0.0, slack=-0.5) is None
    assert layout.put(cube(), (3.6, 2.0), 0.0, slack=-0.5) is not None


def test_what_lies_on_a_sofa_lies_on_its_seat() -> None:
    layout = room()
    seat = box((1.0, 2.0, 0.4), (0, 0, 0), GREY)
    back = box((0.1, 2.0, 0.8), (-0.45, 0, 0), GREY)
    sofa = layout.put(Piece(Mesh.cat([seat, back]), NO_LABEL), (3.0, 3.0), 0.5)
    assert sofa is not None
    lying = [layout.put_on(cube(0.3), sofa, tries=20) for _ in range(3)]
    assert next(p.mesh.bounds[0][2] for p in lying if p is not None) == pytest.approx(0.4)


def test_two_things_do_not_stand_in_the_same_place() -> None:
    layout = room()
    assert layout.put(cube(), (2.0, 2.0), 0.0) is not None
    assert layout.put(cube(), (2.5, 2.0), 0.0) is None
    assert layout.put(cube(), (3.0, 2.0), 0.0) is not None


def test_a_shelf_may_hang_over_a_table() -> None:
    layout = room()
    layout.put(cube(), (2.0, 2.0), 0.0)
    assert layout.put(cube(), (2.0, 2.0), 0.0, z=1.2) is not None


def test_nothing_stands_outside_the_floor() -> None:
    assert room().put(cube(), (0.2, 2.0), 0.0) is None
    notched = Floor(6.0, 5.0, (2.0, 2.0))
    assert room(floor=notched).put(cube(), (5.0, 4.0), 0.0) is None


def test_a_piece_at_a_wall_turns_its_back_to_it() -> None:
    for seed in range(8):
        placed = room(seed).put_at_wall(cube(), gap=0.1)
        assert placed is not None
        back = placed.center[:2] - 0.6 * np.array([np.cos(placed.yaw), np.sin(placed.yaw)])
        distance = min(*back, *(np.array([6.0, 5.0]) - back))
        assert distance == pytest.approx(0.0, abs=1e-9)


def test_a_piece_too_long_for_any_wall_is_not_placed() -> None:
    assert room().put_at_wall(cube(7.0)) is None


def test_a_thing_on_a_table_stands_on_its_top() -> None:
    layout = room()
    table = layout.put(cube(), (2.0, 2.0), 0.3)
    assert table is not None
    layout.put_on(cube(0.2), table)
    top = layout.placed[-1]
    assert top.center[2] == pytest.approx(1.1)
    assert top.mesh.bounds[0][2] == pytest.approx(1.0)


def test_a_blocked_area_stays_free() -> None:
    layout = room()
    layout.block((2.0, 2.0), (1.0, 1.0), 0.0)
    assert layout.put(cube(), (2.0, 2.0), 0.0) is None


def test_a_free_spot_is_away_from_things() -> None:
    layout = room()
    layout.put(cube(), (2.0, 2.0), 0.0)
    for _ in range(20):
        spot = layout.free_spot(0.3, height=0.8)
        assert spot is not None
        assert np.abs(spot - 2.0).max() >= 0.8


def test_a_full_floor_has_no_free_spot() -> None:
    layout = room(floor=Floor(2.0, 2.0))
    layout.put(cube(1.98), (1.0, 1.0), 0.0)
    assert layout.free_spot(0.3, height=1.0) is None


def test_boxes_of_placed_things_are_tight() -> None:
    built = build_room(np.random.default_rng(5))
    for thing in built.things:
        local = (thing.mesh.vertices - thing.center) @ turn_z(thing.yaw)
        is_thick = np.ptp(local, axis=0) > 0.05
        np.testing.assert_allclose(local.max(axis=0)[is_thick], thing.size[is_thick] / 2)
        np.testing.assert_allclose(local.min(axis=0)[is_thick], -thing.size[is_thick] / 2)
