"""PointCloud2 -> PointCloud: every layout that drivers send, or an error that names the field.

Works on any object with the fields of `sensor_msgs/PointCloud2`: messages of rclpy, dataclasses of
rosbags, stand-ins. Fields are found by name and read by offset, in the byte order of the message.
Points whose coordinates are NaN, infinite, beyond `FARTHEST_M` or, where `drop_zeros` is set, all
zero are "no return" and are left out.

Colors come from the bytes of the message, never through float arithmetic: a packed color with
alpha 255 and red of 128 or more is a NaN as float32, so arithmetic would lose or change it.
A packed color is the number 0xAARRGGBB (`rgb`, `rgba`) or 0xAABBGGRR (`bgr`, `bgra`).

Coordinates come out as float32. Only those that were sent as FLOAT64 and lie far from zero, such
as a survey's in map coordinates, stay float64 until their origin is moved (`pipeline.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d_core.geometry.origin import FAR_M, reach
from sr3d_core.geometry.thinning import even_rows
from sr3d_core.structures import UNKNOWN_COLOR, PointCloud
from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.raw_message import bytes_of, number_of

FARTHEST_M = 1e7
"""Coordinates beyond this are uninitialised memory, and voxel indices would overflow."""

_NUMPY_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_ROS_NAMES = {
    1: "INT8",
    2: "UINT8",
    3: "INT16",
    4: "UINT16",
    5: "INT32",
    6: "UINT32",
    7: "FLOAT32",
    8: "FLOAT64",
}
_FLOAT32, _FLOAT64, _UINT8 = 7, 8, 2
_PACKED_TYPES = (_FLOAT32, 6, 5)  # four bytes; the type says nothing about what they mean
_COLOR_SLACK = 1e-3  # of floats; resampled colors may overshoot a little
_PACKED_NAMES = ("rgb", "rgba", "bgr", "bgra")


@dataclass(frozen=True, slots=True)
class _Field:
    """One PointField with checked numbers."""

    name: str
    offset: int
    datatype: int
    count: int

    @property
    def type_text(self) -> str:
        """The datatype as ROS spells it."""
        return _ROS_NAMES.get(self.datatype, f"unknown datatype {self.datatype}")


@dataclass(frozen=True, slots=True)
class _Grid:
    """The bytes of a message and how points lie in them."""

    data: NDArray[np.uint8]
    height: int
    width: int
    row_step: int
    point_step: int
    byte_order: str  # "<" or ">"

    def view(self, field: _Field, numpy_type: str, count: int = 1) -> NDArray[Any]:
        """A (height, width[, count]) view of one field, without a copy."""
        dtype = np.dtype(self.byte_order + numpy_type)
        end = field.offset + dtype.itemsize * count
        if end > self.point_step:
            raise MessageError(
                "point_step",
                f"field '{field.name}' ends at byte {end} of a point, but point_step is "
                f"{self.point_step}; correct point_step or the offset in the publisher",
            )
        shape = (self.height, self.width) + ((count,) if count > 1 else ())
        strides = (self.row_step, self.point_step) + ((dtype.itemsize,) if count > 1 else ())
        return np.ndarray(shape, dtype, self.data.data, field.offset, strides)


def cloud_from_message(
    message: Any, *, drop_zeros: bool = True, max_points: int | None = None
) -> PointCloud:
    """The points of a PointCloud2 in its own frame, in the order of the message.

    `drop_zeros` treats (0, 0, 0) as "no return", as RealSense marks it in ordered clouds.
    Of more than `max_points` points an evenly spaced, deterministic selection is kept.
    Raises `MessageError` that says which field is wrong, how, and what to do.
    """
    height, width = number_of(message, "height"), number_of(message, "width")
    data = bytes_of(message)
    if height * width == 0:
        if len(data):
            raise MessageError(
                "size",
                f"height {height} x width {width} is no point, but data holds {len(data)} bytes; "
                "set height and width in the publisher",
            )
        return PointCloud.single(torch.zeros(0, 3), None)
    fields = _fields_of(message)
    grid = _grid_of(message, data, height, width)
    columns = _coordinates(grid, fields)
    kept = _selection(columns, drop_zeros, max_points)
    xyz = torch.from_numpy(_interleaved([column[kept] for column in columns]))
    if xyz.dtype == torch.float64 and not bool((reach(xyz) > FAR_M).any()):
        xyz = xyz.float()
    rgb = _colors(grid, fields, kept)
    return PointCloud.single(xyz, None if rgb is None else torch.from_numpy(rgb))


def all_coordinates(message: Any, max_points: int | None = None) -> NDArray[np.floating[Any]]:
    """x, y, z (N,3) of every point of a PointCloud2, row by row, also of those without a return.

    In the precision of the message. With `max_points` about so many, of rows and columns that are
    spread evenly. Raises `MessageError`, as `cloud_from_message`.
    """
    height, width = number_of(message, "height"), number_of(message, "width")
    if height * width == 0:
        return np.zeros((0, 3), np.float32)
    grid = _grid_of(message, bytes_of(message), height, width)
    if max_points is not None:
        grid = _thinned(grid, max_points)
    return np.ascontiguousarray(_coordinates(grid, _fields_of(message)).T)


def all_colors(message: Any) -> NDArray[np.float32] | None:
    """Red, green, blue (height, width, 3) in 0..1 of every point of a PointCloud2, also of those
    without a return; None where it has no color.

    Raises `MessageError`, as `cloud_from_message`.
    """
    height, width = number_of(message, "height"), number_of(message, "width")
    if height * width == 0:
        return None
    grid = _grid_of(message, bytes_of(message), height, width)
    rgb = _colors(grid, _fields_of(message), slice(None))
    return None if rgb is None else rgb.reshape(height, width, 3)


def _thinned(grid: _Grid, max_points: int) -> _Grid:
    """Every so many rows and columns, about `max_points` of them."""
    step = math.ceil(grid.height * grid.width / max_points)
    down = min(grid.height, math.ceil(math.sqrt(step)))
    across = math.ceil(step / down)
    return replace(
        grid,
        height=math.ceil(grid.height / down),
        width=math.ceil(grid.width / across),
        row_step=grid.row_step * down,
        point_step=grid.point_step * across,
    )


def _fields_of(message: Any) -> dict[str, _Field]:
    """The fields of a message by name."""
    fields: dict[str, _Field] = {}
    try:
        entries = list(getattr(message, "fields", ()))
    except TypeError as error:
        raise MessageError("fields", "fields is not a list of PointField") from error
    for entry in entries:
        name = str(getattr(entry, "name", ""))
        numbers = [number_of(entry, part) for part in ("offset", "datatype", "count")]
        if name in fields and name in ("x", "y", "z", "r", "g", "b", *_PACKED_NAMES):
            raise MessageError(
                "fields", f"field '{name}' occurs twice; give each field its own name"
            )
        fields[name] = _Field(name, *numbers)
    return fields


def _grid_of(message: Any, data: NDArray[np.uint8], height: int, width: int) -> _Grid:
    """Check that the announced sizes fit the data."""
    row_step, point_step = number_of(message, "row_step"), number_of(message, "point_step")
    if point_step == 0:
        raise MessageError(
            "point_step", f"point_step is 0 for {height * width} points; set it in the publisher"
        )
    row_bytes = width * point_step
    # With one row, row_step says nothing that width and point_step do not; drivers leave it wrong.
    if height == 1 and row_step < row_bytes == len(data):
        row_step = row_bytes
    if row_step < row_bytes:
        raise MessageError(
            "size",
            f"row_step is {row_step}, expected at least width {width} x point_step {point_step} = "
            f"{row_bytes}; correct row_step, width or point_step in the publisher",
        )
    needed, whole = row_step * (height - 1) + row_bytes, row_step * height
    if len(data) < needed:
        raise MessageError(
            "truncated",
            f"data holds {len(data)} bytes, expected {whole} (height {height} x row_step "
            f"{row_step}); the message was cut or height, width or point_step are wrong",
        )
    if len(data) > whole:
        raise MessageError(
            "size",
            f"data holds {len(data)} bytes, more than the {whole} of height {height} x row_step "
            f"{row_step}; correct height, width, row_step or point_step in the publisher",
        )
    byte_order = ">" if getattr(message, "is_bigendian", False) else "<"
    return _Grid(data, height, width, row_step, point_step, byte_order)


def _coordinates(grid: _Grid, fields: dict[str, _Field]) -> NDArray[np.floating[Any]]:
    """x, y and z of all points as rows of a (3, N) array; float64 where one of them is."""
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise MessageError(
            "no_xyz",
            f"no field {' '.join(missing)} among {sorted(fields)}; expected x, y and z as FLOAT32 "
            "or FLOAT64; is this the topic of a point cloud?",
        )
    has_double = any(fields[name].datatype == _FLOAT64 for name in "xyz")
    columns = np.empty((3, grid.height, grid.width), np.float64 if has_double else np.float32)
    for axis, name in enumerate("xyz"):
        field = fields[name]
        # Count 0 is what old PCL versions write for single values.
        if field.datatype not in (_FLOAT32, _FLOAT64) or field.count > 1:
            raise MessageError(
                "field_type",
                f"field '{name}' is {field.type_text} x {field.count}, expected one FLOAT32 or "
                "FLOAT64 in metres; convert the cloud first",
            )
        with np.errstate(all="ignore"):  # a signalling NaN
            columns[axis] = grid.view(field, _NUMPY_TYPES[field.datatype])
    return columns.reshape(3, -1)


def _selection(
    columns: NDArray[np.floating[Any]], drop_zeros: bool, max_points: int | None
) -> NDArray[np.intp] | slice:
    """Which points are returns, thinned evenly to `max_points`."""
    with np.errstate(all="ignore"):  # a float64 may be too big
        x, y, z = columns.astype(np.float32, copy=False)  # what is 0 as float32 is no return
    is_return = (np.abs(x) <= FARTHEST_M) & (np.abs(y) <= FARTHEST_M) & (np.abs(z) <= FARTHEST_M)
    if drop_zeros:
        is_return &= (x != 0) | (y != 0) | (z != 0)
    num_returns = int(np.count_nonzero(is_return))
    if max_points is None or num_returns <= max_points:
        return slice(None) if num_returns == len(x) else np.flatnonzero(is_return)
    return np.flatnonzero(is_return)[even_rows(num_returns, max_points)]


def _colors(
    grid: _Grid, fields: dict[str, _Field], kept: NDArray[np.intp] | slice
) -> NDArray[np.float32] | None:
    """Red, green, blue of the kept points in 0..1, or None where the cloud has no color."""
    name = next((name for name in _PACKED_NAMES if name in fields), None)
    if name is not None:
        channels = _packed_colors(grid, fields[name], kept)
    elif {"r", "g", "b"} <= fields.keys():
        separate = [fields[name] for name in "rgb"]
        if all(f.datatype in (_FLOAT32, _FLOAT64) and f.count <= 1 for f in separate):
            return _float_colors(grid, separate, kept)
        channels = _separate_colors(grid, separate, kept)
    else:
        return None
    rgb = _interleaved(list(channels.T))
    rgb /= np.float32(255)
    return rgb


def _interleaved(columns: Sequence[NDArray[Any]]) -> NDArray[np.floating[Any]]:
    """Three columns as an (N, 3) array, one after the other: twice as fast as transposing.

    float64 columns stay so, all others become float32.
    """
    dtype = np.float64 if columns[0].dtype == np.float64 else np.float32
    rows = np.empty((len(columns[0]), 3), dtype)
    for axis, column in enumerate(columns):
        rows[:, axis] = column
    return rows


def _packed_colors(
    grid: _Grid, field: _Field, kept: NDArray[np.intp] | slice
) -> NDArray[np.uint8]:
    """Colors in one field: four bytes of any type, or three or four UINT8 in name order."""
    is_reversed = field.name.startswith("bgr")
    if field.datatype in _PACKED_TYPES and field.count <= 1:
        numbers = grid.view(field, "u4").reshape(-1)[kept]
        octets = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 4)
        red_first = slice(1, 4) if grid.byte_order == ">" else slice(2, None, -1)
        channels = octets[:, red_first]
    elif field.datatype == _UINT8 and field.count in (3, 4):
        channels = grid.view(field, "u1", field.count).reshape(-1, field.count)[kept][:, :3]
    else:
        raise MessageError(
            "field_type",
            f"field '{field.name}' is {field.type_text} x {field.count}, expected one FLOAT32 or "
            "UINT32, or three UINT8; convert the cloud or drop the field",
        )
    return channels[:, ::-1] if is_reversed else channels


def _separate_colors(
    grid: _Grid, fields: list[_Field], kept: NDArray[np.intp] | slice
) -> NDArray[np.uint8]:
    """Colors in three fields of one byte each."""
    for field in fields:
        if field.datatype != _UINT8 or field.count > 1:
            raise MessageError(
                "field_type",
                f"field '{field.name}' is {field.type_text} x {field.count}, expected one UINT8, "
                "or r, g and b all as floats of 0..1; convert the cloud or drop the field",
            )
    return np.stack([grid.view(field, "u1").reshape(-1)[kept] for field in fields], axis=1)


def _float_colors(
    grid: _Grid, fields: list[_Field], kept: NDArray[np.intp] | slice
) -> NDArray[np.float32]:
    """Colors in three floats of 0..1, as they are; what is not finite is unknown.

    A scale is never guessed from the values: a dark frame would get another one.
    """
    views = [grid.view(field, _NUMPY_TYPES[field.datatype]) for field in fields]
    with np.errstate(all="ignore"):  # a signalling NaN, a float64 that is too big
        rgb = _interleaved([view.reshape(-1)[kept].astype(np.float32) for view in views])
    is_known = np.isfinite(rgb)
    rgb[~is_known] = UNKNOWN_COLOR
    known = rgb[is_known]
    if len(known) and (known.min() < -_COLOR_SLACK or known.max() > 1.0 + _COLOR_SLACK):
        raise MessageError(
            "field_type",
            f"fields r, g, b are floats of {known.min():g}..{known.max():g}, expected 0..1; "
            "divide them in the publisher, or send them as UINT8",
        )
    return np.asarray(rgb, np.float32)
