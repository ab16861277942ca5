"""Results in a JSON file as they come: whatever ends the program, the file is whole JSON.

Each new item takes the place of what closes the list, and the closing stands behind it again. What
cannot be written, as on a full disk, is taken back and raises OSError. Pipes get all at the end.
"""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class GrowingList:
    """The list of an open JSON file: all of the file, or a part of its object."""

    def __init__(self, file: BinaryIO, before: str = "[", depth: int = 0, after: str = "") -> None:
        self._file, self._depth, self._after = file, depth, after
        self._place, self._closing = 0, b""  # where the list is closed, and how
        self._separator, self._bracket = "\n", "]"
        self._put(before, f"]{after}\n")

    def add(self, item: Any) -> None:
        """Put an item behind the others; it is on the disk at once."""
        text = json.dumps(item, indent=1, allow_nan=False)
        bracket = "\n" + " " * self._depth + "]"
        indented = textwrap.indent(text, " " * (self._depth + 1))
        self._put(self._separator + indented, f"{bracket}{self._after}\n")
        self._separator, self._bracket = ",\n", bracket

    def end(self, rest: Mapping[str, Any]) -> None:
        """Put what the object holds behind its list, which is complete."""
        text = json.dumps(rest, indent=1, allow_nan=False)
        self._put("", f"{self._bracket},{text[1:]}\n")

    def _put(self, text: str, closing: str) -> None:
        try:
            _write(self._file, self._place, (text + closing).encode())
        except OSError as error:
            error.filename = error.filename or getattr(self._file, "name", None)
            _write(self._file, self._place, self._closing)
            self._file.truncate()
            raise
        self._place += len(text.encode())
        self._closing = closing.encode()


@contextmanager
def growing_list(path: Path) -> Iterator[GrowingList]:
    """A file that is a list, empty at first."""
    with _opened(path) as file:
        yield GrowingList(file)


@contextmanager
def growing_object(path: Path, head: Mapping[str, Any], name: str) -> Iterator[GrowingList]:
    """A file that is an object with what `head` holds and the list `name`, empty at first."""
    lead = json.dumps({**head, name: []}, indent=1, allow_nan=False)
    with _opened(path) as file:
        yield GrowingList(file, lead.removesuffix("]\n}"), depth=1, after="\n}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, or what becomes of it at the end where one cannot go back in it."""
    with path.open("wb", buffering=0) as file:
        if file.seekable():
            yield file
            return
        gathered = io.BytesIO()
        try:
            yield gathered
        finally:
            _write(file, None, gathered.getvalue())


def _write(file: BinaryIO, place: int | None, text: bytes) -> None:
    """All of the text, which an unbuffered file may take in parts."""
    if place is not None:
        file.seek(place)
    while text:
        text = text[file.write(text) :]
