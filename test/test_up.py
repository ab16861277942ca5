"""Which way is up: IMUs and floors of known orientation, in every kind of frame."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sr3d_core.geometry.floor_following import floor_near
from sr3d_ros.bag.replay import Bag
from sr3d_ros.errors import Refused, TransformError, UpError
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.floor import FloorMemory, floor_up
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.rigid import is_rigid, level_rotation
from sr3d_ros.tf.up import UpFinder

S = 1_000_000_000
G = 9.81
OPTICAL_UP = np.array([0.0, -1.0, 0.0])
Z_UP = np.array([0.0, 0.0, 1.0])


def vector(values: Any) -> Any:
    return SimpleNamespace(**dict(zip("xyz", map(float, values), strict=True)))


def imu_message(stamp_ns: int, push: Any, turn: Any = (0, 0, 0), frame: str = "imu") -> Any:
    """A sensor_msgs/Imu whose orientation says nothing, as most drivers leave it."""
    stamp = SimpleNamespace(sec=stamp_ns // S, nanosec=stamp_ns % S)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=frame),
        linear_acceleration=vector(push),
        angular_velocity=vector(turn),
        orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
    )


def angle_deg(a: Any, b: Any) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, float(np.dot(a, b))))))


def resting(push: Any, count: int = 50, **more: Any) -> GravityFromImu:
    imu = GravityFromImu()
    for tick in range(count):
        imu.add(imu_message(S + tick * S // 100, push, **more))
    return imu


@pytest.mark.parametrize("up", [Z_UP, OPTICAL_UP, np.array([0.6, 0.0, 0.8])])
@pytest.mark.parametrize("unit", [G, 1.0], ids=["in_m_s2", "in_g"])
def test_an_imu_at_rest_points_up(up: NDArray[np.float64], unit: float) -> None:
    found = resting(up * unit).up(S + S // 4)
    assert found.frame_id == "imu"
    assert angle_deg(found.vector, up) < 0.1
    assert found.confidence > 0.9


def test_one_message_is_enough_but_not_much() -> None:
    found = resting(Z_UP * G, count=1).up(S)
    assert angle_deg(found.vector, Z_UP) < 0.1
    assert found.confidence < 0.2


def test_noise_is_averaged() -> None:
    noise = np.random.default_rng(0).normal(0, 0.8, (200, 3))
    imu = GravityFromImu()
    for tick in range(200):
        imu.add(imu_message(S + tick * S // 100, Z_UP * G + noise[tick]))
    assert angle_deg(imu.up(3 * S).vector, Z_UP) < 1.5


def test_a_fast_turn_is_followed_by_the_gyroscope() -> None:
    """2 rad/s about x for 0.5 s, while braking hides gravity."""
    imu = resting(Z_UP * G, count=100)
    for tick in range(100, 150):
        imu.add(imu_message(S + tick * S // 100, (0, 40, 0), turn=(2.0, 0, 0)))
    turned = Rotation.from_rotvec([-1.0, 0, 0]).apply(Z_UP)
    found = imu.up(S + 149 * S // 100)
    assert angle_deg(found.vector, turned) < 3.0
    assert found.confidence < 0.7


def test_the_answer_is_of_the_stamp_that_is_asked_for() -> None:
    imu = resting(Z_UP * G, count=100)
    for tick in range(100, 150):
        imu.add(imu_message(S + tick * S // 100, (0, 40, 0), turn=(2.0, 0, 0)))
    assert angle_deg(imu.up(S + S // 2).vector, Z_UP) < 0.1


def why_not_up(imu: GravityFromImu, stamp_ns: int) -> tuple[str, str]:
    with pytest.raises(UpError) as caught:
        imu.up(stamp_ns)
    return caught.value.reason, str(caught.value)


def test_no_message_says_what_to_remap() -> None:
    reason, text = why_not_up(GravityFromImu(), S)
    assert reason == "no_imu"
    assert "remap ~/input/imu" in text


def test_an_imu_that_stopped_is_not_believed() -> None:
    reason, text = why_not_up(resting(Z_UP * G), 5 * S)
    assert reason == "stale_imu"
    assert "3.51 s older" in text


@pytest.mark.parametrize("push", [(0, 0, 0), (math.nan, 0, 1), (0.01, 0, 0.02), (1e9, 0, 0)])
def test_an_imu_without_gravity_is_refused(push: Any) -> None:
    reason, text = why_not_up(resting(push), S)
    assert reason == "bad_imu"
    assert "expected about 9.81" in text


def test_time_that_is_set_back_starts_afresh() -> None:
    imu = resting(Z_UP * G)
    imu.add(imu_message(S // 10, OPTICAL_UP * G))
    assert angle_deg(imu.up(S // 10).vector, OPTICAL_UP) < 0.1
    assert why_not_up(imu, 2 * S)[0] == "stale_imu"


def test_messages_out_of_order_are_left_out() -> None:
    imu = resting(Z_UP * G)
    imu.add(imu_message(S + S // 5, OPTICAL_UP * G))
    assert angle_deg(imu.up(S + S // 5).vector, Z_UP) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_level_rotation_turns_its_direction_up(seed: int) -> None:
    up = np.random.default_rng(seed).normal(size=3)
    up /= np.linalg.norm(up)
    rotation = level_rotation(up)
    np.testing.assert_allclose(rotation @ up, Z_UP, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_a_z_up_frame_is_left_as_it_is_and_an_optical_one_keeps_x() -> None:
    np.testing.assert_allclose(level_rotation(Z_UP), np.eye(3))
    np.testing.assert_allclose(level_rotation(OPTICAL_UP)[0], [1, 0, 0])


def test_what_is_no_rotation_is_not_rigid() -> None:
    assert is_rigid(np.eye(4))
    for spoil in (np.nan, np.inf, 2.0):
        matrix = np.eye(4)
        matrix[0, 0] = spoil
        assert not is_rigid(matrix)
    assert not is_rigid(np.diag([1.0, 1.0, -1.0, 1.0]))


def room(num: int = 12_000, seed: int = 0) -> torch.Tensor:
    """Floor at z = 0 with two walls and a table; z up, metres."""
    draw = torch.Generator().manual_seed(seed)
    low_high = [
        ((0.0, -2.0, 0.0), (5.0, 2.0, 0.01)),
        ((0.0, 2.0, 0.0), (5.0, 2.01, 2.4)),
        ((5.0, -2.0, 0.0), (5.01, 2.0, 2.4)),
        ((2.0, -0.5, 0.74), (3.5, 0.5, 0.75)),
    ]
    parts = []
    for share, (low, high) in zip((6, 3, 2, 1), low_high, strict=True):
        span = torch.tensor(high) - torch.tensor(low)
        uniform = torch.rand(num * share // 12, 3, generator=draw)
        parts.append(torch.tensor(low) + uniform * span)
    return torch.cat(parts).double()


def seen(pitch_deg: float, height_m: float = 1.2, optical: bool = True) -> torch.Tensor:
    """The room from a camera that looks along +x and down by `pitch_deg`."""
    pitch = Rotation.from_euler("y", pitch_deg, degrees=True).as_matrix()  # body looks down
    body = (room() - torch.tensor([-1.0, 0.0, height_m])) @ torch.from_numpy(pitch)
    depth = body[:, 0]
    body = body[(body[:, 1].abs() < depth) & (body[:, 2].abs() < 0.8 * depth)]
    if not optical:
        return body
    return torch.stack([-body[:, 1], -body[:, 2], body[:, 0]], dim=1)


def up_in_view(pitch_deg: float, optical: bool = True) -> NDArray[np.float64]:
    x, y, z = Rotation.from_euler("y", -pitch_deg, degrees=True).apply(Z_UP)
    return np.array([-y, -z, x] if optical else [x, y, z])


@pytest.mark.parametrize("pitch_deg", [0, 25])
@pytest.mark.parametrize("optical", [True, False], ids=["optical", "zed_like"])
def test_the_floor_says_which_way_is_up_and_how_high_the_camera_is(
    pitch_deg: float, optical: bool
) -> None:
    fit = floor_up(seen(pitch_deg, optical=optical))
    assert angle_deg(fit.up, up_in_view(pitch_deg, optical)) < 0.5
    assert fit.height_m == pytest.approx(1.2, abs=0.02)
    assert 0.2 < fit.confidence < 0.8
    assert fit.num_inliers > 100


@pytest.mark.parametrize("off_deg", [0, 3, 6])
def test_a_hint_that_is_some_degrees_off_is_good_enough(off_deg: float) -> None:
    cloud = seen(20)
    hint = up_in_view(20 + off_deg)
    plane = floor_near(cloud, torch.from_numpy(hint))
    assert plane is not None
    assert angle_deg(plane.normal.numpy(), up_in_view(20)) < 0.5


@pytest.mark.parametrize("move", [(0, 0, 5), (0, 0, -100), (3, 2, 0), (5e5, 4e6, 300)])
def test_a_level_floor_below_z_is_the_same_wherever_the_origin_is(
    move: tuple[float, ...],
) -> None:
    cloud, offset = seen(0, optical=False), torch.tensor(move, dtype=torch.float64)
    here, there = floor_up(cloud), floor_up(cloud + offset)
    np.testing.assert_allclose(there.rotation, here.rotation, atol=1e-6)
    assert there.confidence == pytest.approx(here.confidence)
    risen = here.height_m - float(there.up @ offset.numpy())
    assert there.height_m == pytest.approx(risen, abs=1e-6)


def test_a_cloud_in_centimetres_is_told_by_its_unit() -> None:
    with pytest.raises(UpError, match="centimetres") as caught:
        floor_up(100.0 * room())
    assert caught.value.reason == "no_floor"


def test_a_hint_that_is_far_off_does_no_harm() -> None:
    fit = floor_up(seen(20), hint=up_in_view(50))
    assert angle_deg(fit.up, up_in_view(20)) < 0.5


def test_a_table_is_no_floor_where_the_floor_lies_beneath() -> None:
    cloud = seen(0)
    fit = floor_up(cloud, hint=up_in_view(0))
    assert fit.height_m == pytest.approx(1.2, abs=0.02)


@pytest.mark.parametrize("num", [0, 3, 1000])
def test_a_cloud_without_a_floor_is_refused_with_advice(num: int) -> None:
    ball = torch.randn(num, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UpError, match=r"set frames\.up to tf, imu or none") as caught:
        floor_up(ball)
    assert caught.value.reason == "no_floor"


def test_a_floor_out_of_view_holds_for_a_while_with_falling_confidence() -> None:
    memory, nothing = FloorMemory(hold_s=4.0), torch.zeros(0, 3)
    first = memory.fit(seen(20), "camera", 10 * S)
    later = memory.fit(nothing, "camera", 12 * S)
    np.testing.assert_array_equal(later.rotation, first.rotation)
    assert later.confidence == pytest.approx(first.confidence / 2)
    with pytest.raises(UpError):
        memory.fit(nothing, "camera", 15 * S)
    with pytest.raises(UpError):
        memory.fit(nothing, "other_camera", 12 * S)


def test_a_floor_is_followed_while_the_camera_tilts() -> None:
    memory = FloorMemory()
    for tick, pitch_deg in enumerate(range(0, 30, 3)):
        fit = memory.fit(seen(pitch_deg), "camera", S + tick * S // 10)
        assert angle_deg(fit.up, up_in_view(pitch_deg)) < 0.7


def test_the_imus_place_on_the_robot_counts() -> None:
    buffer = TransformBuffer()
    quarter = Rotation.from_euler("x", 90, degrees=True).as_quat()
    buffer.insert("camera", "imu", 0, (0.1, 0, 0), quarter, static=True)
    level = UpFinder(buffer, resting(Z_UP * G)).from_imu("camera", S)
    up_in_camera = Rotation.from_euler("x", 90, degrees=True).apply(Z_UP)
    np.testing.assert_allclose(level.gravity_from_cloud[:3, :3] @ up_in_camera, Z_UP, atol=1e-9)
    assert level.frame == "camera_level"
    np.testing.assert_array_equal(level.gravity_from_cloud[:3, 3], 0.0)


def test_an_imu_that_is_not_in_tf_is_a_transform_error() -> None:
    with pytest.raises(TransformError, match="frame 'camera' is not known"):
        UpFinder(TransformBuffer(), resting(Z_UP * G)).from_imu("camera", S)


def test_up_from_an_imu_without_an_imu_is_refused() -> None:
    with pytest.raises(UpError, match="no IMU to ask"):
        UpFinder(TransformBuffer()).from_imu("camera", S)


class Skewed:
    """A transform source whose publisher sends no rotation."""

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Any:
        return np.diag([2.0, 1.0, 1.0, 1.0])


def test_a_transform_that_is_no_rotation_is_refused() -> None:
    with pytest.raises(Refused, match="holds no rotation") as caught:
        UpFinder(Skewed()).through_tf("camera", S, "map", ())
    assert caught.value.reason == "bad_transform"


def test_the_floor_of_a_real_recording_agrees_with_its_transforms(real_data: Path) -> None:
    from sr3d_ros.sensors.pointcloud2 import cloud_from_message

    with Bag(real_data / "bags" / "open3d_redwood_5frames_mcap") as bag:
        transforms, _ = bag.transforms()
        clouds = [message for _, _, message in bag.messages("/camera/depth/points")]
    memory = FloorMemory()
    for message in clouds:
        stamp_ns = message.header.stamp.sec * S + message.header.stamp.nanosec
        frame = message.header.frame_id
        fit = memory.fit(cloud_from_message(message).xyz, frame, stamp_ns)
        map_from_camera = transforms.lookup("map", frame, stamp_ns)
        assert angle_deg(map_from_camera[:3, :3] @ fit.up, Z_UP) < 3.0
        assert fit.height_m == pytest.approx(map_from_camera[2, 3] - 0.12, abs=0.1)
