"""A subscription that counts what it loses.

What is lost on the way the middleware counts: it sees gaps in the numbers of a publisher's
messages, also where none arrives whole. A message that is replaced in our own queue is no loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


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
