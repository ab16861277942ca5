"""Doors, windows, curtains, pictures: where they are in a room, and that walls are open there."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.colors import PALETTE
from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE, make
from sr3d_core.data.rooms.furniture.hangings import poster
from sr3d_core.data.rooms.furniture.mesh import Mesh, box
from sr3d_core.data.rooms.furniture.openings import flush_door
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.furniture.sinks import inset_sink, pedestal_sink, rim_height
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.footprints import Footprint
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.openings import open_walls
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES, SUITES
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.scene.shell import Opening, shell
from sr3d_core.data.rooms.scene.walls import decorate


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    single = [each for each in PROGRAMMES if each not in SUITES]  # no walls but the outer ones
    return [build_room(np.random.default_rng(seed), programmes=single) for seed in range(16)]


def all_of(rooms: list[Room], name: str) -> list[tuple[Room, Placed]]:
    label = LABELS.index(name)
    return [(room, thing) for room in rooms for thing in room.things if thing.label == label]


def front(thing: Placed) -> Float[ndarray, " 2"]:
    return np.array([np.cos(thing.yaw), np.sin(thing.yaw)])


def to_nearest_wall(room: Room, thing: Placed) -> float:
    """Metres from the middle of a thing to the line of the nearest side of the floor."""
    corners = room.layout.floor.outline
    starts, ends = corners, np.roll(corners, -1, axis=0)
    along = (ends - starts) / np.linalg.norm(ends - starts, axis=1, keepdims=True)
    where = np.clip(
        ((thing.center[:2] - starts) * along).sum(axis=1),
        0,
        np.linalg.norm(ends - starts, axis=1),
    )
    return float(np.linalg.norm(starts + along * where[:, None] - thing.center[:2], axis=1).min())


def is_hit(
    start: Float[ndarray, " 3"], end: Float[ndarray, " 3"], corners: Float[ndarray, "F 3 3"]
) -> Bool[ndarray, " F"]:
    """Which triangles a segment crosses, by the signs of the volumes that they span."""

    def side(a: ndarray, b: ndarray, c: ndarray, d: ndarray) -> ndarray:
        return np.sign(np.einsum("fi,fi->f", np.cross(b - a, c - a), d - a))

    a, b, c = np.moveaxis(corners, 1, 0)
    p, q = np.broadcast_to(start, a.shape), np.broadcast_to(end, a.shape)
    turns = np.stack([side(p, q, a, b), side(p, q, b, c), side(p, q, c, a)])
    return (side(a, b, c, p) != side(a, b, c, q)) & (np.abs(turns.sum(axis=0)) == 3)


@pytest.mark.parametrize("name", ["door", "window"])
def test_the_wall_is_open_where_a_door_or_a_window_is(rooms: list[Room], name: str) -> None:
    found = all_of(rooms, name)
    assert len(found) > 6
    for room, thing in found:
        shell_only = room.corners[room.owner == -1]
        on_axis = thing.center + np.array([0.0, 0.0, 0.13 * thing.size[2]])
        deep = to_nearest_wall(room, thing)
        if name == "window" or deep < 0.1:  # closed
            before = on_axis + np.array([*front(thing), 0.0]) * (deep + 0.03)
            assert not is_hit(on_axis, before, shell_only).any()


def test_windows_and_closed_doors_sit_in_a_wall(rooms: list[Room]) -> None:
    assert all(to_nearest_wall(room, window) < 0.4 for room, window in all_of(rooms, "window"))
    assert all(to_nearest_wall(room, door) < 0.65 for room, door in all_of(rooms, "door"))


def test_no_picture_hangs_before_a_window(rooms: list[Room]) -> None:
    windows = all_of(rooms, "window")
    for room, picture in all_of(rooms, "picture"):
        for other, window in windows:
            apart = abs(picture.center[2] - window.center[2])
            if other is not room or apart > (picture.size[2] + window.size[2]) / 2 - 0.02:
                continue
            before = window.center[:2] + 0.2 * front(window)
            size = np.array([0.6, window.size[1] - 0.1])
            hung = Footprint.of(tuple(picture.center[:2]), tuple(picture.size[:2]), picture.yaw)
            assert not hung.overlaps(Footprint.of(tuple(before), tuple(size), window.yaw))


def test_the_back_of_a_picture_touches_its_wall(rooms: list[Room]) -> None:
    found = all_of(rooms, "picture")
    assert len(found) > 6
    for room, picture in found:
        thick = np.ptp((picture.mesh.vertices[:, :2] - picture.center[:2]) @ front(picture))
        assert to_nearest_wall(room, picture) == pytest.approx(thick / 2, abs=1e-6)


def test_a_shower_curtain_hangs_along_the_side_of_a_tub() -> None:
    hung = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        layout = Layout(Floor(4.0, 4.0), rng)
        tub = layout.put_at_wall(make("bathtub", rng), gap=0.0)
        assert tub is not None
        decorate(layout, 2.5, OWN_FURNITURE, rng)
        for curtain in layout.placed:
            if curtain.label == LABELS.index("shower_curtain"):
                hung += 1
                side = tub.center[:2] + front(tub) * tub.size[0] / 2
                assert abs((curtain.center[:2] - side) @ front(tub)) < 0.2
                assert curtain.center[2] + curtain.size[2] / 2 < 2.5
    assert 2 <= hung <= 10


def test_a_labelled_box_is_five_centimetres_deep_about_the_middle_of_the_thing() -> None:
    piece = make("picture", np.random.default_rng(0), poster)
    assert piece.extents[0] == 0.0
    assert piece.size == (0.05, *piece.extents[1:])
    placed = Layout(Floor(4.0, 4.0), np.random.default_rng(0)).put(piece, (2.0, 2.0), 0.0, z=1.0)
    assert placed is not None
    assert placed.mesh.vertices[:, 0] == pytest.approx(2.0)
    assert placed.center[0] == 2.0
    assert Piece(box((0.01, 0.01, 0.01), (0, 0, 0), (0, 0, 0)), NO_LABEL).size[0] < 0.02


def test_a_door_has_its_handle_at_the_end_that_swings() -> None:
    mesh = flush_door(np.random.default_rng(3))
    thickest = np.abs(mesh.vertices[:, 0]) > 0.9 * np.abs(mesh.vertices[:, 0]).max()
    assert (mesh.vertices[thickest, 1] > 0.2).all()


def test_the_rim_of_a_basin_is_below_its_tap() -> None:
    rng = np.random.default_rng(0)
    sink = make("sink", rng, inset_sink)
    assert 0.09 < rim_height(sink.mesh) < 0.23
    assert rim_height(sink.mesh) < sink.size[2] - 0.05
    assert 0.7 < rim_height(make("sink", rng, pedestal_sink).mesh) < 0.95


def test_openings_of_a_wall_do_not_overlap() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        layout = Layout(Floor(5.0, 3.0, (1.0, 1.0)), rng)
        height = 2.5
        for holes in open_walls(layout, height, Doors(), rng):
            for first in holes:
                assert 0 <= first.low < first.high < height
                others = [hole for hole in holes if hole is not first]
                assert all(first.end < hole.start or hole.end < first.start for hole in others)


class Doors:
    """A supply of doors and windows alone."""

    def kinds(self, name: str) -> tuple[str, ...]:
        return ("any",) if name in ("door", "window") else ()

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        assert self.kinds(name)
        return make(name, rng)


def test_walls_are_as_large_as_what_their_openings_leave() -> None:
    holes = [Opening(1.0, 2.0, 0.0, 2.0, 0.0), Opening(3.0, 4.5, 1.0, 2.0, 0.0)]
    floor = Floor(6.0, 5.0)
    whole = shell(floor, [[], [], [], []], 2.5, np.random.default_rng(0))
    cut = shell(floor, [holes, [], [], []], 2.5, np.random.default_rng(0))

    def wall_area(mesh: Mesh) -> float:  # of the wall y = 0 alone
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        is_wall = (np.abs(mesh.vertices[mesh.faces][:, :, 1]) < 1e-9).all(axis=1)
        return float(area[is_wall].sum())

    assert wall_area(whole) - wall_area(cut) == pytest.approx(1.0 * 2.0 + 1.5 * 1.0)


def test_every_class_has_a_color_of_its_own() -> None:
    assert set(LABELS) <= set(PALETTE)
    colors = np.array(list(PALETTE.values()))
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=2)
    assert apart[~np.eye(len(colors), dtype=bool)].min() > 0.15
