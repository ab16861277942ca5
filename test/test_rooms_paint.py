"""What images of rooms are painted with: materials, patterns, round normals, shadows, cameras."""

from __future__ import annotations

import io

import numpy as np
import pytest

from sr3d_core.data.rooms.camera.sensor import orientation
from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.material import (
    Material,
    Paint,
    material_of,
    material_of_models,
)
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cylinder, quad
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.looks.developing import Camera, encode
from sr3d_core.data.rooms.looks.finishes import BRIGHTEST, Finishes, linear
from sr3d_core.data.rooms.looks.jpeg import through_jpeg
from sr3d_core.data.rooms.looks.parts import OTHER, SHELL, parts_of
from sr3d_core.data.rooms.looks.rounding import Rounding
from sr3d_core.data.rooms.looks.shadows import ShadowMap
from sr3d_core.data.rooms.looks.tiles import PATTERNS, SIZE, VARIANTS, all_tiles, grain, tile_of
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.room import Build, Room, build_room
from sr3d_core.geometry.camera import Pinhole

WOOD = Paint((0.6, 0.4, 0.2), Material.WOOD)
WHITE = Paint((0.9, 0.9, 0.9), Material.WHITE)


def room_of(mesh: Mesh, label: int = NO_LABEL, yaw: float = 0.0) -> Room:
    """One piece and nothing else, at (2, 2)."""
    layout = Layout(Floor(4.0, 4.0), np.random.default_rng(0))
    placed = layout.add(Piece(mesh, label), (2.0, 2.0), yaw)
    mesh = placed.mesh
    num = len(mesh.faces)
    build = Build(mesh.faces, mesh.color, mesh.material, np.zeros(num, dtype=int))
    corners = mesh.vertices[mesh.faces]
    owner = np.full(num, -1 if label == NO_LABEL else 0)
    things = () if label == NO_LABEL else (placed,)
    surface = np.zeros((len(things), 64, 3))
    return Room(layout, corners, mesh.color, mesh.absorbs, owner, things, surface, build)


def test_colors_of_the_palette_know_their_material() -> None:
    rng = np.random.default_rng(0)
    assert material_of(palette.wood(rng)) == Material.WOOD
    assert material_of(palette.fabric(rng)) == Material.FABRIC
    assert material_of(palette.ground(rng)) == Material.GROUND
    assert material_of(palette.blend(WOOD, (0, 0, 0), 0.1)) == Material.WOOD
    assert material_of((0.1, 0.2, 0.3)) == Material.UNKNOWN


def test_clear_parts_of_models_from_files_are_glass() -> None:
    found = material_of_models(np.array([0.0, 0.7, 0.3]))
    assert found.tolist() == [Material.UNKNOWN, Material.GLASS, Material.UNKNOWN]


def test_meshes_keep_the_material_of_their_color() -> None:
    both = Mesh.cat([box((1, 1, 1), (0, 0, 0), WOOD), cylinder(1, 1, (0, 0, 0), WHITE)])
    moved = both.moved(x=1.0, yaw=0.3).scaled((1, 2, 1)).grounded()
    assert (moved.material[:12] == Material.WOOD).all()
    assert (moved.material[12:] == Material.WHITE).all()
    assert len(Mesh.empty().material) == 0


def test_most_of_a_room_has_a_known_material() -> None:
    for seed in range(3):
        material = build_room(np.random.default_rng(seed)).build.material
        assert (material != Material.UNKNOWN).mean() > 0.9


def test_every_triangle_of_a_room_is_of_the_piece_that_holds_it() -> None:
    room = build_room(np.random.default_rng(4))
    build, placed = room.build, room.layout.placed
    assert len(build.faces) == len(room.corners) == len(build.paint) == len(build.piece)
    for k, thing in enumerate(placed):
        mine = room.corners[build.piece == k]
        np.testing.assert_array_equal(mine, thing.mesh.vertices[thing.mesh.faces])
    assert (room.owner[build.piece < 0] == -1).all()


def test_two_boards_are_two_parts_with_one_finish() -> None:
    mesh = Mesh.cat([box((2, 0.1, 0.02), (0, 0, 0), WOOD), box((0.1, 0.1, 1), (0, 0, 0.02), WOOD)])
    parts = parts_of(room_of(mesh, LABELS.index("table"), yaw=0.4))
    assert parts.of_face.tolist() == [0] * 12 + [1] * 12
    assert parts.group.tolist() == [0, 0]
    assert parts.groups[0].class_name == "table"
    assert parts.groups[0].material == Material.WOOD
    assert parts.order[:, 0].tolist() == [0, 2]  # grain along x, and along the upright


def test_the_shell_and_clutter_are_no_class() -> None:
    names = {group.class_name for group in parts_of(build_room(np.random.default_rng(0))).groups}
    assert {SHELL, OTHER} < names
    assert names - {SHELL, OTHER} <= set(LABELS)


