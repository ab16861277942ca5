"""Exact intersection over union of upright, rotated boxes.

The common volume is the common footprint times the common height. The footprint is exact for
any yaw, differentiable, and continuous where boxes touch, coincide or vanish. Boxes are
`Boxes3D`; N and M boxes for `pairwise_*`, N and N boxes row by row for `aligned_*`.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.boxes import bev_area, bev_offsets, bounds, volume
from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Boxes3D

MIN_UNION = 1e-6
"""Smallest union that is divided by, in m^3 (m^2 in the ground plane)."""

MIN_LENGTH_M = 1e-9
"""Shorter lengths are not divided by; far below float32 rounding of a coordinate in metres."""

_ROUNDING = 1 + 1e-4  # a bound may be this much too small

DiouNumerator = Literal["center", "tr3d_compat"]


def pairwise_iou(a: Boxes3D, b: Boxes3D) -> Float[Tensor, "N M"]:
    """3D IoU of every box of `a` with every box of `b`, 0..1."""
    row, column = pairs_that_touch(a, b, num_axes=3)
    values = aligned_iou(a[row], b[column])
    return values.new_zeros(len(a), len(b)).index_put((row, column), values)


def pairwise_bev_iou(a: Boxes3D, b: Boxes3D) -> Float[Tensor, "N M"]:
    """IoU of every footprint of `a` with every footprint of `b`, 0..1; z and height ignored."""
    row, column = pairs_that_touch(a, b, num_axes=2)
    values = aligned_bev_iou(a[row], b[column])
    return values.new_zeros(len(a), len(b)).index_put((row, column), values)


def aligned_iou(a: Boxes3D, b: Boxes3D) -> Float[Tensor, " N"]:
    """3D IoU of `a[i]` with `b[i]`, 0..1, differentiable; a box without volume has IoU 0."""
    _require_rows(a, b)
    height = _interval_overlap(a, b, axis=2)
    return _ratio(_bev_overlap(a, b) * height, volume(a), volume(b))


def aligned_bev_iou(a: Boxes3D, b: Boxes3D) -> Float[Tensor, " N"]:
    """IoU of the footprints of `a[i]` and `b[i]`, 0..1, differentiable; z and height ignored."""
    _require_rows(a, b)
    return _ratio(_bev_overlap(a, b), bev_area(a), bev_area(b))


def aligned_diou(
    a: Boxes3D, b: Boxes3D, numerator: DiouNumerator = "center"
) -> Float[Tensor, " N"]:
    """Distance IoU of `a[i]` with `b[i]`, -1..1, differentiable: `IoU - |c - c'|^2 / diag^2`.

    `diag` is the diagonal of the axis-aligned box around all corners of both. "tr3d_compat"
    reproduces the published TR3D numerator, which takes (x, y, dx) for the centre (x, y, z).
    """
    return aligned_iou(a, b) - _center_penalty(a, b, numerator)


def pairs_that_touch(
    a: Boxes3D, b: Boxes3D, num_axes: Literal[2, 3]
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Rows of `a` and `b` whose axis-aligned bounds meet, in the ground plane (2) or in 3D (3).

    All other pairs have no overlap, and in a room they are most pairs. Not differentiable.
    """
    with torch.no_grad():
        low_a, high_a = bounds(a)
        low_b, high_b = (side_by_side(each) for each in bounds(b))
        found = [where(low_a.new_zeros(0, 1, dtype=torch.bool))]
        for block in blocks_of_boxes(len(a), len(b), low_a.device):
            low, high = low_a[block], high_a[block]
            is_close = low.new_ones(len(low), len(b), dtype=torch.bool)
            for axis in range(num_axes):
                is_close &= low[:, None, axis] < high_b[:, axis]
                is_close &= low_b[:, axis] < high[:, None, axis]
            row, column = where(is_close)
            found.append((row + block.start, column))
    return torch.cat([row for row, _ in found]), torch.cat([column for _, column in found])


@torch.no_grad()
def may_reach(a: Boxes3D, b: Boxes3D, iou: float) -> Bool[Tensor, " N"]:
    """Where `a[i]` and `b[i]` touch and their bounds and volumes allow a 3D IoU of `iou`, 0..1.

    All other pairs have less. IoU >= t where the common part is at least t / (1 + t) of both
    volumes together; it lies in both boxes and in both axis-aligned bounds.
    """
    _require_rows(a, b)
    low_a, high_a = bounds(a)
    low_b, high_b = bounds(b)
    content_a, content_b = volume(a), volume(b)
    common = torch.minimum(content_a, content_b)
    length = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0)
    within = length[:, 0] * length[:, 1] * length[:, 2]
    least = iou / (1 + iou) * (content_a + content_b)
    return (torch.minimum(common, within) * _ROUNDING >= least) & (within > 0)


def _center_penalty(a: Boxes3D, b: Boxes3D, numerator: DiouNumerator) -> Float[Tensor, " N"]:
    """Squared distance of the centres over the squared diagonal of what encloses both boxes."""
    offset = a.center - b.center
    if numerator == "tr3d_compat":
        offset = torch.cat([offset[:, :2], (a.size - b.size)[:, :1]], dim=1)
    elif numerator != "center":
        raise ValueError(f'DIoU numerator {numerator!r}, expected "center" or "tr3d_compat"')
    low_a, high_a = bounds(a)
    low_b, high_b = bounds(b)
    diagonal = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    return offset.square().sum(dim=1) / diagonal.square().sum(dim=1).clamp(min=MIN_UNION)


