"""Finding up: rooms of known orientation, turned into the frames that files come in."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from sr3d_core.data.cloud_file import open_cloud
from sr3d_core.data.rooms import room_sample
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, room_sequence
from sr3d_core.geometry.gravity import GravityError, UnitsError, axis_rotation, up_rotation


def random(num: int, low: tuple[float, ...], high: tuple[float, ...], seed: int) -> Tensor:
    uniform = torch.rand(num, 3, generator=torch.Generator().manual_seed(seed)).double()
    return torch.tensor(low) + uniform * (torch.tensor(high) - torch.tensor(low))


def room() -> Tensor:
    """Floor, two walls and a cupboard; z up, 1.5 m of the floor hidden."""
    return torch.cat(
        [
            random(4000, (0, 0, 0), (4, 5, 0.01), seed=1),
            random(3000, (0, 5, 0), (4, 5.01, 2.5), seed=2),
            random(3000, (4, 0, 0), (4.01, 5, 2.5), seed=3),
            random(1000, (1, 3, 0.8), (2, 4, 0.81), seed=4),
            random(1000, (1, 3, 0), (2, 3.01, 0.8), seed=5),
        ]
    )


def rotation_x(angle_rad: float) -> Tensor:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float64)


def camera_view(pitch_rad: float) -> Tensor:
    """The room as an optical frame sees it: from 1.4 m, looking forward and down."""
    seen = room() - torch.tensor([2.0, -1.5, 1.4], dtype=torch.float64)
    level = seen @ axis_rotation("-y")  # x right, y down, z forward
    pitched = level @ rotation_x(pitch_rad).T
    return pitched[(pitched[:, :2].abs() < pitched[:, 2:]).all(dim=1)]


def angle_to_vertical(rotation: Tensor, up_in_file: Tensor) -> float:
    cosine = float((rotation @ up_in_file)[2])
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def test_z_up_room_is_left_alone() -> None:
    rotation, confidence = up_rotation(room())
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))
    assert 0.1 < confidence <= 1.0


def test_tilted_room_is_levelled() -> None:
    tilt = rotation_x(math.radians(15))
    rotation, _ = up_rotation(room() @ tilt.T)
    assert angle_to_vertical(rotation, tilt[:, 2]) < 0.5


def test_level_frame_with_little_floor_is_left_alone() -> None:
    """One point in fifty of what this frame shows is floor."""
    rotation, confidence = up_rotation(room_sample(900_040, "frame").cloud.xyz)
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))
    assert confidence < 0.15


def test_frame_filled_by_a_wall_is_left_alone() -> None:
    rotation, _ = up_rotation(room_sample(900_011, "frame").cloud.xyz)
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))


def test_ramp_beside_as_much_level_floor_turns_nothing() -> None:
    ramp = random(4000, (0, -5, 0), (4, 0, 0.01), seed=6) @ rotation_x(math.radians(12)).T
    level = random(3000, (0, 0, 0), (4, 4, 0.01), seed=7)
    rotation, _ = up_rotation(torch.cat([ramp, level + torch.tensor([0.0, 0, 0.05])]))
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("tilt_deg", [6, 25])
def test_tilt_of_a_good_floor_is_still_taken_out(tilt_deg: int) -> None:
    tilt = rotation_x(math.radians(tilt_deg))
    rotation, _ = up_rotation(room() @ tilt.T)
    assert angle_to_vertical(rotation, tilt[:, 2]) < 0.5


def test_y_up_mesh_is_turned() -> None:
    turn = axis_rotation("y")
    rotation, _ = up_rotation(room() @ turn)
    assert angle_to_vertical(rotation, turn.T[:, 2]) < 0.5


@pytest.mark.parametrize("pitch_deg", [0, 20, 40])
def test_camera_frame_is_recognised_and_levelled(pitch_deg: int) -> None:
    pitch = math.radians(pitch_deg)
    rotation, _ = up_rotation(camera_view(pitch))
    up_in_camera = rotation_x(pitch) @ torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    assert angle_to_vertical(rotation, up_in_camera) < 1.0


def test_opengl_camera_frame_is_recognised() -> None:
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    rotation, _ = up_rotation(camera_view(math.radians(20)) @ flip)
    up_in_camera = flip @ rotation_x(math.radians(20)) @ torch.tensor([0.0, -1.0, 0.0]).double()
    assert angle_to_vertical(rotation, up_in_camera) < 1.0


OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
CLOUDS = {
    "z up": room,
    "tilted by 15": lambda: room() @ rotation_x(math.radians(15)).T,
    "tilted by 25": lambda: room() @ rotation_x(math.radians(25)).T,
    "y up": lambda: room() @ axis_rotation("y"),
    "optical": lambda: camera_view(0.0),
    "optical, pitched by 20": lambda: camera_view(math.radians(20)),
    "optical, pitched by 40": lambda: camera_view(math.radians(40)),
    "opengl": lambda: camera_view(math.radians(20)) @ OPENGL,
    "scan": lambda: room_sample(900_004, "scan").cloud.xyz.double(),
    "frame with little floor": lambda: room_sample(900_040, "frame").cloud.xyz.double(),
    "frame of a wall": lambda: room_sample(900_011, "frame").cloud.xyz.double(),
    "rendered, optical": lambda: rendered_view(910_001).cloud.xyz.double(),
    "rendered, opengl": lambda: rendered_view(910_001).cloud.xyz.double() @ OPENGL,
}
MOVES = ((0, 0, 3), (0, 0, 5), (0, 0, 100), (0, 0, -100), (-7, 12, 0), (5e5, 4e6, 300))
MOVED_EVERYWHERE = ("tilted by 15", "rendered, optical", "scan")
"""A room, a view and a scan; the other clouds are moved a little and as far as maps go."""


@cache
def rendered_view(seed: int) -> SequenceFrame:
    """What a robot's camera sees of a furnished room, in its optical frame."""
    return next(iter(room_sequence(seed, SequenceSettings(num_frames=1))))


