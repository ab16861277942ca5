"""PCD (Point Cloud Library): ascii, binary, binary_compressed.

Fields may come in any order; x, y, z are required, `rgb` or `rgba` holds a packed color, tagged
as float or as integer. VIEWPOINT is not applied: files disagree about its meaning.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.lzf import decompress
from sr3d_core.data.cloud_formats.raw import (
    CloudFileError,
    RawCloud,
    check_size,
    read_header,
    unit_color,
    unpack_color,
)

_KINDS = {"F": "f", "I": "i", "U": "u"}


@dataclass(frozen=True, slots=True, eq=False)
class _Header:
    """What the header says: one entry per field, in file order."""

    dtype: np.dtype  # one row, packed, little endian
    num_points: int
    encoding: str


def read_pcd(path: Path, data: bytes) -> RawCloud:
    """The points of a PCD file; raises CloudFileError."""
    if not data.lstrip().startswith((b"# .PCD", b"VERSION", b"FIELDS", b"#")):
        raise CloudFileError(
            f"{path}: starts with {data[:16]!r}, expected '# .PCD'; is this really a PCD file?"
        )
    lines, start = read_header(path, data, "DATA")
    header = _parse_header(path, {words[0]: words[1:] for words in lines})
    readers = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}
    if header.encoding not in readers:
        raise CloudFileError(
            f"{path}: DATA {header.encoding!r}, expected one of {', '.join(readers)}"
        )
    columns = readers[header.encoding](path, data[start:], header)
    xyz = np.stack([columns[axis].astype(np.float64) for axis in "xyz"], axis=1)
    return RawCloud(xyz, _colors(path, columns))


def _parse_header(path: Path, entries: dict[str, list[str]]) -> _Header:
    try:
        names = entries["FIELDS"]
        sizes = [int(size) for size in entries["SIZE"]]
        kinds = [_KINDS[kind] for kind in entries["TYPE"]]
        counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
        num_points = int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
        num_points = int(entries.get("POINTS", [str(num_points)])[0])
        fields = [
            # Padding fields are called "_", several times; a number keeps names apart.
            (name if name != "_" else f"_{i}", f"<{kind}{size}", (count,))
            for i, (name, kind, size, count) in enumerate(
                zip(names, kinds, sizes, counts, strict=True)
            )
        ]
        dtype = np.dtype(fields)
        encoding = entries["DATA"][0]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CloudFileError(
            f"{path}: the PCD header is not complete or not consistent ({error}); expected "
            "FIELDS, SIZE, TYPE, COUNT, WIDTH, HEIGHT, POINTS and DATA"
        ) from error
    if not {"x", "y", "z"} <= set(names) or num_points < 0:
        raise CloudFileError(
            f"{path}: {num_points} points with the fields {names}, expected x, y and z among them"
        )
    return _Header(dtype, num_points, encoding)


def _ascii(path: Path, body: bytes, header: _Header) -> dict[str, NDArray]:
    lines = [line for line in body.splitlines() if line.strip()][: header.num_points]
    if len(lines) < header.num_points:
        raise CloudFileError(
            f"{path}: {len(lines)} lines of points, expected {header.num_points}; "
            "the file is cut off, copy or record it again"
        )
    if not lines:
        return _columns(np.zeros(0, header.dtype))
    widths = [shape[0] for shape in _shapes(header.dtype)]
    try:
        table = np.loadtxt(io.BytesIO(b"\n".join(lines)), dtype=np.float64, ndmin=2)
        parts = np.split(table, np.cumsum(widths)[:-1], axis=1)
        rows = np.zeros(len(table), header.dtype)
        for name, part in zip(header.dtype.names or (), parts, strict=True):
            rows[name] = part
    except ValueError as error:
        raise CloudFileError(f"{path}: {error}; expected {sum(widths)} numbers a point") from error
    return _columns(rows)


def _binary(path: Path, body: bytes, header: _Header) -> dict[str, NDArray]:
    check_size(path, len(body), header.num_points * header.dtype.itemsize, header.num_points)
    return _columns(np.frombuffer(body, header.dtype, count=header.num_points))


def _compressed(path: Path, body: bytes, header: _Header) -> dict[str, NDArray]:
    """Compressed files hold one column after the other."""
    check_size(path, len(body), 8, header.num_points)
    packed_size, size = struct.unpack("<II", body[:8])
    check_size(path, len(body) - 8, packed_size, header.num_points)
    if size != header.num_points * header.dtype.itemsize:
        raise CloudFileError(
            f"{path}: {size} bytes of points, expected "
            f"{header.num_points * header.dtype.itemsize} for the {header.num_points} points of "
            "the header; the file is damaged"
        )
    try:
        plain = decompress(body[8 : 8 + packed_size], size)
    except ValueError as error:
        raise CloudFileError(f"{path}: {error}; the file is damaged") from error
    columns, start = {}, 0
    for name, shape in zip(header.dtype.names or (), _shapes(header.dtype), strict=True):
        base = header.dtype[name].base
        count = header.num_points * shape[0]
        columns[name] = np.frombuffer(plain, base, count, start).reshape(-1, *shape)[:, 0]
        start += count * base.itemsize
    return columns


def _columns(rows: NDArray) -> dict[str, NDArray]:
    return {name: rows[name][:, 0] for name in rows.dtype.names or ()}


def _shapes(dtype: np.dtype) -> list[tuple[int, ...]]:
    return [dtype[name].shape for name in dtype.names or ()]


def _colors(path: Path, columns: dict[str, NDArray]) -> NDArray[np.float32] | None:
    for name in ("rgb", "rgba"):
        if name in columns and columns[name].dtype.itemsize == 4:
            return unit_color(path, unpack_color(_packed(columns[name])))
    if {"r", "g", "b"} <= set(columns):
        return unit_color(path, np.stack([columns[name] for name in "rgb"], axis=1))
    return None


def _packed(column: NDArray) -> NDArray[np.uint32]:
    """A color column as integers; floats hold the integer's bits, in old files its value."""
    if column.dtype.kind != "f":
        return column.astype(np.uint32)
    # The bits of 0x00RRGGBB read as a float are far below 1, those of 0xFFRRGGBB below 0 or NaN.
    if bool(np.any((column >= 1.0) & (column < 2.0**24))):
        return np.nan_to_num(column).clip(0, 2.0**24 - 1).astype(np.uint32)
    return np.ascontiguousarray(column).view(np.uint32)
