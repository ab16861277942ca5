"""One frame's way: ways to find up, several clouds as one, crop and budget, output frames."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.errors import MessageError, Refused, TransformError, UpError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.imu import UpVector

S = 1_000_000_000
STILL = (0.0, 0.0, 0.0, 1.0)
CAMERA_TURN = (0.5, -0.5, 0.5, -0.5)  # link from optical frame
CORNERS = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)


class BoundingBox:
    """Finds one box round all points and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[PointCloud] = []

    def detect(self, cloud: PointCloud) -> Detections:
        self.seen.append(cloud)
        low, high = cloud.xyz.amin(dim=0), cloud.xyz.amax(dim=0)
        boxes = Boxes3D.from_array(torch.cat([(low + high) / 2, high - low])[None])
        return Detections(boxes, torch.ones(1), torch.zeros(1, dtype=torch.int64))


def cloud(points: Any, frame: str = "camera", stamp_ns: int = S) -> Any:
    rows = np.asarray(points, "<f4").reshape(-1, 3)
    fields = [
        SimpleNamespace(name=name, offset=4 * axis, datatype=7, count=1)
        for axis, name in enumerate("xyz")
    ]
    stamp = SimpleNamespace(sec=stamp_ns // S, nanosec=stamp_ns % S)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=frame),
        height=1,
        width=len(rows),
        fields=fields,
        point_step=12,
        row_step=12 * len(rows),
        is_bigendian=False,
        data=rows.tobytes(),
    )


def robot() -> TransformBuffer:
    """An optical camera 1 m above the base, looking forward, and one looking back."""
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN, static=True)
    buffer.insert("base_link", "rear", 0, (-0.2, 0, 1), (0.5, 0.5, -0.5, -0.5), static=True)
    return buffer


def pipeline(buffer: TransformBuffer, imu: Any = None, **parameters: Any) -> FramePipeline:
    return FramePipeline(BoundingBox().detect, buffer, Parameters(**parameters), imu)


def box_in_output(result: FrameResult) -> NDArray[np.float64]:
    center = result.detections.boxes.center[0].double().numpy()
    return (result.output_from_gravity @ [*center, 1.0])[:3]


class Imu:
    """Says that up is -y of its optical frame, half sure."""

    def up(self, stamp_ns: int) -> UpVector:
        return UpVector("camera", np.array([0.0, -1.0, 0.0]), 0.5)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"detection_frame": "base_link"}, {"up": "none", "target_frame": "base_link"}],
)
def test_a_cloud_without_a_frame_is_told_from_one_whose_transform_is_missing(
    parameters: dict[str, str],
) -> None:
    with pytest.raises(Refused, match=r"header\.frame_id is empty") as caught:
        pipeline(robot(), **parameters).process(cloud(CORNERS, frame=""))
    assert caught.value.reason == "header"
    with pytest.raises(Refused, match="'elsewhere'") as caught:
        pipeline(robot(), **parameters).process(cloud(CORNERS, frame="elsewhere"))
    assert caught.value.reason == "no_transform"


def test_up_from_an_imu_keeps_the_sensor_at_the_origin() -> None:
    points = CORNERS * (0.4, 0.6, 0.8) + (1.0, 0.5, 3.0)  # optical: right, down, forward
    result = pipeline(TransformBuffer(), Imu(), up="imu").process(cloud(points))
    torch.testing.assert_close(result.detections.boxes.center[0], torch.tensor([1.0, 3.0, -0.5]))
    torch.testing.assert_close(result.detections.boxes.size[0], torch.tensor([0.4, 0.8, 0.6]))
    assert (result.gravity_frame, result.up_confidence) == ("camera_level", 0.5)
    np.testing.assert_allclose(box_in_output(result), [1.0, 0.5, 3.0], atol=1e-6)


def test_boxes_found_with_an_imu_are_carried_into_a_frame_of_tf() -> None:
    points = np.add(CORNERS, (0.0, 0.0, 3.0))
    result = pipeline(robot(), Imu(), up="imu", target_frame="base_link").process(cloud(points))
    assert result.frame_id == "base_link"
    np.testing.assert_allclose(box_in_output(result), [3.0, 0.0, 1.0], atol=1e-6)


