"""MCAP from front to back, as far as it is whole: for files without a sound index.

Records are an opcode, a length and content (mcap.dev/spec). A recorder writes its index last, so a
file whose recorder was killed, or that was cut, still has all records up to there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from sr3d_ros.bag.storage.channel import Channel, Item
from sr3d_ros.bag.storage.compressed import beginning, decompressed
from sr3d_ros.bag.storage.offers import Offer, offers_in

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD, _MESSAGE_HEAD = struct.Struct("<BQ"), struct.Struct("<HIQQ")
_CHUNK_HEAD, _LONGEST = struct.Struct("<QQQI"), 1 << 32


class _Cut(ValueError):
    """A record that does not end in the file."""

    def __init__(self, text: str, opcode: int = 0, content: bytes = b"") -> None:
        super().__init__(text)
        self.opcode, self.content = opcode, content  # what there is of it


def scan_mcap(path: Path, report: Callable[[str], None]) -> Iterator[Item]:
    """All messages that can be read, by their time in each chunk; `report` is told of damage."""
    scan = _Scan(report)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            report("it does not begin as MCAP does")
            return
        size = path.stat().st_size
        try:
            for opcode, content in _records(file):
                if opcode in (_FOOTER, _DATA_END):
                    return
                yield from scan.messages(opcode, content)
        except _Cut as error:
            report(f"{error}, at byte {file.tell()} of {size}")
            if error.opcode == _CHUNK:
                yield from scan.messages(_CHUNK, error.content, is_cut=True)
            return
        report("it ends without an index: its recorder was killed")


class _Scan:
    """What was said about channels so far."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, Channel] = {}

    def messages(self, opcode: int, content: bytes, is_cut: bool = False) -> Iterator[Item]:
        """The messages in one record, of which the end may be missing."""
        try:
            if opcode == _CHUNK:
                found = list(self._in_chunk(content, is_cut))
                yield from sorted(found, key=lambda item: item[1])
            elif opcode == _MESSAGE:
                number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
                if number in self._channels:
                    yield self._channels[number], time_ns, content[_MESSAGE_HEAD.size :]
            elif opcode == _SCHEMA:
                (number,) = struct.unpack_from("<H", content)
                name, encoding, text = _strings(content[2:], 3)
                self._schemas[number] = name, encoding, text
            elif opcode == _CHANNEL:
                number, schema = struct.unpack_from("<HH", content)
                topic, encoding = _strings(content[4:], 2)
                place = 4 + 4 + len(topic.encode()) + 4 + len(encoding.encode())
                offers = _offers(content[place:])
                self._channels[number] = self._channel(schema, topic, encoding, offers)
        except (ValueError, struct.error) as error:
            self._report(f"{error}; that part is left out")

    def _channel(
        self, schema: int, topic: str, encoding: str, offers: tuple[Offer, ...]
    ) -> Channel:
        name, language, text = self._schemas.get(schema, ("", "", ""))
        package, _, kind = name.rpartition("/")
        if package and "/" not in package:  # as ROS 1 writes it
            name = f"{package}/msg/{kind}"
        return Channel(topic, name, encoding, text, "idl" if "idl" in language else "msg", offers)

    def _in_chunk(self, content: bytes, is_cut: bool) -> Iterator[Item]:
        _, _, size, checksum = _CHUNK_HEAD.unpack_from(content)
        (name,) = _strings(content[_CHUNK_HEAD.size :], 1)
        place = _CHUNK_HEAD.size + 4 + len(name.encode()) + 8
        data = (beginning if is_cut else decompressed)(content[place:], name)
        if not is_cut and (len(data) != size or (checksum and crc32(data) != checksum)):
            raise ValueError("the checksum of a chunk is wrong")
        try:
            for opcode, inner in _records(BytesIO(data)):
                if opcode != _CHUNK:
                    yield from self.messages(opcode, inner)
        except _Cut:
            if not is_cut:
                raise


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Opcode and content, up to the end; raises `_Cut`."""
    while head := file.read(_RECORD.size):
        if len(head) < _RECORD.size:
            raise _Cut("it ends within a record")
        opcode, length = _RECORD.unpack(head)
        if length > _LONGEST:
            raise _Cut(f"a record of {length} bytes cannot be")
        content = file.read(length)
        if len(content) < length:
            raise _Cut(
                f"it ends {length - len(content)} bytes before its last record does",
                opcode,
                content,
            )
        yield opcode, content


def _strings(content: bytes, count: int) -> list[str]:
    """The first strings of a record, each behind its length."""
    found, place = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from("<I", content, place)
        text = content[place + 4 : place + 4 + length]
        if len(text) < length:
            raise ValueError("a record holds a text that is longer than itself")
        found.append(text.decode(errors="replace"))
        place += 4 + length
    return found


def _offers(metadata: bytes) -> tuple[Offer, ...]:
    """Of a channel's metadata: a map of strings, behind its length in bytes."""
    place, key = 4, ""
    try:
        while place < len(metadata):
            (text,) = _strings(metadata[place:], 1)
            if key == "offered_qos_profiles":
                return offers_in(text)
            place, key = place + 4 + len(text.encode()), text
    except (ValueError, struct.error):
        pass  # a channel without them is as good
    return ()
