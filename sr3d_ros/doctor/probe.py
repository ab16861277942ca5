"""The doctor's node: for some seconds it subscribes to the topics of the detector."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rclpy.serialization import deserialize_message

from sr3d_ros.doctor.detector import Running
from sr3d_ros.doctor.running import ask
from sr3d_ros.doctor.topics import Publisher, TopicSample
from sr3d_ros.node.graph import names_of_detectors, sensor_topics, subscriptions_of
from sr3d_ros.node.interrupts import Interrupts
from sr3d_ros.node.subscription import message_type, sensor_qos, subscribed, subscribed_to_imu
from sr3d_ros.node.transforms import Tf2Source
from sr3d_ros.parameters.rules import is_foreign
from sr3d_ros.sensors.ros_names import CLOUD_TYPE
from sr3d_ros.tf.headers import stamp_to_ns
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.source import TransformSource

_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
NODE_NAME = "sr3d_doctor"
_FEW, _MANY = 5, 20
_WHILE_S = 2.0
_DEPTH = 10
_SETTLE_S = 3.0
"""So long others of a kind may show themselves after the first: Fast DDS announces so often."""
_UNNEEDED_S = 8.0
"""Two announcements may be lost, on a machine that has much to do."""


class Probe:
    """Receives while `spin_until` runs; parameters and remaps are those of the detector."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self.node = Node(NODE_NAME, automatically_declare_parameters_from_overrides=True)
        self.transforms: TransformSource = Tf2Source(self.node)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def given_parameters(self) -> dict[str, Any]:
        """What the command line and parameter files set of the detector, by ROS name."""
        given: dict[str, Parameter] = self.node.get_parameters_by_prefix("")
        return {name: each.value for name, each in given.items() if not is_foreign(name)}

    def spin_until(self, is_over: Callable[[], bool], limit_s: float) -> None:
        """Receive messages until something is true or the time is over."""
        end_s = time.monotonic() + limit_s
        while not is_over() and time.monotonic() < end_s:
            with self._interrupts.held():
                self._executor.spin_once(timeout_sec=0.05)

    def follow_clock(self) -> None:
        """Take the time from /clock."""
        self.node.set_parameters([Parameter("use_sim_time", value=True)])

    def detectors(self, wanted: str, wait_s: float, is_needed: bool) -> list[str]:
        """The detectors that run; a wanted one is waited for, or else the first.

        One that is not needed is waited for shortly, from when other nodes have shown themselves.
        """
        found: list[str] = []

        def look() -> bool:
            found[:] = names_of_detectors(self.node)
            return wanted in found if wanted else bool(found)

        if not is_needed:
            self.spin_until(lambda: len(self.node.get_node_names()) > 1, wait_s)
            wait_s = min(wait_s, _UNNEEDED_S)
        self._wait_for_all(look, wait_s)
        return found

    def ask(self, detector: str, wait_s: float) -> Running | None:
        """What a detector that runs says about itself; None where it does not answer."""
        return ask(self.node, self.spin_until, detector, wait_s)

    def subscriptions_of(self, detector: str) -> dict[str, list[str]]:
        """The topics that a detector subscribes to, by type."""
        return subscriptions_of(self.node, detector)

    def remapped(self, private: str) -> str:
        """What the command line makes of a name such as `~/input/points`; "" if it does not."""
        name = str(self.node.resolve_topic_name(private))
        return "" if name.startswith(f"{self.node.get_fully_qualified_name()}/") else name

    def topics_with(self, kind: str, wait_s: float) -> list[str]:
        """The topics on which somebody publishes this type, detectors apart."""
        found: list[str] = []

        def look() -> bool:
            topics = sensor_topics(self.node)
            found[:] = [name for name, types in topics.items() if kind in types]
            return bool(found)

        self._wait_for_all(look, wait_s)
        return sorted(found)

    def _wait_for_all(self, look: Callable[[], bool], wait_s: float) -> None:
        """Look until something is found, and again when the others had time to come."""
        self.spin_until(look, wait_s)
        if look():
            self.spin_until(lambda: False, _SETTLE_S)
            look()

    def sample(
        self, topic: str, asked: str, wait_s: float, kind: str = CLOUD_TYPE, argument: str = ""
    ) -> TopicSample:
        """What comes on a topic with the node's reliability; ends early when enough is known."""
        topic = str(self.node.resolve_topic_name(topic))
        self.spin_until(lambda: bool(self._publishers_of(topic)), wait_s)
        subscriber = _Subscriber(self.node, kind)
        # A type that this process uses otherwise on the topic, as on /tf, would be an exception.
        if kind in {publisher.kind for publisher in self._publishers_of(topic)}:
            subscriber.open(topic, asked)
            self.spin_until(subscriber.has_enough, wait_s)
            subscriber.close()
        return TopicSample(
            topic=topic,
            kind=kind,
            argument=argument,
            topics=sensor_topics(self.node),
            publishers=tuple(each for each in self._publishers_of(topic) if each.kind == kind),
            waited_s=subscriber.waited_s,
            arrivals_s=tuple(subscriber.arrivals_s),
            num_lost=subscriber.num_lost,
            latest=subscriber.latest,
            age_s=subscriber.age_s,
            asked=asked,
            has_profile=any(
                os.environ.get(name, "").endswith("/fastdds_large_data.xml") for name in _PROFILES
            ),
        )

    def subscribe_to_imu(self, topic: str) -> GravityFromImu:
        """Up from an IMU; messages are received whenever the probe spins."""
        imu = GravityFromImu()
        subscribed_to_imu(self.node, topic, imu.add)
        return imu

    def _publishers_of(self, topic: str) -> tuple[Publisher, ...]:
        return tuple(
            Publisher(info.node_name, _name_of(info.qos_profile.reliability), info.topic_type)
            for info in self.node.get_publishers_info_by_topic(topic)
        )


