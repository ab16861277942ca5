"""PLY (polygon file format): ascii, binary_little_endian, binary_big_endian.

Only the element `vertex` is read. Lists, which have no fixed size, may stand before it and among
its properties: binary rows are read in runs of equal lengths, for triangles all at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.columns import Column, cloud_of_columns
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

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2"},
    **{"ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_OTHER_WORDS = ("ply", "comment", "obj_info", "end_header")
_ENDIAN = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True, slots=True)
class _Property:
    """A number of a row, or as many as another number before them says."""

    name: str
    kind: str
    length_kind: str = ""  # of that other number; empty where there is one number


@dataclass(frozen=True, slots=True)
class _Element:
    """One `element` of the header."""

    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def lists(self) -> list[_Property]:
        """The properties that have no fixed size."""
        return [entry for entry in self.properties if entry.length_kind]

    @property
    def num_rows(self) -> int:
        """How many rows it has in the file; those without properties take no space."""
        return self.count if self.properties else 0


def read_ply(path: Path, data: bytes) -> RawCloud:
    """The vertices of a PLY file; raises CloudFileError."""
    data = without_mark(path, data)
    if data[:3] != b"ply" or not data[3:4].isspace():
        raise CloudFileError(
            f"{path}: starts with {data[:16]!r}, expected 'ply'; is this really a PLY file?"
        )
    lines, start = read_header(path, data, "end_header")
    encoding, elements = _parse_header(path, lines)
    index = _find_vertex(path, elements)
    if encoding == "ascii":
        first_line = unix_lines(data[:start]).count(b"\n") + 1
        columns = _ascii_columns(path, Rows(data[start:], first_line), elements, index)
    else:
        columns = _binary_columns(path, data[start:], elements, index, _ENDIAN[encoding])
    return cloud_of_columns(path, columns)


def _parse_header(path: Path, lines: list[list[str]]) -> tuple[str, list[_Element]]:
    encoding, elements = "", list[_Element]()
    try:
        for words in lines:
            if words[0] == "format":
                encoding = words[1]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2])))
            elif words[0] == "property" and words[1] == "list":
                entry = _Property(words[4], _TYPES[words[3]], _TYPES[words[2]])
                elements[-1].properties.append(entry)
            elif words[0] == "property":
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
            elif words[0] not in _OTHER_WORDS:
                raise ValueError(words[0])
    except (IndexError, KeyError, ValueError) as error:
        raise CloudFileError(
            f"{path}: the header line {' '.join(words)!r} is not PLY; write the file again"
        ) from error
    if encoding not in _ENDIAN:
        raise CloudFileError(f"{path}: format {encoding!r}, expected one of {', '.join(_ENDIAN)}")
    return encoding, elements


def _find_vertex(path: Path, elements: list[_Element]) -> int:
    """Which element is `vertex`."""
    names = [element.name.lower() for element in elements]
    if names.count("vertex") != 1:
        raise CloudFileError(f"{path}: elements {names}, expected one called 'vertex'")
    index = names.index("vertex")
    wrong = next((e for e in elements if e.count < 0), None)
    if wrong is not None:
        raise CloudFileError(f"{path}: {wrong.count} of {wrong.name!r}, expected at least 0")
    return index


def _ascii_columns(path: Path, rows: Rows, elements: list[_Element], index: int) -> list[Column]:
    vertex, start = elements[index], sum(element.num_rows for element in elements[:index])
    scalars = [entry for entry in vertex.properties if not entry.length_kind]
    is_row_a_line = len(rows) == sum(element.num_rows for element in elements)
    if vertex.lists or not is_row_a_line:
        numbers = list(_walked(path, rows, elements, index).T)
    else:
        numbers = _numbers(path, rows, scalars, start, start + vertex.num_rows)
    return [
        (entry.name, as_declared(column, np.dtype(entry.kind)))
        for entry, column in zip(scalars, numbers, strict=True)
    ]


def _numbers(
    path: Path, rows: Rows, scalars: list[_Property], start: int, stop: int
) -> list[NDArray]:
    """The columns of vertices that stand on a line each."""
    kinds = [entry.kind if entry.kind.startswith("f") else "i8" for entry in scalars]
    columns = rows.typed(kinds, start, stop) if stop > start else None
    if columns is not None:
        return columns
    expected = f"{len(scalars)} numbers: {' '.join(entry.name for entry in scalars)}"
    return list(rows.numbers(path, expected, width=len(scalars), start=start, stop=stop).T)


def _walked(path: Path, rows: Rows, elements: list[_Element], index: int) -> NDArray[np.float64]:
    """The vertices number by number: several may stand on one line, and lists among them."""
    schedule = (element for element in elements for _ in range(element.num_rows))
    num_rows = sum(element.num_rows for element in elements)
    vertices, num_read = list[list[float]](), 0
    for line, text in enumerate(rows.lines):
        fields, position = text.split(), 0
        while position < len(fields):
            if num_read == num_rows:
                check_count(path, num_rows + len(rows) - line, num_rows, what="rows")
            element = next(schedule)
            try:
                values, position = _row(fields, position, element)
            except (IndexError, ValueError) as error:
                expected = " ".join(entry.name for entry in element.properties)
                raise CloudFileError(
                    f"{path}: {rows.place(line)} is no row of {element.name!r}, expected "
                    f"{expected}"
                ) from error
            if element is elements[index]:
                vertices.append(values)
            num_read += 1
    check_count(path, num_read, num_rows, what="rows")
    num_scalars = len(elements[index].properties) - len(elements[index].lists)
    return np.array(vertices, np.float64).reshape(len(vertices), num_scalars)


def _row(fields: list[bytes], position: int, element: _Element) -> tuple[list[float], int]:
    """The numbers of one row that are no lists, and where the next row starts."""
    values = []
    for entry in element.properties:
        number = float(fields[position])
        position += 1
        if not entry.length_kind:
            values.append(number)
        elif number < 0 or position + number > len(fields):
            raise ValueError(f"a list of {number:g} numbers")
        else:
            position += int(number)
    return values, position


def _binary_columns(
    path: Path, body: bytes, elements: list[_Element], index: int, endian: str
) -> list[Column]:
    vertex, end = elements[index], 0
    for element in elements[: index + 1]:
        runs, end = _runs(path, body, end, element, endian)
    if not any(element.lists for element in elements[index:]):
        sizes = [_row_dtype(body, 0, element, endian).itemsize for element in elements[index:]]
        counts = [element.count for element in elements[index:]]
        others = sum(size * count for size, count in zip(sizes[1:], counts[1:], strict=True))
        check_rest(path, body[end + others :], sizes[0], vertex.count)
    return [
        (entry.name, _joined([run[str(i)] for run in runs], endian + entry.kind))
        for i, entry in enumerate(vertex.properties)
        if not entry.length_kind
    ]


def _joined(runs: list[NDArray], kind: str) -> NDArray:
    return runs[0] if len(runs) == 1 else np.concatenate([np.zeros(0, kind), *runs])


def _runs(
    path: Path, body: bytes, start: int, element: _Element, endian: str
) -> tuple[list[NDArray], int]:
    """The rows of an element in runs whose lists are of the same lengths, and where they end."""
    runs, num_left = list[NDArray](), element.num_rows
    window = 1 if element.lists else num_left
    while num_left:
        dtype = _row_dtype(body, start, element, endian)
        num_rows = min(window, num_left)
        if element.lists:  # as many as there are; what is missing is found at the end of the data
            num_rows = max(1, min(num_rows, (len(body) - start) // dtype.itemsize))
        check_size(path, max(0, len(body) - start), num_rows * dtype.itemsize, element.count)
        rows = np.frombuffer(body, dtype, num_rows, start)
        is_same = np.ones(num_rows, bool)
        for name in (name for name in dtype.names or () if name.startswith("#")):
            is_same &= rows[name] == rows[name][0]
        num_same = num_rows if is_same.all() else int(is_same.argmin())
        runs.append(rows[:num_same])
        start, num_left = start + num_same * dtype.itemsize, num_left - num_same
        window = 2 * window if num_same == num_rows else 1
    return runs, start


def _row_dtype(body: bytes, start: int, element: _Element, endian: str) -> np.dtype:
    """A row with lists as long as those of the row at `start`; '#' marks their lengths."""
    fields = list[tuple]()
    for i, entry in enumerate(element.properties):
        if not entry.length_kind:
            fields.append((str(i), endian + entry.kind))
            continue
        kind = np.dtype(endian + entry.length_kind)
        position = start + np.dtype(fields).itemsize
        data = body[position : position + kind.itemsize].ljust(kind.itemsize, b"\0")
        length = max(0, min(int(np.frombuffer(data, kind)[0]), len(body)))
        fields += [(f"#{i}", kind), (str(i), endian + entry.kind, (length,))]
    return np.dtype(fields)
