"""How large a cloud is, and whether that can be metres."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_ros.diagnostics.advice import FARTHEST_ROOM_M, advice_on_extent
from sr3d_ros.errors import Refused

_SAMPLE = 1000  # points that the extent is judged by


def extent_of(xyz: Float[Tensor, "N 3"]) -> list[float]:
    """Lengths along the axes between the first and the last percent of the points; [] if none."""
    if not len(xyz):
        return []
    sample = xyz[:: max(len(xyz) // _SAMPLE, 1)].float()
    ends = torch.quantile(sample, torch.tensor([0.01, 0.99], device=xyz.device), dim=0)
    return [float(length) for length in ends[1] - ends[0]]


def require_metres(xyz: Float[Tensor, "N 3"]) -> None:
    """Raises `Refused` for a cloud as no depth camera can see; it would take minutes."""
    extent = extent_of(xyz)
    if extent and max(extent) > FARTHEST_ROOM_M:
        raise Refused("units", str(advice_on_extent(extent)))
