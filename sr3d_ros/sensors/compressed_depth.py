"""compressedDepth (image_transport) -> the fields of a `sensor_msgs/Image`.

Also of the transport `compressed` where that is lossless: "16UC1; png compressed", a bare PNG.

A CompressedImage whose format is "16UC1; compressedDepth png", "... rvl", or without a codec, as
older publishers write it: png. The data begin with an int32 and two float32, A and B. Then come
16 bits for each pixel: millimetres for 16UC1; for 32FC1 inverse depth q, 0 = no return, which is
A / (q - B) metres. They are a 16-bit PNG, or two uint32, width and height, and RVL.

RVL: A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017. Numbers are nibbles of three
bits, the lowest first, whose top bit says that more follow; eight nibbles are a 32-bit word, the
first in the highest bits. A run is the number of zeros, the number of pixels that are not, and
for each of these the difference from the one before, with its sign in the lowest bit.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.raw_message import bytes_of

TRANSPORT = "compressedDepth"
"""How image_transport calls it, in formats and at the end of topics."""

_CONFIG = struct.Struct("<iff")
_SIZE = struct.Struct("<II")  # width, height
_ENCODINGS = {"16uc1": "16UC1", "mono16": "16UC1", "32fc1": "32FC1"}
_CODECS = ("png", "rvl")
_MAX_PIXELS = 1 << 24  # a few bytes may announce billions
_LONGEST = 11  # nibbles of a number of 32 bits
_MOST_BYTES = 4  # of a pixel: six nibbles at most, and one for the lengths of its run


@dataclass(frozen=True, slots=True, eq=False)
class PlainImage:
    """The fields of a `sensor_msgs/Image`."""

    header: Any
    height: int
    width: int
    encoding: str
    step: int
    data: NDArray[np.uint8]
    is_bigendian: int = 0


def is_compressed_depth(message: Any) -> bool:
    """Whether a message is a CompressedImage that says it is one of depth."""
    text = str(getattr(message, "format", ""))
    return TRANSPORT in text or _is_plain_png(text)


def plain_depth(message: Any) -> Any:
    """A depth image to read by pixels: the message itself unless it is a CompressedImage.

    Raises `MessageError`.
    """
    if hasattr(message, "encoding") or not hasattr(message, "format"):
        return message
    data = bytes_of(message)
    if _is_plain_png(str(message.format)):
        return _image(message, "16UC1", _of_png(data.tobytes()))
    encoding, codec = _format_of(str(message.format))
    if len(data) <= _CONFIG.size:
        raise MessageError(
            "truncated",
            f"the compressed depth image holds {len(data)} bytes, expected more than the "
            f"{_CONFIG.size} of its head; the message was cut",
        )
    _, factor, offset = _CONFIG.unpack(data[: _CONFIG.size].tobytes())
    payload = data[_CONFIG.size :].tobytes()
    levels = _of_png(payload) if codec == "png" else _of_rvl(payload)
    pixels = _metres(levels, factor, offset) if encoding == "32FC1" else levels
    return _image(message, encoding, pixels)


def _is_plain_png(text: str) -> bool:
    """Whether a format is that of 16 bits in a PNG of the transport `compressed`."""
    name, _, rest = text.partition(";")
    words = rest.split()
    return name.strip().lower() in ("16uc1", "mono16") and words[:1] == ["png"]


def _image(message: Any, encoding: str, pixels: NDArray[Any]) -> PlainImage:
    height, width = pixels.shape
    octets = pixels.reshape(-1).view(np.uint8)
    step = width * pixels.itemsize
    return PlainImage(getattr(message, "header", None), height, width, encoding, step, octets)


def _format_of(text: str) -> tuple[str, str]:
    """Encoding and codec of a CompressedImage's format."""
    name, _, rest = text.partition(";")
    encoding, words = _ENCODINGS.get(name.strip().lower()), rest.split() or [TRANSPORT]
    codec = words[1] if len(words) > 1 else "png"
    if encoding is None or words[0] != TRANSPORT or codec not in _CODECS:
        raise MessageError(
            "unsupported_encoding",
            f"the compressed depth image has the format '{text[:60]}', expected 16UC1 or 32FC1 "
            f"with {TRANSPORT} png or rvl, or 16UC1 with png; choose the topic that ends in "
            f"/{TRANSPORT}",
        )
    return encoding, codec


