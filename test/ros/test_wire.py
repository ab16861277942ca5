"""Messages on the wire: the types are everybody's, and every number arrives as it was sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import PATIENCE_S
from reading import STAMP_NS, over_the_wire, plain_values
from sample_boxes import CLASSES, OPTICAL_FROM_LEVEL, TWO
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionInfo

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.structures import PointCloud
from sr3d_ros.diagnostics.counters import CloudCounters, fill_status
from sr3d_ros.messages.covariance import pose_covariances
from sr3d_ros.messages.detections import detection_array, label_info, vision_info
from sr3d_ros.messages.markers import MarkerStyle, marker_array
from sr3d_ros.messages.object_clouds import object_cloud, object_indices
from sr3d_ros.msg import DetectorStatus

UPSTREAM_HASHES = {
    # What the released vision_msgs and tf2_msgs announce; equal hashes mean an equal wire format.
    # Those of LabelInfo and VisionInfo were computed by another implementation (rosbags).
    Detection3DArray: "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    TFMessage: "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    LabelInfo: "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    VisionInfo: "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
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


PLACE: dict[str, Any] = {
    "stamp_ns": STAMP_NS,
    "frame_id": "camera",
    "output_from_gravity": OPTICAL_FROM_LEVEL,
}
CLOUD = PointCloud.single(TWO.boxes.center, TWO.boxes.size)  # one point in each box, with color


def detections() -> Any:
    spread = {"chair": ClassSpread(center_m=(0.1, 0.2, 0.3), yaw_rad=0.4, num_boxes=9)}
    covariances = pose_covariances(TWO, CLASSES, spread, OPTICAL_FROM_LEVEL)
    ids = ("3", "")
    return detection_array(TWO, classes=CLASSES, ids=ids, covariances=covariances, **PLACE)


def markers() -> Any:
    style = MarkerStyle(boxes="lines")
    return marker_array(TWO, classes=CLASSES, ids=("3", ""), style=style, **PLACE)


def cloud() -> Any:
    return object_cloud(TWO, CLOUD, **PLACE)


def status() -> Any:
    counters = CloudCounters()
    counters.count_received()
    counters.count_dropped("no_xyz", "no x")
    counters.count_processed(
        processing_ms=12.5, latency_ms=20.25, num_detections=3, frame_id="map"
    )
    blank = DetectorStatus()
    return fill_status(blank, counters.snapshot(), "m", CLASSES, blank.header.stamp)


MESSAGES = {
    "detections": detections,
    "markers": markers,
    "object_cloud": cloud,
    "object_indices": lambda: object_indices(
        TWO, cloud(), gravity_from_cloud=np.linalg.inv(OPTICAL_FROM_LEVEL)
    ),
    "label_info": lambda: label_info(CLASSES, stamp_ns=STAMP_NS, threshold=0.25),
    "vision_info": lambda: vision_info(
        stamp_ns=STAMP_NS, method="sr3d", label_topic="/a/label_info", version=3
    ),
    "status": status,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_every_number_survives_the_wire(name: str) -> None:
    message = MESSAGES[name]()
    sent = [
        pytest.approx(value, rel=1e-6) if isinstance(value, float) else value  # some have 32 bits
        for value in plain_values(message)
    ]
    assert list(plain_values(over_the_wire(message))) == sent


def test_a_subscriber_reads_what_was_found() -> None:
    chair = over_the_wire(detections()).detections[1]
    covariance = np.asarray(chair.results[0].pose.covariance).reshape(6, 6)
    assert np.diag(covariance) == pytest.approx([0.0436, 0.09, 0.0064, 0, 0.16, 0], abs=0.01)
    assert (chair.id, chair.results[0].hypothesis.score) == ("3", 0.5)
    assert over_the_wire(cloud()).width == 2


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
        timeout=5 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
