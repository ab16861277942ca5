"""What a depth sensor makes of true depth: noise, quantisation, shadows, flying pixels, holes.

Axial noise is quadratic in depth (Nguyen, Izadi and Lovell 2012, for a Kinect:
sigma = 1.2 mm + 1.9 mm (z - 0.4 m)^2); a part of it is smooth over the image, as in stereo
matching (Barron and Malik 2013). Disparity is measured in steps, depth edges are displaced
sideways (Bohg et al. 2014), and what the emitter cannot light, or lights at a grazing angle, or
what swallows the light, has no depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Rng = np.random.Generator
Image = Float[ndarray, "H W"]

USEFUL_M = 0.06
"""A depth that is farther off does not place furniture."""


@dataclass(frozen=True, kw_only=True)
class DepthNoise:
    """Error model of one sensor; depth in metres, 0 = no depth."""

    constant_m: float
    """Axial standard deviation at 0.4 m."""
    quadratic: float
    """Growth of the axial standard deviation with the square of the distance, 1/m."""
    smooth: float
    """Share of the axial variance that is smooth over the image, 0..1."""
    baseline: float
    """Distance of emitter and camera in units of image width: baseline * f / width, metres."""
    disparity_step: float
    """Smallest step of disparity in image widths; 0 = not quantised."""
    edge_jitter: float
    """Sideways displacement of depth edges, in 1/320 of the image width."""
    flying: float
    """Chance that a pixel at a depth edge gets a depth between both sides, 0..1."""
    holes: float
    """Share of the image that is missing in blobs, 0..1."""

    def axial_sigma(self, depth: Image) -> Image:
        """Standard deviation of the depth error, metres."""
        return self.constant_m + self.quadratic * (depth - 0.4) ** 2

    @property
    def reach_m(self) -> float:
        """How far depth tells where things are: its error is up to `USEFUL_M` there."""
        return 0.4 + float(np.sqrt((USEFUL_M - self.constant_m) / max(self.quadratic, 1e-9)))

    def scaled(self, factor: float) -> DepthNoise:
        """Noise and holes times `factor`, not quantised: what is left after fusing frames."""
        return replace(
            self,
            constant_m=self.constant_m * factor,
            quadratic=self.quadratic * factor,
            disparity_step=0.0,
            flying=self.flying * factor,
            holes=self.holes * factor,
        )


KINECT = DepthNoise(
    constant_m=0.0012,
    quadratic=0.0019,
    smooth=0.3,
    baseline=0.068,
    disparity_step=1 / 8 / 640,
    edge_jitter=0.7,
    flying=0.04,
    holes=0.02,
)
"""Structured light: Kinect v1, Xtion, PrimeSense."""

STEREO = DepthNoise(
    constant_m=0.0015,
    quadratic=0.0024,
    smooth=0.75,
    baseline=0.036,
    disparity_step=1 / 32 / 848,
    edge_jitter=1.3,
    flying=0.15,
    holes=0.06,
)
"""Active stereo: RealSense D400."""

FLIGHT = DepthNoise(
    constant_m=0.003,
    quadratic=0.0005,
    smooth=0.2,
    baseline=0.0,
    disparity_step=0.0,
    edge_jitter=0.5,
    flying=0.25,
    holes=0.02,
)
"""Time of flight: Azure Kinect, L515, Kinect v2."""


def measure(
    depth: Image, cosine: Image, absorbs: Image, noise: DepthNoise, range_m: float, rng: Rng
) -> Image:
    """Measured depth; `cosine` is between ray and surface normal, `absorbs` a chance of no answer.

    Depth beyond `range_m` or below 0.3 m is missing, as is what `depth` has as 0.
    """
    missing = (depth <= 0) | _shadow(depth, noise.baseline)
    missing |= _patchy(depth.shape, rng) < absorbs
    missing |= _border(depth.shape, rng)
    missing |= _too_grazing(cosine, rng)
    missing |= smooth_field(depth.shape, 12, rng) > _normal_quantile(noise.holes)
    result = _edges(depth, noise, rng)
    sigma = noise.axial_sigma(result)
    white = rng.standard_normal(depth.shape, dtype=np.float32)
    wave = smooth_field(depth.shape, 5, rng)
    result = result + sigma * (np.sqrt(1 - noise.smooth) * white + np.sqrt(noise.smooth) * wave)
    result = _quantised(result, noise)
    missing |= (result < 0.3) | (result > range_m)
    return np.where(missing, 0.0, result)


def _shadow(depth: Image, baseline: float) -> Bool[ndarray, "H W"]:
    """What the emitter, `baseline` to the right of the camera, cannot see.

    A nearer thing shadows a strip as wide as the difference of the disparities; strips of less
    than a pixel are ignored.
    """
    width = depth.shape[1]
    disparity = baseline * width / np.where(depth > 0, depth, np.inf)
    place = np.arange(width) + disparity
    return np.maximum.accumulate(place, axis=1) > place + 0.7


def _patchy(shape: tuple[int, ...], rng: Rng) -> Image:
    """Nearly uniform numbers in 0..1 that vary slowly: dark things lose patches, not pixels."""
    field = smooth_field(shape, 7, rng) + 0.4 * rng.standard_normal(shape, dtype=np.float32)
    return 0.5 + 0.5 * np.tanh(0.75 * field)


def _border(shape: tuple[int, ...], rng: Rng) -> Bool[ndarray, "H W"]:
    """Rims without depth, up to 4 % of each side, as where two cameras do not overlap."""
    rim = rng.uniform(0, 0.04, 4) * (rng.random() < 0.5)
    top, bottom = int(rim[0] * shape[0]), int(rim[1] * shape[0])
    left, right = int(rim[2] * shape[1]), int(rim[3] * shape[1])
    missing = np.ones(shape, dtype=bool)
    missing[top : shape[0] - bottom, left : shape[1] - right] = False
    return missing


def _too_grazing(cosine: Image, rng: Rng) -> Bool[ndarray, "H W"]:
    """Certain below 5 degrees to the surface, possible up to 15 degrees."""
    chance = np.clip((0.26 - cosine) / 0.17, 0.0, 1.0)
    return rng.random(cosine.shape, dtype=np.float32) < chance


def _edges(depth: Image, noise: DepthNoise, rng: Rng) -> Image:
    """Depth edges moved sideways by a pixel or so, and flying pixels between both sides."""
    height, width = depth.shape
    spread = noise.edge_jitter * width / 320
    shift = rng.standard_normal((2, height, width), dtype=np.float32) * spread
    shift = np.rint(shift).astype(np.int64)
    row = np.clip(np.arange(height)[:, None] + shift[0], 0, height - 1)
    column = np.clip(np.arange(width)[None, :] + shift[1], 0, width - 1)
    other = depth[row, column]
    is_edge = (np.abs(other - depth) > 0.03 + 0.02 * depth) & (other > 0) & (depth > 0)
    place = np.flatnonzero(is_edge)
    share = np.where(rng.random(len(place)) < noise.flying, rng.random(len(place)), 1.0)
    result = depth.copy()
    here, there = depth.flat[place], other.flat[place]
    result.flat[place] = here + share * (there - here)
    return result


def _quantised(depth: Image, noise: DepthNoise) -> Image:
    """Depth whose disparity is a whole number of steps."""
    if noise.disparity_step == 0:
        return depth
    steps = noise.baseline / noise.disparity_step / np.maximum(depth, 0.05)
    return noise.baseline / noise.disparity_step / np.maximum(np.rint(steps), 1.0)


def smooth_field(shape: tuple[int, ...], cell: int, rng: Rng) -> Image:
    """Gaussian noise of unit variance that varies over about `cell` pixels (of 320)."""
    step = max(2.0, cell * shape[1] / 320)
    down, across = _interpolation(shape[0], step), _interpolation(shape[1], step)
    coarse = rng.standard_normal((down.shape[1], across.shape[1]))
    return down @ coarse @ across.T


def _interpolation(size: int, step: float) -> Float[ndarray, "size knots"]:
    """Linear interpolation from knots every `step` pixels; rows have unit length."""
    place = np.arange(size) / step
    left = place.astype(np.int64)
    weight = np.zeros((size, int(left[-1]) + 2))
    rows = np.arange(size)
    weight[rows, left] = 1 - (place - left)
    weight[rows, left + 1] = place - left
    return weight / np.linalg.norm(weight, axis=1, keepdims=True)


def _normal_quantile(upper: float) -> float:
    """The value that a unit Gaussian exceeds with probability `upper` (Abramowitz 26.2.23)."""
    if upper <= 0:
        return np.inf
    t = np.sqrt(-2 * np.log(min(upper, 0.5)))
    top = 2.515517 + 0.802853 * t + 0.010328 * t * t
    return float(t - top / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t**3))
