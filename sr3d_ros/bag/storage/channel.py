"""What a file of a recording says about the messages of one topic, and how they are decoded."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

from sr3d_ros.bag.storage.offers import Offer
from sr3d_ros.bag.written_types import written_types

Encoding = Literal["cdr", "ros1"]


class Channel(NamedTuple):
    """A topic of one file."""

    topic: str
    type_name: str  # as ROS 2 writes it: sensor_msgs/msg/Image
    encoding: str = "cdr"  # `Encoding`; any other cannot be read
    definition: str = ""  # of the type and all in it; "" = the file has none
    language: Literal["msg", "idl"] = "msg"  # of the definition
    offers: tuple[Offer, ...] = ()  # of its publishers; none where they were not recorded


Item = tuple[Channel, int, bytes]
"""A message: where it is from, when it was received in nanoseconds, its bytes."""


def decoded(channel: Channel, data: bytes) -> Any:
    """The message of some bytes; raises whatever the reader of the format raises."""
    store = types_of(channel)
    read = store.deserialize_ros1 if channel.encoding == "ros1" else store.deserialize_cdr
    return read(data, channel.type_name)


@cache
def types_of(channel: Channel) -> Any:
    """The types that a message of a channel is made of.

    As the file defines them; files of sqlite3 of Humble and before have no definitions.
    """
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    if not channel.definition:
        is_old = channel.encoding == "ros1"
        return get_typestore(Stores.ROS1_NOETIC) if is_old else written_types()
    store = get_typestore(Stores.EMPTY)
    if channel.language == "msg":
        store.register(get_types_from_msg(channel.definition, channel.type_name))
        return store
    types: dict[str, Any] = {}
    for part in channel.definition.split("=" * 80 + "\n"):
        head, _, body = part.partition("\n")
        text = body if head.startswith("IDL: ") else part
        if text.strip():
            types.update(get_types_from_idl(text))
    store.register(types)
    return store
