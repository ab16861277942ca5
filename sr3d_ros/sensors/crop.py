"""Which points are worth the detector's time: range, region, height, and a budget.

The range is measured in the sensor's own frame, before clouds of several sensors are put together;
region and height in the z-up detection frame. That is why there are two masks and not one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.structures import PointCloud


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Limits of the points that are detected in; a limit of 0 or an empty region is off.

    Points on a limit stay. Raises ValueError where limits leave nothing.
    """

    min_range_m: float = 0.0
    """Points nearer to the sensor are left out: the robot's own body."""
    max_range_m: float = 0.0
    """Points farther from the sensor are left out; 0 = no limit."""
    min_height_m: float = -math.inf
    """Lower points are left out: z in the detection frame."""
    max_height_m: float = math.inf
    """Higher points are left out: z in the detection frame, a ceiling for instance."""
    roi: tuple[float, ...] = ()
    """x0 y0 z0 x1 y1 z1 of the region of interest in the detection frame; () = everywhere."""

    def __post_init__(self) -> None:
        for low, high, name in (
            (self.min_range_m, self.max_range_m or math.inf, "range_m"),
            (self.min_height_m, self.max_height_m, "height_m"),
        ):
            if not low < high:
                raise ValueError(
                    f"filter.min_{name} is {low:g}, filter.max_{name} {high:g}; expected the "
                    "minimum below the maximum"
                )
        if self.min_range_m < 0 or self.max_range_m < 0:
            raise ValueError(
                f"filter.min_range_m is {self.min_range_m:g}, filter.max_range_m "
                f"{self.max_range_m:g}; expected metres of 0 or more"
            )
        if not _is_region(self.roi):
            raise ValueError(
                f"filter.roi is {list(self.roi)}, expected no number or six, x0 y0 z0 x1 y1 z1, "
                "each of the first three below its partner"
            )

    @property
    def has_range(self) -> bool:
        """Whether `in_range` leaves anything out."""
        return self.min_range_m > 0.0 or self.max_range_m > 0.0

    @property
    def has_region(self) -> bool:
        """Whether `in_region` leaves anything out."""
        return bool(self.roi) or self.min_height_m > -math.inf or self.max_height_m < math.inf

    def in_range(self, xyz_sensor: Float[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
        """Which points lie within the range of a sensor at the origin."""
        squared = (xyz_sensor * xyz_sensor).sum(dim=1)
        limit = self.max_range_m or math.inf
        return (squared >= self.min_range_m**2) & (squared <= limit**2)

    def in_region(
        self, xyz: Float[Tensor, "N 3"], origin: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Bool[Tensor, " N"]:
        """Which points `xyz + origin` lie in the region and between the heights.

        `origin` is where the origin of `xyz` lies in the detection frame, metres.
        """
        low, high = self._bounds()
        is_inside = torch.ones(len(xyz), dtype=torch.bool, device=xyz.device)
        for axis in range(3):
            if low[axis] > -math.inf:
                is_inside &= xyz[:, axis] >= low[axis] - origin[axis]
            if high[axis] < math.inf:
                is_inside &= xyz[:, axis] <= high[axis] - origin[axis]
        return is_inside

    def _bounds(self) -> tuple[list[float], list[float]]:
        low = list(self.roi[:3]) or [-math.inf] * 3
        high = list(self.roi[3:]) or [math.inf] * 3
        low[2], high[2] = max(low[2], self.min_height_m), min(high[2], self.max_height_m)
        return low, high


def thinned(cloud: PointCloud, max_points: int | None) -> PointCloud:
    """At most `max_points` points, evenly over the cloud's order, always the same ones."""
    if max_points is None or len(cloud) <= max_points:
        return cloud
    rows = torch.arange(max_points, device=cloud.xyz.device)
    return cloud[rows * len(cloud) // max_points]


def _is_region(roi: Sequence[float]) -> bool:
    return not roi or (
        len(roi) == 6 and all(low < high for low, high in zip(roi[:3], roi[3:], strict=True))
    )
