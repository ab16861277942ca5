"""Pixels of a `sensor_msgs/Image`: a view of its bytes with checked sizes, no copy.

Works on any object with the message's fields, as `pointcloud2.py` does; raises `MessageError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.raw_message import bytes_of, number_of


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How an encoding lies in memory."""

    numpy_type: str
    channels: int


def size_of(message: Any) -> tuple[int, int]:
    """Height and width of an image."""
    return number_of(message, "height"), number_of(message, "width")


def pixels_of(message: Any, layouts: dict[str, PixelLayout], what: str) -> NDArray[Any]:
    """A (height, width, channels) view in the byte order of the message.

    `layouts` are the encodings that can be read, in lower case; `what` names the image in errors.
    """
    encoding = str(getattr(message, "encoding", ""))
    layout = layouts.get(encoding.lower())
    if layout is None:
        raise MessageError(
            "unsupported_encoding",
            f"{what} has the encoding '{encoding[:40]}', expected one of {', '.join(layouts)}; "
            "convert it, or choose the driver's other topic",
        )
    height, width = size_of(message)
    dtype = np.dtype((">" if getattr(message, "is_bigendian", 0) else "<") + layout.numpy_type)
    row_bytes = width * layout.channels * dtype.itemsize
    step = number_of(message, "step")
    data = bytes_of(message)
    if height == 0 or width == 0:
        return np.zeros((0, 0, layout.channels), dtype)
    if step < row_bytes or len(data) < step * (height - 1) + row_bytes:
        raise MessageError(
            "truncated",
            f"{what} holds {len(data)} bytes in rows of {step}, expected {height} rows of at "
            f"least {row_bytes} ({width} pixels of {encoding}); the message was cut, or height, "
            "width or step are wrong",
        )
    strides = (step, layout.channels * dtype.itemsize, dtype.itemsize)
    return np.ndarray((height, width, layout.channels), dtype, data.data, 0, strides)