def test_patterns_turn_with_their_piece() -> None:
    mesh = box((2, 0.1, 0.02), (0, 0, 0), WOOD)
    yaw = 0.7
    parts = parts_of(room_of(mesh, LABELS.index("table"), yaw=yaw))
    tip = np.array([[2 + np.cos(yaw), 2 + np.sin(yaw), 0.01]], dtype=np.float32)
    place = parts.coordinates(np.zeros(1, dtype=int), tip, about_origin=True)
    assert place[0].tolist() == pytest.approx([1, 0, 0], abs=0.03)


def test_tiles_have_no_seam_and_every_pattern_varies() -> None:
    tiles, rng = all_tiles(), np.random.default_rng(0)
    u, v = ((rng.integers(-600, 600, (2, 500)) + 0.5) / SIZE).astype(np.float32)
    fine = np.zeros(500, dtype=np.float32)
    for number in range(len(PATTERNS) * VARIANTS):
        tile = np.full(500, number)
        found = tiles.at(tile, u, v, fine)
        np.testing.assert_array_equal(found, tiles.at(tile, u + 4, v - 4, fine))
        assert 0 <= found.min() <= found.max() <= 1
        assert found.std(axis=0).max() > 0.01


def test_a_pixel_as_wide_as_a_tile_sees_its_mean() -> None:
    tiles = all_tiles()
    line = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    u, v = (each.reshape(-1) for each in np.meshgrid(line, line))
    tile = np.full(len(u), tile_of(grain, 1))
    near = tiles.at(tile, u, v, np.zeros(len(u), dtype=np.float32))
    far = tiles.at(tile, u, v, np.ones(len(u), dtype=np.float32))
    assert np.ptp(far, axis=0).max() == 0
    np.testing.assert_allclose(far[0], near.mean(axis=0), atol=0.01)


def test_finishes_reflect_no_more_light_than_comes() -> None:
    parts = parts_of(build_room(np.random.default_rng(0)))
    for finishes in (
        Finishes.of(parts.groups, np.random.default_rng(1)),
        Finishes.at_random(parts.groups, np.random.default_rng(1)),
    ):
        assert len(finishes.tile) == len(parts.groups)
        for column in (finishes.color, finishes.second):
            assert 0 < column.min() <= column.max() <= np.float32(BRIGHTEST)
        assert 0 <= finishes.gloss.min() <= finishes.gloss.max() <= 1


def test_no_groups_have_no_finishes() -> None:
    finishes = Finishes.of((), np.random.default_rng(0))
    assert finishes.color.shape == finishes.gloss.shape == (0, 3)


def test_a_cylinder_is_round_and_its_ends_are_flat() -> None:
    room = room_of(cylinder(0.5, 1.0, (0, 0, 0), WHITE, n=12))
    rounding = Rounding.of(room)
    middle = room.corners.mean(axis=1).astype(np.float32)
    across = np.cross(
        room.corners[:, 1] - room.corners[:, 0], room.corners[:, 2] - room.corners[:, 0]
    )
    own = (across / np.linalg.norm(across, axis=1, keepdims=True)).astype(np.float32)
    is_side = np.abs(own[:, 2]) < 0.5
    assert rounding.is_round[is_side].all()
    assert not rounding.is_round[~is_side].any()
    # Towards a corner of the twelve-sided outline the normal is that of the circle through it.
    face = np.flatnonzero(is_side)
    near = room.corners[face, 0] * 0.98 + middle[face] * 0.02
    bent = rounding.at(face, near.astype(np.float32), own[face])
    radial = room.corners[face, 0] - (2, 2, 0)
    radial = radial * (1, 1, 0) / 0.5
    assert np.abs(np.einsum("nc,nc->n", bent, radial)).min() > np.cos(np.deg2rad(2))
    assert np.abs(np.einsum("nc,nc->n", own[face], radial)).min() < np.cos(np.deg2rad(14))


def test_a_box_has_sharp_edges() -> None:
    assert not Rounding.of(room_of(box((1, 2, 3), (0, 0, 0), WHITE))).is_round.any()


def shadow_map(corners: np.ndarray, height: float = 2.0) -> ShadowMap:
    """From `height` above (0, 0), looking down; a pixel is 2 cm wide on the floor."""
    pose = (orientation(0.0, -np.pi / 2, 0.0), np.array([0.0, 0.0, height]))
    pinhole = Pinhole(200, 200, 100.0, 100.0, 99.5, 99.5)
    casts = np.ones(len(corners), dtype=bool)
    return ShadowMap.taken(corners, casts, pose, pinhole, 1.0, True)


