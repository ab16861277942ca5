"""The quality of service that a topic's publishers offered, as recordings say it.

rosbag2 writes it as YAML, with numbers or with words by its version; ROS 1 only knows whether a
topic is latched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Offer(NamedTuple):
    """What one publisher offered, as far as it matters for who subscribes."""

    is_reliable: bool = True
    is_latched: bool = False  # transient local: late subscribers get the last messages
    depth: int = 0  # messages kept; 0 = not recorded, or all


def offers_of(profiles: Iterable[Any]) -> tuple[Offer, ...]:
    """From the profiles of rosbags."""
    from rosbags.interfaces import QosDurability, QosHistory, QosReliability

    return tuple(
        Offer(
            profile.reliability != QosReliability.BEST_EFFORT,
            profile.durability == QosDurability.TRANSIENT_LOCAL,
            profile.depth if profile.history == QosHistory.KEEP_LAST else 0,
        )
        for profile in profiles
    )


def offers_in(text: str) -> tuple[Offer, ...]:
    """From `offered_qos_profiles` as a file holds it; none where it cannot be read."""
    from rosbags.rosbag2.metadata import parse_qos

    try:
        return offers_of(parse_qos(text))
    except Exception:  # of a file that is damaged anyway
        return ()


def latched(is_latched: bool) -> tuple[Offer, ...]:
    """Of a topic of ROS 1, which is always reliable."""
    return (Offer(is_latched=True),) if is_latched else ()
