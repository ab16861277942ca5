"""What a recording knows of transforms: more than tf2 does on the robot, never something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_bags import CAMERA_TURN, CENTER, BoundingBox, S, T, Write, cloud, tf, write_bag

from sr3d_ros.bag.replay import DroppedFrame
from sr3d_ros.bag.run import open_run
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.recorded import RecordedTransforms

CLOUD = np.stack(np.meshgrid(*[np.linspace(-0.2, 0.2, 3)] * 3), axis=-1).reshape(-1, 3)


def recorded(*transforms: tuple[str, str, int, Any, bool, int]) -> RecordedTransforms:
    """Of parent, child, stamp, place, static, receive time, the last two in seconds."""
    buffer = RecordedTransforms()
    for parent, child, stamp_s, moved, static, received_s in transforms:
        buffer.read(tf(parent, child, stamp_s * S, moved), static, received_s * S)
    return buffer


def height(buffer: RecordedTransforms, received_s: float, stamp_s: int = 5) -> float:
    buffer.go_to(round(received_s * S))
    return float(buffer.lookup("base", "camera", stamp_s * S)[2, 3])


def test_a_static_transform_holds_from_when_it_was_received() -> None:
    buffer = recorded(
        ("base", "camera", 0, (0, 0, 1), True, 1),
        ("base", "camera", 0, (0, 0, 2), True, 4),
        ("base", "camera", 0, (0, 0, 2), True, 6),
        ("base", "camera", 0, (0, 0, 3), True, 8),
    )
    assert [height(buffer, at) for at in (3, 4, 7.9, 8, 9, 3)] == [1, 2, 2, 3, 3, 1]
    (changes,) = buffer.static_changes
    assert (changes.parent, changes.child) == ("base", "camera")
    assert changes.received_ns == (4 * S, 8 * S)


def test_a_static_transform_that_is_repeated_has_not_changed() -> None:
    buffer = recorded(*[("base", "camera", at, (0, 0, 1), True, at) for at in (1, 2, 3)])
    assert buffer.static_changes == []


def test_a_static_transform_holds_before_its_first_message() -> None:
    # tf2 would know nothing yet. A recording that is begun on a running robot may hold the
    # latched message after its first clouds, and nobody moved the camera meanwhile.
    buffer = recorded(("base", "camera", 0, (0, 0, 1), True, 4))
    assert height(buffer, 1) == 1


def test_a_moving_transform_that_was_recorded_later_is_known() -> None:
    # tf2 would have to be waited for.
    moves = [("base", "camera", at, (0, 0, at), False, at) for at in (1, 3)]
    assert height(recorded(*moves), received_s=2, stamp_s=2) == 2


def test_a_frame_that_becomes_static_was_moving_before() -> None:
    buffer = recorded(
        ("base", "camera", 1, (0, 0, 1), False, 1),
        ("base", "camera", 3, (0, 0, 3), False, 3),
        ("base", "camera", 0, (0, 0, 9), True, 4),
    )
    assert height(buffer, received_s=3.5, stamp_s=2) == 2
    assert height(buffer, received_s=4.5, stamp_s=2) == 9
    assert buffer.static_changes == []


def test_what_was_known_of_moving_frames_ends_where_simulated_time_was_set_back() -> None:
    buffer = RecordedTransforms()
    buffer.read(tf("base", "mast", 0, (0, 0, 1)), True, 0)
    for start_s, speed in ((0, 1), (10, 5)):  # the second run drives at another speed
        for stamp_s in (1, 3):
            buffer.read_clock(stamp_s * S, (start_s + stamp_s) * S)
            place = (speed * stamp_s, 0, 0)
            buffer.read(tf("map", "base", stamp_s * S, place), False, (start_s + stamp_s) * S)

    def place_at(received_s: int) -> list[float]:
        buffer.go_to(received_s * S)
        return buffer.lookup("map", "mast", 2 * S)[:3, 3].tolist()

    assert place_at(2) == [2, 0, 1]
    assert place_at(12) == [10, 0, 1]


def test_what_was_known_of_a_frame_ends_where_its_own_clock_was_set_back() -> None:
    buffer = RecordedTransforms()
    buffer.read(tf("odom", "mast", 1 * S, (0, 0, 1)), False, 1 * S)
    buffer.read(tf("odom", "mast", 9 * S, (0, 0, 1)), False, 9 * S)  # its clock is right
    for start_s, speed in ((0, 1), (10, 5)):
        for stamp_s in (1, 3):
            place = (speed * stamp_s, 0, 0)
            buffer.read(tf("map", "odom", stamp_s * S, place), False, (start_s + stamp_s) * S)

    def place_at(received_s: int) -> list[float]:
        buffer.go_to(received_s * S)
        return buffer.lookup("map", "mast", 2 * S)[:3, 3].tolist()

    assert place_at(2) == [2, 0, 1]
    assert place_at(12) == [10, 0, 1]
    (back,) = buffer.set_back
    assert (back.child, back.by_ns, back.received_ns) == ("odom", 2 * S, 11 * S)


def test_stamps_that_come_a_little_out_of_order_are_sorted() -> None:
    moves = [("base", "camera", at, (0, 0, at), False, 10 + at) for at in (1, 2, 1.5, 3)]
    buffer = recorded(*moves)
    assert height(buffer, received_s=12, stamp_s=1.75) == 1.75
    assert buffer.set_back == []


def assert_is_at_the_center(found: torch.Tensor) -> None:
    torch.testing.assert_close(found.float(), torch.tensor([CENTER]), atol=1e-5, rtol=0)


def drive_with_a_tilting_camera(write: Write) -> None:
    """The camera looks at the object from 1 m above the ground, then from 2 m."""
    write("/tf_static", tf("map", "base_link", 0, (0, 0, 0)), S)
    for tick, at in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)):
        if tick in (1, 3):
            write("/tf_static", tf("base_link", "camera", 0, (0, 0, at), CAMERA_TURN), tick * S)
        x, y, z = (CLOUD + CENTER - (0.0, 0.0, at)).T
        points = np.stack([-y, -z, x], axis=1)
        write("/points", cloud(tick * S, "camera", points), tick * S + 1000)


def test_every_cloud_uses_the_static_transform_of_its_time(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", "mcap", drive_with_a_tilting_camera)
    with open_run(path, BoundingBox(), parameters=Parameters(detection_frame="map")) as run:
        for _ in range(2):  # a run can be repeated
            for frame in run.frames():
                assert not isinstance(frame, DroppedFrame)
                center = frame.detections.boxes.center
                torch.testing.assert_close(
                    center.float(), torch.tensor([CENTER]), atol=1e-5, rtol=0
                )
        (note,) = run.remarks
    assert all(word in note for word in ("'camera'", "'base_link'", "2.000 s"))


def test_transforms_after_a_reset_of_the_simulation_are_those_of_the_new_run(
    tmp_path: Path,
) -> None:
    def fill(write: Write) -> None:
        for start_s, x in ((10, 0.0), (20, 3.0)):
            for stamp_s in (1, 2, 3):
                received_ns = (start_s + stamp_s) * S
                time = T["builtin_interfaces/msg/Time"](stamp_s, 0)
                write("/clock", T["rosgraph_msgs/msg/Clock"](time), received_ns)
                points = CLOUD + CENTER - (x, 0.0, 0.0)
                write("/points", cloud(stamp_s * S, "base_link", points), received_ns + 1000)
                write("/tf", tf("map", "base_link", stamp_s * S, (x, 0, 0)), received_ns + 2000)

    path = write_bag(tmp_path / "bag", "sqlite3", fill)
    with open_run(path, BoundingBox(), parameters=Parameters(detection_frame="map")) as run:
        frames = list(run.frames())
    assert len(frames) == 6
    for frame in frames:
        assert not isinstance(frame, DroppedFrame)
        assert_is_at_the_center(frame.detections.boxes.center)


def test_a_broken_transform_is_told_and_the_others_are_read() -> None:
    buffer = RecordedTransforms()
    message = tf("base", "camera", 0, (0, 0, 1))
    message.transforms += tf("base", "broken", 0, (0, 0, 1), (0.0, 0.0, 0.0, 0.0)).transforms
    with pytest.raises(TransformError, match="broken"):
        buffer.read(message, static=True, received_ns=S)
    assert height(buffer, 1) == 1


def test_a_broken_transform_with_an_old_stamp_is_no_clock_that_was_set_back() -> None:
    buffer = recorded(*[("base", "camera", at, (0, 0, at), False, 10 + at) for at in (7, 8)])
    broken = tf("base", "camera", 3 * S, (0, 0, 1), (0.0, 0.0, 0.0, 0.0))
    with pytest.raises(TransformError, match="camera"):
        buffer.read(broken, static=False, received_ns=18 * S)
    buffer.read(tf("base", "camera", 9 * S, (0, 0, 9)), static=False, received_ns=19 * S)
    assert buffer.set_back == []
    assert height(buffer, received_s=19, stamp_s=7) == 7
