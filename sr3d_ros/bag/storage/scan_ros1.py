"""ROS 1 bags from front to back, as far as they are whole: also without an index (`.bag.active`).

A record is a header of fields `name=value` and data, each behind its length (wiki.ros.org,
Bags/Format/2.0). A recorder that was killed never wrote the index.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from sr3d_ros.bag.storage.channel import Channel, Item
from sr3d_ros.bag.storage.compressed import decompressed
from sr3d_ros.bag.storage.offers import latched

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _CHUNK, _CONNECTION = 2, 5, 7
_Fields = dict[str, bytes]


class _Cut(ValueError):
    """A record that does not end in the file."""


def scan_ros1(path: Path, report: Callable[[str], None]) -> Iterator[Item]:
    """All messages that can be read, in the order of the file; `report` is told of damage."""
    channels: dict[bytes, Channel] = {}
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        size = path.stat().st_size
        try:
            for fields, data in _records(file):
                if fields.get("op") != bytes([_CHUNK]):
                    yield from _messages(fields, data, channels)
                    continue
                name = fields.get("compression", b"").decode(errors="replace")
                try:
                    for inner, content in _records(BytesIO(decompressed(data, name))):
                        yield from _messages(inner, content, channels)
                except ValueError as error:
                    report(f"{error}; that part is left out")
        except _Cut as error:
            report(f"{error}, at byte {file.tell()} of {size}")


def _messages(fields: _Fields, data: bytes, channels: dict[bytes, Channel]) -> Iterator[Item]:
    kind, number = fields.get("op"), fields.get("conn", b"")
    if kind == bytes([_CONNECTION]):
        about = _fields(data)
        topic = fields.get("topic", b"").decode(errors="replace")
        channels[number] = Channel(
            "/" * topic.startswith("/") + "/".join(filter(None, topic.split("/"))),
            about.get("type", b"").decode(errors="replace").replace("/", "/msg/", 1),
            "ros1",
            about.get("message_definition", b"").decode(errors="replace"),
            offers=latched(about.get("latching") == b"1"),
        )
    elif kind == bytes([_MESSAGE]) and number in channels and len(fields.get("time", b"")) == 8:
        seconds, nanoseconds = struct.unpack("<II", fields["time"])
        yield channels[number], seconds * 1_000_000_000 + nanoseconds, data


def _records(file: BinaryIO) -> Iterator[tuple[_Fields, bytes]]:
    """Fields and data, up to the end; raises `_Cut`."""
    while (head := _part(file, may_end=True)) is not None:
        yield _fields(head), _part(file) or b""


def _part(file: BinaryIO, may_end: bool = False) -> bytes | None:
    """What stands behind its length; None at the end."""
    head = file.read(4)
    if not head and may_end:
        return None
    length = int.from_bytes(head, "little")
    content = file.read(length) if len(head) == 4 else b""
    if len(head) < 4 or len(content) < length:
        raise _Cut("it ends within a record")
    return content


def _fields(head: bytes) -> _Fields:
    found, place = {}, 0
    while place + 4 <= len(head):
        length = int.from_bytes(head[place : place + 4], "little")
        name, _, value = head[place + 4 : place + 4 + length].partition(b"=")
        found[name.decode(errors="replace")] = value
        place += 4 + length
    return found