def _require_rows(a: Boxes3D, b: Boxes3D) -> None:
    """Refuse to broadcast: row-by-row overlap needs as many boxes on both sides."""
    if len(a) != len(b):
        raise ValueError(
            f"overlap row by row of {len(a)} and {len(b)} boxes, expected as many on both sides; "
            "use pairwise_iou for all pairs"
        )


def _ratio(
    common: Float[Tensor, " N"], content_a: Float[Tensor, " N"], content_b: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Intersection over union of the common part and the two contents."""
    # Rounding may make the common part larger than either box: it never is.
    common = torch.minimum(common, torch.minimum(content_a, content_b))
    return common / (content_a + content_b - common).clamp(min=MIN_UNION)


def _interval_overlap(a: Boxes3D, b: Boxes3D, axis: int) -> Float[Tensor, " N"]:
    """Length of what the boxes share along one axis of their own frames, in metres."""
    half_a, half_b = a.size[:, axis] / 2, b.size[:, axis] / 2
    offset = a.center[:, axis] - b.center[:, axis]
    low, high = torch.maximum(offset - half_a, -half_b), torch.minimum(offset + half_a, half_b)
    return (high - low).clamp(min=0)


def _bev_overlap(a: Boxes3D, b: Boxes3D) -> Float[Tensor, " N"]:
    """Area that the footprints of `a[i]` and `b[i]` share, in square metres."""
    needs_yaw_gradient = a.yaw.requires_grad or b.yaw.requires_grad
    if not needs_yaw_gradient and not bool(a.yaw.any()) and not bool(b.yaw.any()):
        return _interval_overlap(a, b, axis=0) * _interval_overlap(a, b, axis=1)
    return _rotated_overlap(a, b)


def _rotated_overlap(a: Boxes3D, b: Boxes3D) -> Float[Tensor, " N"]:
    """Area that two rotated footprints share, in square metres, by Green's theorem.

    In the frame of b its footprint B is |x| <= X, |y| <= Y. With the footprint A of a:

        area(A and B) = double integral over A of [|x| <= X] [|y| <= Y] dx dy
                      = integral along the boundary of A of clamp(x, -X, X) [|y| <= Y] dy

    Each edge of A is cut to the strip |y| <= Y and contributes its length along y times the mean
    of the clamped x. Nothing is sorted and no corner is called inside or outside, so edges that
    coincide within rounding move the area by rounding only.
    """
    limit_x, limit_y = b.size[:, 0] / 2, b.size[:, 1] / 2
    x0, y0 = _corners_seen_from(b, a)
    x1, y1 = x0.roll(-1, dims=0), y0.roll(-1, dims=0)
    edge_x, edge_y = x1 - x0, y1 - y0
    cut_y0, cut_y1 = y0.clamp(-limit_y, limit_y), y1.clamp(-limit_y, limit_y)
    # An edge along x has no extent along y: any finite divisor will do, its area is 0.
    divisor = torch.where(edge_y.abs() < MIN_LENGTH_M, MIN_LENGTH_M, edge_y)
    # Each end is moved from its own side, so an end that needs no cut stays exactly.
    cut_x0 = x0 + edge_x * ((cut_y0 - y0) / divisor).clamp(0, 1)
    cut_x1 = x1 - edge_x * ((y1 - cut_y1) / divisor).clamp(0, 1)
    area = (cut_y1 - cut_y0) * _mean_of_clamped(cut_x0, cut_x1, limit_x)
    return area.sum(dim=0).clamp(min=0)


def _corners_seen_from(
    viewer: Boxes3D, boxes: Boxes3D
) -> tuple[Float[Tensor, "4 N"], Float[Tensor, "4 N"]]:
    """x and y of the footprint corners of `boxes[i]` in the frame of `viewer[i]`, in metres."""
    offset = boxes.center - viewer.center
    cos, sin = viewer.yaw.cos(), viewer.yaw.sin()
    center_x = offset[:, 0] * cos + offset[:, 1] * sin
    center_y = offset[:, 1] * cos - offset[:, 0] * sin
    half = boxes.size / 2
    x, y = bev_offsets(half[:, 0], half[:, 1], boxes.yaw - viewer.yaw)
    return center_x + x, center_y + y


def _mean_of_clamped(
    start: Float[Tensor, "4 N"], end: Float[Tensor, "4 N"], limit: Float[Tensor, " N"]
) -> Float[Tensor, "4 N"]:
    """Mean of clamp(x, -limit, limit) while x runs evenly from `start` to `end`.

    The share of the way below -limit counts as -limit, the share above as limit; on the rest
    x is linear, so its mean is that of its ends.
    """
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    length = (high - low).clamp(min=MIN_LENGTH_M)
    below = ((-limit - low) / length).clamp(0, 1)
    above = ((high - limit) / length).clamp(0, 1)
    mean_between = (low.clamp(-limit, limit) + high.clamp(-limit, limit)) / 2
    return limit * (above - below) + (1 - above - below) * mean_between
