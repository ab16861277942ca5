"""Whether a cloud is what a camera saw along its z axis, wherever the cloud's origin is.

What a pinhole camera sees lies inside a pyramid, and the rim of its image lies in the sides of the
pyramid: looked at from above, the cloud is bounded by two straight lines that meet in the
camera, and from the side by two more that meet at the same depth. Noise of the depth moves points
along their rays, so it keeps them in the sides. Rooms and maps have walls, which do not lean.

Measured is how much of these lines the cloud touches, over all pyramids that could hold it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LAYER_M = 0.025  # the outline is looked at in layers across the depth
_MAX_LAYERS = 2_000
_MAX_POINTS = 100_000
_TOUCH_M = 0.02  # points this near to a line touch it
_STRAY = 0.02  # share of the layers that may reach beyond a line
_HALF_ANGLES_RAD = tuple(math.radians(15.0 + 0.75 * step) for step in range(58))
_LOPSIDED = 1.5  # slopes of opposite sides may differ by this factor: images are cropped a little
_NEAREST_M, _FARTHEST_M = 0.1, 3.0  # how far before the first point a camera can be
_WIDE_FIELD = (1.6, 1.4)  # tangents of half the widest field of view, across and up
_NEARLY_ALL = 0.99  # of the surface; the rest may be noise
_SAME_DEPTH_M = 0.1  # both pairs of sides must meet at the same depth, give or take this


def rim_evidence_m(xyz: Float[Tensor, "N 3"], direction: float) -> float:
    """How surely the cloud was seen along +z (`direction` 1) or -z (-1); needs a point.

    Metres: the depth over which points touch the sides of the best pyramid (geometric means of
    opposite sides, and of both pairs), times that for each metre of depth that the cloud has.
    Walls that lean are one pair, not two. Does not depend on the cloud's origin.
    """
    xyz = xyz[:: max(1, math.ceil(len(xyz) / _MAX_POINTS))]
    depth = xyz[:, 2] * direction
    depth = depth - depth.min()
    both = _touched(xyz[:, 0], depth) * _touched(xyz[:, 1], depth)
    return 4.0 * float(both.max()) / max(float(depth.max()), _LAYER_M)


def is_seen_from(cells: Float[Tensor, "S 3"], direction: float) -> bool:
    """Whether a sensor at the origin can have seen this along +z or -z: in a wide field of view.

    Weaker than the rim, but sparse and cropped clouds, and views of bare floor, have no rim.
    """
    x, y, depth = cells[:, 0], cells[:, 1], cells[:, 2] * direction
    width, height = _WIDE_FIELD
    is_inside = (depth > 0) & (x.abs() <= width * depth) & (y.abs() <= height * depth)
    return float(is_inside.double().mean()) > _NEARLY_ALL


def _touched(across: Float[Tensor, " N"], depth: Float[Tensor, " N"]) -> Float[Tensor, " D"]:
    """Touched length of the best two lines that meet at each depth before the first point.

    The geometric mean of both lines counts, twice: a single wall that leans is no image.
    """
    slopes = torch.tensor(_HALF_ANGLES_RAD, dtype=torch.float64).tan()
    length, intercept = _touched_by_slope(across, depth, slopes)
    length_left, intercept_left = _touched_by_slope(-across, depth, slopes)
    steeper = torch.maximum(slopes[:, None], slopes)
    flatter = torch.minimum(slopes[:, None], slopes)
    before = (intercept[:, None] + intercept_left) / (slopes[:, None] + slopes)
    is_image = (steeper <= _LOPSIDED * flatter) & (before > _NEAREST_M) & (before < _FARTHEST_M)
    both = 2.0 * (length[:, None] * length_left).sqrt()
    num_depths = round(_FARTHEST_M / _SAME_DEPTH_M)
    index = (before / _SAME_DEPTH_M).long().clamp(0, num_depths - 1)
    best = both.new_zeros(num_depths).scatter_reduce(
        0, index.flatten(), (both * is_image).flatten(), "amax"
    )
    return torch.nn.functional.max_pool1d(best[None], 3, stride=1, padding=1)[0]


def _touched_by_slope(
    across: Float[Tensor, " N"], depth: Float[Tensor, " N"], slopes: Float[Tensor, " S"]
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """For lines `across = intercept + slope * depth` around: touched depth, and intercept."""
    layer_m = max(_LAYER_M, float(depth.max()) / _MAX_LAYERS)
    order = across.argsort()
    layer = (depth[order] / layer_m).long()
    by_layer = layer.sort(stable=True).indices
    layer = layer[by_layer]
    is_last = torch.ones(len(layer), dtype=torch.bool)
    is_last[:-1] = layer[1:] != layer[:-1]
    outermost = order[by_layer][is_last]
    beyond = across[outermost, None] - slopes * depth[outermost, None]
    num_stray = int(_STRAY * len(outermost))
    intercept = beyond.kthvalue(len(outermost) - num_stray, dim=0).values
    is_touching = (beyond - intercept).abs() < _TOUCH_M * (1.0 + slopes**2).sqrt()
    return is_touching.sum(dim=0) * layer_m, intercept
