"""The points of each detection, as someone who reads PointCloud2 sees them."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
import torch
from reading import STAMP_NS
from sample_boxes import OPTICAL_FROM_LEVEL, found
from sensor_msgs.msg import PointCloud2, PointField

from sr3d_core.geometry.origin import moved
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.messages.object_clouds import object_cloud, object_indices
from sr3d_ros.sensors.pointcloud2 import cloud_from_message

# The second box scores higher: it is detection 0 in messages.
BOXES = found((0.5, 0, [0, 0, 0.5, 1, 1, 1, 0.0]), (0.9, 0, [5, 0, 0.5, 2, 1, 1, 0.7854]))
XYZ = torch.tensor(
    [[0.0, 0, 0.5], [5, 0, 0.5], [9, 9, 9], [0.4, 0.4, 0.9], [5.6, 0.6, 0.5], [5.6, -0.6, 0.5]]
)
RGB = torch.tensor([[1.0, 0.5, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0]])


def cropped(cloud: PointCloud, detections: Detections = BOXES, **options: Any) -> Any:
    settings: dict[str, Any] = {"output_from_gravity": np.eye(4), **options}
    return object_cloud(detections, cloud, stamp_ns=STAMP_NS, frame_id="camera", **settings)


def rows(message: Any) -> np.ndarray:
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4"}
    layout = {
        "names": [field.name for field in message.fields],
        "formats": [kinds[field.datatype] for field in message.fields],
        "offsets": [field.offset for field in message.fields],
        "itemsize": message.point_step,
    }
    return np.frombuffer(bytes(message.data), np.dtype(layout))


def test_each_point_carries_the_place_of_its_detection_in_the_message() -> None:
    points = rows(cropped(PointCloud.single(XYZ, RGB)))
    assert points["detection"].tolist() == [0, 0, 1, 1]
    assert points["x"].tolist() == pytest.approx([5, 5.6, 0, 0.4])


def test_the_cloud_reads_back_with_its_colors_in_the_output_frame() -> None:
    message = cropped(PointCloud.single(XYZ, RGB), output_from_gravity=OPTICAL_FROM_LEVEL)
    back = cloud_from_message(message, drop_zeros=False)
    expected = OPTICAL_FROM_LEVEL @ [5.6, 0.6, 0.5, 1]
    assert back.xyz[1].tolist() == pytest.approx(expected[:3].tolist())
    assert back.features[2].tolist() == pytest.approx([1, 0.5, 0], abs=0.003)
    assert message.header.frame_id == "camera"


def test_a_cloud_without_color_has_no_color_field() -> None:
    message = cropped(PointCloud.single(XYZ, None))
    assert [field.name for field in message.fields] == ["x", "y", "z", "detection"]


def test_no_detections_give_an_empty_cloud() -> None:
    message = cropped(PointCloud.single(XYZ, RGB), Detections.empty())
    assert (message.height, message.width, len(message.data)) == (1, 0, 0)


def test_the_data_is_of_the_type_that_rclpy_takes_at_once() -> None:
    data = cropped(PointCloud.single(XYZ, RGB)).data
    assert isinstance(data, array.array)
    assert data.typecode == "B"


def input_message(xyz: np.ndarray) -> PointCloud2:
    """An ordered cloud of two rows, some points without return."""
    message = PointCloud2(height=2, width=len(xyz) // 2, point_step=12, row_step=6 * len(xyz))
    message.header.stamp.sec, message.header.stamp.nanosec = 7, 5
    message.header.frame_id = "camera"
    message.fields = [
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate("xyz")
    ]
    message.data = array.array("B", xyz.astype("<f4").tobytes())
    return message


def test_indices_count_all_points_of_the_input_also_those_without_return() -> None:
    xyz = XYZ.numpy().copy()
    xyz[2] = np.nan
    message = object_indices(BOXES, input_message(xyz), gravity_from_cloud=np.eye(4))
    points = rows(message)
    assert list(zip(points["index"].tolist(), points["detection"].tolist(), strict=True)) == [
        (1, 0),
        (4, 0),
        (0, 1),
        (3, 1),
    ]
    assert (message.header.stamp.sec, message.header.frame_id) == (7, "camera")


def test_indices_follow_the_cloud_into_its_own_frame() -> None:
    optical = XYZ.numpy() @ OPTICAL_FROM_LEVEL[:3, :3].T + OPTICAL_FROM_LEVEL[:3, 3]
    level_from_optical = np.linalg.inv(OPTICAL_FROM_LEVEL)
    message = object_indices(BOXES, input_message(optical), gravity_from_cloud=level_from_optical)
    assert rows(message)["index"].tolist() == [1, 4, 0, 3]


def test_a_point_in_two_boxes_comes_twice() -> None:
    twice = found((0.5, 0, [0, 0, 0.5, 1, 1, 1, 0]), (0.4, 1, [0, 0, 0.5, 2, 2, 2, 0]))
    points = rows(cropped(PointCloud.single(XYZ[:1], None), twice))
    assert points["detection"].tolist() == [0, 1]


def test_points_in_a_far_frame_are_published_in_double_precision() -> None:
    far = torch.tensor([400_000.0, 4_000_000.0, 0.0]).double()
    boxes = Detections(moved(BOXES.boxes, far), BOXES.scores, BOXES.labels)
    message = cropped(PointCloud.single(XYZ.double() + far, None), boxes)
    kinds = {field.name: field.datatype for field in message.fields}
    assert [kinds[name] for name in "xyz"] == [PointField.FLOAT64] * 3
    back = cloud_from_message(message).xyz - far
    torch.testing.assert_close(back, XYZ[[1, 4, 0, 3]].double(), atol=1e-6, rtol=0)
    indices = object_indices(boxes, message, gravity_from_cloud=np.eye(4))
    assert rows(indices)["index"].tolist() == [0, 1, 2, 3]
