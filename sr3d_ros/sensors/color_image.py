"""Red, green and blue of a color image: `sensor_msgs/Image`, or a CompressedImage of one.

The names of encodings are those of sensor_msgs/image_encodings. 8UC3 and 8UC4 do not say their
order; they are blue first, as OpenCV, which most publishers of them use, has it. `yuv422` (UYVY)
and `yuv422_yuy2` (YUYV) are BT.601 with 16..235 from black to white, as cameras send it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.compressed_color import plain_color
from sr3d_ros.sensors.image import PixelLayout, pixels_of

_LAYOUTS = {
    "rgb8": PixelLayout("u1", 3),
    "bgr8": PixelLayout("u1", 3),
    "rgba8": PixelLayout("u1", 4),
    "bgra8": PixelLayout("u1", 4),
    "8uc3": PixelLayout("u1", 3),
    "8uc4": PixelLayout("u1", 4),
    "mono8": PixelLayout("u1", 1),
    "8uc1": PixelLayout("u1", 1),
    "yuv422": PixelLayout("u1", 2),
    "uyvy": PixelLayout("u1", 2),
    "yuv422_yuy2": PixelLayout("u1", 2),
    "yuyv": PixelLayout("u1", 2),
}
_RED_FIRST = ("rgb8", "rgba8")
_LUMA_AT = {"yuv422": 1, "uyvy": 1, "yuv422_yuy2": 0, "yuyv": 0}
"""Which byte of a pixel is its luma; the other is U for pixels of even columns, V for odd ones."""

# ITU-R BT.601: rows are red, green, blue; columns are the shares of U - 128 and V - 128.
_CHROMA = np.array([[0.0, 1.596027], [-0.391762, -0.812968], [2.017232, 0.0]], np.float32)
_LUMA = np.float32(255 / 219)


def rgb_of(message: Any) -> NDArray[np.uint8]:
    """A (height, width, 3) array of red, green, blue: a view of the message where it can be.

    Gray is all three. Raises `MessageError`.
    """
    image = plain_color(message)
    pixels = pixels_of(image, _LAYOUTS, "the color image")
    encoding = str(image.encoding).lower()
    if encoding in _LUMA_AT:
        return _of_yuv(pixels, _LUMA_AT[encoding])
    if pixels.shape[2] == 1:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return pixels[:, :, :3] if encoding in _RED_FIRST else pixels[:, :, 2::-1]


def _of_yuv(pixels: NDArray[np.uint8], luma_at: int) -> NDArray[np.uint8]:
    """Two pixels side by side share their U and V."""
    height, width = pixels.shape[:2]
    if width % 2:
        raise MessageError(
            "size",
            f"the color image has pairs of pixels that share their color, and is {width} pixels "
            "wide; expected an even number",
        )
    luma = (pixels[:, :, luma_at].astype(np.float32) - 16) * _LUMA
    chroma = pixels[:, :, 1 - luma_at].reshape(height, width // 2, 2).astype(np.float32) - 128
    shares = (chroma @ _CHROMA.T).repeat(2, axis=1)
    return np.clip(np.rint(luma[:, :, None] + shares), 0, 255).astype(np.uint8)
