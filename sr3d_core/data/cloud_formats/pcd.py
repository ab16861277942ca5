"""PCD (Point Cloud Library): ascii, binary, binary_compressed.

VIEWPOINT is not applied: files disagree about its meaning.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr3d_core.data.cloud_formats.columns import Column, cloud_of_columns
from sr3d_core.data.cloud_formats.lzf import decompress
from sr3d_core.data.cloud_formats.raw import (
    CloudFileError,
    RawCloud,
    as_declared,
    check_count,
    check_rest,
    check_size,
    read_header,
    unix_lines,
    without_mark,
)
from sr3d_core.data.cloud_formats.rows import Rows

_KINDS = {"F": "f", "I": "i", "U": "u"}


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of the header."""

    name: str
    dtype: np.dtype  # of each of its numbers, little endian
    count: int

    @property
    def size(self) -> int:
        """Its bytes in a point."""
        return self.dtype.itemsize * self.count


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header says, fields in file order."""

    fields: list[_Field]
    num_points: int
    encoding: str
    num_lines: int

    @property
    def point_size(self) -> int:
        """The bytes of a point."""
        return sum(field.size for field in self.fields)


def read_pcd(path: Path, data: bytes) -> RawCloud:
    """The points of a PCD file; raises CloudFileError."""
    data = without_mark(path, data)
    if not data.lstrip().startswith((b"# .PCD", b"VERSION", b"FIELDS", b"COLUMNS", b"#")):
        raise CloudFileError(
            f"{path}: starts with {data[:16]!r}, expected '# .PCD'; is this really a PCD file?"
        )
    lines, start = read_header(path, data, "DATA")
    num_lines = unix_lines(data[:start]).count(b"\n")
    header = _parse_header(path, {words[0]: words[1:] for words in lines}, num_lines)
    readers = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}
    if header.encoding not in readers:
        raise CloudFileError(
            f"{path}: DATA {header.encoding!r}, expected one of {', '.join(readers)}"
        )
    return cloud_of_columns(path, readers[header.encoding](path, data[start:], header))


def _parse_header(path: Path, entries: dict[str, list[str]], num_lines: int) -> _Header:
    try:
        names = entries["FIELDS" if "FIELDS" in entries else "COLUMNS"]
        sizes = [int(size) for size in entries["SIZE"]]
        kinds = [_KINDS[kind] for kind in entries["TYPE"]]
        counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
        fields = [
            _Field(name, np.dtype(f"<{kind}{size}"), count)
            for name, kind, size, count in zip(names, kinds, sizes, counts, strict=True)
        ]
        num_points = _num_points(path, entries)
        encoding = entries["DATA"][0].lower()
    except CloudFileError:
        raise
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CloudFileError(
            f"{path}: the PCD header is not complete or not consistent ({error}); expected "
            "FIELDS, SIZE, TYPE, COUNT, DATA, and WIDTH and HEIGHT or POINTS"
        ) from error
    if min(counts, default=0) < 1 or num_points < 0:
        raise CloudFileError(
            f"{path}: {num_points} points, COUNT {counts}, expected at least 0, and 1 each"
        )
    return _Header(fields, num_points, encoding, num_lines)


def _num_points(path: Path, entries: dict[str, list[str]]) -> int:
    """POINTS, or WIDTH x HEIGHT, which are the same where both are given."""
    if "WIDTH" not in entries:
        return int(entries["POINTS"][0])
    width, height = int(entries["WIDTH"][0]), int(entries.get("HEIGHT", ["1"])[0])
    num_points = int(entries.get("POINTS", [str(width * height)])[0])
    if num_points != width * height:
        raise CloudFileError(
            f"{path}: POINTS {num_points}, but WIDTH {width} x HEIGHT {height} are "
            f"{width * height}; correct the header or write the file again"
        )
    return num_points


def _ascii(path: Path, body: bytes, header: _Header) -> list[Column]:
    rows = Rows(body, header.num_lines + 1)
    check_count(path, len(rows), header.num_points)
    width = sum(field.count for field in header.fields)
    names = " ".join(field.name for field in header.fields)
    table = rows.numbers(path, f"{width} numbers: {names}", width=width)
    columns, start = list[Column](), 0
    for field in header.fields:
        part = table[:, start : start + field.count]
        columns.append((field.name, as_declared(part, field.dtype)))
        start += field.count
    return columns


def _binary(path: Path, body: bytes, header: _Header) -> list[Column]:
    size = header.num_points * header.point_size
    check_size(path, len(body), size, header.num_points)
    check_rest(path, body[size:], header.point_size, header.num_points)
    dtype = np.dtype([(str(i), f.dtype, (f.count,)) for i, f in enumerate(header.fields)])
    points = np.frombuffer(body, dtype, header.num_points) if size else np.zeros(0, dtype)
    return [(field.name, points[str(i)]) for i, field in enumerate(header.fields)]


def _compressed(path: Path, body: bytes, header: _Header) -> list[Column]:
    """Compressed files hold one column after the other."""
    check_size(path, len(body), 8, header.num_points)
    packed_size, size = struct.unpack("<II", body[:8])
    check_size(path, len(body) - 8, packed_size, header.num_points)
    if size != header.num_points * header.point_size:
        raise CloudFileError(
            f"{path}: {size} bytes of points, expected "
            f"{header.num_points * header.point_size} for the {header.num_points} points of "
            "the header; the file is damaged"
        )
    try:
        plain = decompress(body[8 : 8 + packed_size], size)
    except ValueError as error:
        raise CloudFileError(f"{path}: {error}; the file is damaged") from error
    columns, start = list[Column](), 0
    for field in header.fields:
        count = header.num_points * field.count
        # One column after the other, each with all numbers of a point together.
        numbers = (
            np.frombuffer(plain, field.dtype, count, start) if size else np.zeros(0, field.dtype)
        )
        columns.append((field.name, numbers.reshape(-1, field.count)))
        start += header.num_points * field.size
    return columns
