"""Fewer points while the detector is slow, more again afterwards (`load.*`, off by default).

The network's time grows about in proportion to the points it sees, so the budget follows the
measured time: down at once by the ratio of wanted to measured time, up in small steps. A frame
that is only a little slow changes nothing, so the budget does not swing.
"""

from __future__ import annotations

from dataclasses import dataclass

_SLACK = 1.1  # slower than this times the target: fewer points
_ROOM = 0.8  # faster than this times the target: more points
_STEP_DOWN = 0.5  # the least that is left in one step
_STEP_UP = 1.1


@dataclass(frozen=True, kw_only=True)
class LoadLimits:
    """What the budget may be and what it aims at."""

    target_ms: float
    """Time for one frame, milliseconds."""
    min_points: int
    max_points: int


class AdaptiveBudget:
    """How many points the next frame may have; belongs to the worker's thread."""

    def __init__(self) -> None:
        self.max_points: int | None = None

    def reset(self) -> None:
        """Back to what the limits allow."""
        self.max_points = None

    def points(self, limits: LoadLimits) -> int:
        """The budget of the next frame."""
        lowest = min(limits.min_points, limits.max_points)
        if self.max_points is None:
            return limits.max_points
        return min(max(self.max_points, lowest), limits.max_points)

    def observe(self, time_ms: float, num_points: int, limits: LoadLimits) -> None:
        """A frame of so many points took so long."""
        budget = self.points(limits)
        if time_ms > _SLACK * limits.target_ms:
            share = max(limits.target_ms / time_ms, _STEP_DOWN)
            self.max_points = int(min(budget, num_points) * share)
        elif time_ms < _ROOM * limits.target_ms and budget < limits.max_points:
            # A cloud smaller than the budget says nothing about a larger one.
            self.max_points = int(budget * _STEP_UP) + 1 if num_points >= budget else budget
        self.max_points = self.points(limits)
