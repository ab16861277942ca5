"""DASFD: the student's features become the teacher's, where that is worth it.

Features are compared on voxels that both networks have, inside of objects; each channel counts in
units of the teacher's own spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.sparse.lattice import found_among
from sr3d_core.structures import Boxes3D

Reduction = Literal["cells", "objects"]
"""cells: the mean over rows, so that a bed counts as much as fifty bins. objects: each alike."""
LEAST_STD = 1e-3
"""A channel that hardly differs between rows is not blown up."""
_ROUNDING_M = 1e-6  # rows are on a lattice, often just on a face


def shared_rows(
    teacher: Int[Tensor, "T 4"], student: Int[Tensor, "S 4"]
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """The rows of the voxels that both have, in the teacher's order; coordinates are distinct."""
    student_row = found_among(teacher, student, stride=1)
    teacher_row = (student_row >= 0).nonzero()[:, 0]
    return teacher_row, student_row[teacher_row]


def rows_inside(xyz: Float[Tensor, "N 3"], boxes: Boxes3D, margin_m: float) -> Bool[Tensor, "N K"]:
    """Whether rows lie in boxes that are grown by a margin on every side.

    Half a stride gives rows to things that are thinner than a voxel.
    """
    grown = boxes.size + 2 * (margin_m + _ROUNDING_M)
    return points_in_boxes(xyz, Boxes3D(boxes.center, grown, boxes.yaw))


def spread_of(features: Float[Tensor, "N C"]) -> Float[Tensor, " C"]:
    """Standard deviation of each channel over rows, at least LEAST_STD; 1 without rows."""
    if not len(features):
        return features.new_ones(features.shape[1])
    return features.detach().std(dim=0, correction=0).clamp(min=LEAST_STD)


def feature_loss(
    student: Float[Tensor, "N C"],
    teacher: Float[Tensor, "N C"],
    is_inside: Bool[Tensor, "N K"],
    weights: Float[Tensor, " K"],
    spread: Float[Tensor, " C"],
    reduction: Reduction,
    total: Callable[[int], int] = int,
) -> Float[Tensor, ""]:
    """Mean of `weight * half the squared difference / spread^2` over rows inside of objects.

    A row that several objects hold has the highest of their weights. `objects`: the mean over
    objects of their weight times their rows' mean. 0 where no row is inside. Where several
    processes share a step, `total` adds up what all of them have, so that the sum of their terms
    is the mean.
    """
    error = 0.5 * ((student - teacher.detach()) / spread).square().mean(dim=1)
    own = is_inside.to(error.dtype)
    if reduction == "objects":
        num_rows = own.sum(dim=0)
        has_rows = num_rows > 0
        means = (error @ own)[has_rows] / num_rows[has_rows]
        return (weights[has_rows] * means).sum() / max(total(int(has_rows.sum())), 1)
    highest = (own * weights).amax(dim=1) if len(weights) else error.new_zeros(len(error))
    num_inside = int(is_inside.any(dim=1).sum())
    return (highest * error).sum() / max(total(num_inside), 1)


def literal_feature_loss(
    student: Float[Tensor, "B C H W"],
    teacher: Float[Tensor, "B C H W"],
    scene: Int[Tensor, " K"],
    boxes: Int[Tensor, "K 4"],
    weights: Float[Tensor, " K"],
    total: Callable[[int], int] = int,
) -> Float[Tensor, ""]:
    """The public code's term of one level: cells of images, boxes `x1 y1 x2 y2` of cells.

    Half the mean squared difference of a cell times the weight of the last box that holds it (x2
    and y2 are outside), over the number of cells that boxes hold. Cells where all of the teacher
    is 0 are left out. 0 without cells. `scene` is the image of each box; `total` as of
    `feature_loss`.
    """
    weight = torch.zeros_like(student[:, 0])
    is_held = torch.zeros_like(weight, dtype=torch.bool)
    for image, (x1, y1, x2, y2), own in zip(scene.tolist(), boxes.tolist(), weights, strict=True):
        weight[image, y1:y2, x1:x2] = own
        is_held[image, y1:y2, x1:x2] = True
    is_held &= (teacher != 0).any(dim=1)
    error = 0.5 * (student - teacher.detach()).square().mean(dim=1)
    return (weight * error)[is_held].sum() / max(total(int(is_held.sum())), 1)
