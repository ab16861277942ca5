"""How a sensor is held and how wrong its clouds are, beyond the errors of single depth images.

The rooms that networks learn from are seen with `USUAL`, which changes nothing. Other worlds see
them with level cameras, with a floor that is millimetres thick, with fused scans that bend slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Rng = np.random.Generator
Range = tuple[float, float]

_NUM_WAVES = 6
_WAVE_LENGTH_M: Range = (1.5, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorHabits:
    """Each is drawn anew for a sample (pitch: for a view) out of its range; None = not at all."""

    pitch_rad: Range | None = None
    """Pitch of every view, positive upwards, in place of a look at some furniture."""
    noise_m: Range | None = None
    """Standard deviation of every point along each axis, so of the height of a floor as well."""
    warp_m: Range | None = None
    """The same of a displacement that changes over metres: what bad registration leaves."""

    def pitch(self, aimed: float, rng: Rng) -> float:
        """The pitch of a view that would look at `aimed`."""
        return aimed if self.pitch_rad is None else float(rng.uniform(*self.pitch_rad))

    def displaced(self, xyz: Float[ndarray, "N 3"], rng: Rng) -> Float[ndarray, "N 3"]:
        """Where the sensor says that points are."""
        if self.warp_m is not None:
            xyz = xyz + rng.uniform(*self.warp_m) * _slow_field(xyz, rng)
        if self.noise_m is not None:
            xyz = xyz + rng.uniform(*self.noise_m) * rng.standard_normal(xyz.shape)
        return xyz


USUAL = SensorHabits()
"""Views that look at furniture, clouds as the depth images give them."""


def _slow_field(xyz: Float[ndarray, "N 3"], rng: Rng) -> Float[ndarray, "N 3"]:
    """A vector at every point, of unit variance along each axis: a few long plane waves."""
    field = np.zeros_like(xyz)
    for axis in range(3):
        direction = rng.normal(size=(_NUM_WAVES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wave = direction * (2 * np.pi / rng.uniform(*_WAVE_LENGTH_M, (_NUM_WAVES, 1)))
        phase = rng.uniform(0, 2 * np.pi, _NUM_WAVES)
        field[:, axis] = np.sqrt(2 / _NUM_WAVES) * np.cos(xyz @ wave.T + phase).sum(axis=1)
    return field
