"""Our messages in real rclpy: the types are everybody's, and numbers survive the wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message, serialize_message
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.diagnostics.counters import CloudCounters, fill_status
from sr3d_ros.messages.detections import detection_array, label_info
from sr3d_ros.messages.markers import marker_array
from sr3d_ros.messages.parts import ros_types
from sr3d_ros.msg import DetectorStatus

UPSTREAM_HASHES = {
    # What the released vision_msgs and tf2_msgs announce; equal hashes mean an equal wire format.
    Detection3DArray: "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    TFMessage: "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}


@pytest.mark.parametrize("message_type", UPSTREAM_HASHES, ids=lambda kind: kind.__name__)
def test_the_type_hash_is_the_upstream_one(message_type: Any) -> None:
    package, name = message_type.__module__.split(".")[0], message_type.__name__
    prefixes = os.environ.get("AMENT_PREFIX_PATH", sys.prefix).split(os.pathsep)
    found = [Path(prefix, "share", package, "msg", f"{name}.json") for prefix in prefixes]
    files = [path for path in found if path.is_file()]
    if not files:
        pytest.skip("this ROS distribution does not install type descriptions")
    hashes = {
        e["type_name"]: e["hash_string"] for e in json.loads(files[0].read_text())["type_hashes"]
    }
    assert hashes[f"{package}/msg/{name}"] == f"RIHS01_{UPSTREAM_HASHES[message_type]}"


def found() -> Detections:
    """Two boxes with numbers that 32 bits hold exactly."""
    boxes = Boxes3D.from_array(
        torch.tensor(
            [[1.5, -2.25, 0.5, 0.75, 1.25, 2.0, 0.0], [-3.0, 4.5, 1.0, 0.5, 0.5, 1.0, 1.5707964]]
        )
    )
    return Detections(boxes, torch.tensor([0.875, 0.5]), torch.tensor([1, 0]))


def parts() -> dict[str, Any]:
    return {
        "stamp_ns": 12_000_000_345,
        "frame_id": "map",
        "output_from_gravity": np.eye(4),
        "classes": ("chair", "bed"),
        "types": ros_types(),
    }


def over_the_wire(message: Any) -> Any:
    return deserialize_message(serialize_message(message), type(message))


def test_every_number_of_a_detection_survives_the_wire() -> None:
    array = over_the_wire(detection_array(found(), **parts()))
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (12, 345)
    first, second = array.detections
    center, size = first.bbox.center, first.bbox.size
    assert (center.position.x, center.position.y, center.position.z) == (1.5, -2.25, 0.5)
    assert (size.x, size.y, size.z) == (0.75, 1.25, 2.0)
    assert first.results[0].hypothesis.class_id == "bed"
    assert first.results[0].hypothesis.score == 0.875
    assert first.results[0].pose.pose == center
    turned = second.bbox.center.orientation
    assert (turned.x, turned.y) == (0.0, 0.0)
    assert (turned.z, turned.w) == pytest.approx((0.5**0.5, 0.5**0.5), abs=1e-6)


def test_every_number_of_a_marker_survives_the_wire() -> None:
    array = over_the_wire(marker_array(found(), **parts()))
    box = next(marker for marker in array.markers if marker.ns == "boxes")
    assert (box.scale.x, box.scale.y, box.scale.z) == (0.75, 1.25, 2.0)
    assert (box.pose.position.x, box.pose.position.y) == (1.5, -2.25)
    assert 0.0 < box.color.a <= 1.0


def test_the_labels_survive_the_wire() -> None:
    info = over_the_wire(label_info(("chair", "bed"), stamp_ns=5, threshold=0.25))
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == [
        (0, "chair"),
        (1, "bed"),
    ]
    assert info.threshold == 0.25


def test_the_status_survives_the_wire() -> None:
    counters = CloudCounters()
    counters.count_received()
    counters.count_dropped("no_xyz", "no x")
    counters.count_processed(
        processing_ms=12.5, latency_ms=20.25, num_detections=3, frame_id="map"
    )
    blank = DetectorStatus()
    filled = fill_status(blank, counters.snapshot(), "m", ("chair",), blank.header.stamp)
    status = over_the_wire(filled)
    assert status == filled
    assert (status.processing_ms, status.latency_ms, status.detections) == (12.5, 20.25, 3)
    assert status.drop_counts[list(status.drop_reasons).index("no_xyz")] == 1


@pytest.mark.skipif(
    os.environ.get("ROS_PYTHON_CHECK_FIELDS") == "0", reason="this is the inner run"
)
def test_the_same_holds_where_rclpy_does_not_check_the_fields() -> None:
    """Without checks, rclpy corrupts NumPy scalars silently instead of refusing them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", "wire"],
        env={**os.environ, "ROS_PYTHON_CHECK_FIELDS": "0"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
