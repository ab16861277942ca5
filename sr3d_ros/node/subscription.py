"""Subscriptions: their QoS, and one that counts what it loses.

What is lost on the way the middleware counts: it sees gaps in the numbers of a publisher's
messages, also where none arrives whole. A message that is replaced in our own queue is no loss.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from sr3d_ros.sensors.ros_names import IMU_TYPE

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_IMU_DEPTH = 200
"""An IMU sends hundreds of messages a second, and all of them count."""


def message_type(kind: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/PointCloud2"."""
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)


def sensor_qos(reliability: str, depth: int = 1) -> QoSProfile:
    """The profile of a subscription to a sensor; `reliability` as `input.reliability` has it."""
    is_reliable = reliability == "reliable"
    policy = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=depth, reliability=policy)


def subscribed_to_imu(node: Node, topic: str, callback: Callable[[Any], None]) -> Any:
    """A subscription to an IMU; every publisher's QoS fits it."""
    profile = sensor_qos("best_effort", _IMU_DEPTH)
    return node.create_subscription(message_type(IMU_TYPE), topic, callback, profile)


def subscribed(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable[[Any], None],
    profile: QoSProfile,
    *,
    on_lost: Callable[[int], None],
    on_incompatible: Callable[[Any], None] | None = None,
    **options: Any,
) -> Any:
    """A subscription of a node; `options` are those of `create_subscription`.

    `on_lost` gets the number of messages lost since its last call; it is never called where the
    middleware does not count them. `on_incompatible` gets the event of a publisher whose QoS does
    not fit; without it nothing is logged either. Raises RuntimeError for a name that cannot be
    a topic's.
    """

    def create(**events: Any) -> Any:
        return node.create_subscription(
            kind,
            topic,
            callback,
            profile,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=on_incompatible,
                use_default_callbacks=on_incompatible is not None,  # they log what else is wrong
                **events,
            ),
            **options,
        )

    try:
        return create(message_lost=lambda event: on_lost(int(event.total_count_change)))
    except RuntimeError:
        return create()
