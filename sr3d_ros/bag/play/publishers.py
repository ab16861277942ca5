"""The publishers of a recording. Needs ROS; it is imported by the command that plays alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from sr3d_ros.bag.play.choice import Choice, PlayedTopic
from sr3d_ros.bag.play.layout import difference, installed_type
from sr3d_ros.bag.replay import CLOCK, SENSOR_TYPES
from sr3d_ros.bag.storage.channel import Channel

NAME = "sr3d_player"
_PROFILE = Path("config", "fastdds_large_data.xml")
_OLD_NAME_IN = ("humble", "iron", "jazzy")
_LOOK_S = 0.1
_DELIVERY_S = 2.0


def why_not(channel: Channel) -> str:
    """Why messages of a channel cannot be published here; "" = they can."""
    installed = installed_type(channel.type_name)
    if installed is None:
        return f"{channel.type_name} is not installed"
    unlike = difference(channel, installed) if channel.encoding == "cdr" else ""
    return f"{channel.type_name} is another one here: {unlike}" if unlike else ""


class Publishers:
    """A node with a publisher for each topic, and for /clock; leave it with `close`.

    `ros_arguments` are those that any node gets: "--ros-args", "-r", "/from:=/to".
    """

    def __init__(self, choice: Choice, ros_arguments: Sequence[str] = ()) -> None:
        make_room_for_clouds()
        rclpy.init(args=["play", *ros_arguments], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(NAME)
        self._publishers = {topic.name: self._publisher(topic) for topic in choice.played}
        self._sensors = [
            self._publishers[t.name] for t in choice.played if t.type_name in SENSOR_TYPES
        ]
        self._clock = (
            None
            if choice.has_clock
            else self._node.create_publisher(Clock, CLOCK, QoSProfile(depth=1))
        )

    def publish(self, topic: str, data: bytes) -> None:
        """Publish a message in CDR on a topic of the choice."""
        self._publishers[topic].publish(data)

    def tell_time(self, time_ns: int) -> None:
        """Publish /clock, where the recording has none of its own."""
        if self._clock is not None:
            self._clock.publish(Clock(clock=rclpy.time.Time(nanoseconds=time_ns).to_msg()))

    def wait_for(self, node: str, limit_s: float) -> bool:
        """Whether a node of this full name subscribed to a sensor's topic before the limit."""
        end_s = time.monotonic() + limit_s
        while not self._is_heard_by(node):
            if time.monotonic() > end_s:
                return False
            time.sleep(_LOOK_S)
        return True

    def close(self) -> None:
        """Leave ROS once what was sent has arrived."""
        end_s = time.monotonic() + _DELIVERY_S
        for publisher in self._publishers.values():
            left = Duration(seconds=max(0.0, end_s - time.monotonic()))
            with suppress(RuntimeError):  # of middleware that cannot tell
                publisher.wait_for_all_acked(left)
        self._node.destroy_node()
        rclpy.try_shutdown()

    def _publisher(self, topic: PlayedTopic) -> Any:
        offer, reliability, durability = topic.offer, ReliabilityPolicy, DurabilityPolicy
        profile = QoSProfile(
            depth=offer.depth,
            reliability=reliability.RELIABLE if offer.is_reliable else reliability.BEST_EFFORT,
            durability=durability.TRANSIENT_LOCAL if offer.is_latched else durability.VOLATILE,
        )
        return self._node.create_publisher(installed_type(topic.type_name), topic.name, profile)

    def _is_heard_by(self, node: str) -> bool:
        """Whether a node subscribes to topics of sensors, and all of them are connected."""
        heard = [
            publisher.get_subscription_count() > 0
            for publisher in self._sensors
            for info in self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            if f"{info.node_namespace.rstrip('/')}/{info.node_name}" == node
        ]
        return bool(heard) and all(heard)


def make_room_for_clouds() -> None:
    """Name the Fast DDS profile with room for clouds, which are lost between processes otherwise.

    A profile that the user exported comes first: it says who is to be reached, and how.
    """
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    folders = [Path(prefix, "share", "sr3d_ros") for prefix in prefixes if prefix]
    folders.append(Path(__file__).parents[3])  # a clone
    found = [folder / _PROFILE for folder in folders if (folder / _PROFILE).is_file()]
    is_old = os.environ.get("ROS_DISTRO") in _OLD_NAME_IN
    if found:
        name = "FASTRTPS" if is_old else "FASTDDS"
        os.environ.setdefault(f"{name}_DEFAULT_PROFILES_FILE", str(found[0]))
