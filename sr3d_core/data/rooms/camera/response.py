"""What a color camera makes of light: exposure, white balance, contrast, saturation, grain.

Cameras expose by what they see, so the same wall is darker in the view that holds a window, and
the views of a fused scan differ. Now and then a camera has no color at all, as an infrared one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Rng = np.random.Generator
Image = Float[ndarray, "H W 3"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The same for all views of a scene, but for what a view draws itself."""

    balance: Float[ndarray, " 3"]
    """Gain of red, green, blue."""
    gamma: float
    """Exponent of the answer to light; above 1 is darker."""
    grain: float
    """Standard deviation of color noise."""
    contrast: float = 1.0
    """Distance of tones from the middle, times."""
    saturation: float = 1.0
    """Distance of colors from grey, times; 0 is a grey camera."""
    exposed: float = 0.0
    """How far the exposure makes all views equally bright, 0..1."""
    middle: float = 0.45
    """How bright it makes them."""
    flicker: float = 0.0
    """Standard deviation of the logarithm of gains, from view to view."""
    vignette: float = 0.0
    """Share of light that is lost in the corners of the image."""

    @classmethod
    def mild(cls, rng: Rng) -> Response:
        """Nearly true colors, the same in all views."""
        return cls(
            balance=rng.uniform(0.6, 1.15) * (1 + rng.normal(0, 0.07, 3)),
            gamma=rng.uniform(0.75, 1.3),
            grain=rng.uniform(0.005, 0.04),
        )

    @classmethod
    def any(cls, rng: Rng) -> Response:
        """As real cameras are: warm or cold, pale or gaudy, grey now and then."""
        warm = rng.normal(0, 0.12)
        tint = np.exp(np.array([warm, 0.0, -warm]) + rng.normal(0, 0.04, 3))
        return cls(
            balance=rng.uniform(0.6, 1.3) * tint,
            gamma=rng.uniform(0.7, 1.45),
            grain=rng.uniform(0.003, 0.04),
            contrast=rng.uniform(0.7, 1.3),
            saturation=0.0 if rng.random() < 0.04 else rng.uniform(0.5, 1.4),
            exposed=rng.uniform(0.0, 0.9),
            middle=rng.uniform(0.3, 0.6),
            flicker=rng.uniform(0.0, 0.12),
            vignette=rng.uniform(0.0, 0.3),
        )

    def colors(self, light: Image, is_hit: Bool[ndarray, "H W"], rng: Rng) -> Image:
        """What the camera reports of the light that comes in; 0..1."""
        gain = self.balance * self._exposure(light, is_hit)
        if self.flicker > 0:
            together = rng.normal(0, self.flicker)
            gain = gain * np.exp(together + rng.normal(0, 0.3 * self.flicker, 3))
        image = light * gain
        if self.vignette > 0:
            image = image * (1 - self.vignette * corners_of(image.shape[:2]))[..., None]
        image = np.clip(image, 0, 1) ** self.gamma
        if self.contrast != 1.0:
            image = 0.5 + self.contrast * (image - 0.5)
        if self.saturation != 1.0:
            grey = (image @ _LUMA)[..., None]
            image = grey + self.saturation * (image - grey)
        grain = rng.standard_normal(image.shape, dtype=np.float32) * self.grain
        if self.saturation == 0.0:
            grain[...] = grain[..., :1]
        return np.clip(image + grain, 0.0, 1.0)

    def _exposure(self, light: Image, is_hit: Bool[ndarray, "H W"]) -> float:
        if self.exposed == 0.0 or not is_hit.any():
            return 1.0
        bright = float((light[is_hit] * self.balance).mean())
        return float((self.middle / max(bright, 0.05)) ** self.exposed)


def corners_of(shape: tuple[int, int]) -> Float[ndarray, "H W"]:
    """Squared distance from the middle of an image, 1 in its corners."""
    down = np.linspace(-1, 1, shape[0])[:, None]
    across = np.linspace(-1, 1, shape[1])[None, :]
    return (down**2 + across**2) / 2
