"""Drives through procedural rooms: what each frame says fits what the others say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from sr3d_core.data.rooms.camera.drive import GRAVITY_M_S2, Drift, Route, inertial, planar_pose
from sr3d_core.data.rooms.scene.room import build_room
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, room_sequence
from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D

SEED = 10_020_003
EXACT = Drift(way=0.0, turn_rad=0.0, gyro_rad_s=0.0, accelerometer_m_s2=0.0)
SHORT = SequenceSettings(num_frames=8, rate_hz=2.0, width=160)


@pytest.fixture(scope="module")
def frames() -> list[SequenceFrame]:
    return list(room_sequence(SEED, SHORT))


def in_map(frame: SequenceFrame) -> torch.Tensor:
    pose = frame.map_from_base @ frame.base_from_optical
    return frame.cloud.transformed(torch.from_numpy(pose)).xyz


def test_the_same_seed_gives_the_same_drive(frames: list[SequenceFrame]) -> None:
    again = next(room_sequence(SEED, SHORT))
    assert np.array_equal(again.depth, frames[0].depth)
    assert np.array_equal(again.linear_acceleration, frames[0].linear_acceleration)


def test_stamps_come_at_the_rate(frames: list[SequenceFrame]) -> None:
    assert {b.stamp_ns - a.stamp_ns for a, b in pairwise(frames)} == {500_000_000}


def test_the_cloud_is_the_depth_image_seen_through_the_pinhole(
    frames: list[SequenceFrame],
) -> None:
    frame = frames[0]
    rows, columns = np.nonzero(frame.depth > 0)
    x, y, z = frame.cloud.xyz.numpy().T
    np.testing.assert_allclose(z, frame.depth[rows, columns], atol=1e-5)
    u = frame.pinhole.fx * x / z + frame.pinhole.cx
    v = frame.pinhole.fy * y / z + frame.pinhole.cy
    np.testing.assert_allclose(u, columns, atol=1e-2)
    np.testing.assert_allclose(v, rows, atol=1e-2)
    np.testing.assert_allclose(frame.cloud.features.numpy(), frame.rgb[rows, columns])


def test_the_floor_is_at_zero_in_the_map(frames: list[SequenceFrame]) -> None:
    heights = torch.cat([in_map(frame)[:, 2] for frame in frames])
    assert float(heights.quantile(0.005)) > -0.1
    assert float((heights.abs() < 0.05).float().mean()) > 0.05


def test_each_visible_box_holds_points_in_every_frame(frames: list[SequenceFrame]) -> None:
    assert sum(len(frame.things) for frame in frames) > 5
    for frame in frames:
        rows = frame.targets.boxes.array.clone()
        rows[:, 3:6] += 0.1  # the noise of a depth camera is larger than a thin box
        inside = points_in_boxes(in_map(frame), Boxes3D.from_array(rows)).sum(dim=0)
        assert (inside >= 20).all()


def test_the_same_object_is_the_same_box_in_every_frame(frames: list[SequenceFrame]) -> None:
    known: dict[int, list[float]] = {}
    for frame in frames:
        for thing, row in zip(frame.things.tolist(), frame.targets.boxes.array, strict=True):
            assert known.setdefault(thing, row.tolist()) == row.tolist()


def test_what_shows_too_little_of_itself_is_ignored_and_named(
    frames: list[SequenceFrame],
) -> None:
    clear, ignored = dict[int, list[float]](), dict[int, list[float]]()
    for frame in frames:
        assert frame.targets.ignored is not None
        assert len(frame.targets.ignored) == len(frame.ignored_things)
        assert not set(frame.things.tolist()) & set(frame.ignored_things.tolist())
        rows = frame.targets.ignored.boxes.array.tolist()
        ignored.update(zip(frame.ignored_things.tolist(), rows, strict=True))
        rows = frame.targets.boxes.array.tolist()
        clear.update(zip(frame.things.tolist(), rows, strict=True))
    both = clear.keys() & ignored.keys()  # seen better in one frame than in another
    assert both
    assert all(clear[thing] == ignored[thing] for thing in both)


def test_without_errors_the_transforms_lead_to_the_true_pose() -> None:
    for frame in room_sequence(SEED, replace(SHORT, drift=EXACT, num_frames=4)):
        np.testing.assert_allclose(
            frame.map_from_odom @ frame.odom_from_base, frame.map_from_base, atol=1e-9
        )


def test_odometry_drifts_and_localisation_brings_it_back() -> None:
    sloppy = Drift(way=0.2, turn_rad=0.2, localised_every_s=2.0)
    frames = list(room_sequence(SEED, replace(SHORT, drift=sloppy)))
    errors = [
        float(np.abs(f.map_from_odom @ f.odom_from_base - f.map_from_base).max()) for f in frames
    ]
    assert max(errors) > 0.01
    assert errors[4] < 1e-9  # 2 s after the start


def test_the_base_stays_on_the_floor_and_level(frames: list[SequenceFrame]) -> None:
    for frame in frames:
        np.testing.assert_allclose(frame.map_from_base[2], [0, 0, 1, 0], atol=1e-12)
        np.testing.assert_allclose(frame.odom_from_base[2], [0, 0, 1, 0], atol=1e-12)


def test_the_base_drives_over_free_floor_only(frames: list[SequenceFrame]) -> None:
    layout = build_room(np.random.default_rng(SEED)).layout
    assert all(layout.is_free(frame.map_from_base[:2, 3], 0.2, 2.0) for frame in frames)


def test_at_rest_the_accelerometer_shows_gravity_upwards() -> None:
    rest = Route(np.zeros(2), np.zeros(2), 0.3, sway=0.0, period_s=8.0)
    optical = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]])
    gyro, force = inertial(rest, 1.0, optical, EXACT, np.random.default_rng(0))
    np.testing.assert_allclose(force, [0, -GRAVITY_M_S2, 0], atol=1e-6)
    np.testing.assert_allclose(gyro, 0, atol=1e-9)


def test_turning_left_is_a_turn_about_up() -> None:
    route = Route(np.zeros(2), np.zeros(2), 0.0, sway=0.5, period_s=2 * np.pi)
    gyro, _ = inertial(route, 0.0, np.eye(4), EXACT, np.random.default_rng(0))
    np.testing.assert_allclose(gyro, [0, 0, 0.5], atol=1e-3)


def test_a_planar_pose_turns_counter_clockwise() -> None:
    ahead = planar_pose(1.0, 2.0, np.pi / 2) @ np.array([1.0, 0, 0, 1])
    np.testing.assert_allclose(ahead, [1, 3, 0, 1], atol=1e-12)


def test_a_sequence_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 frames at 5 Hz, expected at least 1 frame"):
        SequenceSettings(num_frames=0)