def test_a_zed_like_frame_is_left_upright_and_an_optical_one_is_turned() -> None:
    buffer = robot()
    buffer.insert("base_link", "zed_left_camera_frame", 0, (0, 0, 1), STILL, static=True)
    ahead_left_up = [3.0, 0.5, 0.2]
    right_down_ahead = [-0.5, -0.2, 3.0]
    for frame, point in (("zed_left_camera_frame", ahead_left_up), ("camera", right_down_ahead)):
        result = pipeline(buffer).process(cloud([point], frame))
        torch.testing.assert_close(result.cloud.xyz, torch.tensor([[3.0, 0.5, 1.2]]))


def test_up_none_takes_the_clouds_own_frame() -> None:
    result = pipeline(TransformBuffer(), up="none").process(cloud(CORNERS))
    assert result.gravity_frame == result.frame_id == "camera"
    assert result.up_confidence == 1.0


def floor_and_object(height_m: float) -> NDArray[np.float64]:
    """A level floor that an optical camera sees, and a dense object on it."""
    draw = np.random.default_rng(0)
    right, ahead = draw.uniform(-2, 2, 4000), draw.uniform(2.5, 6, 4000)
    floor = np.stack([right, np.full(4000, height_m), ahead], axis=1)
    block = draw.uniform((-0.3, height_m - 0.8, 3.7), (0.3, height_m, 4.3), (1500, 3))
    return np.concatenate([floor, block])


def test_up_from_the_floor_puts_the_floor_at_zero() -> None:
    detector = BoundingBox()
    parameters = Parameters(up="floor", min_height_m=0.1)
    floor_pipeline = FramePipeline(detector.detect, TransformBuffer(), parameters)
    result = floor_pipeline.process(cloud(floor_and_object(1.3)))
    center, size = result.detections.boxes.center[0], result.detections.boxes.size[0]
    torch.testing.assert_close(center, torch.tensor([0.0, 4.0, 0.45]), atol=0.05, rtol=0)
    torch.testing.assert_close(size, torch.tensor([0.6, 0.6, 0.7]), atol=0.05, rtol=0)
    assert 0.3 < result.up_confidence < 1.0
    np.testing.assert_allclose(box_in_output(result), [0.0, 0.85, 4.0], atol=0.05)


def test_no_floor_is_a_refusal_with_its_reason() -> None:
    with pytest.raises(UpError) as caught:
        pipeline(TransformBuffer(), up="floor").process(cloud(CORNERS))
    assert caught.value.reason == "no_floor"


