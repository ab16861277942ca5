"""Frames that are detected in beside, or instead of alone, what is remembered of the room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_pipeline import CAMERA_TURN, STILL, BoundingBox, S, cloud

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.tf.buffer import TransformBuffer

HALF_TURN = (0.0, 0.0, 1.0, 0.0)
AHEAD = np.array(
    [[x, y, z] for x in np.arange(-0.3, 0.3, 0.05) for y in (-0.2, 0.0, 0.2) for z in (3.0, 3.1)]
)
"""A thick board three metres before an optical camera."""


def driving(fixed: str = "odom") -> TransformBuffer:
    """A camera 1 m above the base of a robot that drives 1 m/s, and turns round at second 3."""
    buffer = TransformBuffer(history_s=1e3)
    buffer.insert("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN, static=True)
    for tenth in range(10, 31):
        buffer.insert(fixed, "base_link", tenth * S // 10, (5 + tenth / 10, 2, 0), STILL)
    buffer.insert(fixed, "base_link", 4 * S, (8, 2, 0), HALF_TURN)
    buffer.insert(fixed, "base_link", 8 * S, (8, 2, 0), HALF_TURN)
    return buffer


def remembering(buffer: TransformBuffer, **values: Any) -> FramePipeline:
    named = {f"memory.{name}": value for name, value in {"seconds": 20.0, **values}.items()}
    return FramePipeline(BoundingBox().detect, buffer, Parameters.from_values(named))


def in_fixed(result: FrameResult, buffer: TransformBuffer, fixed: str = "odom") -> Any:
    """The points that were detected in, where they are in the room."""
    fixed_from_gravity = buffer.lookup(fixed, result.gravity_frame, result.stamp_ns)
    return result.cloud.transformed(torch.from_numpy(fixed_from_gravity)).xyz


def at(second: float, points: Any = AHEAD, frame: str = "camera") -> Any:
    return cloud(points, frame, round(second * S))


@pytest.mark.parametrize("fixed", ["odom", "map"])
def test_what_is_behind_the_robot_now_is_detected_in_where_it_stands(fixed: str) -> None:
    buffer = driving(fixed)
    pipeline = remembering(buffer, mode="instead", max_points=5000)
    pipeline.process(at(1))  # the board stands at x = 9 in the room, the camera at x = 6
    result = pipeline.process(at(4, np.add(AHEAD, (0, 0, 1))))  # at x = 8, looking back: at x = 4
    boards = in_fixed(result, buffer, fixed)
    assert {round(x, 2) for x in boards[:, 0].tolist()} == {9.0, 9.1, 4.0, 3.9}
    assert result.memory is not None
    assert result.memory.fixed_frame == fixed
    assert result.memory.num_points == len(boards) == 2 * len(AHEAD)
    assert result.notes == ()
    assert set(result.time_ms) == {"parse", "transform", "memory", "detect"}


def test_without_seconds_frames_are_alone_and_what_was_remembered_is_gone() -> None:
    pipeline = remembering(driving())
    assert pipeline.process(at(1)).memory is not None
    pipeline.parameters = Parameters()
    result = pipeline.process(at(1.5))
    assert (result.memory, result.num_points) == (None, len(AHEAD))
    pipeline.parameters = Parameters(memory_seconds=20.0, memory_mode="instead")
    again = pipeline.process(at(2))
    assert again.num_points == len(AHEAD)


def test_a_node_that_is_deactivated_forgets() -> None:
    pipeline = remembering(driving(), mode="instead")
    pipeline.process(at(1))
    pipeline.scene.forget()
    assert pipeline.scene.use is None
    assert pipeline.process(at(4)).num_points == len(AHEAD)


def test_a_frame_in_hand_does_not_bring_back_what_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = driving()
    pipeline = remembering(buffer, mode="instead")
    pipeline.process(at(1))
    lookup = buffer.lookup

    def forgotten_meanwhile(*wanted: Any, **how: Any) -> Any:
        pipeline.scene.forget()  # as another thread may
        return lookup(*wanted, **how)

    monkeypatch.setattr(buffer, "lookup", forgotten_meanwhile)
    pipeline.process(at(2))
    assert pipeline.scene.use is None


def test_beside_gives_the_boxes_of_both_and_of_an_object_in_both_one() -> None:
    buffer = driving()
    pipeline = remembering(buffer, mode="beside")
    assert len(pipeline.process(at(1)).detections) == 1  # the frame and the memory are the same
    result = pipeline.process(at(4))
    # Of the frame the board alone, of the memory a box round both boards: they hardly overlap.
    assert len(result.detections) == 2
    assert result.num_points == 3 * len(AHEAD)


class Points:
    """Finds a box of 0.4 m round every tenth point, and counts how often it was asked."""

    def __init__(self) -> None:
        self.num_asked = 0

    def detect(self, seen: PointCloud) -> Detections:
        self.num_asked += 1
        center = seen.xyz[::10]
        rows = torch.cat([center, torch.full_like(center, 0.4)], dim=1)
        labels = torch.zeros(len(rows), dtype=torch.int64)
        return Detections(Boxes3D.from_array(rows), torch.ones(len(rows)), labels)


def test_between_two_looks_its_boxes_stay_where_they_are_in_the_room() -> None:
    buffer, finder = driving(), Points()
    parameters = Parameters(memory_seconds=20.0, memory_mode="instead", memory_period_s=3.5)
    pipeline = FramePipeline(finder.detect, buffer, parameters)
    first = pipeline.process(at(1))
    carried = pipeline.process(at(4))  # driven on and turned round since
    assert finder.num_asked == 1
    in_room = []
    for result in (first, carried):
        center = result.detections.boxes.center.double().numpy()
        room_from_base = buffer.lookup("odom", "base_link", result.stamp_ns)
        in_room.append(center @ room_from_base[:3, :3].T + room_from_base[:3, 3])
    np.testing.assert_allclose(in_room[1], in_room[0], atol=1e-5)
    assert set(in_room[0][:, 0].round(3)) <= {9.0, 9.1}
    assert carried.num_points == len(AHEAD)
    pipeline.process(at(4.5))
    assert finder.num_asked == 2


def test_another_detector_or_threshold_looks_anew_at_what_stays_remembered() -> None:
    first, second = Points(), Points()
    parameters = Parameters(memory_seconds=20.0, memory_mode="instead", memory_period_s=60.0)
    pipeline = FramePipeline(first.detect, driving(), parameters)
    pipeline.process(at(1))
    pipeline.detector = second.detect
    assert pipeline.process(at(4)).num_points == 2 * len(AHEAD)
    pipeline.parameters = pipeline.parameters.with_values({"output.nms_iou": 0.3})
    pipeline.process(at(5))
    assert (first.num_asked, second.num_asked) == (1, 2)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (at(20), "frames.timeout_s"),  # the odometry has no such stamp
        (at(2, AHEAD, "odom"), "'odom'"),
        (cloud(AHEAD, "camera", 0), "header.stamp"),
        (at(2, np.add(AHEAD, (0, 0, 9))), "memory.radius_m"),
    ],
)
def test_a_frame_that_cannot_be_remembered_is_detected_in_alone(message: Any, named: str) -> None:
    pipeline = remembering(driving(), mode="instead")
    result = pipeline.process(message)
    assert (result.num_points, len(result.detections)) == (len(AHEAD), 1)
    assert any("without memory" in note and named in note for note in result.notes)
    assert result.memory is not None
    assert (result.memory.alone_because, result.memory.num_alone) == (result.notes[-1], 1)
    assert pipeline.process(at(2.5)).notes == ()  # the next one is remembered again


def test_a_robot_without_odometry_is_told_so_once() -> None:
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN, static=True)
    pipeline = remembering(buffer)
    notes = {note for second in (1, 2, 3) for note in pipeline.process(at(second)).notes}
    (note,) = notes
    assert "odom or map" in note


def test_a_frame_of_another_name_can_be_remembered_in_and_a_change_forgets() -> None:
    buffer = driving()
    buffer.insert("world", "odom", 0, (100, 0, 0), STILL, static=True)
    pipeline = remembering(buffer, mode="instead", frame="world")
    pipeline.process(at(1))
    assert pipeline.process(at(4)).memory.fixed_frame == "world"  # type: ignore[union-attr]
    pipeline.parameters = pipeline.parameters.with_values({"memory.frame": ""})
    result = pipeline.process(at(5))
    assert result.num_points == len(AHEAD)
    assert any("'odom'" in note for note in result.notes)


def test_stamps_that_go_back_forget_and_say_so() -> None:
    pipeline = remembering(driving(), mode="instead")
    pipeline.process(at(4))
    result = pipeline.process(at(1))
    assert result.num_points == len(AHEAD)
    assert any("memory forgotten" in note for note in result.notes)


@pytest.mark.parametrize(
    ("second", "named"),
    [(1.1, "jumped"), (1.2, ""), (40.0, "no frame for")],  # odom jumps 5 m; as before; a pause
)
def test_what_breaks_the_scene_is_said_and_what_does_not_is_not(second: float, named: str) -> None:
    buffer = TransformBuffer(history_s=1e3)
    buffer.insert("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN, static=True)
    for at_s, x in ((1.0, 0.0), (1.1, 5.0), (1.2, 0.0), (40.0, 0.0)):
        buffer.insert("odom", "base_link", round(at_s * S), (x, 0, 0), STILL)
    pipeline = remembering(buffer, mode="instead")
    pipeline.process(at(1))
    notes = pipeline.process(at(second)).notes
    assert any(named in note for note in notes) if named else not notes


def test_a_robot_that_does_not_move_piles_nothing_up_and_has_nothing_to_say() -> None:
    buffer = TransformBuffer(history_s=1e3)
    buffer.insert("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN, static=True)
    for second in (0, 60):
        buffer.insert("odom", "base_link", second * S, (0, 0, 0), STILL)
    pipeline = remembering(buffer, mode="instead")
    results = [pipeline.process(at(second)) for second in range(1, 50)]
    assert {result.num_points for result in results} == {len(AHEAD)}
    assert not any(result.notes for result in results)


def test_the_crop_holds_for_what_is_remembered_too() -> None:
    pipeline = remembering(driving(), mode="instead")
    pipeline.parameters = pipeline.parameters.with_values({"filter.roi": [0, -9, -9, 9, 9, 9]})
    pipeline.process(at(1))
    assert pipeline.process(at(4)).num_points == len(AHEAD)  # of the board ahead, not behind


def test_points_of_a_cloud_whose_sensor_is_not_known_are_not_looked_through() -> None:
    far, near = np.meshgrid(np.arange(-1, 1, 0.02), np.arange(0, 2, 0.02)), 2.0
    wall = np.stack([np.full(far[0].size, 4.0), far[0].ravel(), far[1].ravel()], axis=1)
    board = wall * (near / 4.0, 0.2, 0.2) + (0, 0, 0.5)
    for frame, goes in (("base_link", False), ("lidar", True)):
        buffer = driving()
        buffer.insert("base_link", "lidar", 0, (0, 0, 0), STILL, static=True)
        pipeline = remembering(buffer, mode="instead")
        pipeline.process(at(4, np.concatenate([board, wall]), frame))
        for second in (5, 6, 7):
            result = pipeline.process(at(second, wall, frame))
        is_there = bool(((result.cloud.xyz[:, 0] - near).abs() < 0.1).any())
        assert is_there != goes
        assert any("memory.free_space" in note for note in result.notes) != goes
