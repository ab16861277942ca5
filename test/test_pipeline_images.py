"""Color images through the pipeline: pose, height, far places, limits, and what is refused."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_depth_image import image
from test_pipeline import CAMERA_TURN, Imu, S, cloud

from sr3d_core.structures import Boxes3D, Detections, Images, PointCloud
from sr3d_ros.errors import DROP_REASONS, Refused
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.tf.buffer import TransformBuffer

RGB = np.full((6, 8, 3), 128, np.uint8)
AHEAD_M, STD_M = 2.0, 0.4


class OneAhead:
    """A box of half a metre, so far in front of the camera; keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Images] = []

    def __call__(self, images: Images) -> Detections:
        assert isinstance(images, Images)
        self.seen.append(images)
        pose = images.world_from_camera[0].double()
        center = pose[:3, 3] + AHEAD_M * pose[:3, 2]
        box = torch.tensor([[*center.tolist(), 0.5, 0.5, 0.5, 0.0]])
        zeros = torch.zeros(1, dtype=torch.int64)
        std = torch.tensor([STD_M])
        return Detections(Boxes3D.from_array(box), torch.ones(1), zeros, depth_std_m=std)


def no_cloud(_: PointCloud) -> Detections:
    raise AssertionError("no cloud was sent")


def robot(x: float = 0.0, y: float = 0.0) -> TransformBuffer:
    """An optical camera 1.2 m above the floor of base_link, looking forward; a robot at x, y."""
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", 0, (0.1, 0, 1.2), CAMERA_TURN, static=True)
    buffer.insert("map", "base_link", 0, (x, y, 0.5), (0, 0, 0, 1), static=True)
    return buffer


def info(frame: str = "camera", **changes: Any) -> Any:
    made = SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id=frame),
        **{"height": 6, "width": 8, "distortion_model": "plumb_bob", "d": (0.0,) * 5},
        **{"k": (7.0, 0, 3.5, 0, 7.0, 2.5, 0, 0, 1), "p": (), "r": ()},
    )
    vars(made).update(changes)
    return made


def view(pixels: Any = RGB, encoding: str = "rgb8", about: Any = "fits") -> CameraView:
    message = image(pixels, encoding)
    message.header.frame_id = "camera"
    message.header.stamp = SimpleNamespace(sec=1, nanosec=0)
    return CameraView(message, info() if about == "fits" else about)


def process(
    this: CameraView, buffer: TransformBuffer | None = None, imu: Any = None, **values: Any
) -> tuple[FrameResult, Images]:
    camera = OneAhead()
    parameters = Parameters.from_values({"input.kind": "rgb", **values})
    pipeline = FramePipeline(no_cloud, buffer or robot(), parameters, imu, camera=camera)
    result = pipeline.process(this)
    return result, camera.seen[0]


def center_in_output(result: FrameResult) -> list[float]:
    center = result.detections.boxes.center[0].double().numpy()
    return (result.output_from_gravity @ [*center, 1.0])[:3].tolist()


def test_an_image_is_detected_in_from_where_its_camera_stands() -> None:
    result, images = process(view())
    assert (result.input, result.stamp_ns, result.frame_id) == ("rgb", S, "camera")
    assert result.gravity_frame == "base_link"
    pose = images.world_from_camera[0].numpy()
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-6)  # looks along +x
    np.testing.assert_allclose(pose[:3, 3], [0, 0, 1.2], atol=1e-6)  # x and y are near zero
    np.testing.assert_allclose(result.detections.boxes.center[0], [0.1 + AHEAD_M, 0, 1.2])
    np.testing.assert_allclose(center_in_output(result), [0, 0, AHEAD_M], atol=1e-6)
    assert result.detections.depth_std_m is not None
    assert result.detections.depth_std_m.tolist() == pytest.approx([STD_M])
    assert (result.num_points, len(result.cloud), result.memory) == (0, 0, None)
    assert set(result.time_ms) == {"parse", "transform", "detect"}


def test_boxes_come_in_the_frame_that_was_asked_for_also_far_away() -> None:
    far = robot(512_000.0, 4_096_000.0)
    values = {"frames.target": "map", "frames.detection": "map"}
    result, images = process(view(), far, **values)
    assert (result.frame_id, result.gravity_frame) == ("map", "map")
    assert float(images.world_from_camera[0, :3, 3].abs().max()) < 10.0
    expected = [512_000.1 + AHEAD_M, 4_096_000.0, 1.7]
    np.testing.assert_allclose(center_in_output(result), expected, rtol=0, atol=1e-3)