def test_two_cameras_back_to_back_are_one_cloud() -> None:
    front, rear = cloud(np.add(CORNERS, (0, 0, 3))), cloud(np.add(CORNERS, (0, 0, 4)), "rear")
    result = pipeline(robot()).process(front, rear)
    assert result.num_points == 16
    box = result.detections.boxes
    torch.testing.assert_close(box.center[0], torch.tensor([-0.6, 0.0, 1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(box.size[0], torch.tensor([8.2, 1.0, 1.0]), atol=1e-5, rtol=0)
    assert (result.frame_id, result.left_out) == ("camera", ())


def test_motion_between_the_stamps_of_two_cameras_is_taken_out() -> None:
    """The robot drives at 1 m/s; the rear camera looked 0.1 s later at the same point."""
    buffer = robot()
    buffer.insert("odom", "base_link", S, (0, 0, 0), STILL)
    buffer.insert("odom", "base_link", 2 * S, (1, 0, 0), STILL)
    front = cloud([[0, 0, 3.0]])
    rear = cloud([[0, 0, -3.1]], "rear", stamp_ns=S + S // 10)  # 3.0 m ahead of the base at S
    result = pipeline(buffer).process(front, rear)
    assert result.gravity_frame == "base_link"
    torch.testing.assert_close(
        result.cloud.xyz, torch.tensor([[3.0, 0, 1], [3.0, 0, 1]]), atol=1e-5, rtol=0
    )


def test_a_further_cloud_that_cannot_be_used_is_left_out_with_its_reason() -> None:
    bad = cloud(CORNERS, "rear")
    bad.data = b""
    result = pipeline(robot()).process(cloud(CORNERS), bad, cloud(CORNERS, "nowhere"))
    assert result.num_points == 8
    assert [error.reason for error in result.left_out] == ["truncated", "no_transform"]


def test_the_first_cloud_must_be_usable() -> None:
    with pytest.raises(TransformError):
        pipeline(robot()).process(cloud(CORNERS, "nowhere"), cloud(CORNERS))


def test_the_range_is_measured_from_each_sensor() -> None:
    front = cloud([[0, 0, 1.0], [0, 0, 5.0]])
    rear = cloud([[0, 0, 2.0], [0, 0, 6.0]], "rear")
    result = pipeline(robot(), min_range_m=1.5, max_range_m=5.5).process(front, rear)
    assert sorted(result.cloud.xyz[:, 0].tolist()) == pytest.approx([-2.2, 5.0])


def test_the_region_is_in_the_detection_frame_however_far_the_robot_is() -> None:
    buffer = robot()
    buffer.insert("map", "base_link", 0, (1000, -500, 0), STILL, static=True)
    roi = (1000.0, -501.0, 0.0, 1003.5, -499.0, 2.0)
    near_and_far = cloud([[0, 0, 3.0], [0, 0, 4.0]])
    result = pipeline(buffer, roi=roi, detection_frame="map").process(near_and_far)
    torch.testing.assert_close(result.cloud.xyz, torch.tensor([[1003.0, -500, 1]]))


def test_the_budget_is_spent_on_what_the_crop_leaves() -> None:
    points = [[0, 0, float(z)] for z in range(1, 101)]
    result = pipeline(robot(), max_range_m=10.0, max_points=5).process(cloud(points))
    assert result.cloud.xyz[:, 0].tolist() == pytest.approx([1, 3, 5, 7, 9])


def test_a_crop_that_leaves_nothing_finds_nothing() -> None:
    result = pipeline(robot(), max_range_m=0.1).process(cloud(CORNERS))
    assert (result.num_points, len(result.detections)) == (0, 0)


def test_boxes_in_the_gravity_frame_need_no_turn() -> None:
    result = pipeline(robot(), target_frame="base_link").process(cloud(CORNERS))
    np.testing.assert_array_equal(result.output_from_gravity, np.eye(4))


@pytest.mark.parametrize("spoiled", [None, SimpleNamespace(), SimpleNamespace(stamp=None)])
def test_a_message_without_a_header_is_refused(spoiled: Any) -> None:
    message = cloud(CORNERS)
    message.header = spoiled
    with pytest.raises(MessageError) as caught:
        pipeline(robot()).process(message)
    assert caught.value.reason == "header"


@pytest.mark.parametrize("limits", [{}, {"max_range_m": 5.0}])
def test_a_cloud_in_millimetres_is_refused_before_it_costs_minutes(limits: Any) -> None:
    corners = np.random.default_rng(0).uniform(0.0, 4000.0, (500, 3))
    with pytest.raises(Refused, match="millimetres") as refusal:
        pipeline(robot(), up="none", **limits).process(cloud(corners))
    assert refusal.value.reason == "units"


def test_an_optical_frame_taken_as_z_up_is_pointed_out() -> None:
    points = [[0.0, 0.0, 1.0]]
    result = pipeline(robot(), up="none").process(cloud(points, frame="camera_optical_frame"))
    assert "an optical frame's z points forward" in "".join(result.notes)
    assert pipeline(robot(), up="none").process(cloud(points)).notes == ()


def test_a_cloud_without_a_stamp_is_pointed_out() -> None:
    """tf2 and recordings take stamp 0 for the latest time that they know."""
    result = pipeline(robot(), up="none").process(cloud([[0.0, 0.0, 1.0]], stamp_ns=0))
    (note,) = result.notes
    assert "header.stamp" in note
