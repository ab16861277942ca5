"""How far away a cell is, told by how high above the floor what it shows is.

What lies flat is at a height of its own (floors at 0, seats and tables at theirs), whatever the
camera; which depth that is follows from the camera's height and the cell's ray. So beside logits
of depths a network may have logits of heights: a bin of depth gets that of the height which its
ray has there. In rendered rooms a small network that begins from nothing learns depth much faster
so (docs/camera.md has figures).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NUM_HEIGHTS = 64
"""How many heights there are: 5 cm apart, from 10 cm below the floor to 3.05 m above it."""
_LOWEST_M, _STEP_M = -0.1, 0.05


def heights_of_bins(
    camera_m: Float[Tensor, " B"],
    rays: Float[Tensor, "B h w 3"],
    centers_m: Float[Tensor, "B D"],
) -> Float[Tensor, "B h w D"]:
    """Height above the floor of what is in the middle of each bin of depth of each cell, metres.

    `camera_m` is that of the camera, NaN where it is not known; `rays` are what a metre of depth
    adds to its place, z up; `centers_m` the bins' depths. NaN where the camera's is.
    """
    climb = rays[..., 2:].to(centers_m.dtype) * centers_m[:, None, None]
    return camera_m.to(centers_m.dtype)[:, None, None, None] + climb


def at_heights(
    logits: Float[Tensor, "*shape Z"], heights_m: Float[Tensor, "*shape D"]
) -> Float[Tensor, "*shape D"]:
    """What the logits of `NUM_HEIGHTS` heights say at others, linear in between.

    Beyond the ends it is that of the end; 0 where a height is NaN.
    """
    last = logits.shape[-1] - 1
    place = ((heights_m.nan_to_num(0.0) - _LOWEST_M) / _STEP_M).clamp(0.0, last)
    below = place.floor().clamp(max=last - 1).long()
    low, high = logits.gather(-1, below), logits.gather(-1, below + 1)
    found = torch.lerp(low, high, (place - below).to(logits.dtype))
    return torch.where(heights_m.isnan(), 0.0, found)
