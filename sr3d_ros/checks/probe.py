"""The doctor's ears: a node that listens to the topics of the detector for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from sr3d_ros.checks.graph import CLOUD_TYPE, IMU_TYPE, Heard, Publisher
from sr3d_ros.tf.up_imu import GravityFromImu
from sr3d_ros.transforms import TransformSource, stamp_to_ns, transform_source

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

NODE_NAME = "sr3d_doctor"
DETECTOR_NAME = "sr3d_detector"
_SETTLE_S = 1.0
"""So long discovery is given before a topic counts as absent."""
_ENOUGH = 5


class Probe:
    """Listens while `spin_until` runs; parameters and remaps are those of the detector."""

    def __init__(self) -> None:
        self.node = Node(NODE_NAME, automatically_declare_parameters_from_overrides=True)
        self.transforms: TransformSource = transform_source(self.node)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def given_parameters(self) -> dict[str, Any]:
        """What the command line and parameter files set, by ROS name."""
        given: dict[str, Parameter] = self.node.get_parameters_by_prefix("")
        return {name: parameter.value for name, parameter in given.items()}

    def spin_until(self, is_over: Callable[[], bool], limit_s: float) -> None:
        """Hear messages until something is true or the time is over."""
        end_s = time.monotonic() + limit_s
        while not is_over() and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)

    def topic_in_use(self, private: str, kind: str, wait_s: float) -> str:
        """The topic of a private name such as `~/input/points`.

        It is the one that it was remapped to; else the one that a running detector listens to;
        else the only one of this type. Where none of these is known, the private name.
        """
        name = str(self.node.resolve_topic_name(private))
        if not name.startswith(f"{self.node.get_fully_qualified_name()}/"):
            return name
        found: list[str] = []

        def look() -> bool:
            found[:] = self._heard_by_detector(kind) or self._topics_of(kind)
            return bool(found)

        self.spin_until(look, wait_s)
        self.spin_until(lambda: False, _SETTLE_S if found else 0.0)
        look()
        return found[0] if len(found) == 1 else name

    def _heard_by_detector(self, kind: str) -> list[str]:
        found: set[str] = set()
        for node, namespace in self.node.get_node_names_and_namespaces():
            if node != DETECTOR_NAME:
                continue
            with suppress(RuntimeError):  # it may be gone by now
                heard = self.node.get_subscriber_names_and_types_by_node(node, namespace)
                found.update(topic for topic, types in heard if kind in types)
        return sorted(found)

    def _topics_of(self, kind: str) -> list[str]:
        return [
            name
            for name, types in self._topics().items()
            if kind in types and self.node.count_publishers(name)
        ]

    def _topics(self) -> dict[str, list[str]]:
        """Every topic with its types, without what a detector publishes."""
        return {
            name: types
            for name, types in self.node.get_topic_names_and_types()
            if f"/{DETECTOR_NAME}/output/" not in name
        }

    def listen(
        self, topic: str, asked: str, wait_s: float, kind: str = CLOUD_TYPE, argument: str = ""
    ) -> Heard:
        """What comes on a topic with the node's reliability, and with the reliable one beside it.

        Ends early when enough has come.
        """
        message_type = _message_type(kind)
        arrivals: list[tuple[float, Any, float]] = []
        reliable: list[float] = []
        started_s = time.monotonic()

        def on_message(message: Any) -> None:
            now_ns = int(self.node.get_clock().now().nanoseconds)
            age_s = 1e-9 * (now_ns - stamp_to_ns(message.header.stamp))
            arrivals.append((time.monotonic() - started_s, message, age_s))
            del arrivals[:-100]

        def subscribe(reliability: str, callback: Callable[[Any], None]) -> Any:
            quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
            return self.node.create_subscription(
                message_type, topic, callback, qos(reliability), event_callbacks=quiet
            )

        subscriptions = [subscribe(asked, on_message)]
        self.spin_until(lambda: bool(self._publishers_of(topic)), wait_s)
        offers = {publisher.reliability for publisher in self._publishers_of(topic)}
        if asked != "reliable" and "reliable" in offers:
            subscriptions.append(subscribe("reliable", lambda _: reliable.append(0.0)))
        if offers:
            self.spin_until(lambda: len(arrivals) >= _ENOUGH, wait_s)
        waited_s = time.monotonic() - started_s
        publishers = self._publishers_of(topic)
        for subscription in subscriptions:
            self.node.destroy_subscription(subscription)
        return Heard(
            topic=topic,
            kind=kind,
            argument=argument or topic,
            topics=self._topics(),
            publishers=publishers,
            waited_s=waited_s,
            arrivals_s=tuple(arrival[0] for arrival in arrivals),
            num_reliable=len(reliable),
            latest=arrivals[-1][1] if arrivals else None,
            age_s=arrivals[-1][2] if arrivals else 0.0,
        )

    def listen_to_imu(self, topic: str) -> GravityFromImu:
        """Up from an IMU; hears it whenever the probe spins."""
        imu = GravityFromImu()
        best_effort = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(_message_type(IMU_TYPE), topic, imu.add, best_effort)
        return imu

    def _publishers_of(self, topic: str) -> tuple[Publisher, ...]:
        return tuple(
            Publisher(node=info.node_name, reliability=_name_of(info.qos_profile.reliability))
            for info in self.node.get_publishers_info_by_topic(topic)
        )


def qos(reliability: str) -> QoSProfile:
    """Depth one, as the node subscribes."""
    is_reliable = reliability == "reliable"
    policy = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=1, reliability=policy)


def _name_of(policy: ReliabilityPolicy) -> str:
    return "best_effort" if policy == ReliabilityPolicy.BEST_EFFORT else "reliable"


def _message_type(kind: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/PointCloud2"."""
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)
