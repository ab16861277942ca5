"""What every format reader yields, what it says when it cannot, and what headers share."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAX_HEADER = 65536
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class CloudFileError(ValueError):
    """A file cannot be read as a point cloud; the text says where, what, and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RawCloud:
    """Points as they lie in a file: any frame, non-finite points included."""

    xyz: NDArray[np.float64]  # (N,3)
    rgb: NDArray[np.float32] | None  # (N,3) in 0..1
    note: str = ""  # what the user should know about how it was read


def without_mark(path: Path, data: bytes) -> bytes:
    """Text without the byte-order mark that editors put first; UTF-16 as UTF-8.

    Raises CloudFileError where a text in UTF-16 is damaged.
    """
    encoding = next(
        (name for mark, name in _BYTE_ORDER_MARKS.items() if data[:3].startswith(mark)), ""
    )
    if encoding != "utf-16":
        return data[len(codecs.BOM_UTF8) :] if encoding else data
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise CloudFileError(
            f"{path}: starts as UTF-16 text, but byte {error.start} is none; save it as UTF-8"
        ) from error


def unix_lines(text: bytes) -> bytes:
    """Text whose lines end in a line feed, however they ended before."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def read_header(path: Path, data: bytes, last_keyword: str) -> tuple[list[list[str]], int]:
    """Words of each header line up to the one that starts with `last_keyword`, and its end.

    Raises CloudFileError where no such line comes within the first 64 kB.
    """
    lines: list[list[str]] = []
    first_end = re.search(rb"\r(?!\n)|\n", data[:_MAX_HEADER])
    line_end = first_end[0] if first_end else b"\n"
    start = 0
    while (end := data.find(line_end, start, _MAX_HEADER)) >= 0:
        words = data[start:end].decode("latin-1").split()
        start = end + 1
        if words:
            lines.append(words)
            if words[0] == last_keyword:
                return lines, start
    raise CloudFileError(
        f"{path}: the header has no line {last_keyword!r}; the file is cut off or of another kind"
    )


def check_size(path: Path, found: int, expected: int, num_points: int) -> None:
    """Raise CloudFileError where fewer bytes are left than the points of the header need."""
    if found < expected:
        raise CloudFileError(
            f"{path}: {found} bytes of points, expected {expected} for the {num_points} points "
            "of the header; the file is cut off, copy or record it again"
        )


def check_rest(path: Path, rest: bytes, point_size: int, num_points: int) -> None:
    """Raise CloudFileError where more than padding follows the points of the header.

    Less than a point is no better: where a byte was put in, all that follow are shifted.
    """
    if rest.strip(b"\0\r\n \x1a"):
        num_more = len(rest) / max(1, point_size)
        raise CloudFileError(
            f"{path}: {num_points + num_more:g} points, expected the {num_points} of the header; "
            f"{len(rest)} bytes are left over; correct the header or write the file again"
        )


def check_count(
    path: Path, found: int, expected: int, where: str = "the header", what: str = "points"
) -> None:
    """Raise CloudFileError where a text has not as many points as it says."""
    if found != expected:
        remedy = (
            "the file is cut off, copy or record it again"
            if found < expected
            else f"correct {where} or remove the lines that are no points"
        )
        raise CloudFileError(
            f"{path}: {found} {what}, expected the {expected} of {where}; {remedy}"
        )


def as_declared(column: NDArray, dtype: np.dtype) -> NDArray:
    """Numbers of a text in the type of the header, where they are such: 21.0 is a byte, 0.5 not.

    Floats become what they are in a binary file, since their bits may be a color.
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return column.astype(dtype) if dtype.itemsize == 4 else column
    with np.errstate(invalid="ignore"):
        whole = column.astype(dtype)
    return whole if bool((whole == column).all()) else column
