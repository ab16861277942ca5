"""A constant-velocity Kalman filter for points in space.

The three axes move and are measured alike, so they share one 2x2 covariance of (position,
velocity). Acceleration is white noise of a spectral density; metres and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModel:
    """How things move and how well they are measured."""

    measured_m: float = 0.15
    """Standard deviation of a measured position along one axis."""
    start_m_s: float = 0.1
    """Standard deviation of a new thing's velocity: indoors nearly all stands still."""
    acceleration: float = 0.02
    """Square root of the spectral density of the acceleration, m / s^1.5."""


@dataclass(frozen=True, slots=True, eq=False)
class KalmanState:
    """Where something is believed to be and to go."""

    position: Vector  # (3,) m
    velocity: Vector  # (3,) m/s
    covariance: NDArray[np.float64]  # (2,2) of position and velocity along any axis

    @property
    def variance_m2(self) -> float:
        """Of the position along any axis; errors that all measurements share are not in it."""
        return float(self.covariance[0, 0])

    @classmethod
    def first(cls, position: Vector, motion: MotionModel) -> KalmanState:
        """After one measurement."""
        covariance = np.diag([motion.measured_m**2, motion.start_m_s**2])
        return cls(position, np.zeros(3), covariance)

    def predicted(self, seconds: float, motion: MotionModel) -> KalmanState:
        """The state `seconds` later, without a measurement."""
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        spread = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        covariance = step @ self.covariance @ step.T + motion.acceleration**2 * spread
        return KalmanState(self.position + seconds * self.velocity, self.velocity, covariance)

    def corrected(self, measured: Vector, motion: MotionModel) -> KalmanState:
        """The state after one more measurement of the position at the same moment."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + motion.measured_m**2)
        innovation = measured - self.position
        return KalmanState(
            self.position + gain[0] * innovation,
            self.velocity + gain[1] * innovation,
            self.covariance - np.outer(gain, self.covariance[0]),
        )
