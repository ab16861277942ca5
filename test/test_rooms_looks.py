"""Color images of rooms: where their pixels are, what makes them bright, what goes with them."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import sr3d

from sr3d_core.data.folder import FolderSource
from sr3d_core.data.rooms import (
    LABELS,
    PrerenderedImages,
    PrerenderedRooms,
    RoomImages,
    RoomsError,
    image_sheet,
    prerender,
)
from sr3d_core.data.rooms.camera.kinds import image_habits
from sr3d_core.data.rooms.camera.noise import FLIGHT
from sr3d_core.data.rooms.camera.sensor import View, orientation, sighted
from sr3d_core.data.rooms.furniture.material import Material, Paint
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, quad, turn_z
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.looks import sample as looks_sample
from sr3d_core.data.rooms.looks.dataset import DEPTH_STEP_M
from sr3d_core.data.rooms.looks.lights import Lighting, Source
from sr3d_core.data.rooms.looks.sample import closed, image_of, image_samples, picture, stage_of
from sr3d_core.data.rooms.looks.shading import Stage, light_of
from sr3d_core.data.rooms.looks.shadows import ShadowMap
from sr3d_core.data.rooms.looks.views import image_view
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.room import Build, Room, build_room
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.sources import source_of, with_images
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.structures import Sample

pytestmark = pytest.mark.slow

PERFECT = replace(FLIGHT, constant_m=0.0, quadratic=0.0, edge_jitter=0.0, flying=0.0, holes=0.0)
LENS = Pinhole(320, 240, 200.0, 200.0, 160.0, 120.0)
GREY = Paint((0.5, 0.5, 0.5), Material.WHITE)
HEIGHT_M = 2.5


@pytest.fixture(scope="module")
def images() -> list[Sample]:
    """The first image of each of six rooms."""
    return [found for seed in range(6) for found in image_samples(seed, 1)]


def four_walls() -> Mesh:
    """A room of 4 x 4 x 2.5 metres."""
    corners = [(0, 0), (4, 0), (4, 4), (0, 4)]
    levels = [quad([(x, y, z) for x, y in corners], GREY) for z in (0, HEIGHT_M)]
    sides = [
        quad([(*a, 0), (*b, 0), (*b, HEIGHT_M), (*a, HEIGHT_M)], GREY)
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]
    return Mesh.cat([*levels, *sides])


def room_with(
    *pieces: tuple[Piece, tuple[float, float], float], shell: Mesh | None = None
) -> Room:
    """A room of 4 x 4 metres with pieces at places and heights."""
    layout = Layout(Floor(4.0, 4.0, height=HEIGHT_M), np.random.default_rng(0))
    placed = [layout.add(piece, at, 0.0, z=z) for piece, at, z in pieces]
    walls = four_walls() if shell is None else shell
    meshes = [*(each.mesh for each in placed), walls]
    mesh, counts = Mesh.cat(meshes), [len(each.faces) for each in meshes]
    is_thing = [each.label != NO_LABEL for each in placed]
    things = tuple(each for each, mine in zip(placed, is_thing, strict=True) if mine)
    owner = np.repeat([*(k if mine else -1 for k, mine in enumerate(is_thing)), -1], counts)
    piece = np.repeat([*range(len(placed)), -1], counts)
    surface = np.array([np.tile(each.center, (64, 1)) for each in things]).reshape(-1, 64, 3)
    build = Build(mesh.faces, mesh.color, mesh.material, piece)
    corners = mesh.vertices[mesh.faces]
    return Room(layout, corners, mesh.color, mesh.absorbs, owner, things, surface, build)


def cabinet(size: tuple[float, float, float]) -> Piece:
    return Piece(box(size, (0, 0, 0), GREY), LABELS.index("cabinet"))


def level_view(position: tuple[float, float, float]) -> View:
    """Along +x, without any tilt."""
    return View(LENS, orientation(0.0, 0.0, 0.0), np.array(position), 9.0, PERFECT)


def digest(found: Sample) -> str:
    images, sample = found.images, found
    assert images.depth is not None
    assert images.height is not None
    arrays = [images.pixels, images.intrinsics, images.world_from_camera, images.depth]
    arrays += [images.height, sample.cloud.xyz, sample.cloud.features]
    arrays += [sample.targets.boxes.array, sample.targets.labels]
    return hashlib.sha256(b"".join(each.numpy().tobytes() for each in arrays)).hexdigest()


def test_another_process_makes_the_same_bytes() -> None:
    code = (
        "from test_rooms_looks import digest\n"
        "from sr3d_core.data.rooms.looks.sample import image_samples\n"
        "print(digest(image_samples(21, 1)[0]))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == digest(image_samples(21, 1)[0])


def test_an_image_does_not_depend_on_which_others_are_made() -> None:
    first, second = image_samples(22, 2)
    assert digest(first) == digest(image_samples(22, 1)[0])
    assert digest(first) != digest(second)


def test_the_global_random_state_does_not_matter() -> None:
    np.random.seed(1)  # noqa: NPY002
    first = digest(image_samples(23, 1)[0])
    np.random.seed(2)  # noqa: NPY002
    assert first == digest(image_samples(23, 1)[0])


def test_depth_is_what_one_measures_with_a_ruler() -> None:
    """Camera 1.2 m high at x = 1, wall at x = 4, the front of a cabinet at x = 2.5."""
    room = room_with((cabinet((0.5, 0.6, 2.0)), (2.75, 2.0), 0.0))
    stage = Stage.of(room, np.random.default_rng(0))
    view = level_view((1.0, 2.0, 1.2))
    found = image_of(stage, np.random.default_rng(1), "box", view=view)
    assert found.images.depth is not None
    depth = found.images.depth[0]
    assert float(depth[120, 160]) == pytest.approx(1.5, abs=1e-5)
    assert float(depth[120, 160 + 60]) == pytest.approx(3.0, abs=1e-5)  # .9 m aside: the wall
    assert float(depth[239, 300]) == pytest.approx(1.2 * 200 / 119, abs=1e-5)  # the floor
    assert float(depth[0, 300]) == pytest.approx(1.3 * 200 / 120, abs=1e-5)  # the ceiling
    assert found.images.height is not None
    assert float(found.images.height) == pytest.approx(1.2)


def test_boxes_and_camera_are_in_the_same_world_frame() -> None:
    room = room_with((cabinet((0.5, 0.6, 2.0)), (2.75, 2.2), 0.0))
    view = level_view((1.0, 2.0, 1.2))
    stage = Stage.of(room, np.random.default_rng(0))
    found = image_of(stage, np.random.default_rng(1), "box", view=view)
    assert found.targets.labels.tolist() == [LABELS.index("cabinet")]
    camera_from_world = torch.linalg.inv(found.images.world_from_camera[0].double())
    center = camera_from_world @ torch.cat([found.targets.boxes.center[0].double(), torch.ones(1)])
    # .2 m to the left, .2 m below the camera, 1.75 m ahead.
    assert center[:3].tolist() == pytest.approx([-0.2, 0.2, 1.75], abs=1e-4)


def test_the_world_is_level_up_to_three_degrees(images: list[Sample]) -> None:
    for seed, found in enumerate(images):
        room = closed(build_room(np.random.default_rng(seed)), np.random.default_rng(0))
        assert room.layout.floor.height > 2
        depth = found.images.depth
        assert depth is not None
        pose = found.images.world_from_camera[0].double()
        rotation = pose[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double(), atol=1e-5, rtol=0)
        assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
        assert float(rotation[2, 1]) < -0.7  # the image's down is down in the world


def test_points_of_the_cloud_lie_on_the_rays_of_their_pixels(images: list[Sample]) -> None:
    for found in images:
        shot, cloud = found.images, found.cloud
        assert shot.depth is not None
        camera_from_world = torch.linalg.inv(shot.world_from_camera[0].double())
        place = cloud.xyz.double() @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        pixel = place @ shot.intrinsics[0].double().T
        pixel = pixel[:, :2] / pixel[:, 2:]
        nearest = pixel.round()
        assert float((pixel - nearest).abs().max()) < 0.02
        u, v = nearest.long().T
        assert torch.equal(cloud.features, shot.pixels[0][:, v, u].T)
        off = (place[:, 2] - shot.depth[0][v, u]).abs() / place[:, 2]
        assert float(off.median()) < 0.01  # the sensor's noise
        assert float((off > 1e-4).float().mean()) > 0.5  # which there is


def test_pixels_are_whole_numbers_of_255_neither_black_nor_white(
    images: list[Sample],
) -> None:
    for found in images:
        pixels = 255 * found.images.pixels
        assert torch.isfinite(pixels).all()
        assert 0 <= pixels.min() <= pixels.max() <= 255
        assert float((pixels - pixels.round()).abs().max()) < 1e-4
        assert 40 < pixels.mean() < 200
        grey = pixels[0].mean(dim=0)
        assert float((grey < 8).float().mean()) < 0.3
        assert float((grey > 250).float().mean()) < 0.3
        assert float(grey.std()) > 8


def test_depth_and_targets_are_finite(images: list[Sample]) -> None:
    for found in images:
        assert found.images.depth is not None
        assert torch.isfinite(found.images.depth).all()
        assert torch.isfinite(found.cloud.xyz).all()
        assert torch.isfinite(found.targets.boxes.array).all()


def test_ignored_boxes_go_with_the_targets(images: list[Sample]) -> None:
    ignored = [found.targets.ignored for found in images]
    assert all(each is not None for each in ignored)
    assert sum(len(each) for each in ignored if each is not None) > 0


def lit_by(room: Room, color: float, ambient: float) -> Lighting:
    """One lamp over the middle of the room, pointing down."""
    position = np.array([2.0, 2.0, 2.3])
    shadows = ShadowMap.taken(
        room.corners,
        np.ones(len(room.corners), dtype=bool),
        (orientation(0.0, -np.pi / 2, 0.0), position),
        Pinhole(256, 256, 60.0, 60.0, 127.5, 127.5),
        1.0,
        True,
    )
    lamp = Source(position, np.full(3, color), None, False, shadows)
    return Lighting((lamp,), np.full(3, ambient), np.zeros(3), np.zeros(3))


def test_the_floor_under_a_table_top_is_in_its_shadow() -> None:
    """A board 0.6 m wide hangs 1 m below the lamp, 1.3 m high: its shadow is 1.4 m wide."""
    board = Piece(box((0.6, 0.6, 0.02), (0, 0, 0), GREY), LABELS.index("table"))
    room = room_with((board, (2.0, 2.0), 1.3))
    lighting = lit_by(room, 1.0, 0.0)
    stage = replace(Stage.of(room, np.random.default_rng(0)), lighting=lighting)
    down = orientation(0.0, -np.pi / 2, 0.0)
    view = View(LENS, down, np.array([2.0, 2.0, 1.25]), 9.0, PERFECT)  # below the board
    light = light_of(stage, stage.finishes, view, sighted(room, view), np.random.default_rng(0))
    per_m = 200 / 1.25
    dark, bright = round(0.6 * per_m), round(0.8 * per_m)  # from the middle of the image
    assert float(light[120, 160].max()) == 0.0
    assert float(light[120, 160 + dark].max()) == 0.0
    assert float(light[120, 160 + bright].min()) > 0.01


def test_a_lamp_twice_as_strong_makes_twice_the_light() -> None:
    room = room_with((cabinet((0.5, 0.6, 1.0)), (2.75, 2.0), 0.0))
    stage = Stage.of(room, np.random.default_rng(0))
    view, seen = level_view((1.0, 2.0, 1.2)), sighted(room, level_view((1.0, 2.0, 1.2)))
    once, twice = (
        light_of(
            replace(stage, lighting=lit_by(room, color, color / 2)),
            stage.finishes,
            view,
            seen,
            np.random.default_rng(0),
        )
        for color in (0.5, 1.0)
    )
    assert float(once.max()) > 0.05
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-6)


def test_without_light_everything_is_black() -> None:
    room = room_with()
    stage = replace(Stage.of(room, np.random.default_rng(0)), lighting=lit_by(room, 0.0, 0.0))
    view = level_view((1.0, 2.0, 1.2))
    light = light_of(stage, stage.finishes, view, sighted(room, view), np.random.default_rng(0))
    assert float(light.max()) == 0.0


def test_an_empty_room_has_no_targets() -> None:
    room = room_with()
    stage = Stage.of(room, np.random.default_rng(0))
    found = image_of(stage, np.random.default_rng(0), "empty")
    assert len(found.targets) == len(found.targets.ignored or []) == 0
    assert len(found.cloud) > 1000
    assert torch.isfinite(found.images.pixels).all()


def test_where_nothing_is_there_is_no_depth() -> None:
    """One triangle a hundred metres below: an image all the same."""
    shell = quad([(0, 0, -100), (1, 0, -100), (1, 1, -100), (0, 1, -100)], GREY)
    stage = Stage.of(room_with(shell=shell), np.random.default_rng(0))
    found = image_of(stage, np.random.default_rng(0), "void", view=level_view((1.0, 2.0, 1.2)))
    assert found.images.depth is not None
    assert float(found.images.depth.max()) == 0.0
    assert len(found.cloud) == 0
    assert found.targets.boxes.array.shape == (0, 7)
    assert torch.isfinite(found.images.pixels).all()


def test_a_room_without_a_ceiling_gets_one() -> None:
    walls = four_walls()
    is_ceiling = walls.vertices[walls.faces][:, :, 2].min(axis=1) > 1
    without = Mesh(
        walls.vertices,
        walls.faces[~is_ceiling],
        walls.color[~is_ceiling],
        walls.absorbs[~is_ceiling],
        walls.material[~is_ceiling],
    )
    open_room = room_with(shell=without)
    room = closed(open_room, np.random.default_rng(0))
    assert len(room.corners) == len(open_room.corners) + 2
    assert closed(room, np.random.default_rng(0)) is room
    view = replace(level_view((2.0, 2.0, 1.2)), room_from_optical=orientation(0.0, 1.2, 0.0))
    assert (sighted(room, view).hits.face >= 0).all()
    assert not (sighted(open_room, view).hits.face >= 0).all()


def test_cameras_stand_where_they_may_and_look_where_they_should() -> None:
    focal, height, pitch = [], [], []
    for seed in range(24):
        room = build_room(np.random.default_rng(seed))
        rng = np.random.default_rng((seed, 1))
        view = image_view(room, image_habits(rng), rng)
        focal.append(view.pinhole.fx * 640 / view.pinhole.width)
        height.append(view.position[2])
        pitch.append(np.rad2deg(np.arcsin(view.room_from_optical[2, 2])))
        for thing in room.things:
            local = (view.position - thing.center) @ turn_z(thing.yaw)
            assert (np.abs(local) > thing.size / 2).any(), "a camera inside a thing"
        assert room.layout.floor.contains(view.position[None, :2]).all()
    assert 250 <= min(focal) < 330
    assert 550 < max(focal) <= 700
    assert 0.2 <= min(height) < 0.7
    assert 1.4 < max(height) <= 1.9
    assert min(pitch) >= -40.01
    assert max(pitch) <= 10.01


def test_most_images_show_furniture_that_is_a_target(images: list[Sample]) -> None:
    assert sum(len(found.targets) > 0 for found in images) >= len(images) - 1


def test_a_fifth_of_the_images_has_finishes_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    room = room_with()
    stage = Stage.of(room, np.random.default_rng(0))
    own = []

    def noted(stage: Stage, finishes: object, *_: object) -> np.ndarray:
        own.append(finishes is stage.finishes)
        return np.full((8, 8, 3), 0.2, dtype=np.float32)

    monkeypatch.setattr(looks_sample, "light_of", noted)
    view = level_view((1.0, 2.0, 1.2))
    seen = sighted(room, view)
    for seed in range(300):
        picture(stage, view, seen, np.random.default_rng(seed))
    assert 0.13 < 1 - np.mean(own) < 0.27


def test_finishes_at_random_change_colors_and_nothing_else() -> None:
    stage = stage_of(3)
    rng = np.random.default_rng(0)
    other = type(stage.finishes).at_random(stage.parts.groups, rng)
    assert other.color.shape == stage.finishes.color.shape
    assert np.abs(other.color - stage.finishes.color).mean() > 0.1
    assert (other.is_outside == stage.finishes.is_outside).all()


def test_splits_never_share_a_room() -> None:
    names = [RoomImages(split, 1)[0].name for split in ("train", "val")]  # type: ignore[arg-type]
    assert names == ["room 0 image 0", "room 10000000 image 0"]


def test_images_go_to_workers_of_a_loader() -> None:
    images = RoomImages("val", 2, ("chair", "table"))
    again = pickle.loads(pickle.dumps(images))
    assert len(again) == 2
    assert again.classes == ("chair", "table")
    assert digest(again[1]) == digest(images[1])
    with pytest.raises(IndexError, match="image 2 of 2"):
        images[2]


def test_labels_index_the_classes_that_were_asked_for(images: list[Sample]) -> None:
    names = [LABELS[label] for label in images[0].targets.labels.tolist()]
    got = RoomImages("train", 1, ("spoon", names[0]))[0].targets.labels
    assert got.tolist() == [1] * names.count(names[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    assert prerender(path, "val", 2, num_frames=0, scan=False, images=2) == 2
    return path


def test_prerendered_images_come_back_as_they_were(folder: Path) -> None:
    back, fresh = PrerenderedImages(folder), image_samples(10_000_001, 2)
    assert len(back) == 4
    for number in range(2):
        found, made = back[2 + number], fresh[number]
        assert torch.equal(found.images.pixels, made.images.pixels)
        assert torch.equal(found.images.intrinsics, made.images.intrinsics)
        assert torch.equal(found.images.world_from_camera, made.images.world_from_camera)
        assert found.images.depth is not None
        assert made.images.depth is not None
        off = (found.images.depth - made.images.depth).abs().max()
        assert float(off) <= 0.51 * DEPTH_STEP_M
        assert found.images.height is not None
        assert made.images.height is not None
        assert torch.equal(found.images.height, made.images.height)
        torch.testing.assert_close(found.cloud.xyz, made.cloud.xyz, rtol=0, atol=0.0004)
        assert torch.equal(found.targets.boxes.array, made.targets.boxes.array)


def test_files_of_images_hold_no_pickles(folder: Path) -> None:
    with np.load(folder / "room_0000000.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "iuf" for name in arrays.files)


def test_a_folder_says_when_it_has_no_images_or_nothing_else(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RoomsError, match="images alone"):
        PrerenderedRooms(folder)
    prerender(tmp_path, "val", 0, num_frames=1)
    with pytest.raises(RoomsError, match=r"without color images.*--images"):
        PrerenderedImages(tmp_path)
    with pytest.raises(RoomsError, match="choose another folder"):
        prerender(tmp_path, "val", 0, num_frames=1, images=1)


def test_frames_and_images_of_a_room_share_a_file(tmp_path: Path) -> None:
    prerender(tmp_path, "val", 1, num_frames=1, scan=False, images=1)
    assert PrerenderedRooms(tmp_path)[0].name == "room_0000000 sample 0"
    assert PrerenderedImages(tmp_path)[0].name == "room_0000000 image 0"


def test_a_source_of_rooms_opens_images(folder: Path) -> None:
    source = RoomsSource(num_train=7, num_val=3, prerendered=folder, images=True)
    assert isinstance(source.open("train"), PrerenderedImages)
    assert len(source.open("val")) == 3
    assert str(folder) in source.open("val").notes[0]  # where they are not from
    assert len(RoomsSource(num_train=7, images=True).open("train")) == 7
    assert (
        source_of("rooms:,images=true") == with_images(RoomsSource()) == RoomsSource(images=True)
    )
    with pytest.raises(ValueError, match=r"folder has no color images.* recording, rooms"):
        with_images(FolderSource(path=folder))


def test_a_sheet_of_images_is_a_picture(tmp_path: Path, images: list[Sample]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "sheet.png"
    image_sheet(images[:2], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    stage = Stage.of(room_with(), np.random.default_rng(0))
    image_sheet([image_of(stage, np.random.default_rng(0), "empty")], path)


def test_the_sheet_command_draws_images(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "sheet.png"
    result = sr3d("data", "sheet", path, "--images", "--num", "1")
    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(b"\x89PNG")
