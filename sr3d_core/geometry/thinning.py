"""Fewer points, always the same ones: evenly over the order in which they come."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d_core.structures import PointCloud


def even_rows(num_rows: int, max_rows: int) -> NDArray[np.int64]:
    """At most `max_rows` of `num_rows` rows, rising and evenly spaced; all where they are few."""
    num_kept = min(num_rows, max_rows)
    return np.arange(num_kept, dtype=np.int64) * num_rows // max(num_kept, 1)


def thinned(cloud: PointCloud, max_points: int | None) -> PointCloud:
    """The cloud with at most `max_points` points; None = all of them."""
    if max_points is None or len(cloud) <= max_points:
        return cloud
    return cloud[torch.from_numpy(even_rows(len(cloud), max_points)).to(cloud.xyz.device)]
