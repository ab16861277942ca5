"""What is lost when an image is kept as JPEG, without writing one.

Blocks of 8 x 8 are transformed (DCT), their coefficients rounded to the steps of Annex K of ITU-T
T.81, scaled by quality as the IJG library does, and transformed back; color has half the
resolution. Done here rather than by a library, so that equal seeds give equal images everywhere.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Image = Float[ndarray, "H W 3"]
Plane = Float[ndarray, "H W"]

_BRIGHTNESS = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
     14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
     18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    dtype=np.float32,
).reshape(8, 8)  # fmt: skip
_COLOR = np.full((8, 8), 99, dtype=np.float32)
_COLOR[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
    dtype=np.float32,
)
_RGB = np.linalg.inv(_YCC.astype(np.float64)).astype(np.float32)

_wave = np.arange(8)
_DCT = np.sqrt(2 / 8) * np.cos((2 * _wave[None, :] + 1) * _wave[:, None] * np.pi / 16)
_DCT[0] /= np.sqrt(2)
_DCT = _DCT.astype(np.float32)


def through_jpeg(image: Image, quality: int) -> Image:
    """An image 0..255 as it comes out of a JPEG file of this quality, 1..100; not rounded."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    planes = np.moveaxis(padded.astype(np.float32) @ _YCC.T, 2, 0)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    bright = _rounded(planes[0] - 128, _steps(_BRIGHTNESS, scale)) + 128
    tall, wide = bright.shape
    half = planes[1:].reshape(2, tall // 2, 2, wide // 2, 2).mean(axis=(2, 4))
    colors = [_doubled(_doubled(_rounded(p, _steps(_COLOR, scale))).T).T for p in half]
    result = np.stack([bright, *colors], axis=2) @ _RGB.T
    return result[:height, :width]


def _doubled(plane: Plane) -> Plane:
    """Twice as many rows, each a quarter of the way from its own to the next."""
    padded = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
    result = np.empty((2 * len(plane), plane.shape[1]), dtype=plane.dtype)
    result[0::2] = 0.75 * plane + 0.25 * padded[:-2]
    result[1::2] = 0.75 * plane + 0.25 * padded[2:]
    return result


def _steps(table: Float[ndarray, "8 8"], scale: float) -> Float[ndarray, "8 8"]:
    return np.clip(np.floor((table * scale + 50) / 100), 1, 255).astype(np.float32)


def _rounded(plane: Plane, steps: Float[ndarray, "8 8"]) -> Plane:
    """A plane whose blocks keep whole numbers of steps."""
    height, width = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    waves = np.rint(_DCT @ blocks @ _DCT.T / steps) * steps
    return (_DCT.T @ waves @ _DCT).swapaxes(1, 2).reshape(height, width)