@pytest.mark.parametrize("kind", CLOUDS)
def test_the_answer_does_not_depend_on_the_origin(kind: str) -> None:
    moves = MOVES if kind in MOVED_EVERYWHERE else (MOVES[0], MOVES[-1])
    assert_same_everywhere(CLOUDS[kind](), moves)


@pytest.mark.parametrize(
    "name", ["capture0001", "milk_cartoon_all_small_clorox", "region_growing_rgb_tutorial"]
)
def test_the_answer_for_a_real_cloud_does_not_depend_on_the_origin(
    real_data: Path, name: str
) -> None:
    cloud = open_cloud(real_data / "clouds" / f"{name}.pcd", "z").cloud
    rotation = assert_same_everywhere(cloud.xyz.double(), (MOVES[0], MOVES[-1]))
    sign = 1.0 if name.startswith("milk") else -1.0  # its points have negative z: OpenGL, y is up
    assert sign * float(rotation[2, 1]) > 0.5


def assert_same_everywhere(xyz: Tensor, moves: tuple[tuple[float, ...], ...]) -> Tensor:
    rotation, confidence = up_rotation(xyz)
    for move in moves:
        moved, moved_confidence = up_rotation(xyz + torch.tensor(move, dtype=torch.float64))
        torch.testing.assert_close(moved, rotation, rtol=0, atol=1e-6)
        assert moved_confidence == pytest.approx(confidence, abs=1e-6), move
    return rotation


@pytest.mark.parametrize(
    ("seed", "height_m"),
    [  # of 910_004 a twentieth of the points is floor, warped and doubled: refused anywhere
        (seed, (0.0, 3.0, 5.0, -100.0)[seed % 4])
        for seed in (*range(910_000, 910_004), *range(910_005, 910_008))
    ],
)
def test_a_scan_far_above_its_origin_is_left_alone(seed: int, height_m: float) -> None:
    scan = room_sample(seed, "scan").cloud.xyz.double()
    rotation, _ = up_rotation(scan + torch.tensor([0.0, 0.0, height_m]))
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("seed", [910_001, 910_003, 910_010])
def test_a_rendered_view_is_levelled_as_its_camera_stood(seed: int) -> None:
    frame = rendered_view(seed)
    room_from_optical = torch.from_numpy(frame.map_from_base @ frame.base_from_optical)
    rotation, _ = up_rotation(frame.cloud.xyz.double() + torch.tensor([0.0, 0.0, 100.0]))
    assert angle_to_vertical(rotation, room_from_optical[:3, :3].T[:, 2]) < 3.0