def test_an_imu_is_enough_to_know_up() -> None:
    buffer = TransformBuffer()
    result, images = process(view(), buffer, Imu(), **{"frames.up": "imu"})
    assert (result.gravity_frame, result.up_confidence) == ("camera_level", 0.5)
    pose = images.world_from_camera[0].numpy()
    np.testing.assert_allclose(pose[2, :3], [0, -1, 0], atol=1e-6)  # up is -y of the camera
    assert not pose[:3, 3].any()


@pytest.mark.parametrize(
    ("values", "height_m"),
    [
        ({}, math.nan),
        ({"input.camera_height_m": 0.9}, 0.9),
        ({"frames.floor": "base_link", "input.camera_height_m": 0.9}, 1.2),
        ({"frames.floor": "map"}, 1.7),
    ],
)
def test_the_height_is_that_of_tf_or_of_the_parameter(
    values: dict[str, Any], height_m: float
) -> None:
    _, images = process(view(), **values)
    assert images.height is not None
    assert images.height.tolist() == pytest.approx([height_m], nan_ok=True)


@pytest.mark.parametrize(
    ("values", "num"),
    [
        ({"filter.max_range_m": 1.9}, 0),
        ({"filter.max_range_m": 2.1}, 1),
        ({"filter.min_range_m": 2.1}, 0),
        ({"filter.max_height_m": 1.1}, 0),
        ({"filter.roi": [0.0, -1.0, 0.0, 2.0, 1.0, 2.0]}, 0),
        ({"filter.roi": [0.0, -1.0, 0.0, 3.0, 1.0, 2.0]}, 1),
    ],
)
def test_limits_of_points_are_limits_of_boxes(values: dict[str, Any], num: int) -> None:
    found = process(view(), **values)[0].detections
    assert len(found) == num
    assert found.depth_std_m is not None
    assert len(found.depth_std_m) == num


def test_no_boxes_are_no_trouble() -> None:
    pipeline = FramePipeline(lambda _: Detections.empty(), robot(), Parameters(kind="rgb"))
    assert len(pipeline.process(view()).detections) == 0


NO_D = {"d": (0.1,) * 5, "distortion_model": "fish_bowl"}


@pytest.mark.parametrize(
    ("this", "values", "reason"),
    [
        (view(about=None), {}, "no_camera_info"),
        (view(about=info(width=9)), {}, "image_size_differs_from_camera_info"),
        (view(about=info("depth_camera")), {}, "camera_info"),
        (view(about=info(**NO_D)), {}, "not_rectified"),
        (view(RGB // 64), {}, "dark_image"),
        (view(encoding="bayer_rggb8"), {}, "unsupported_encoding"),
        (view(), {"frames.up": "none"}, "no_gravity_transform"),
        (view(), {"frames.floor": "camera"}, "bad_transform"),  # it is 0 m above itself
        (view(), {"frames.up": "floor"}, "no_gravity_transform"),
        (view(), {"frames.detection": "none"}, "no_gravity_transform"),
        (view(), {"frames.detection": "nowhere"}, "no_gravity_transform"),
        (view(), {"frames.floor": "nowhere"}, "no_transform"),
        (view(), {"frames.up": "imu"}, "no_imu"),
    ],
)
def test_what_cannot_be_used_is_refused_under_its_reason(
    this: CameraView, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused) as caught:
        process(this, **values)
    assert caught.value.reason == reason
    assert reason in DROP_REASONS


def test_a_rectified_image_needs_no_model_of_the_lens() -> None:
    _, images = process(view(about=info(**NO_D)), **{"input.rectified": True})
    assert images.intrinsics[0, 0, 0] == 7.0


def test_clouds_and_images_go_to_their_own_detectors() -> None:
    camera, seen = OneAhead(), list[PointCloud]()

    def of_clouds(points: PointCloud) -> Detections:
        seen.append(points)
        return Detections.empty()

    pipeline = FramePipeline(of_clouds, robot(), Parameters(kind="auto"), camera=camera)
    assert pipeline.process(cloud(np.ones((4, 3)))).input == "cloud"
    assert pipeline.process(view()).input == "rgb"
    assert (len(seen), len(camera.seen)) == (1, 1)