def test_a_plate_shades_the_floor_below_it_and_not_itself() -> None:
    floor = quad([(-2, -2, 0), (2, -2, 0), (2, 2, 0), (-2, 2, 0)], WHITE)
    plate = quad([(-0.5, -0.5, 1), (0.5, -0.5, 1), (0.5, 0.5, 1), (-0.5, 0.5, 1)], WHITE)
    mesh = Mesh.cat([floor, plate])
    found = shadow_map(mesh.vertices[mesh.faces])
    up = np.tile(np.array([[0, 0, 1]], dtype=np.float32), (4, 1))
    # Its shadow reaches 1 m to each side, as far as the light's image does.
    place = np.array([[0.3, 0.1, 0], [0.9, 0.0, 0], [0.3, 0.1, 1], [1.5, 0, 0]], dtype=np.float32)
    lit = found.lit(place, up, np.array([0, 0, 2, 0]))
    assert lit.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_surfaces_at_any_slope_do_not_shade_themselves() -> None:
    """Two triangles in one plane, each asked with the number of the other."""
    for slope in (0.0, 0.5, 1.0, 2.0):
        sheet = quad([(-1, -0.5, 0), (1, -0.5, 0), (1, 0.5, slope), (-1, 0.5, slope)], WHITE)
        corners = sheet.vertices[sheet.faces]
        rng = np.random.default_rng(0)
        y = rng.uniform(-0.4, 0.4, 200)
        xyz = np.column_stack([rng.uniform(-0.4, 0.4, 200), y, slope * (y + 0.5)])
        normal = np.array([0, -slope, 1]) / np.hypot(1, slope)
        normals = np.tile(normal, (200, 1)).astype(np.float32)
        lit = shadow_map(corners, 3.0).lit(xyz.astype(np.float32), normals, np.full(200, -5))
        assert lit.min() == 1.0, slope


def test_where_nothing_casts_shadows_all_is_lit() -> None:
    found = shadow_map(np.zeros((0, 3, 3)))
    up = np.array([[0, 0, 1]], dtype=np.float32)
    assert found.lit(np.zeros((1, 3), dtype=np.float32), up, np.zeros(1, int)).tolist() == [1.0]


def test_encoding_is_the_inverse_of_what_makes_colors_linear() -> None:
    value = np.linspace(0, 1, 50)
    np.testing.assert_allclose(encode(linear(np.tile(value[:, None], 3)))[:, 0], value, atol=1e-6)
    assert float(encode(np.array(0.2140))) == pytest.approx(0.5, abs=1e-3)  # IEC 61966-2-1


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_images_lose_what_they_lose_in_a_jpeg_file(quality: int) -> None:
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    u, v = np.meshgrid(np.arange(96), np.arange(80))
    image = 128 + 60 * np.sin(u / 9 + v / 17)[..., None] * (1, 0.6, -0.5)
    image = np.clip(np.rint(image + rng.normal(0, 12, (80, 96, 1))), 0, 255)
    image[30:50, 40:60] = (200, 40, 60)
    file = io.BytesIO()
    image_module.fromarray(image.astype(np.uint8)).save(
        file, "JPEG", quality=quality, subsampling=2
    )
    theirs = np.asarray(image_module.open(file), dtype=np.float64)
    ours = np.clip(np.rint(through_jpeg(image, quality)), 0, 255)
    lost = np.abs(theirs - image).mean()
    assert np.abs(ours - theirs).mean() < 0.35 * lost + 0.6
    assert np.abs(ours - image).mean() == pytest.approx(lost, rel=0.25)


def test_jpeg_takes_sizes_that_are_no_multiples_of_16() -> None:
    image = np.full((37, 21, 3), 77.0)
    assert through_jpeg(image, 50).shape == (37, 21, 3)
    assert np.abs(through_jpeg(image, 50) - 77).max() < 2


def test_exposure_makes_dark_and_bright_scenes_alike() -> None:
    camera = Camera(balance=np.ones(3), grain=0.0)
    scene = np.random.default_rng(0).uniform(0.3, 0.6, (48, 64, 3)).astype(np.float32)
    dim, bright = (
        camera.develop(scene * np.float32(factor), np.random.default_rng(0))
        for factor in (0.02, 5.0)
    )
    assert np.abs(dim.astype(int) - bright.astype(int)).max() <= 1
    assert 90 < dim.mean() < 150


def test_an_image_of_no_light_is_black_and_not_broken() -> None:
    camera = Camera.random(np.random.default_rng(0))
    dark = camera.develop(np.zeros((48, 64, 3), dtype=np.float32), np.random.default_rng(0))
    assert dark.dtype == np.uint8
    assert dark.mean() < 60


def test_a_window_in_a_dark_room_does_not_blow_the_rest_out() -> None:
    scene = np.full((60, 80, 3), 0.2, dtype=np.float32)
    scene[:20, :30] = 20.0
    image = Camera(balance=np.ones(3), grain=0.0, blur_px=0.3).develop(
        scene, np.random.default_rng(0)
    )
    assert (image[:18, :28] > 235).all()
    assert image[40, 40].max() < 200
