"""What of a recording is published: bytes, as they were recorded, and static transforms.

Static transforms are put together, so that who comes late gets all of them in one message. As
`sr3d bag detect` takes them to hold before their first message too, they come ahead of all else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.play.choice import TF_TYPE, Choice
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.storage.channel import Channel, decoded
from sr3d_ros.bag.storage.file import END_NS
from sr3d_ros.bag.written_types import written_types

_LONG_GAP_NS = 10_000_000_000
_LAST_CDR = 0x0B  # of the encodings that begin with a zero byte (DDS-XTypes 1.3, 7.6.3.1.2)


class Message(NamedTuple):
    """What is published at a time."""

    time_ns: int
    topic: str
    data: bytes  # CDR


class Contents:
    """The messages of a part of a recording, again and again.

    `tell` is told of long gaps; `left_out` counts messages that are broken, by topic, with the
    first reason. Raises `ReplayError` where the part is not within the recording.
    """

    def __init__(
        self,
        bag: Bag,
        choice: Choice,
        *,
        start_s: float = 0.0,
        duration_s: float = 0.0,
        tell: Callable[[str], None],
    ) -> None:
        if start_s > bag.duration_s:
            raise ReplayError(
                f"{bag.path}: it is {bag.duration_s:.3f} s long, and is to be played from "
                f"{start_s:.3f} s on; choose an earlier start"
            )
        self.start_ns = bag.start_ns + round(1e9 * start_s)
        self.stop_ns = self.start_ns + round(1e9 * duration_s) if duration_s else END_NS
        self.left_out: dict[str, tuple[int, str]] = {}
        self._bag, self._tell = bag, tell
        self._types = {topic.name: topic.type_name for topic in choice.played}
        self._static = {topic.name for topic in choice.played if topic.is_static_tf}
        self._latched = {topic.name for topic in choice.played if topic.offer.is_latched}
        self._first = self._first_transforms()
        self._held: dict[str, dict[str, Any]] = {}

    def before(self) -> Iterator[Message]:
        """What holds when it starts: static transforms, and what is latched of before."""
        self._held = {topic: dict(edges) for topic, edges in self._first.items()}
        for channel, time_ns, raw in self._bag.raw_messages(
            lambda channel: channel.topic in self._latched, stop_ns=self.start_ns
        ):
            message = self._message(channel, time_ns, raw)
            if message is not None and channel.topic not in self._static:
                yield message
        for topic in self._held:
            yield Message(self.start_ns, topic, self._transforms(topic))

    def messages(self) -> Iterator[Message]:
        """From the start on, in recorded order."""
        last_ns = self.start_ns
        for item in self._bag.raw_messages(
            lambda channel: channel.topic in self._types, self.start_ns, self.stop_ns
        ):
            message = self._message(*item)
            if message is None:
                continue
            if message.time_ns - last_ns > _LONG_GAP_NS:
                self._tell(
                    f"nothing is recorded from {self._seconds(last_ns)} to "
                    f"{self._seconds(message.time_ns)} s"
                )
            last_ns = message.time_ns
            yield message

    def _seconds(self, time_ns: int) -> str:
        return f"{1e-9 * (time_ns - self._bag.start_ns):.3f}"

    def _message(self, channel: Channel, time_ns: int, raw: bytes) -> Message | None:
        """What to publish for a message; None where it is broken, which is counted."""
        topic = channel.topic
        try:
            if topic in self._static:
                edges = decoded(channel, raw).transforms
                self._held[topic].update({edge.child_frame_id: edge for edge in edges})
                return Message(time_ns, topic, self._transforms(topic))
            return Message(time_ns, topic, _cdr(channel, raw, self._types[topic]))
        except Exception as error:  # of the readers of other people's formats
            count, first = self.left_out.get(topic, (0, " ".join(str(error).split())))
            self.left_out[topic] = count + 1, first
            return None

    def _transforms(self, topic: str) -> bytes:
        """All static transforms of a topic that are known by now."""
        store = written_types()
        message = store.types[TF_TYPE](list(self._held[topic].values()))
        return bytes(store.serialize_cdr(message, TF_TYPE))

    def _first_transforms(self) -> dict[str, dict[str, Any]]:
        """By topic and frame, the first value of each static transform."""
        first: dict[str, dict[str, Any]] = {topic: {} for topic in sorted(self._static)}
        for channel, _, raw in self._bag.raw_messages(lambda each: each.topic in self._static):
            try:
                edges = decoded(channel, raw).transforms
            except Exception:  # counted when it is played
                continue
            for edge in edges:
                first[channel.topic].setdefault(edge.child_frame_id, edge)
        return first


def _cdr(channel: Channel, raw: bytes, type_name: str) -> bytes:
    """A message as ROS 2 writes it; raises ValueError and others where it is broken."""
    if channel.encoding == "ros1":
        return bytes(written_types().ros1_to_cdr(raw, type_name))
    if len(raw) < 4 or raw[0] != 0 or raw[1] > _LAST_CDR:
        raise ValueError(f"{len(raw)} bytes that are no CDR")
    return bytes(raw)