@pytest.mark.parametrize("seed", [900_001, 900_015, 900_010, 900_023])
def test_walls_of_a_z_up_frame_seen_from_above_are_no_floor_of_a_rolled_camera(seed: int) -> None:
    """The rim of an image shows in these, as seen along -z, and walls are larger than floors."""
    rotation, _ = up_rotation(room_sample(seed, "frame").cloud.xyz)
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))


WALLS = [
    ((0, 5, 0), (4, 5.01, 2.5)),
    ((4, 0, 0), (4.01, 5, 2.5)),
    ((0, 0, 0), (0.01, 5, 2.5)),
    ((0, 0, 0), (4, 0.01, 2.5)),
]


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_walls_without_a_floor_are_refused(num: int) -> None:
    walls = [random(3000, *wall, seed=seed) for seed, wall in enumerate(WALLS[:num])]
    with pytest.raises(GravityError, match="no floor"):
        up_rotation(torch.cat(walls))


@pytest.mark.parametrize("tilt_deg", [0, 6, 45, 90])
def test_a_lone_plane_may_be_a_floor_or_a_wall(tilt_deg: int) -> None:
    plane = random(6000, (0, 0, 0), (4, 5, 0.01), seed=1)
    for xyz in (plane, plane + torch.tensor([0.0, 0, 100])):
        with pytest.raises(GravityError, match="one plane"):
            up_rotation(xyz @ rotation_x(math.radians(tilt_deg)).T)


@pytest.mark.parametrize("axis", ["z", "y"])
@pytest.mark.parametrize("has_ceiling", [False, True])
def test_a_room_without_furniture_has_its_floor(
    axis: Literal["z", "y"], has_ceiling: bool
) -> None:
    floor = random(6000, (0, 0, 0), (4, 5, 0.01), seed=9)
    walls = [random(3000, *wall, seed=seed) for seed, wall in enumerate(WALLS)]
    ceiling = [floor + torch.tensor([0.0, 0, 2.5])] if has_ceiling else []
    turn = axis_rotation(axis)
    rotation, _ = up_rotation(torch.cat([floor, *walls, *ceiling]) @ turn)
    assert angle_to_vertical(rotation, turn.T[:, 2]) < 0.5


def test_a_single_box_makes_a_plane_a_floor() -> None:
    floor = random(6000, (0, 0, 0), (4, 5, 0.01), seed=1)
    top = random(400, (1, 1, 0.4), (1.5, 1.5, 0.41), seed=6)
    side = random(400, (1, 1, 0), (1.5, 1.01, 0.4), seed=7)
    rotation, _ = up_rotation(torch.cat([floor, top, side]))
    assert torch.equal(rotation, torch.eye(3, dtype=torch.float64))


def test_a_view_that_two_frames_explain_is_refused() -> None:
    """What looks along -z onto a floor and a wall may be an OpenGL camera, or one above a room."""
    across = torch.linspace(-0.8, 0.8, 300, dtype=torch.float64)
    x, y = (grid.flatten() for grid in torch.meshgrid(across, across, indexing="ij"))
    rays = torch.stack([x, y, -torch.ones_like(x)], dim=1)
    reach = torch.minimum(torch.full_like(x, 2.5), 1.0 / (-y).clamp(min=1e-9))
    with pytest.raises(GravityError, match="z up"):
        up_rotation(rays * reach[:, None])


@pytest.mark.parametrize(
    ("scale", "unit"), [(1000.0, "millimetres"), (100.0, "centimetres"), (0.001, "metres")]
)
def test_a_room_in_another_unit_is_told_by_its_unit(scale: float, unit: str) -> None:
    with pytest.raises(UnitsError, match=unit):
        up_rotation(room() * scale)


def test_result_is_a_rotation() -> None:
    rotation, _ = up_rotation(camera_view(0.3))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0)


