"""Every cloud of the real recordings through the node; the folder comes from SR3D_REAL_DATA."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, stamp_ns_of

from sr3d_core.checkpoint import DEFAULT_WEIGHTS

rosbags = pytest.importorskip("rosbags")
from rosbags.highlevel import AnyReader  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402


@dataclass(frozen=True)
class Bag:
    """A recording, how many clouds it holds, and the z-up frame to detect in."""

    name: str
    num_clouds: int
    detection_frame: str = ""


BAGS = (
    Bag("open3d_redwood_5frames_db3", num_clouds=5),
    Bag("open3d_redwood_5frames_mcap", num_clouds=5),
    Bag("watercan.bag", num_clouds=1, detection_frame="ground"),  # its transforms start later
)
WINDOW_NS = 1_500_000_000
"""Transforms this much older or newer than a cloud are sent with it."""
POINTS, TRANSFORMS = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True)
class Recorded:
    """One message of a bag as the wire carries it."""

    kind: str
    topic: str
    stamp_ns: int  # of the header; of the first transform
    frame_id: str
    data: bytes


def recorded(bag: Path) -> Iterator[Recorded]:
    """Clouds and transforms of a bag; those of ROS 1 are written anew for ROS 2."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with AnyReader([bag], default_typestore=store) as reader:
        for connection, _, raw in reader.messages():
            if connection.msgtype not in (POINTS, TRANSFORMS):
                continue
            message: Any = reader.deserialize(raw, connection.msgtype)
            first = message.transforms[0] if connection.msgtype == TRANSFORMS else message
            stamp = first.header.stamp
            yield Recorded(
                kind=connection.msgtype,
                topic=connection.topic,
                stamp_ns=stamp.sec * 10**9 + stamp.nanosec,
                frame_id=first.header.frame_id,
                data=bytes(store.serialize_cdr(message, connection.msgtype)),
            )


@pytest.fixture(params=BAGS, ids=lambda bag: bag.name)
def bag(
    request: pytest.FixtureRequest, robot: Robot, start_node: Any, weights: Path
) -> Iterator[Bag]:
    """A bag with a fresh node: the transforms of two bags have nothing to do with each other."""
    chosen = "default" if DEFAULT_WEIGHTS.is_file() else weights
    process: NodeProcess = start_node(
        "--ros-args",
        *("-p", f"model.weights:={chosen}"),
        *("-p", f"frames.detection:='{request.param.detection_frame}'"),
        *("-p", "input.reliability:=reliable"),
        *("-p", "output.score_threshold:=0.1"),
        *("-p", "frames.timeout_s:=5.0"),
    )
    process.wait_for_line("ready: ")
    robot.listen_to("/sr3d_detector")
    yield request.param
    process.interrupt()
    process.require_end()


def test_every_cloud_of_a_real_bag_gives_boxes_in_its_frame(
    bag: Bag, robot: Robot, real_data: Path
) -> None:
    messages = list(recorded(real_data / "bags" / bag.name))
    clouds = [message for message in messages if message.kind == POINTS]
    assert len(clouds) == bag.num_clouds
    publisher = robot.cloud_publisher("/sr3d_detector/input/points", QoSProfile(depth=1))
    for cloud in clouds:
        array = detected(cloud, messages, publisher, robot)
        assert array.header.frame_id == cloud.frame_id.lstrip("/")
        for entry in array.detections:
            place, size = entry.bbox.center.position, entry.bbox.size
            assert all(abs(x) < 30.0 for x in (place.x, place.y, place.z))
            assert all(0.0 < x < 10.0 for x in (size.x, size.y, size.z))
            assert math.isfinite(entry.results[0].hypothesis.score)
    status = robot.latest_status()
    assert sum(status.drop_counts) == robot.count_of("superseded") + robot.count_of("no_transform")
    robot.node.destroy_publisher(publisher)


def detected(cloud: Recorded, messages: list[Recorded], publisher: Any, robot: Robot) -> Any:
    """The array for one cloud; the transforms around it and the cloud are sent until it comes."""

    def send() -> None:
        for message in messages:
            is_static = message.topic.endswith("tf_static")
            is_near = abs(message.stamp_ns - cloud.stamp_ns) < WINDOW_NS
            if message.kind == TRANSFORMS and (is_static or is_near):
                robot.publish_raw_tf(message.data, static=is_static)
        publisher.publish(cloud.data)

    def arrays() -> list[Any]:
        return [array for array in robot.detections if stamp_ns_of(array) == cloud.stamp_ns]

    robot.wait(arrays, f"no array for the cloud of {cloud.stamp_ns} ns", send, every_s=10.0)
    return arrays()[0]