def _metres(levels: NDArray[np.uint16], factor: float, offset: float) -> NDArray[np.float32]:
    """Depth of inverse levels."""
    if not (0.0 < factor < np.inf and np.isfinite(offset)):
        raise MessageError(
            "data",
            f"the compressed depth image has the parameters {factor:g} and {offset:g}, expected "
            "finite numbers, the first above 0; is it another message?",
        )
    with np.errstate(all="ignore"):  # a level at the offset is infinitely far: no return
        metres = np.float32(factor) / (levels.astype(np.float32) - np.float32(offset))
    return np.where(levels == 0, np.float32(np.nan), metres).astype("<f4")


def _of_png(payload: bytes) -> NDArray[np.uint16]:
    """Pixels of a PNG of 16 bits."""
    try:
        from PIL import Image  # only who reads such images needs Pillow
    except ImportError as error:
        raise MessageError(
            "unsupported_encoding",
            "compressedDepth png needs Pillow: pip install pillow, or apt install python3-pil",
        ) from error
    try:
        with Image.open(io.BytesIO(payload), formats=("PNG",)) as image:
            _require_size(*image.size)
            mode, pixels = image.mode, np.asarray(image)
    except MessageError:
        raise
    except Exception as error:  # Pillow raises errors of its own, of zlib, struct and others
        raise MessageError(
            "data",
            f"the compressed depth image is no sound PNG ({type(error).__name__}: {error}); the "
            "message was cut or damaged",
        ) from error
    if not mode.startswith("I"):
        raise MessageError(
            "unsupported_encoding",
            f"the compressed depth image holds a PNG of mode {mode}, expected one channel of 16 "
            "bits",
        )
    return np.ascontiguousarray(pixels, "<u2")


def _of_rvl(payload: bytes) -> NDArray[np.uint16]:
    """Pixels of an RVL image with its size."""
    if len(payload) < _SIZE.size:
        raise _cut()
    width, height = _SIZE.unpack_from(payload)
    _require_size(width, height)
    return rvl_pixels(payload[_SIZE.size :], width * height).reshape(height, width)


def _require_size(width: int, height: int) -> None:
    if not 0 < width * height <= _MAX_PIXELS:
        raise MessageError(
            "size",
            f"the compressed depth image says it has {width} x {height} pixels, expected 1 to "
            f"{_MAX_PIXELS}; the message is damaged",
        )


def rvl_pixels(payload: bytes, num_pixels: int) -> NDArray[np.uint16]:
    """The pixels of RVL; raises `MessageError` where there are others than so many.

    What follows them is ignored: numbers take a hundred times the memory of their bytes.
    """
    numbers = _numbers(payload[: _MOST_BYTES * (num_pixels + 2)])
    runs = []  # first pixel, first difference, length
    pixel = place = 0
    while pixel < num_pixels:
        if place + 2 > len(numbers):
            raise _cut()
        zeros, length, place = int(numbers[place]), int(numbers[place + 1]), place + 2
        if not 0 < zeros + length <= num_pixels - pixel:
            raise MessageError(
                "data",
                f"the compressed depth image holds a run of {zeros + length} pixels, expected 1 "
                f"to {num_pixels - pixel} of its {num_pixels}; the message is damaged",
            )
        if place + length > len(numbers):
            raise _cut()
        pixel += zeros
        runs.append((pixel, place, length))
        pixel, place = pixel + length, place + length
    first_pixel, first_number, lengths = np.array(runs, np.int64).reshape(-1, 3).T
    within = _counted(lengths)
    found = numbers[np.repeat(first_number, lengths) + within]
    differences = (found >> 1) ^ -(found & 1)
    pixels = np.zeros(num_pixels, "<u2")
    pixels[np.repeat(first_pixel, lengths) + within] = np.cumsum(differences) & 0xFFFF
    return pixels


def _numbers(payload: bytes) -> NDArray[np.int64]:
    """All numbers of an RVL stream, those of the padding at its end included."""
    words = np.frombuffer(payload[: len(payload) // 4 * 4], "<u4")
    octets = words.astype(">u4").view(np.uint8)
    nibbles = np.stack([octets >> 4, octets & 15], axis=1).reshape(-1)
    last = np.flatnonzero(nibbles < 8)
    if len(last) == 0:
        return np.zeros(0, np.int64)
    lengths = np.diff(last, prepend=-1)
    if int(lengths.max()) > _LONGEST:
        raise MessageError(
            "data", "the compressed depth image holds numbers beyond 32 bits; it is damaged"
        )
    parts = (nibbles[: last[-1] + 1] & 7).astype(np.int64) << (3 * _counted(lengths))
    return np.add.reduceat(parts, last - lengths + 1)


def _counted(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each of several runs."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _cut() -> MessageError:
    return MessageError(
        "truncated", "the compressed depth image ends before its last pixel; the message was cut"
    )