def test_same_cloud_gives_the_same_answer() -> None:
    assert torch.equal(up_rotation(camera_view(0.3))[0], up_rotation(camera_view(0.3))[0])


def test_noise_without_a_floor_is_refused() -> None:
    ball = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(GravityError, match="no floor was found"):
        up_rotation(ball)


@pytest.mark.parametrize("num", [0, 1, 10])
def test_too_few_points_are_refused(num: int) -> None:
    with pytest.raises(GravityError, match=f"{num} points are too few to find a floor"):
        up_rotation(torch.zeros(num, 3))


def test_points_in_one_spot_are_refused() -> None:
    with pytest.raises(GravityError, match="no floor was found"):
        up_rotation(torch.zeros(100, 3))


def test_axis_rotation_turns_the_axis_up() -> None:
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    axes = {"z": [0.0, 0, 1], "y": [0.0, 1, 0], "-y": [0.0, -1, 0]}
    for name, axis in axes.items():
        turned = axis_rotation(name) @ torch.tensor(axis, dtype=torch.float64)
        torch.testing.assert_close(turned, up)


def test_unknown_axis_is_refused() -> None:
    with pytest.raises(GravityError, match="up axis 'w', expected z, y or -y"):
        axis_rotation("w")


def test_a_close_up_of_a_front_is_refused() -> None:
    """What stands before it makes it look like a floor with y up; z may be up as well."""
    front = random(4000, (-0.8, 0, 0), (0.8, 0.01, 1.2), seed=1)
    side = random(1500, (-0.8, 0, 0), (-0.79, 0.5, 1.2), seed=2)
    chair = random(800, (0, 0.3, 0.45), (0.45, 0.31, 0.9), seed=3)
    with pytest.raises(GravityError, match="front"):
        up_rotation(torch.cat([front, side, chair]))


@pytest.mark.parametrize("seed", [900_029, 900_034, 900_057])
def test_a_frame_of_a_front_without_a_floor_is_refused(seed: int) -> None:
    with pytest.raises(GravityError, match="front"):
        up_rotation(room_sample(seed, "frame").cloud.xyz)


@pytest.mark.parametrize("seed", [910_016, 910_033])
def test_a_view_of_no_floor_is_refused(seed: int) -> None:
    """Its largest planes would be floors of a rolled camera, and of one that looks up at them."""
    with pytest.raises(GravityError, match="no floor"):
        up_rotation(rendered_view(seed).cloud.xyz.double())


@pytest.mark.parametrize("pitch_deg", [0.0, 30.0, 60.0])
def test_a_bare_floor_is_found_where_the_origin_is_known_to_be_the_sensor(
    pitch_deg: float,
) -> None:
    """It shows no rim, and a file with such points could as well hold a wall."""
    pitch = math.radians(pitch_deg)
    down = torch.tensor([0.0, math.cos(pitch), math.sin(pitch)], dtype=torch.float64)
    forward = torch.tensor([0.0, -math.sin(pitch), math.cos(pitch)], dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    across, ahead = torch.rand(2, 4000, 1, generator=draw, dtype=torch.float64)
    right = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    middle = max(1.2 / math.tan(pitch), 0.8) if pitch else 2.5
    xyz = (across - 0.5) * right + (middle + ahead - 0.5) * forward + 1.2 * down
    rotation, _ = up_rotation(xyz, is_from_sensor=True)
    torch.testing.assert_close(rotation[2], -down, atol=0.02, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_a_large_floor_ahead_counts_more_than_a_small_level_plane(seed: int) -> None:
    """A sparse optical cloud without the rim of an image: a floor, and a box on it."""
    draw = torch.Generator().manual_seed(seed)
    floor = torch.rand(2000, 3, generator=draw, dtype=torch.float64) * torch.tensor([3.0, 0, 3.0])
    box = torch.rand(2000, 3, generator=draw, dtype=torch.float64) * torch.tensor([0.6, 0.7, 0.5])
    xyz = torch.cat([floor + torch.tensor([-1.5, 1.2, 1.0]), box + torch.tensor([-0.3, 0.5, 2.0])])
    rotation, _ = up_rotation(xyz)
    up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(rotation[2], up, atol=0.02, rtol=0)
