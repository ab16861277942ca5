"""Single objects of a scene stretched with their points, so that sizes vary within one class.

An object is what lies in its box grown by `MARGIN_M`, which holds the noise of a surface. It is
stretched along the axes of its own box, so its yaw stays, about the foot: the middle of the lower
face. What a grown object newly covers is taken away, or one place would hold the points of two
things. What a shrunk one uncovers stays empty, as behind anything that a sensor has not seen.

Objects keep their size where another box is in the way, before or after: a chair below a table.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from sr3d_core.geometry.boxes import bounds
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Boxes3D, PointCloud

MARGIN_M = 0.03
"""How far outside of its box an object may still have points: about two deviations of noise."""

_SHARED = 1e-6
"""IoU above which boxes meet; below is rounding."""


def stretch_objects(
    cloud: PointCloud, boxes: Boxes3D, factor: Float[Tensor, "M 3"]
) -> tuple[PointCloud, Boxes3D]:
    """Cloud and boxes with the objects stretched by `factor` along their dx, dy, dz.

    A factor of 1 leaves a box alone, and keeps others from growing into it. Points stay in their
    order; those that a grown object covers are missing. Works on the CPU.
    """
    factor = factor.to(boxes.size)
    hull = _grown(boxes, factor.clamp(min=1.0), MARGIN_M)
    is_asked = (factor != 1.0).any(dim=1)
    is_moved = is_asked & ~_is_hindered(boxes, hull, is_asked)
    stretched = _grown(boxes, torch.where(is_moved[:, None], factor, 1.0), 0.0)
    if not is_moved.any():
        return cloud, stretched
    xyz, is_left = cloud.xyz.numpy().copy(), np.ones(len(cloud), dtype=bool)
    rows = np.concatenate([boxes.array.numpy(), factor.numpy()], axis=1)[is_moved.numpy()]
    for row, near in zip(rows, _points_near(xyz, hull[is_moved]), strict=True):
        xyz[near], is_covered = _stretched(xyz[near], row[:7], row[7:])
        is_left[near[is_covered]] = False
    moved = PointCloud(torch.from_numpy(xyz), cloud.features, cloud.scene)
    return moved[torch.from_numpy(np.flatnonzero(is_left))], stretched


def _grown(boxes: Boxes3D, factor: Float[Tensor, "M 3"], margin_m: float) -> Boxes3D:
    """Boxes with a margin on all sides, stretched about the foot of the box without it."""
    lift = torch.zeros_like(boxes.center)
    lift[:, 2] = boxes.size[:, 2] * (factor[:, 2] - 1) / 2
    return Boxes3D(boxes.center + lift, (boxes.size + 2 * margin_m) * factor, boxes.yaw)


def _is_hindered(
    boxes: Boxes3D, hull: Boxes3D, is_asked: Bool[Tensor, " M"]
) -> Bool[Tensor, " M"]:
    """Which hulls meet another box, or another hull that is asked for as well."""
    taken = Boxes3D(
        torch.where(is_asked[:, None], hull.center, boxes.center),
        torch.where(is_asked[:, None], hull.size, boxes.size),
        boxes.yaw,
    )
    meets = pairwise_iou(hull, taken) > _SHARED
    return (meets & ~torch.eye(len(boxes), dtype=torch.bool)).any(dim=1)


def _points_near(xyz: Float[ndarray, "N 3"], boxes: Boxes3D) -> list[Int[ndarray, " P"]]:
    """For each box the points within its bounds.

    Points are sorted along x, so that each box asks its own share of them instead of all.
    """
    low, high = (corner.numpy() for corner in bounds(boxes))
    order = np.argsort(xyz[:, 0])
    x, y, z = xyz[order].T.copy()
    first = np.searchsorted(x, low[:, 0])
    last = np.searchsorted(x, high[:, 0], side="right")
    near = []
    for k in range(len(boxes)):
        share = slice(first[k], last[k])
        is_near = (y[share] >= low[k, 1]) & (y[share] <= high[k, 1])
        is_near &= (z[share] >= low[k, 2]) & (z[share] <= high[k, 2])
        near.append(order[share][is_near])
    return near


def _stretched(
    xyz: Float[ndarray, "P 3"], box: Float[ndarray, " 7"], factor: Float[ndarray, " 3"]
) -> tuple[Float[ndarray, "P 3"], Bool[ndarray, " P"]]:
    """Points near a box with those of its object moved, and which of the others it covers then."""
    half, cos, sin = box[3:6] / 2, np.cos(box[6]), np.sin(box[6])
    world_from_box = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=xyz.dtype)
    foot = box[:3] - (0, 0, half[2])
    own = (xyz - foot) @ world_from_box
    is_object = _is_in_reach(own, half)
    moved = foot + own * factor @ world_from_box.T
    is_covered = ~is_object & _is_in_reach(own / factor, half)
    return np.where(is_object[:, None], moved, xyz), is_covered


def _is_in_reach(own: Float[ndarray, "P 3"], half: Float[ndarray, " 3"]) -> Bool[ndarray, " P"]:
    """Which points, seen from the foot of a box, lie in it or its margin."""
    return (np.abs(own - (0, 0, half[2])) <= half + MARGIN_M).all(axis=1)
