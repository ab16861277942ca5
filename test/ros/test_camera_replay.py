"""A node's subscriptions and a recording of the same messages choose the same frames.

Depth dies, comes back as holes, flickers, and is steady again. The node's own `Inputs` subscribe
on a real node, whose clock stands at the time of each message until it has been taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from small_bags import CAMERA_TURN, STORE, S, T, Write, cloud, dying_depth, header, tf, write_bag

from sr3d_core.structures import Detections
from sr3d_ros.assembler import CAMERA_INFO, COLOR, POINTS, FrameAssembler
from sr3d_ros.bag.replay import Arrival
from sr3d_ros.bag.run import open_run
from sr3d_ros.errors import Refused
from sr3d_ros.node.inputs import Inputs
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.tf.headers import stamp_of

PARAMETERS = Parameters.from_values({"input.kind": "auto", "input.reliability": "reliable"})
TOPICS = {POINTS: "/points", COLOR: "/cam/image_raw", CAMERA_INFO: "/cam/camera_info"}
Chosen = tuple[int, str]
"""Stamp of a frame or of what is no frame, and what became of it."""


def messages() -> Iterator[tuple[str, Any, int]]:
    """Input, message and time of everything but transforms."""
    yield CAMERA_INFO, camera_info(), S
    for at, kind in dying_depth():
        if kind == "image":
            yield COLOR, image(at), at
        else:
            seen = np.ones((20, 3)) if kind == "cloud" else np.zeros((0, 3))
            yield POINTS, cloud(at, "depth", seen), at


def image(stamp_ns: int) -> Any:
    pixels = np.full((8, 8, 3), 100, np.uint8).reshape(-1)
    return T["sensor_msgs/msg/Image"](header(stamp_ns, "color"), 8, 8, "rgb8", 0, 24, pixels)


def camera_info() -> Any:
    k = (8.0, 0, 3.5, 0, 8.0, 3.5, 0, 0, 1)
    return T["sensor_msgs/msg/CameraInfo"](
        **{"header": header(S, "color"), "height": 8, "width": 8, "distortion_model": ""},
        **{"d": np.zeros(0), "k": np.array(k), "r": np.zeros(9), "p": np.zeros(12)},
        **{"binning_x": 0, "binning_y": 0},
        roi=T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


class Looks:
    """Stands for a network: which frames there are is asked before anything is looked for."""

    classes = ("chair",)

    def detect(self, seen: Any) -> Detections:
        raise AssertionError(seen)


def chosen_in_recording(path: Path) -> list[Chosen]:
    def fill(write: Write) -> None:
        write("/tf_static", tf("base_link", "depth", 0, (0, 0, 1), CAMERA_TURN), S)
        for name, message, at in messages():
            write(TOPICS[name], message, at)

    looks: Any = Looks()
    bag = write_bag(path, "mcap", fill)
    with open_run(bag, looks, parameters=PARAMETERS, camera=looks) as run:
        return [
            (each.stamp_ns, kind_of(each.frame) if isinstance(each, Arrival) else each.reason)
            for each in run.arrivals()
        ]


def kind_of(frame: tuple[Any, ...]) -> str:
    return "rgb" if isinstance(frame[0], CameraView) else "cloud"


@pytest.fixture
def node() -> Iterator[Node]:
    sim_time = Parameter("use_sim_time", value=True)
    made = rclpy.create_node("listening", namespace="/replayed", parameter_overrides=[sim_time])
    yield made
    made.destroy_node()


def test_a_node_and_a_recording_choose_the_same_frames(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, taken, fallbacks = list[Chosen](), list[str](), list[bool]()
    add = FrameAssembler.add

    def noted(self: Any, name: str, *rest: Any) -> Any:
        taken.append(name)
        return add(self, name, *rest)

    def on_refused(error: Refused) -> None:
        chosen.append((error.stamp_ns or 0, error.reason))

    monkeypatch.setattr(FrameAssembler, "add", noted)
    inputs = Inputs(
        node,
        PARAMETERS,
        lambda frame: chosen.append((stamp_of(frame[0]), kind_of(frame))),
        on_refused,
        lambda num: pytest.fail(f"{num} messages were lost"),
        lambda: fallbacks.append(True),
    )
    inputs.open()
    publishers = {
        name: node.create_publisher(kind, f"~/input/{name}", QoSProfile(depth=10))
        for name, kind in ((POINTS, PointCloud2), (COLOR, Image), (CAMERA_INFO, CameraInfo))
    }
    spin_until(node, lambda: all(each.get_subscription_count() for each in publishers.values()))
    for num, (name, message, at) in enumerate(messages(), start=1):
        node.get_clock().set_ros_time_override(Time(nanoseconds=at, clock_type=ClockType.ROS_TIME))
        publishers[name].publish(bytes(STORE.serialize_cdr(message, message.__msgtype__)))
        spin_until(node, lambda num=num: len(taken) == num)
    inputs.close()
    monkeypatch.undo()
    assert chosen == chosen_in_recording(tmp_path / "same")
    assert fallbacks == [True]
    assert {kind for _, kind in chosen} == {"cloud", "rgb", "depth_not_steady"}


def spin_until(node: Node, is_done: Any) -> None:
    for _ in range(600):
        if is_done():
            return
        rclpy.spin_once(node, timeout_sec=0.1)
    pytest.fail("a message did not come within a minute")
