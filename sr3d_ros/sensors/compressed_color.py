"""A compressed color image (jpeg, png) -> the fields of a `sensor_msgs/Image` with rgb8.

The format is image_transport's, "rgb8; jpeg compressed bgr8", or names the codec alone, as others
write it: jpeg, jpg, png. Decoded by Pillow. JPEG decoders may differ by a level or two between
versions of libjpeg.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.compressed_depth import PlainImage, is_compressed_depth
from sr3d_ros.sensors.raw_message import bytes_of

_MAX_PIXELS = 1 << 26  # a few bytes may announce billions
_CODECS = {"jpeg": "JPEG", "jpg": "JPEG", "png": "PNG"}
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
"""What Pillow calls images of 8 bits; 16 bits are depth, four inks are of printers."""


def plain_color(message: Any) -> Any:
    """A color image to read by pixels: the message itself unless it is a CompressedImage.

    Raises `MessageError`.
    """
    if hasattr(message, "encoding") or not hasattr(message, "format"):
        return message
    codec = _codec_of(message)
    payload = bytes_of(message).tobytes()
    pixels = _decoded(payload, codec)
    height, width = pixels.shape[:2]
    return PlainImage(
        getattr(message, "header", None), height, width, "rgb8", 3 * width, pixels.reshape(-1)
    )


def _codec_of(message: Any) -> str:
    """JPEG or PNG, as the format says."""
    text = str(message.format)
    words = re.findall(r"[a-z0-9]+", text.rpartition(";")[2].lower())
    codec = next((_CODECS[word] for word in words if word in _CODECS), None)
    if codec is None or is_compressed_depth(message):
        raise MessageError(
            "unsupported_encoding",
            f"the compressed color image has the format '{text[:60]}', expected jpeg or png; "
            "choose the topic that ends in /compressed beside the color image",
        )
    return codec


def _decoded(payload: bytes, codec: str) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) of a whole file."""
    try:
        from PIL import Image  # only who reads such images needs Pillow
    except ImportError as error:
        raise MessageError(
            "unsupported_encoding",
            "compressed color needs Pillow: pip install pillow, or apt install python3-pil",
        ) from error
    try:
        with Image.open(io.BytesIO(payload), formats=(codec,)) as image:
            _require_usable(image.size, image.mode)
            return np.array(image.convert("RGB"))
    except MessageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MessageError("size", f"the compressed color image is refused: {error}") from error
    except Exception as error:  # Pillow raises errors of its own, of zlib, struct and others
        is_cut = bool(payload) and not payload.rstrip(b"\0").endswith(_ENDS[codec])
        raise MessageError(
            "truncated" if is_cut else "data",
            f"the compressed color image of {len(payload)} bytes is no whole {codec} "
            f"({type(error).__name__}: {error}); the message was cut or damaged, or its format "
            "names another codec",
        ) from error


def _require_usable(size: tuple[int, int], mode: str) -> None:
    width, height = size
    if not 0 < width * height <= _MAX_PIXELS:
        raise MessageError(
            "size",
            f"the compressed color image says it has {width} x {height} pixels, expected 1 to "
            f"{_MAX_PIXELS}; the message is damaged",
        )
    if mode not in _MODES:
        raise MessageError(
            "unsupported_encoding",
            f"the compressed color image holds pixels of Pillow's mode {mode}, expected 8 bits of "
            "gray or red, green, blue; is it a depth image?",
        )
