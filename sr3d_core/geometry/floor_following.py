"""Following a floor whose direction is known to some degrees, from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.planes import (
    BELOW_M,
    MIN_POINTS,
    THICKNESS_M,
    along,
    fitted_normal,
    moved_to_zero,
    surface_of,
)

_MAX_FOLLOWED = 20_000  # points that are looked at where a floor is only followed
_MAX_STEP_RAD = math.radians(12.0)  # a known direction may be wrong by so much
_MIN_SUPPORT = 0.05  # share of the surface that must lie in a floor
_MAX_BELOW = 0.1  # share of the surface that may lie beneath it


@dataclass(frozen=True, slots=True, eq=False)
class FloorPlane:
    """A floor: the points with `normal @ xyz == offset_m`."""

    normal: Float[Tensor, " 3"]  # unit, upwards, float64
    offset_m: float
    support: float  # share of the seen surface that lies in it
    num_inliers: int  # cells of the surface, 5 cm wide


def floor_near(xyz: Float[Tensor, "N 3"], up: Float[Tensor, " 3"]) -> FloorPlane | None:
    """The floor of a cloud whose unit up direction is known to some degrees; None if unseen.

    Far cheaper than `gravity.up_rotation`. Of the layers across
    `up` with next to nothing beneath, the largest is fitted by least squares.
    """
    if len(xyz) < MIN_POINTS:
        return None
    xyz = xyz[:: max(1, len(xyz) // _MAX_FOLLOWED)]
    xyz, corner = moved_to_zero(xyz)
    cells = surface_of(xyz)
    if len(cells) < MIN_POINTS:
        return None
    points, hint = cells.numpy(), up.to("cpu", torch.float64).numpy()  # quicker than torch here
    normal, offset = hint, _lowest_layer(along(points, hint))
    for thickness in (0.10, 0.06, THICKNESS_M):
        inliers = points[np.abs(along(points, normal) - offset) <= thickness]
        if len(inliers) < 3:
            return None
        normal = fitted_normal(inliers, hint)
        offset = float(along(inliers, normal).mean())
    heights = along(points, normal) - offset
    num_inliers = int((np.abs(heights) <= THICKNESS_M).sum())
    support = num_inliers / len(points)
    is_floor = (
        support >= _MIN_SUPPORT
        and float((heights < -BELOW_M).mean()) <= _MAX_BELOW
        and float(normal @ hint) >= math.cos(_MAX_STEP_RAD)
    )
    offset += float(normal @ corner.numpy())
    return FloorPlane(torch.from_numpy(normal), offset, support, num_inliers) if is_floor else None


def _lowest_layer(heights: Float[NDArray, " S"]) -> float:
    """The middle of the fullest layer, two thicknesses high, with next to nothing beneath."""
    ordered = np.sort(heights)
    lowest = ordered[: max(1, int(_MAX_BELOW * len(ordered)))]
    count = np.searchsorted(ordered, lowest + 2 * THICKNESS_M, side="right")
    count -= np.arange(len(lowest))
    return float(lowest[int(count.argmax())]) + THICKNESS_M
