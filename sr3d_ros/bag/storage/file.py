"""One file of a recording: through its index where that is sound, else from front to back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.storage.channel import Channel, Item
from sr3d_ros.bag.storage.compressed import ZSTD_MAGIC, zstd
from sr3d_ros.bag.storage.offers import latched, offers_of
from sr3d_ros.bag.storage.scan_mcap import MAGIC as MCAP_MAGIC
from sr3d_ros.bag.storage.scan_mcap import scan_mcap
from sr3d_ros.bag.storage.scan_ros1 import MAGIC as ROS1_MAGIC
from sr3d_ros.bag.storage.scan_ros1 import scan_ros1
from sr3d_ros.bag.storage.scan_sqlite import MAGIC as SQLITE_MAGIC
from sr3d_ros.bag.storage.scan_sqlite import scan_sqlite

Kind = Literal["mcap", "sqlite3", "ros1", "zstd"]
ENDINGS: dict[Kind, str] = {"mcap": ".mcap", "sqlite3": ".db3", "ros1": ".bag"}
_MAGICS: dict[Kind, bytes] = {
    "mcap": MCAP_MAGIC,
    "sqlite3": SQLITE_MAGIC,
    "ros1": ROS1_MAGIC,
    "zstd": ZSTD_MAGIC,
}
_SCANS = {"mcap": scan_mcap, "sqlite3": scan_sqlite, "ros1": scan_ros1}
_ENCODINGS = ("cdr", "ros1")
END_NS = 2**63 - 1
"""After all messages."""


def kind_of_file(path: Path) -> Kind:
    """What a file is, by how it begins, whatever its name; raises `ReplayError`."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _MAGICS.values())))
    for kind, magic in _MAGICS.items():
        if start.startswith(magic):
            return kind
    found = "is empty" if not start else f"begins with {start[:8]!r}"
    if start.startswith(b"#ROSBAG"):
        found = f"is a bag of the old version {start[8:12].decode(errors='replace').strip()}"
    raise ReplayError(
        f"{path}: the file {found}, expected .mcap, .db3 or ROS 1 .bag (2.0); record again"
    )


class StorageFile:
    """The messages of one file, which is open; `notes` grow where damage is met.

    `name` is how the user knows the file, `path` where it was unpacked.
    """

    def __init__(self, path: Path, kind: Kind, name: Path, notes: list[str]) -> None:
        self.counts: Counter[Channel] = Counter()
        self.start_ns, self.end_ns = END_NS, 0  # the end is after the last message
        self._path, self._kind, self._name, self._notes = path, kind, name, notes
        self._reader: Any = None
        self._channels: dict[int, Channel] = {}
        try:
            self._open()
        except Exception as error:  # of SQLite, struct, YAML, their own: all mean the same
            self._reader = None
            self._count(error)
        unknown = sorted({c.encoding for c in self.counts if c.encoding not in _ENCODINGS})
        if unknown:
            self._notes.append(
                f"{name}: messages encoded as {', '.join(unknown)} are left out; expected cdr"
            )

    def close(self) -> None:
        """Leave the file."""
        if self._reader is not None:
            self._reader.close()

    def messages(
        self, is_wanted: Callable[[Channel], bool], start_ns: int = 0, stop_ns: int = END_NS
    ) -> Iterator[Item]:
        """Messages in recorded order, from `start_ns` on and before `stop_ns`."""
        num_read = 0
        if self._reader is not None:
            try:
                for item in self._indexed(is_wanted, start_ns, stop_ns):
                    yield item
                    num_read += 1
                return
            except Exception as error:
                note = f"{self._name}: damaged ({_line(error)}); what is sound is read"
                if note not in self._notes:  # read once more
                    self._notes.append(note)
        wanted = (i for i in self._scan() if is_wanted(i[0]) and start_ns <= i[1] < stop_ns)
        yield from islice(wanted, num_read, None)

    def _open(self) -> None:
        from rosbags.rosbag1 import Reader as Reader1
        from rosbags.rosbag2 import Reader as Reader2

        self._reader = (Reader1 if self._kind == "ros1" else Reader2)(self._path)
        self._reader.open()
        for connection in self._reader.connections:
            channel = _channel(connection, self._kind)
            self._channels[connection.id] = channel
            self.counts[channel] += connection.msgcount
        if self.counts.total():
            self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time

    def _indexed(
        self, is_wanted: Callable[[Channel], bool], start_ns: int, stop_ns: int
    ) -> Iterator[Item]:
        wanted = [c for c in self._reader.connections if is_wanted(self._channels[c.id])]
        if not wanted:  # none means all, to rosbags
            return
        for connection, time_ns, raw in self._reader.messages(wanted, start_ns, stop_ns):
            yield self._channels[connection.id], time_ns, _unpacked(raw)

    def _scan(self, damage: list[str] | None = None) -> Iterator[Item]:
        report = (list[str]() if damage is None else damage).append
        for channel, time_ns, raw in _SCANS[self._kind](self._path, report):
            yield channel, time_ns, _unpacked(raw)

    def _count(self, error: Exception) -> None:
        """See what a file without a sound index holds, and say it."""
        damage: list[str] = []
        for channel, time_ns, _ in self._scan(damage):
            self.counts[channel] += 1
            self.start_ns, self.end_ns = min(self.start_ns, time_ns), max(self.end_ns, time_ns + 1)
        why = damage[0] if damage else f"it has no sound index ({_line(error)})"
        more = f" (and {len(damage) - 1} more faults)" if damage[1:] else ""
        total = self.counts.total()
        if not total:
            raise ReplayError(f"{self._name}: bag is damaged: {why}{more}; no message can be read")
        seconds = (self.end_ns - self.start_ns) / 1e9
        self._notes.append(
            f"{self._name}: {why}{more}; the {total} messages of {seconds:.1f} s that are whole "
            "are used"
        )


def _channel(connection: Any, kind: Kind) -> Channel:
    definition = connection.msgdef
    is_idl = "IDL" in definition.format.name
    about = connection.ext
    encoding = "ros1" if kind == "ros1" else about.serialization_format
    return Channel(
        connection.topic,
        connection.msgtype,
        encoding,
        definition.data,
        "idl" if is_idl else "msg",
        latched(bool(about.latching)) if kind == "ros1" else offers_of(about.offered_qos_profiles),
    )


def _unpacked(raw: bytes) -> bytes:
    """A message that was compressed by itself, or as it is."""
    if raw[: len(ZSTD_MAGIC)] != ZSTD_MAGIC:
        return raw
    try:
        return bytes(zstd().decompress(raw))
    except Exception:  # decoding then says that it is none
        return raw


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def total(files: Collection[StorageFile]) -> Counter[tuple[str, str]]:
    """How many messages files hold, by topic and type."""
    counts: Counter[tuple[str, str]] = Counter()
    for file in files:
        for channel, count in file.counts.items():
            counts[channel.topic, channel.type_name] += count
    return counts
