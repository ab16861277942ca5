"""Which topics of a recording are played, and what their publishers offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import CLOCK, CLOCK_TYPE, SENSOR_TYPES, TF_TYPES
from sr3d_ros.bag.storage.channel import Channel
from sr3d_ros.bag.storage.offers import Offer

TF_TYPE = "tf2_msgs/msg/TFMessage"
_SAME_IN_ROS_1 = (*SENSOR_TYPES, *TF_TYPES, CLOCK_TYPE)
"""Types that ROS 1 and ROS 2 lay out alike, but for the number in ROS 1's headers."""
_DEPTH = 10  # of rosbag2's player, where none is recorded


@dataclass(frozen=True, slots=True)
class PlayedTopic:
    """A topic that is published."""

    name: str
    type_name: str  # as ROS 2 has it
    offer: Offer

    @property
    def is_static_tf(self) -> bool:
        """Whether it holds static transforms."""
        return is_static_tf(self.name, self.type_name)


@dataclass(frozen=True, slots=True)
class Choice:
    """Topics that are played, and why others are not, by their name."""

    played: tuple[PlayedTopic, ...]
    left_out: Mapping[str, str]

    @property
    def has_clock(self) -> bool:
        """Whether the recording's own /clock is played."""
        return any(topic.name == CLOCK for topic in self.played)


def is_static_tf(topic: str, type_name: str) -> bool:
    """Whether a topic holds static transforms, in whatever namespace."""
    return type_name in TF_TYPES and topic.rpartition("/")[2] == "tf_static"


def choose(
    channels: Mapping[Channel, int],
    wanted: Sequence[str],
    unwanted: Sequence[str],
    why_not: Callable[[Channel], str],
) -> Choice:
    """All topics that match a pattern of `wanted`, none = all, and none of `unwanted`.

    A /clock comes along: stamps are of its time. `why_not` says why a topic cannot be published,
    "" = it can. Raises `ReplayError` where a pattern matches nothing, or nothing can be played.
    """
    by_topic: dict[str, list[Channel]] = {}
    for channel, count in sorted(channels.items(), key=lambda item: item[0].topic):
        if count:
            by_topic.setdefault(channel.topic, []).append(channel)
    for pattern in wanted:
        if not any(_matches(name, [pattern]) for name in by_topic):
            raise ReplayError(
                f"no topic '{pattern}' with messages; topics: {', '.join(by_topic) or 'none'}"
            )
    played, left_out = list[PlayedTopic](), dict[str, str]()
    for name, found in by_topic.items():
        if wanted and not _matches(name, [*wanted, CLOCK]):
            continue
        reason = "as asked for" if _matches(name, unwanted) else _why_not(found, why_not)
        if reason:
            left_out[name] = reason
        else:
            played.append(_played(found))
    if not played:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ReplayError(f"nothing can be played: {reasons or 'it has no messages'}")
    return Choice(tuple(played), left_out)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a topic is named or matched, as by "/camera/*"; patterns may lack the first /."""
    return any(fnmatchcase(name, f"/{pattern.lstrip('/')}") for pattern in patterns)


def _why_not(found: Sequence[Channel], why_not: Callable[[Channel], str]) -> str:
    kinds = sorted({_ros2_type(channel) for channel in found})
    if len(kinds) > 1:
        return f"it has several types, {', '.join(kinds)}"
    for channel in found:
        if channel.encoding == "ros1" and channel.type_name not in _SAME_IN_ROS_1:
            return f"{channel.type_name} of ROS 1 is not converted"
        if channel.encoding not in ("ros1", "cdr"):
            return f"it is encoded as {channel.encoding}, expected cdr"
        if reason := why_not(channel._replace(type_name=_ros2_type(channel))):
            return reason
    return ""


def _played(found: Sequence[Channel]) -> PlayedTopic:
    offers = list(dict.fromkeys(offer for channel in found for offer in channel.offers))
    name, kind = found[0].topic, _ros2_type(found[0])
    if is_static_tf(name, kind):
        return PlayedTopic(name, kind, Offer(is_latched=True, depth=1))
    return PlayedTopic(name, kind, _offer_of(offers))


def _offer_of(offers: Sequence[Offer]) -> Offer:
    """One offer that serves all who were served by the recorded ones."""
    is_latched = any(offer.is_latched for offer in offers)
    depths = [offer.depth for offer in offers]
    return Offer(
        not offers or any(offer.is_reliable for offer in offers),
        is_latched,
        # Of each publisher that was latched, the last messages are kept.
        (sum if is_latched else max)(depths or [0]) or _DEPTH,
    )


def _ros2_type(channel: Channel) -> str:
    return TF_TYPE if channel.type_name in TF_TYPES else channel.type_name
