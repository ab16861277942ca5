"""rosbag2's SQLite files, as far as they are whole.

A recorder that was killed leaves a journal, or a write-ahead log, beside its file; SQLite itself
puts that right, in a copy (`recovered`). Of a file that was cut, rows are read in the order in
which they were written, up to the first page that is missing, and beyond it where that works.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sr3d_ros.bag.storage.channel import Channel, Item
from sr3d_ros.bag.storage.offers import offers_in

MAGIC = b"SQLite format 3\0"
_LEFT_BEHIND = ("-journal", "-wal")
_MOST_JUMPS = 40  # each twice as far as the one before


def left_behind(path: Path) -> list[Path]:
    """What a recorder that was killed left beside a file: its journals that hold something."""
    beside = [path.with_name(path.name + ending) for ending in _LEFT_BEHIND]
    return [file for file in beside if file.is_file() and file.stat().st_size > 0]


def recovered(path: Path, folder: Path) -> Path:
    """A copy in which the journals that lie beside a file have been played; raises sqlite3.Error.

    The original is not touched: it may lie on a disk that is read only.
    """
    copy = folder / path.name
    for file in (path, *left_behind(path)):
        shutil.copyfile(file, folder / file.name)
    with closing(sqlite3.connect(copy)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        database.execute("PRAGMA journal_mode = DELETE").fetchone()
    return copy


def scan_sqlite(path: Path, report: Callable[[str], None]) -> Iterator[Item]:
    """All messages that can be read, as they were written; `report` is told of damage."""
    address = f"file:{quote(str(path))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as database:
        try:
            database.execute("PRAGMA writable_schema = ON")  # opens files that were cut
            channels = _channels(database)
        except sqlite3.Error as error:
            report(f"its topics cannot be read ({error})")
            return
        last, jump = -1, 0
        while jump < _MOST_JUMPS:
            try:
                for number, topic, time_ns, data in database.execute(
                    "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id",
                    (last + (1 << jump) - 1,),
                ):
                    last, jump = number, 0
                    if topic in channels:
                        yield channels[topic], time_ns, data
                return
            except sqlite3.Error as error:
                if jump == 0:
                    report(f"pages are missing or damaged ({error}), from message {last + 1} on")
                jump += 1


def _channels(database: sqlite3.Connection) -> dict[int, Channel]:
    """Channels by the number of their topic."""
    try:
        definitions = {
            name: (text, language)
            for name, language, text in database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            )
        }
    except sqlite3.Error:  # files of Humble and before have none
        definitions = {}
    found = {}
    query = "SELECT id, name, type, serialization_format, {} FROM topics"
    try:
        topics = database.execute(query.format("offered_qos_profiles"))
    except sqlite3.Error:  # those of Eloquent and before have none
        topics = database.execute(query.format("''"))
    for number, topic, kind, encoding, offers in topics:
        text, language = definitions.get(kind, ("", ""))
        is_idl = "idl" in language
        found[number] = Channel(
            topic, kind, encoding, text, "idl" if is_idl else "msg", offers_in(offers)
        )
    return found
