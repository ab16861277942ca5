"""How a sensor is held and how wrong its clouds are, beyond the errors of single depth images.

`USUAL` looks at furniture from anywhere and adds nothing. What networks learn from is seen by the
kinds of `camera/kinds.py`, of which each sample draws one; other worlds bring their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Rng = np.random.Generator
Range = tuple[float, float]

_NUM_WAVES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorHabits:
    """Each is drawn anew for a sample (height, pitch, range: for a view); None = not at all."""

    height_m: Range = (0.6, 1.9)
    """Height of the camera over the floor."""
    on_floor: bool = False
    """Whether the camera is carried by a robot, which stands under it."""
    pitch_rad: Range | None = None
    """Pitch of every view, positive upwards, in place of a look at some furniture."""
    range_m: Range = (4.0, 8.0)
    """How far the sensor sees."""
    color: Literal["mild", "any"] = "mild"
    """Whether the camera's colors are nearly true, or as wrong as those of real ones."""
    noise_m: Range | None = None
    """Standard deviation of every point along each axis, so of the height of a floor as well."""
    warp_m: Range | None = None
    """The same of a displacement that changes over metres: what bad registration leaves."""
    warp_length_m: Range = (1.5, 5.0)
    """Wave lengths of that displacement."""
    patches: tuple[int, int] = (0, 0)
    """How many round pieces of the cloud are missing, at most a metre wide."""
    sampling: Literal["points", "vertices"] = "points"
    """What the cloud is made of: measured points, or vertices of a mesh fitted to them."""
    num_views: tuple[int, int] = (8, 20)
    """Views of a scan, least and most; few are as likely as many in proportion."""
    walks: bool = False
    """Whether a scan's views follow each other along a path, or stand anywhere."""
    drift_m: Range = (0.001, 0.004)
    """Standard deviation of a scan's error from view to view, along each axis."""
    loop_m: Range = (0.0, 0.0)
    """How far apart the first and the last view of a scan place the same point, beyond that."""

    def pitch(self, aimed: float, rng: Rng) -> float:
        """The pitch of a view that would look at `aimed`."""
        return aimed if self.pitch_rad is None else float(rng.uniform(*self.pitch_rad))

    def displaced(self, xyz: Float[ndarray, "N 3"], rng: Rng) -> Float[ndarray, "N 3"]:
        """Where the sensor says that points are."""
        if self.warp_m is not None:
            field = _slow_field(xyz, self.warp_length_m, rng)
            xyz = xyz + rng.uniform(*self.warp_m) * field
        if self.noise_m is not None:
            xyz = xyz + rng.uniform(*self.noise_m) * rng.standard_normal(xyz.shape)
        return xyz

    def present(self, xyz: Float[ndarray, "N 3"], rng: Rng) -> Bool[ndarray, " N"]:
        """Which points lie in no missing patch."""
        result = np.ones(len(xyz), dtype=bool)
        if self.patches == (0, 0) or len(xyz) == 0:
            return result
        for _ in range(int(rng.integers(self.patches[0], self.patches[1] + 1))):
            middle, radius = xyz[rng.integers(len(xyz))], rng.uniform(0.08, 0.5)
            away = np.square((xyz - middle) / (radius * rng.uniform(0.4, 1.0, 3))).sum(axis=1)
            near = np.flatnonzero(away < 1)
            # Points thin out towards the middle, as depth fails at the rim of a gloss.
            result[near] &= rng.random(len(near)) < 1.5 * away[near] - 0.5
        return result


USUAL = SensorHabits()
"""Views that look at furniture, clouds as the depth images give them."""


def _slow_field(xyz: Float[ndarray, "N 3"], length_m: Range, rng: Rng) -> Float[ndarray, "N 3"]:
    """A vector at every point, of unit variance along each axis: a few long plane waves."""
    field = np.zeros_like(xyz)
    for axis in range(3):
        direction = rng.normal(size=(_NUM_WAVES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wave = direction * (2 * np.pi / rng.uniform(*length_m, (_NUM_WAVES, 1)))
        phase = rng.uniform(0, 2 * np.pi, _NUM_WAVES)
        field[:, axis] = np.sqrt(2 / _NUM_WAVES) * np.cos(xyz @ wave.T + phase).sum(axis=1)
    return field
