"""How a robot drives through a room: its poses, its wheels' opinion of them, and its IMU.

The base moves on the floor (z = 0, x forward, level) along a smooth curve over free floor while it
looks around. Wheel odometry adds up each step with an error that grows with the way, so `odom`
drifts; a localisation corrects `map_from_odom` now and then, exactly but late, as a robot's does.
The IMU sits in the camera and speaks in its optical frame; at rest its accelerometer shows gravity
upwards (REP 145: specific force).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.scene.layout import Layout

Rng = np.random.Generator
Pose = Float[ndarray, "4 4"]

GRAVITY_M_S2 = 9.81
CLEARANCE_M = 0.3
"""How far the base stays from everything, where the room has that much space."""

_SPEED_M_S = 0.35
_STEP_S = 0.02  # the curve is differentiated numerically


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Errors of the robot's own sensors."""

    way: float = 0.03
    """Standard deviation of the odometry's distance per root of a metre driven."""
    turn_rad: float = 0.03
    """Standard deviation of the odometry's heading per root of a metre or radian moved."""
    localised_every_s: float = 1.0
    """How often `map_from_odom` is corrected."""
    gyro_rad_s: float = 0.005
    """White noise of the gyroscope."""
    accelerometer_m_s2: float = 0.05
    """White noise of the accelerometer."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A base's position and heading over time: `at(seconds)`."""

    start: Float[ndarray, " 2"]
    end: Float[ndarray, " 2"]
    heading: float  # radians, on average
    sway: float  # radians to either side
    period_s: float  # of the sway

    def at(self, seconds: float) -> Pose:
        """map_from_base: to and fro between start and end, smoothly, looking left and right."""
        length = max(float(np.linalg.norm(self.end - self.start)), 1e-6)
        share = 0.5 - 0.5 * np.cos(2.0 * _SPEED_M_S * seconds / length)
        x, y = self.start + share * (self.end - self.start)
        heading = self.heading + self.sway * np.sin(2 * np.pi * seconds / self.period_s)
        return planar_pose(float(x), float(y), float(heading))


def random_route(layout: Layout, rng: Rng) -> Route:
    """The longest free straight of some tries; looks at the room's furniture, then around."""
    ends = _free_straight(layout, rng)
    middle = np.mean(ends, axis=0)
    things = [placed.center[:2] for placed in layout.placed if placed.label >= 0]
    toward = np.mean(things, axis=0) - middle if things else np.array([1.0, 0.0])
    return Route(
        start=ends[0],
        end=ends[1],
        heading=float(np.arctan2(toward[1], toward[0])),
        sway=float(rng.uniform(0.4, 1.0)),
        period_s=float(rng.uniform(6.0, 12.0)),
    )


def _free_straight(layout: Layout, rng: Rng) -> Float[ndarray, "2 2"]:
    best: Float[ndarray, "2 2"] | None = None
    for _ in range(30):
        spots = [_spot(layout, rng) for _ in range(2)]
        between = np.linspace(spots[0], spots[1], 12)
        is_free = layout.is_open(*spots) and all(
            layout.is_free(at, CLEARANCE_M, 2.0) for at in between
        )
        if is_free and (best is None or _length(spots) > _length(best)):
            best = np.stack(spots)
    # A room that is too full to drive in is watched from one spot.
    return best if best is not None else np.stack([_spot(layout, rng)] * 2)


def _spot(layout: Layout, rng: Rng) -> Float[ndarray, " 2"]:
    """Free floor; any floor where the room has none."""
    extent = (layout.floor.width, layout.floor.depth)
    for _ in range(40):
        at = rng.uniform((0, 0), extent)
        if layout.is_free(at, CLEARANCE_M, 2.0):
            return at
    return np.array(extent) * 0.3


def _length(ends: Float[ndarray, "2 2"] | list[Float[ndarray, " 2"]]) -> float:
    return float(np.linalg.norm(ends[1] - ends[0]))


def drifting(before: Pose, now: Pose, odom_before: Pose, drift: Drift, rng: Rng) -> Pose:
    """odom_from_base now, from what it was and the true step, with the wheels' error."""
    step = np.linalg.inv(before) @ now
    way = float(np.linalg.norm(step[:2, 3]))
    turn = abs(float(np.arctan2(step[1, 0], step[0, 0])))
    slip = rng.normal(0.0, 1.0, 2) * (
        drift.way * np.sqrt(way),
        drift.turn_rad * np.sqrt(way + turn),
    )
    return odom_before @ step @ planar_pose(float(slip[0]), 0.0, float(slip[1]))


def inertial(
    route: Route, seconds: float, base_from_optical: Pose, drift: Drift, rng: Rng
) -> tuple[Float[ndarray, " 3"], Float[ndarray, " 3"]]:
    """Angular velocity (rad/s) and specific force (m/s^2) in the optical frame."""
    before, now, after = (
        route.at(seconds + step) @ base_from_optical for step in (-_STEP_S, 0.0, _STEP_S)
    )
    acceleration = (after[:3, 3] - 2 * now[:3, 3] + before[:3, 3]) / _STEP_S**2
    force = now[:3, :3].T @ (acceleration + np.array([0.0, 0.0, GRAVITY_M_S2]))
    turned = before[:3, :3].T @ after[:3, :3]
    skew = (turned - turned.T) / 2  # of a small turn, over two steps
    rate = np.array([skew[2, 1], skew[0, 2], skew[1, 0]]) / (2 * _STEP_S)
    gyro = rate + rng.normal(0.0, drift.gyro_rad_s, 3)
    return gyro, force + rng.normal(0.0, drift.accelerometer_m_s2, 3)


def planar_pose(x: float, y: float, heading: float) -> Pose:
    """A pose on the floor."""
    pose = np.eye(4)
    cosine, sine = np.cos(heading), np.sin(heading)
    pose[:2, :2] = ((cosine, -sine), (sine, cosine))
    pose[:2, 3] = x, y
    return pose
