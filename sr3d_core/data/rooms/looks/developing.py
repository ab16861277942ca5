"""From light to the numbers of an image file: what lens, sensor and JPEG do.

In this order: blur and dark corners (lens), exposure and noise (sensor), white balance, a curve
that spares highlights, the encoding of screens (sRGB), JPEG. Unlike `camera.response`, which
answers for the colors of clouds, this begins with linear light and ends with whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.ndimage import convolve1d, gaussian_filter

from sr3d_core.data.rooms.camera.response import corners_of
from sr3d_core.data.rooms.looks.jpeg import through_jpeg

Rng = np.random.Generator
Image = Float[ndarray, "H W 3"]

_WHITE = 0.9  # light that is nearly as bright as can be
_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # of linear light, ITU-R BT.709


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How one image is taken."""

    middle: float = 0.2
    """Light that the exposure gives to the mean of the logarithms, 0..1."""
    balance: Float[ndarray, " 3"]
    """Gain of red, green, blue that is left after white balance."""
    vignette: float = 0.0
    """Share of light that is lost in the corners."""
    blur_px: float = 0.5
    """Standard deviation of the lens's blur."""
    motion_px: float = 0.0
    """How far the image moves sideways while it is taken."""
    grain: float = 0.01
    """Standard deviation of the sensor's noise at the middle of the range."""
    contrast: float = 1.0
    """Exponent of the curve about the middle."""
    saturation: float = 1.0
    """Distance of colors from grey, times."""
    quality: int | None = None
    """Of JPEG, 1..100; None: not compressed."""

    @classmethod
    def random(cls, rng: Rng) -> Camera:
        """From good to cheap."""
        warm = rng.normal(0, 0.1)
        tint = np.array([warm, 0.0, -warm]) + rng.normal(0, 0.03, 3)
        return cls(
            middle=0.2 * np.exp(rng.normal(0, 0.35)),
            balance=np.exp(tint),
            vignette=rng.uniform(0, 0.35),
            blur_px=rng.uniform(0.35, 0.9),
            motion_px=rng.uniform(1, 6) if rng.random() < 0.15 else 0.0,
            grain=rng.uniform(0.002, 0.03),
            contrast=rng.uniform(0.85, 1.2),
            saturation=0.0 if rng.random() < 0.03 else rng.uniform(0.6, 1.3),
            quality=int(rng.integers(35, 96)) if rng.random() < 0.8 else None,
        )

    def develop(self, light: Image, rng: Rng) -> UInt8[ndarray, "H W 3"]:
        """The image of linear light, red, green, blue in 0..255."""
        image = gaussian_filter(light, (self.blur_px, self.blur_px, 0), mode="nearest")
        if self.motion_px > 0:
            length = 1 + 2 * round(self.motion_px / 2)
            image = convolve1d(image, np.full(length, 1 / length), axis=1, mode="nearest")
        image *= (1 - self.vignette * corners_of(image.shape[:2])).astype(np.float32)[..., None]
        image *= (self._exposure(image) * self._own_balance(light)).astype(np.float32)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image += np.float32(self.grain) * np.sqrt(np.maximum(image, 0) + 0.02) * noise * 2
        encoded = 255 * encode(_shoulder(self._toned(image)))
        if self.quality is not None:
            encoded = through_jpeg(encoded, self.quality)
        return np.rint(np.clip(encoded, 0, 255)).astype(np.uint8)

    def _exposure(self, image: Image) -> float:
        """By the mean of logarithms, so that a window does not count for more than it is large;
        less, down to a half, where more than a tenth of the image would be too bright."""
        bright = np.maximum(image @ _LUMA, 1e-4)
        gain = self.middle / float(np.exp(np.log(bright).mean()))
        return max(min(gain, _WHITE / float(np.quantile(bright, 0.9))), gain / 2)

    def _own_balance(self, light: Image) -> Float[ndarray, " 3"]:
        """Most of the light's color is taken out, as cameras do, then what is left is wrong."""
        mean = light.reshape(-1, 3).mean(axis=0).astype(np.float64) + 1e-6
        return (mean.mean() / mean) ** 0.6 * self.balance

    def _toned(self, image: Image) -> Image:
        image = np.maximum(image, 0)
        if self.saturation != 1.0:
            grey = (image @ _LUMA)[..., None]
            image = np.maximum(grey + np.float32(self.saturation) * (image - grey), 0)
        return np.float32(0.2) * (image / np.float32(0.2)) ** np.float32(self.contrast)


def _shoulder(image: Image) -> Image:
    """Straight up to 0.6, then ever flatter towards 1."""
    knee = np.float32(0.6)
    over = np.maximum(image - knee, 0) / (1 - knee)
    return np.minimum(image, knee) + (1 - knee) * over / (1 + over)


def encode(light: Image) -> Image:
    """From light 0..1 to a screen's numbers 0..1 (sRGB)."""
    low = 12.92 * light
    high = 1.055 * np.maximum(light, 1e-6) ** np.float32(1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, low, high)
