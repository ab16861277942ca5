"""PLY (polygon file format): ascii, binary_little_endian, binary_big_endian.

Only the element `vertex` is read: x, y, z and, where present, red, green, blue.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.raw import (
    CloudFileError,
    RawCloud,
    check_size,
    read_header,
    unit_color,
)

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2"},
    **{"ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_ENDIAN = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)


@dataclass(slots=True)
class _Element:
    """One `element` of the header; `has_list` where its rows have no fixed size."""

    name: str
    count: int
    properties: list[tuple[str, str]] = field(default_factory=list)
    has_list: bool = False


def read_ply(path: Path, data: bytes) -> RawCloud:
    """The vertices of a PLY file; raises CloudFileError."""
    if not data.startswith((b"ply\n", b"ply\r")):
        raise CloudFileError(
            f"{path}: starts with {data[:16]!r}, expected 'ply'; is this really a PLY file?"
        )
    lines, start = read_header(path, data, "end_header")
    encoding, elements = _parse_header(path, lines)
    before, vertex = _find_vertex(path, elements)
    dtype = np.dtype([(name, _ENDIAN[encoding] + kind) for name, kind in vertex.properties])
    if encoding == "ascii":
        rows = _ascii_rows(path, data[start:], sum(e.count for e in before), vertex, dtype)
    else:
        rows = _binary_rows(path, data[start:], before, vertex, dtype)
    return _as_cloud(path, rows)


def _parse_header(path: Path, lines: list[list[str]]) -> tuple[str, list[_Element]]:
    encoding, elements = "", []
    try:
        for words in lines:
            if words[0] == "format":
                encoding = words[1]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2])))
            elif words[0] == "property" and words[1] == "list":
                elements[-1].has_list = True
            elif words[0] == "property":
                elements[-1].properties.append((words[2], _TYPES[words[1]]))
    except (IndexError, KeyError, ValueError) as error:
        raise CloudFileError(
            f"{path}: the header line {' '.join(words)!r} is not PLY; write the file again"
        ) from error
    if encoding not in _ENDIAN:
        raise CloudFileError(f"{path}: format {encoding!r}, expected one of {', '.join(_ENDIAN)}")
    return encoding, elements


def _find_vertex(path: Path, elements: list[_Element]) -> tuple[list[_Element], _Element]:
    """The elements before `vertex`, and `vertex`, which has x, y, z and rows of fixed size."""
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise CloudFileError(f"{path}: elements {names}, expected one called 'vertex'")
    vertex = elements[names.index("vertex")]
    properties = [name for name, _ in vertex.properties]
    if not {"x", "y", "z"} <= set(properties) or len(set(properties)) < len(properties):
        raise CloudFileError(
            f"{path}: vertices have the properties {properties}, expected x, y, z, each once"
        )
    if vertex.has_list or vertex.count < 0:
        raise CloudFileError(
            f"{path}: {vertex.count} vertices with lists in them, expected plain numbers"
        )
    return elements[: names.index("vertex")], vertex


def _ascii_rows(
    path: Path, body: bytes, num_skipped: int, vertex: _Element, dtype: np.dtype
) -> NDArray:
    if vertex.count == 0:
        return np.zeros(0, dtype)
    lines = body.splitlines()[num_skipped : num_skipped + vertex.count]
    if len(lines) < vertex.count:
        raise CloudFileError(
            f"{path}: {len(lines)} lines of vertices, expected {vertex.count}; "
            "the file is cut off, copy or record it again"
        )
    try:
        return np.loadtxt(io.BytesIO(b"\n".join(lines)), dtype=dtype, ndmin=1)
    except ValueError as error:
        raise CloudFileError(
            f"{path}: {error}; expected {len(vertex.properties)} numbers a vertex"
        ) from error


def _binary_rows(
    path: Path, body: bytes, before: list[_Element], vertex: _Element, dtype: np.dtype
) -> NDArray:
    start = 0
    for element in before:
        if element.has_list:
            raise CloudFileError(
                f"{path}: element {element.name!r} has lists and precedes the vertices; "
                "write the vertices first"
            )
        row = np.dtype([(name, kind) for name, kind in element.properties])
        start += element.count * row.itemsize
    needed = vertex.count * dtype.itemsize
    check_size(path, max(0, len(body) - start), needed, vertex.count)
    return np.frombuffer(body, dtype, count=vertex.count, offset=start)


def _as_cloud(path: Path, rows: NDArray) -> RawCloud:
    xyz = np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=1)
    names = rows.dtype.names or ()
    for triple in _COLORS:
        if set(triple) <= set(names):
            colors = np.stack([rows[name] for name in triple], axis=1)
            native = colors.astype(colors.dtype.newbyteorder("="))
            return RawCloud(xyz, unit_color(path, native))
    return RawCloud(xyz, None)
