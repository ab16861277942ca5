"""Which points are worth the detector's time: those in range, those in a region.

The range is measured in the sensor's own frame, before clouds of several sensors are put together;
the region in the z-up detection frame. That is why there are two functions and not one. Points on
a limit stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sr3d_core.structures import PointCloud


def within_range(cloud: PointCloud, min_m: float, max_m: float) -> PointCloud:
    """The points this far from the sensor, which is at the origin; 0 = no limit."""
    if min_m <= 0.0 and max_m <= 0.0:
        return cloud
    squared = (cloud.xyz * cloud.xyz).sum(dim=1)
    return cloud[(squared >= min_m**2) & (squared <= (max_m or math.inf) ** 2)]


def within_region(
    cloud: PointCloud,
    low_m: Sequence[float],
    high_m: Sequence[float],
    origin_m: Sequence[float] = (0.0, 0.0, 0.0),
) -> PointCloud:
    """The points between two corners; infinite = no limit.

    `origin_m` is where the origin of the cloud lies in the frame of the corners.
    """
    is_inside = None
    for axis, (low, high, origin) in enumerate(zip(low_m, high_m, origin_m, strict=True)):
        column = cloud.xyz[:, axis]
        limits = [column >= low - origin] if low > -math.inf else []
        limits += [column <= high - origin] if high < math.inf else []
        for is_within in limits:
            is_inside = is_within if is_inside is None else is_inside & is_within
    return cloud if is_inside is None else cloud[is_inside]


def joined(clouds: Sequence[PointCloud]) -> PointCloud:
    """Clouds of one frame as one, in order; there is at least one."""
    if len(clouds) == 1:
        return clouds[0]
    return PointCloud(
        torch.cat([cloud.xyz for cloud in clouds]),
        torch.cat([cloud.features for cloud in clouds]),
        torch.cat([cloud.scene for cloud in clouds]),
    )
