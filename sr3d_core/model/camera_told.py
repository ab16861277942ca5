"""What a network of images is told of the camera: of each pixel, and of each cell of features.

One image shows no size: that follows from the lens, and from how high above the floor the camera
is and which way it looks, which robots know.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sr3d_core.model.depth import DepthBins
from sr3d_core.structures import Images

OF_PIXELS = 3
"""How many numbers `told_of_pixels` tells."""
OF_CELLS = 5
"""How many `told_of_cells` tells."""

_USUAL_HEIGHT_M = 1.2  # of robots and people's hands
_LEAST_DROP = 1e-3  # metres that a ray falls over a metre of depth; less never meets the floor
_BEYOND = 0.2  # how far outside of the bins the floor's depth is told


def told_of_pixels(images: Images, bins: DepthBins) -> Float[Tensor, "B 3 H W"]:
    """How the ray of every pixel climbs, where it meets the floor, and whether that is known.

    How far up a metre of depth leads; at which depth it meets the floor, from 0 at the nearest bin
    to 1 at the farthest one, and a little beyond; whether the camera's height is known, in whose
    place a usual one stands where it is not.
    """
    pixels, intrinsics = images.pixels, images.intrinsics.to(images.pixels.dtype)
    height, width = pixels.shape[-2:]
    right, down, ahead = (
        images.world_from_camera[:, 2, axis].to(pixels.dtype)[:, None, None] for axis in range(3)
    )
    focal_x, focal_y, middle_x, middle_y = (
        intrinsics[:, row, column, None, None] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    u = torch.arange(width, dtype=pixels.dtype, device=pixels.device)
    v = torch.arange(height, dtype=pixels.dtype, device=pixels.device)[:, None]
    climb = right * ((u - middle_x) / focal_x) + down * ((v - middle_y) / focal_y) + ahead
    height_m = heights_m(images)[:, None, None]
    floor_m = height_m.nan_to_num(_USUAL_HEIGHT_M) / (-climb).clamp(min=_LEAST_DROP)
    floor = bins.place(floor_m, focal_x).clamp(-_BEYOND, 1 + _BEYOND)
    is_known = (~height_m.isnan()).to(pixels.dtype).expand_as(climb)
    return torch.stack([climb, floor, is_known], dim=1)


def told_of_cells(images: Images, rays: Float[Tensor, "B h w 3"]) -> Float[Tensor, "B 5 h w"]:
    """Where each cell looks in the world, from how high, and whether that is known.

    `rays` are what a metre of depth adds to the camera's place.
    """
    direction = functional.normalize(rays, dim=-1).permute(0, 3, 1, 2).to(images.pixels.dtype)
    height_m = heights_m(images)
    known = torch.stack([height_m.nan_to_num(0.0), (~height_m.isnan()).to(height_m)], dim=1)
    known = known[:, :, None, None].expand(-1, -1, *direction.shape[-2:])
    return torch.cat([direction, known], dim=1)


def heights_m(images: Images) -> Float[Tensor, " B"]:
    """Of each camera above the floor, NaN where it is not known."""
    if images.height is None:
        return images.pixels.new_full((len(images),), torch.nan)
    return images.height.to(images.pixels.dtype)
