"""What can be set of a scene in memory; the node's `memory.*` have the same names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Fusion = Literal["nearest", "mean"]
"""What stays of several observations of one voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """How long, how far and how finely a `SceneMemory` remembers."""

    seconds: float = 10.0
    """What was last seen longer ago than this is forgotten; more than 0, inf = no limit."""
    metres: float = math.inf
    """What was last seen before the sensor moved this far is forgotten, so that the drift of the
    odometry is bounded; more than 0, inf = no limit."""
    voxel_m: float = 0.02
    """One point is kept in each cube with this edge; 0.005..0.5."""
    radius_m: float = 6.0
    """Nothing farther from the sensor than this is kept or given out; more than 0."""
    max_points: int = 200_000
    """Above this, the oldest points are forgotten, of equal age the farthest, down to 9 tenths; at
    least 1. The detector thins out larger clouds anyway."""
    fusion: Fusion = "nearest"
    """Of several observations of a voxel the nearest, or their mean weighted by 1 / range^2."""
    free_space: bool = True
    """Whether remembered points that later rays pass through are forgotten."""
    key_m: float = 0.1
    """A frame is taken in once the sensor has moved this far since the last one that was; 0 or
    more, 0 = every frame."""
    key_rad: float = 0.2
    """... or has turned this far; 0 or more."""
    key_s: float = 0.5
    """... or after this time, so that what moves is noticed by a sensor at rest; 0 or more."""
    depth_noise: float = 0.0025
    """Standard deviation of the sensor's depth over the square of the distance, 1/m; 0 or more."""
    max_speed_m_s: float = 3.0
    """A sensor that seems to move faster has not moved: the fixed frame has jumped; above 0."""
    max_turn_rad_s: float = 6.0
    """... and one that seems to turn faster; above 0."""

    def __post_init__(self) -> None:
        for name in ("seconds", "metres", "radius_m", "max_speed_m_s", "max_turn_rad_s"):
            self._require(name, getattr(self, name) > 0, "more than 0")
        for name in ("key_m", "key_rad", "key_s", "depth_noise"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._require("voxel_m", 0.005 <= self.voxel_m <= 0.5, "0.005..0.5")
        self._require("radius_m", self.radius_m / self.voxel_m <= 8_000, "at most 8000 voxels")
        self._require("max_points", self.max_points >= 1, "at least 1")
        self._require("fusion", self.fusion in ("nearest", "mean"), "nearest or mean")

    def _require(self, name: str, is_met: bool, expected: str) -> None:
        if not is_met:
            raise ValueError(f"memory.{name}: {getattr(self, name)}, expected {expected}")
