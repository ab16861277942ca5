"""A local origin for clouds far from zero, such as surveys in map coordinates.

Single precision resolves 1 mm up to some 10 km from the origin; at five million metres, half a
metre. Far clouds are therefore moved near zero in double precision, and their boxes moved back.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.structures import Boxes3D, PointCloud

FAR_M = 1_000.0
"""An axis that reaches farther than this from zero is moved."""

MAX_COORDINATE_M = 1e7
"""Coordinates beyond this are mistakes: the earth's projections end there."""

MAX_DISTANCE_M = 10_000.0
"""Points farther than this from the local origin, on any axis, are left out."""


def is_on_earth(xyz: Float[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
    """Which points are finite and have no coordinate beyond `MAX_COORDINATE_M`."""
    return (xyz.abs() <= MAX_COORDINATE_M).all(dim=1)


def reach(xyz: Float[Tensor, "N 3"]) -> Float[Tensor, " 3"]:
    """How far the points lie from zero on each axis; NaN where one is NaN, 0 for no points."""
    if len(xyz) == 0:
        return xyz.new_zeros(3)
    return torch.stack([column.abs().max() for column in xyz.unbind(dim=1)])


def local_origin(xyz: Float[Tensor, "N 3"]) -> Float[Tensor, " 3"]:
    """Where to move a cloud's origin: whole metres, float64, on the CPU.

    The median on each axis that reaches beyond `FAR_M`, 0 on the others; 0 for no points. Points
    must be finite.
    """
    origin = torch.zeros(3, dtype=torch.float64)
    is_far = (reach(xyz) > FAR_M).tolist()
    for axis in range(3):
        if is_far[axis]:
            origin[axis] = round(float(xyz[:, axis].median()))
    return origin


def near_zero(cloud: PointCloud) -> tuple[PointCloud, Float[Tensor, " 3"]]:
    """The usable points of a cloud, seen from its local origin, and that origin.

    Points are left out where they are not finite, have a coordinate beyond `MAX_COORDINATE_M` or,
    in a cloud that is moved, lie farther than `MAX_DISTANCE_M` from the origin.
    """
    if not bool((reach(cloud.xyz) <= MAX_COORDINATE_M).all()):
        cloud = cloud[is_on_earth(cloud.xyz)]
    origin = local_origin(cloud.xyz)
    if origin.any():
        xyz = cloud.xyz - origin.to(cloud.xyz)
        cloud = PointCloud(xyz, cloud.features, cloud.scene)
        cloud = cloud[(xyz.abs() <= MAX_DISTANCE_M).all(dim=1)]
    return cloud, origin


def moved(boxes: Boxes3D, offset: Float[Tensor, " 3"]) -> Boxes3D:
    """Boxes with `offset` added to their centres, in float64; the same boxes where it is 0."""
    if not offset.any():
        return boxes
    center = boxes.center.double() + offset.to(boxes.center.device)
    return Boxes3D(center, boxes.size.double(), boxes.yaw.double())
