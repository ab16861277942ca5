"""Covariances, identities, object clouds and VisionInfo through real rclpy, byte for byte."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs.msg import LabelInfo, VisionInfo

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.messages.covariance import pose_covariances
from sr3d_ros.messages.detections import detection_array, vision_info
from sr3d_ros.messages.markers import marker_array
from sr3d_ros.messages.object_clouds import object_cloud, object_indices
from sr3d_ros.messages.parts import ros_types
from sr3d_ros.sensors.pointcloud2 import cloud_from_message

CLASSES = ("chair", "bed")
UPSTREAM_HASHES = {
    # Of the released definitions, computed by another implementation (rosbags).
    LabelInfo: "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    VisionInfo: "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}


@pytest.mark.parametrize("message_type", UPSTREAM_HASHES, ids=lambda kind: kind.__name__)
def test_the_type_hash_is_the_upstream_one(message_type: Any) -> None:
    name = message_type.__name__
    prefixes = os.environ.get("AMENT_PREFIX_PATH", sys.prefix).split(os.pathsep)
    found = [Path(prefix, "share", "vision_msgs", "msg", f"{name}.json") for prefix in prefixes]
    files = [path for path in found if path.is_file()]
    if not files:
        pytest.skip("this ROS distribution does not install type descriptions")
    entries = json.loads(files[0].read_text())["type_hashes"]
    hashes = {entry["type_name"]: entry["hash_string"] for entry in entries}
    assert hashes[f"vision_msgs/msg/{name}"] == f"RIHS01_{UPSTREAM_HASHES[message_type]}"


def found() -> Detections:
    rows = [[1.5, -2.25, 0.5, 1.0, 1.0, 1.0, 0.0], [-3.0, 4.5, 1.0, 1.0, 1.0, 1.0, 0.0]]
    boxes = Boxes3D.from_array(torch.tensor(rows))
    return Detections(boxes, torch.tensor([0.5, 0.875]), torch.tensor([1, 0]))


def parts() -> dict[str, Any]:
    return {
        "stamp_ns": 12_000_000_345,
        "frame_id": "map",
        "output_from_gravity": np.eye(4),
        "types": ros_types(),
    }


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


def test_covariances_and_identities_survive_the_wire() -> None:
    spread = {"bed": ClassSpread(center_m=(0.5, 0.25, 1.0), yaw_rad=2.0, num_boxes=20)}
    covariances = pose_covariances(found(), CLASSES, spread, np.eye(4))
    message = detection_array(
        found(), classes=CLASSES, ids=("7", ""), covariances=covariances, **parts()
    )
    chair, bed = over_the_wire(message).detections
    assert (chair.id, bed.id) == ("", "7")
    diagonal = np.asarray(bed.results[0].pose.covariance).reshape(6, 6).diagonal()
    assert diagonal.tolist() == [0.25, 0.0625, 1.0, 0.0, 0.0, 4.0]
    assert not np.any(chair.results[0].pose.covariance)


def test_marker_labels_with_identities_survive_the_wire() -> None:
    array = over_the_wire(marker_array(found(), classes=CLASSES, ids=("7", ""), **parts()))
    texts = [marker.text for marker in array.markers if marker.ns == "labels"]
    assert texts == ["chair 0.88", "bed 0.50 #7"]


def test_the_points_of_each_object_survive_the_wire() -> None:
    cloud = PointCloud.single(found().boxes.center, torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    message = over_the_wire(object_cloud(found(), cloud, **parts()))
    back = cloud_from_message(message)
    assert back.xyz.tolist() == [[-3.0, 4.5, 1.0], [1.5, -2.25, 0.5]]
    assert back.features.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_the_indices_of_each_object_survive_the_wire() -> None:
    cloud = PointCloud.single(found().boxes.center, None)
    source = object_cloud(found(), cloud, **parts())
    message = over_the_wire(
        object_indices(found(), source, gravity_from_cloud=np.eye(4), types=ros_types())
    )
    pairs = np.frombuffer(message.data, [("index", "<u4"), ("detection", "<u4")])
    assert pairs.tolist() == [(0, 0), (1, 1)]
    assert message.header == source.header


def test_vision_info_survives_the_wire() -> None:
    info = over_the_wire(
        vision_info(stamp_ns=5, method="sr3d default", label_topic="/a/label_info", version=3)
    )
    assert (info.method, info.database_location, info.database_version) == (
        "sr3d default",
        "/a/label_info",
        3,
    )
