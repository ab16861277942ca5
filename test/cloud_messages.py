"""PointCloud2 messages without ROS, packed point by point."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

UINT8, UINT16, UINT32, FLOAT32, FLOAT64 = 2, 4, 6, 7, 8
STRUCT_LETTERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}


@dataclass
class Field:
    """A PointField."""

    name: str
    offset: int
    datatype: int = FLOAT32
    count: int = 1


@dataclass
class Message:
    """A PointCloud2, as far as a cloud goes."""

    fields: list[Field]
    data: Any = b""
    height: int = 1
    width: int = 0
    point_step: int = 0
    row_step: int = 0
    is_bigendian: bool = False
    is_dense: bool = False
    header: Any = field(default=None)


XYZ = [Field("x", 0), Field("y", 4), Field("z", 8)]
POINTS = [(1.0, 2.0, 3.0), (-1.5, 0.25, 0.0), (0.5, 0.5, 7.0), (4.0, -4.0, 1.0)]
COLORS = [(255, 128, 0), (0, 0, 0), (200, 255, 7), (255, 255, 255)]


def message(
    fields: Sequence[Field],
    rows: Sequence[dict[str, Any]],
    *,
    point_step: int,
    width: int | None = None,
    row_padding: int = 0,
    big: bool = False,
) -> Message:
    """Pack each point with struct; bytes between fields are 0xAB, which no reader may look at."""
    width = len(rows) if width is None else width
    height = len(rows) // width if width else 1
    order = ">" if big else "<"
    data = bytearray()
    for index, row in enumerate(rows):
        point = bytearray(b"\xab" * point_step)
        for part in fields:
            if part.name in row:
                value = row[part.name]
                packed = (
                    value
                    if isinstance(value, bytes)
                    else struct.pack(order + STRUCT_LETTERS[part.datatype], value)
                )
                point[part.offset : part.offset + len(packed)] = packed
        data += point
        if (index + 1) % width == 0:
            data += b"\xab" * row_padding
    step = width * point_step + row_padding
    return Message(list(fields), bytes(data), height, width, point_step, step, big)


def xyz_rows(points: Sequence[Sequence[float]] = POINTS) -> list[dict[str, Any]]:
    return [dict(zip("xyz", point, strict=True)) for point in points]


def colored_rows(pack: Callable[[int, int, int], bytes], name: str) -> list[dict[str, Any]]:
    return [{**row, name: pack(*color)} for row, color in zip(xyz_rows(), COLORS, strict=True)]
