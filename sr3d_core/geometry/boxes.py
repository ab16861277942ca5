"""Corners, bounds and frames of upright boxes.

Boxes are `Boxes3D`: geometric centre, full extents, yaw about +z; metres and radians, z up.
"BEV" is the bird's-eye view: the footprint in the ground plane.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.structures import Boxes3D

RIGID_TOLERANCE = 1e-4
"""How far a rotation's entries may be from an upright rotation; above float32 rounding."""


def bev_offsets(
    half_x: Float[Tensor, " M"], half_y: Float[Tensor, " M"], yaw: Float[Tensor, " M"]
) -> tuple[Float[Tensor, "4 M"], Float[Tensor, "4 M"]]:
    """x and y of the four footprint corners, seen from the centre, counter-clockwise.

    In the box's own frame they are (-,-), (+,-), (+,+), (-,+).
    """
    sign_x = half_x.new_tensor([-1.0, 1.0, 1.0, -1.0])[:, None]
    sign_y = half_x.new_tensor([-1.0, -1.0, 1.0, 1.0])[:, None]
    cos, sin = yaw.cos(), yaw.sin()
    x = sign_x * (half_x * cos) - sign_y * (half_y * sin)
    y = sign_x * (half_x * sin) + sign_y * (half_y * cos)
    return x, y


def bev_corners(boxes: Boxes3D) -> Float[Tensor, "M 4 2"]:
    """Footprint corners in metres, counter-clockwise.

    In the box's own frame the order is (-,-), (+,-), (+,+), (-,+).
    """
    half = boxes.size / 2
    x, y = bev_offsets(half[:, 0], half[:, 1], boxes.yaw)
    return torch.stack([x, y], dim=2).transpose(0, 1) + boxes.center[:, None, :2]


def corners(boxes: Boxes3D) -> Float[Tensor, "M 8 3"]:
    """All corners in metres: the bottom face in the order of `bev_corners`, then the top face."""
    half_height = boxes.size[:, 2] / 2
    bottom, top = boxes.center[:, 2] - half_height, boxes.center[:, 2] + half_height
    z = torch.stack([bottom, top], dim=1).repeat_interleave(4, dim=1)
    return torch.cat([bev_corners(boxes).repeat(1, 2, 1), z[:, :, None]], dim=2)


def bounds(boxes: Boxes3D) -> tuple[Float[Tensor, "M 3"], Float[Tensor, "M 3"]]:
    """Lowest and highest coordinate of every box along each axis, in metres."""
    cos, sin = boxes.yaw.cos().abs(), boxes.yaw.sin().abs()
    dx, dy, dz = boxes.size.unbind(dim=1)
    half = torch.stack([dx * cos + dy * sin, dx * sin + dy * cos, dz], dim=1) / 2
    return boxes.center - half, boxes.center + half


def volume(boxes: Boxes3D) -> Float[Tensor, " M"]:
    """Volumes in cubic metres."""
    return boxes.size[:, 0] * boxes.size[:, 1] * boxes.size[:, 2]


def bev_area(boxes: Boxes3D) -> Float[Tensor, " M"]:
    """Footprint areas in square metres."""
    return boxes.size[:, 0] * boxes.size[:, 1]


def points_in_boxes(xyz: Float[Tensor, "N 3"], boxes: Boxes3D) -> Bool[Tensor, "N M"]:
    """Which points lie in which boxes; faces count as inside, so touching boxes share points."""
    half = boxes.size / 2
    along, across, up = own_coordinates(xyz, boxes)
    is_inside = up.abs() <= half[:, 2]
    is_inside &= along.abs() <= half[:, 0]
    is_inside &= across.abs() <= half[:, 1]
    return is_inside


def own_coordinates(
    xyz: Float[Tensor, "N 3"], boxes: Boxes3D
) -> tuple[Float[Tensor, "N M"], Float[Tensor, "N M"], Float[Tensor, "N M"]]:
    """Where points are as seen from boxes: along the heading, to its left, up; metres."""
    cos, sin = boxes.yaw.cos(), boxes.yaw.sin()
    x = xyz[:, 0, None] - boxes.center[:, 0]
    y = xyz[:, 1, None] - boxes.center[:, 1]
    return x * cos + y * sin, y * cos - x * sin, xyz[:, 2, None] - boxes.center[:, 2]


def short_side_first(boxes: Boxes3D) -> Boxes3D:
    """The same boxes written with dx <= dy and a yaw of at least -90, below 90 degrees."""
    is_long = boxes.size[:, 0] > boxes.size[:, 1]
    size = torch.where(is_long[:, None], boxes.size[:, [1, 0, 2]], boxes.size)
    yaw = torch.where(is_long, boxes.yaw + math.pi / 2, boxes.yaw)
    return Boxes3D(boxes.center, size, (yaw + math.pi / 2).remainder(math.pi) - math.pi / 2)


def facing(boxes: Boxes3D, direction: Float[Tensor, " M"]) -> Boxes3D:
    """The same boxes written so that their yaw is within 45 degrees of a direction (radians).

    By quarter turns: the sides are exchanged where their number is odd. Yaw in -pi..pi, pi itself
    included.
    """
    quarters = ((direction - boxes.yaw) / (math.pi / 2)).round()
    is_odd = quarters.remainder(2) == 1
    size = torch.where(is_odd[:, None], boxes.size[:, [1, 0, 2]], boxes.size)
    yaw = boxes.yaw + quarters * (math.pi / 2)
    return Boxes3D(boxes.center, size, math.pi - (math.pi - yaw).remainder(2 * math.pi))


def transform_boxes(boxes: Boxes3D, target_from_source: Float[Tensor, "4 4"]) -> Boxes3D:
    """The same boxes in another frame whose z axis points the same way.

    Computed in the matrix's precision, returned in the boxes'. Raises ValueError where the
    matrix tilts, mirrors or scales: upright boxes cannot follow.
    """
    matrix = target_from_source.to(boxes.center.device)
    heading_rad = torch.atan2(matrix[1, 0], matrix[0, 0])
    _require_upright(matrix[:3, :3], heading_rad)
    center = boxes.center.to(matrix.dtype) @ matrix[:3, :3].T + matrix[:3, 3]
    yaw = boxes.yaw.to(matrix.dtype) + heading_rad
    return Boxes3D(center.to(boxes.center.dtype), boxes.size, yaw.to(boxes.yaw.dtype))


def _require_upright(
    target_from_source: Float[Tensor, "3 3"], heading_rad: Float[Tensor, ""]
) -> None:
    """Refuse a matrix that is not a rotation about +z by `heading_rad`."""
    cos, sin = heading_rad.cos(), heading_rad.sin()
    upright = torch.zeros_like(target_from_source)
    upright[0, 0], upright[0, 1] = cos, -sin
    upright[1, 0], upright[1, 1] = sin, cos
    upright[2, 2] = 1.0
    deviation = float((target_from_source - upright).abs().amax())
    if not deviation <= RIGID_TOLERANCE:  # also refuses NaN
        raise ValueError(
            f"transform of boxes: the rotation differs from one about +z by {deviation:.3g}, "
            f"expected at most {RIGID_TOLERANCE:g}; boxes stay upright, so bring the cloud into "
            "a gravity-aligned frame first and transform its boxes between such frames only"
        )
