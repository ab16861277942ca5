"""DASRD: two objects are as alike to the student as they are to the teacher."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.geometry.boxes import own_coordinates
from sr3d_core.structures import Boxes3D

LEAST_TRUST = 0.1
"""An object that the teacher gets wrong still counts a little."""
_LEAST_NORM = 1e-6


def descriptors(
    features: Float[Tensor, "N C"], is_inside: Bool[Tensor, "N K"]
) -> Float[Tensor, "K C"]:
    """The mean of each object's rows, 0 where it has none."""
    own = is_inside.to(features.dtype)
    return (own.T @ features) / own.sum(dim=0).clamp(min=1.0)[:, None]


def gridded_descriptors(
    features: Float[Tensor, "N C"],
    xyz: Float[Tensor, "N 3"],
    is_inside: Bool[Tensor, "N K"],
    boxes: Boxes3D,
    cells: int,
) -> Float[Tensor, "K D"]:
    """The means of the cells of a grid that is turned with each box; D = cells^3 C.

    A cell without rows is 0.
    """
    offset = torch.stack(own_coordinates(xyz, boxes), dim=-1)
    cell = ((offset / boxes.size + 0.5) * cells).floor().long().clamp(0, cells - 1)
    place = (cell[..., 0] * cells + cell[..., 1]) * cells + cell[..., 2]
    row, box = is_inside.nonzero(as_tuple=True)
    target = box * cells**3 + place[row, box]
    num = len(boxes) * cells**3
    summed = features.new_zeros(num, features.shape[1]).index_add(0, target, features[row])
    count = torch.bincount(target, minlength=num).clamp(min=1)
    return (summed / count[:, None]).reshape(len(boxes), -1)


def relation_loss(
    student: Float[Tensor, "K D"], teacher: Float[Tensor, "K D"], trust: Float[Tensor, " K"]
) -> Float[Tensor, ""]:
    """Mean over ordered pairs of `weight * |difference of cosines|`, objects of one frame.

    A pair's weight is `2 / (u_i^2 + u_j^2)` with `u = 1 / trust`: 1 where both are trusted. A
    descriptor of zeros has cosine 0 with every other. 0 for fewer than two objects.
    """
    num = len(student)
    if num < 2:
        return (0.0 * student).sum()
    distrust = (1 / trust.detach().clamp(LEAST_TRUST, 1.0)).square()
    weight = 2 / (distrust[:, None] + distrust)
    difference = (_cosines(student) - _cosines(teacher.detach())).abs()
    others = ~torch.eye(num, dtype=torch.bool, device=student.device)
    return (weight * difference)[others].mean()


def literal_relation_loss(
    student: Float[Tensor, "K D"],
    teacher: Float[Tensor, "K D"],
    teacher_std_m: Float[Tensor, " K"],
) -> Float[Tensor, ""]:
    """The public code's term: `0.5 / K^2 * mean |difference of products| / (s_i^2 + s_j^2)`.

    All pairs, an object with itself too, of descriptors as they are; metres. 0 without objects.
    """
    num = len(student)
    if not num:
        return (0.0 * student).sum()
    variance = teacher_std_m.detach().square()
    teacher = teacher.detach()
    difference = (student @ student.T - teacher @ teacher.T).abs()
    return 0.5 / num**2 * (difference / (variance[:, None] + variance)).mean()


def _cosines(descriptor: Float[Tensor, "K D"]) -> Float[Tensor, "K K"]:
    length = torch.linalg.vector_norm(descriptor, dim=1, keepdim=True)
    unit = descriptor / length.clamp(min=_LEAST_NORM)
    return unit @ unit.T
