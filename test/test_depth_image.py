"""Depth images: points by hand, the cloud of the same moment, and images that cannot be read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.bag.replay import Bag
from sr3d_ros.errors import MessageError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth, color_misfit
from sr3d_ros.tf.buffer import TransformBuffer

STAMP = SimpleNamespace(sec=7, nanosec=0)


def header(frame: str = "optical") -> Any:
    return SimpleNamespace(stamp=STAMP, frame_id=frame)


@dataclass
class Image:
    """A sensor_msgs/Image."""

    data: Any
    height: int
    width: int
    step: int
    encoding: str
    is_bigendian: int = 0
    header: Any = field(default_factory=header)


@dataclass
class Info:
    """A sensor_msgs/CameraInfo of a camera with fx 2, fy 4, cx 1, cy 0.5 pixels."""

    height: int = 2
    width: int = 3
    k: Any = (2.0, 0, 1, 0, 4, 0.5, 0, 0, 1)
    p: Any = (2.0, 0, 1, 0, 0, 4, 0.5, 0, 0, 0, 1, 0)
    binning_x: int = 0
    binning_y: int = 0
    roi: Any = field(
        default_factory=lambda: SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    )


def image(pixels: Any, encoding: str, padding: int = 0, big: bool = False, **more: Any) -> Image:
    array = np.asarray(pixels)
    array = array.astype(array.dtype.newbyteorder(">" if big else "<"))
    rows = [row.tobytes() + b"\xab" * padding for row in array]
    return Image(
        b"".join(rows), len(array), array.shape[1], len(rows[0]), encoding, int(big), **more
    )


MILLIMETRES = np.array([[1000, 0, 2000], [500, 65535, 4000]], np.uint16)
METRES = np.array([[1.0, math.nan, 2.0], [0.5, math.inf, 4.0]], np.float32)
POINTS = [
    [-0.5, -0.125, 1.0],  # pixel (0, 0): ((0 - 1) / 2, (0 - 0.5) / 4) times 1 m
    [1.0, -0.25, 2.0],
    [-0.25, 0.0625, 0.5],
    [2.0, 0.5, 4.0],
]
COLORS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
KEPT = [(0, 0), (0, 2), (1, 0), (1, 2)]


def check(cloud: PointCloud, points: Any = POINTS) -> None:
    torch.testing.assert_close(cloud.xyz, torch.tensor(points, dtype=torch.float32))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimetres_are_read_and_holes_left_out(encoding: str) -> None:
    check(cloud_from_depth(image(MILLIMETRES, encoding), Info()))


def test_metres_are_read_and_holes_left_out() -> None:
    check(cloud_from_depth(image(METRES, "32FC1"), Info()))


def test_negative_depth_is_no_return() -> None:
    cloud = cloud_from_depth(image(np.where(METRES > 1, -METRES, METRES), "32FC1"), Info())
    check(cloud, [POINTS[0], POINTS[2]])


@pytest.mark.parametrize("pixels", [MILLIMETRES, METRES])
def test_row_padding_and_big_endian_are_read(pixels: Any) -> None:
    encoding = "16UC1" if pixels is MILLIMETRES else "32FC1"
    check(cloud_from_depth(image(pixels, encoding, padding=5, big=True), Info()))


def test_p_counts_and_k_where_p_is_empty() -> None:
    depth = image(MILLIMETRES, "16UC1")
    check(cloud_from_depth(depth, Info(k=(9.0,) * 9)))
    check(cloud_from_depth(depth, Info(p=(0.0,) * 12)))


def test_the_capital_letters_of_ros_1_are_read() -> None:
    info = SimpleNamespace(height=2, width=3, K=Info().k, P=Info().p)
    check(cloud_from_depth(image(MILLIMETRES, "16UC1"), info))


def test_binning_and_region_of_interest_are_applied() -> None:
    roi = SimpleNamespace(x_offset=10, y_offset=20, height=4, width=6)
    info = Info(480, 640, p=(4.0, 0, 12, 0, 0, 8, 21, 0, 0, 0, 1, 0), roi=roi)
    info.binning_x = info.binning_y = 2
    check(cloud_from_depth(image(MILLIMETRES, "16UC1"), info))


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("8UC3", [2, 1, 0])],
)
def test_colors_are_those_of_the_pixels(encoding: str, order: list[int]) -> None:
    cloud = cloud_from_depth(
        image(MILLIMETRES, "16UC1"), Info(), image(COLORS[:, :, order], encoding)
    )
    expected = torch.tensor([COLORS[pixel].tolist() for pixel in KEPT])
    assert torch.equal((cloud.features * 255).round(), expected.float())


@pytest.mark.parametrize(("encoding", "order"), [("rgba8", [0, 1, 2]), ("bgra8", [2, 1, 0])])
def test_alpha_is_left_out(encoding: str, order: list[int]) -> None:
    with_alpha = np.dstack([COLORS[:, :, order], np.full((2, 3), 255, np.uint8)])
    cloud = cloud_from_depth(image(MILLIMETRES, "16UC1"), Info(), image(with_alpha, encoding))
    assert (cloud.features[1] * 255).round().tolist() == COLORS[0, 2].tolist()


def test_grey_is_all_three_colors() -> None:
    grey = image(COLORS[:, :, 0], "mono8")
    cloud = cloud_from_depth(image(MILLIMETRES, "16UC1"), Info(), grey)
    assert (cloud.features[3] * 255).round().tolist() == [int(COLORS[1, 2, 0])] * 3


def test_color_of_twice_the_size_is_taken_at_the_same_place() -> None:
    large = COLORS.repeat(2, axis=0).repeat(2, axis=1)
    depth = image(MILLIMETRES, "16UC1")
    small = cloud_from_depth(depth, Info(), image(COLORS, "rgb8"))
    assert torch.equal(
        cloud_from_depth(depth, Info(), image(large, "rgb8")).features, small.features
    )


def test_color_of_another_frame_is_not_used_and_says_why() -> None:
    depth = image(MILLIMETRES, "16UC1")
    color = image(COLORS, "rgb8", header=header("rgb_optical"))
    assert cloud_from_depth(depth, Info(), color).features.isnan().all()
    assert re.search("'rgb_optical'.*'optical'", color_misfit(depth, color))


def test_color_of_another_shape_is_not_used_and_says_why() -> None:
    depth = image(MILLIMETRES, "16UC1")
    color = image(np.zeros((2, 4, 3), np.uint8), "rgb8")
    assert cloud_from_depth(depth, Info(), color).features.isnan().all()
    assert "has 4 x 2 pixels, the depth image 3 x 2" in color_misfit(depth, color)


def test_too_many_points_are_thinned_evenly() -> None:
    cloud = cloud_from_depth(image(MILLIMETRES, "16UC1"), Info(), max_points=2)
    check(cloud, [POINTS[0], POINTS[2]])


def test_an_empty_image_gives_an_empty_cloud() -> None:
    assert len(cloud_from_depth(Image(b"", 0, 0, 0, "16UC1"), Info())) == 0
    assert len(cloud_from_depth(image(MILLIMETRES * 0, "16UC1"), Info())) == 0


def refused(depth: Any, info: Any, color: Any = None) -> tuple[str, str]:
    with pytest.raises(MessageError) as caught:
        cloud_from_depth(depth, info, color)
    return caught.value.reason, str(caught.value)


def test_an_unreadable_encoding_is_refused_with_those_that_can_be_read() -> None:
    reason, text = refused(replace(image(MILLIMETRES, "16UC1"), encoding="rgb8"), Info())
    assert reason == "unsupported_encoding"
    assert re.search("depth .*'rgb8'.*16uc1, mono16", text)
    reason, text = refused(image(MILLIMETRES, "16UC1"), Info(), image(COLORS, "bayer_rggb8"))
    assert reason == "unsupported_encoding"
    assert "the color image has the encoding 'bayer_rggb8'" in text


def test_a_cut_image_is_refused() -> None:
    sent = image(MILLIMETRES, "16UC1")
    reason, text = refused(replace(sent, data=sent.data[:-1]), Info())
    assert reason == "truncated"
    assert re.search("11 bytes .*of 6.* 2 rows .* 6", text)


def test_camera_info_of_another_size_is_refused() -> None:
    reason, text = refused(image(MILLIMETRES, "16UC1"), Info(width=640, height=480))
    assert reason == "image_size_differs_from_camera_info"
    assert re.search("camera info .*640 x 480.* depth .*3 x 2", text)


@pytest.mark.parametrize("bad", [(0.0,) * 9, (math.nan,) * 9, (), None])
def test_an_uncalibrated_camera_is_refused(bad: Any) -> None:
    reason, text = refused(image(MILLIMETRES, "16UC1"), Info(k=bad, p=()))
    assert reason == "camera_info"
    assert "calibrate the camera" in text


@pytest.mark.parametrize("foreign", [None, 7, object()])
def test_something_else_than_an_image_is_refused(foreign: Any) -> None:
    assert refused(foreign, Info())[0] in ("size", "unsupported_encoding")


class Everything:
    """Finds one box round all points."""

    def detect(self, cloud: PointCloud) -> Detections:
        low, high = cloud.xyz.amin(dim=0), cloud.xyz.amax(dim=0)
        boxes = Boxes3D.from_array(torch.cat([(low + high) / 2, high - low])[None])
        return Detections(boxes, torch.ones(1), torch.zeros(1, dtype=torch.int64))


def test_a_pipeline_says_why_color_was_not_used() -> None:
    pipeline = FramePipeline(Everything().detect, TransformBuffer(), Parameters(up="none"))
    color = image(COLORS, "rgb8", header=header("elsewhere"))
    result = pipeline.process(DepthSet(image(MILLIMETRES, "16UC1"), Info(), color))
    assert len(result.notes) == 1
    assert result.notes[0].startswith("color is not used")
    assert (result.frame_id, result.stamp_ns, result.num_points) == ("optical", 7 * 10**9, 4)


def recorded(bag: Bag, topic: str) -> list[Any]:
    return [message for _, _, message in bag.messages(topic)]


def test_a_real_depth_image_gives_the_detections_of_its_cloud(real_data: Path) -> None:
    from sr3d_core.detector import Detector

    path = real_data / "bags" / "open3d_redwood_5frames_mcap"
    with Bag(path) as bag:
        clouds = recorded(bag, "/camera/depth/points")
        images = recorded(bag, "/camera/depth/image_rect_raw")
        infos = recorded(bag, "/camera/depth/camera_info")
        transforms, _ = bag.transforms()
    for cloud in clouds:
        cloud.fields = [entry for entry in cloud.fields if entry.name in "xyz"]
    pipeline = FramePipeline(Detector.from_checkpoint("default").detect, transforms)
    for cloud, depth, info in zip(clouds, images, infos, strict=True):
        of_cloud, of_depth = pipeline.process(cloud), pipeline.process(DepthSet(depth, info))
        torch.testing.assert_close(of_depth.cloud.xyz, of_cloud.cloud.xyz, atol=1e-6, rtol=0)
        found, expected = of_depth.detections, of_cloud.detections
        assert len(found) > 0
        torch.testing.assert_close(found.labels, expected.labels)
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.boxes.array, expected.boxes.array, atol=1e-3, rtol=0)
