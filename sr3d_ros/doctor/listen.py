"""One subscription of the doctor: what arrives, how old it is, and what was lost on the way."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from sr3d_ros.node.subscription import subscribed
from sr3d_ros.tf.headers import stamp_to_ns

_FEW, _MANY = 5, 20
_WHILE_S = 2.0
_DEPTH = 10


class Ear:
    """Hears one topic between `open` and `close`, while its node is spun."""

    def __init__(self, node: Node, kind: str) -> None:
        self._node = node
        self._type = message_type(kind)
        self._subscription: Any = None
        self._raw = b""
        self._heard_ns = 0
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
            qos(reliability, _DEPTH),
            on_lost=self._on_lost,
            raw=True,  # hearing must not be slower than the sensor
        )

    def close(self) -> None:
        """Leave the topic; then `latest` is the newest message and `age_s` its age on arrival."""
        self._node.destroy_subscription(self._subscription)
        self.waited_s = time.monotonic() - self._opened_s
        if self.arrivals_s:
            self.latest = deserialize_message(self._raw, self._type)
            self.age_s = 1e-9 * (self._heard_ns - stamp_to_ns(self.latest.header.stamp))

    def has_heard_enough(self) -> bool:
        """Whether more would not tell more: many messages, or some and a while."""
        num = len(self.arrivals_s)
        if num + self.num_lost >= _MANY:
            return True
        return num >= _FEW and time.monotonic() - self._opened_s - self.arrivals_s[0] > _WHILE_S

    def _on_message(self, raw: bytes) -> None:
        self.arrivals_s.append(time.monotonic() - self._opened_s)
        self._raw = raw
        self._heard_ns = int(self._node.get_clock().now().nanoseconds)

    def _on_lost(self, count: int) -> None:
        self.num_lost += count


def qos(reliability: str, depth: int) -> QoSProfile:
    """The profile of a subscription."""
    is_reliable = reliability == "reliable"
    policy = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=depth, reliability=policy)


def name_of(policy: ReliabilityPolicy) -> str:
    """Our word for a policy."""
    return "best_effort" if policy == ReliabilityPolicy.BEST_EFFORT else "reliable"


def message_type(kind: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/PointCloud2"."""
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)
