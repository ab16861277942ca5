"""Which way the walls of a room run, from its points alone.

Upright surfaces are columns of cells that are filled over some height. Seen along a wall, its
columns fall into one another: the direction in which the columns of the whole room gather in the
fewest lines, along and across, is the one that most walls and large furniture share.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_CELL_M = 0.05
_MIN_CELLS = 8  # filled ones in an upright column: 40 cm
_MIN_COLUMNS = 40
_NUM_ANGLES = 90
_MIN_CONTRAST = 1.3  # of the best direction against the median of all
_MAX_COLUMNS = 20_000


def wall_direction(xyz: Float[Tensor, "N 3"]) -> float | None:
    """Angle of the walls to the x axis in radians, 0 to a quarter turn; None if none stands out.

    Points are finite, z up.
    """
    columns, heights = _upright_columns(xyz)
    if len(columns) < _MIN_COLUMNS:
        return None
    angles = torch.arange(_NUM_ANGLES, dtype=torch.float64) * (math.pi / 2 / _NUM_ANGLES)
    contrast = torch.stack([_gathering(columns, heights, float(angle)) for angle in angles])
    best = int(contrast.argmax())
    if float(contrast[best]) < _MIN_CONTRAST * float(contrast.median()):
        return None
    before, after = float(contrast[best - 1]), float(contrast[(best + 1) % _NUM_ANGLES])
    peak = float(contrast[best])
    curvature = 2 * peak - before - after  # the parabola through the best and its neighbours
    offset = (after - before) / (2 * curvature) if curvature > 0 else 0.0
    return (best + offset) * (math.pi / 2 / _NUM_ANGLES) % (math.pi / 2)


def _upright_columns(
    xyz: Float[Tensor, "N 3"],
) -> tuple[Float[Tensor, "C 2"], Float[Tensor, " C"]]:
    """Where upright columns are, in metres from one of them, and how many cells they fill."""
    cells = torch.unique((xyz.double() / _CELL_M).floor().long(), dim=0)
    columns, counts = torch.unique(cells[:, :2], dim=0, return_counts=True)
    is_upright = counts >= _MIN_CELLS
    columns, counts = columns[is_upright], counts[is_upright]
    step = 1 + len(columns) // _MAX_COLUMNS
    columns, counts = columns[::step], counts[::step]
    return (columns - columns[:1]).double() * _CELL_M, counts.double()


def _gathering(
    columns: Float[Tensor, "C 2"], heights: Float[Tensor, " C"], angle_rad: float
) -> Float[Tensor, ""]:
    """How much the columns gather in lines along and across a direction: sum of squared heaps."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    x, y = columns.unbind(dim=1)
    total = heights.new_zeros(())
    for offsets in (x * cos + y * sin, y * cos - x * sin):
        lines = (offsets / _CELL_M).floor().long()
        heaps = torch.bincount(lines - lines.min(), weights=heights)
        total = total + heaps.square().sum()
    return total