class _Subscriber:
    """Receives what comes on one topic between `open` and `close`, while its node is spun."""

    def __init__(self, node: Node, kind: str) -> None:
        self._node = node
        self._type = message_type(kind)
        self._subscription: Any = None
        self._raw = b""
        self._received_ns = 0
        self._opened_s = time.monotonic()
        self.arrivals_s: list[float] = []
        self.num_lost = 0
        self.waited_s = 0.0
        self.latest: Any = None
        self.age_s = 0.0

    def open(self, topic: str, reliability: str) -> None:
        """Subscribe as the node does, with room for messages that come at once."""
        self._opened_s = time.monotonic()
        self._subscription = subscribed(
            self._node,
            self._type,
            topic,
            self._on_message,
            sensor_qos(reliability, _DEPTH),
            on_lost=self._on_lost,
            raw=True,  # decoding all messages could be slower than the sensor
        )

    def close(self) -> None:
        """Leave the topic; then `latest` is the newest message and `age_s` its age on arrival."""
        self._node.destroy_subscription(self._subscription)
        self.waited_s = time.monotonic() - self._opened_s
        if self.arrivals_s:
            self.latest = deserialize_message(self._raw, self._type)
            self.age_s = 1e-9 * (self._received_ns - stamp_to_ns(self.latest.header.stamp))

    def has_enough(self) -> bool:
        """Whether more would not tell more: many messages, or some and a while."""
        num = len(self.arrivals_s)
        if num + self.num_lost >= _MANY:
            return True
        return num >= _FEW and time.monotonic() - self._opened_s - self.arrivals_s[0] > _WHILE_S

    def _on_message(self, raw: bytes) -> None:
        self.arrivals_s.append(time.monotonic() - self._opened_s)
        self._raw = raw
        self._received_ns = int(self._node.get_clock().now().nanoseconds)

    def _on_lost(self, count: int) -> None:
        self.num_lost += count


def _name_of(policy: ReliabilityPolicy) -> str:
    """Our word for a policy."""
    return "best_effort" if policy == ReliabilityPolicy.BEST_EFFORT else "reliable"
