"""A compressed color image (jpeg, png) -> the fields of a `sensor_msgs/Image` with rgb8.

Decoded by Pillow. JPEG decoders may differ by a level or two between versions of libjpeg.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.compressed_depth import PlainImage
from sr3d_ros.sensors.raw_message import bytes_of

_MAX_PIXELS = 1 << 26  # a few bytes may announce billions


def plain_color(message: Any) -> Any:
    """A color image to read by pixels: the message itself unless it is a CompressedImage.

    Raises `MessageError`.
    """
    if hasattr(message, "encoding") or not hasattr(message, "format"):
        return message
    try:
        from PIL import Image  # only who reads such images needs Pillow
    except ImportError as error:
        raise MessageError(
            "encoding",
            "compressed color needs Pillow: pip install pillow, or apt install python3-pil",
        ) from error
    try:
        with Image.open(io.BytesIO(bytes_of(message).tobytes())) as image:
            width, height = image.size
            if width * height > _MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels")
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises errors of its own, of zlib, struct and others
        raise MessageError(
            "data",
            f"the compressed color image of format '{str(message.format)[:60]}' is no sound jpeg "
            f"or png ({type(error).__name__}: {error}); the message was cut or damaged",
        ) from error
    data = np.ascontiguousarray(pixels, np.uint8).reshape(-1)
    return PlainImage(getattr(message, "header", None), height, width, "rgb8", 3 * width, data)
