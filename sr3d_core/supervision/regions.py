"""Where an anchor lies: strictly inside a box, near its centre; and how far from its faces.

FCAF3D, simOTA, AlignOTA and OTA ask it. "Near" is a cube around the centre, axis-aligned also
where the box is not, whose half edge is counted in strides of the anchor's level.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Boxes3D, Predictions


def half_edges(predictions: Predictions, radius: float) -> Float[Tensor, " P"]:
    """Half the edge of the cube around a centre, `radius` strides of each anchor's level; metres.

    Raises ValueError where the predictions do not say the strides of their levels.
    """
    strides = predictions.level_stride_m
    num_levels = int(predictions.level.max()) + 1 if len(predictions) else 0
    if len(strides) < num_levels:
        raise ValueError(
            f"predictions.level_stride_m has {len(strides)} entries, expected one for each of "
            f"{num_levels} levels: this assigner counts distances in strides"
        )
    return radius * predictions.anchors.new_tensor(strides)[predictions.level]


def inside_and_central(
    boxes: Boxes3D, anchors: Float[Tensor, "P 3"], half_edge_m: Float[Tensor, " P"]
) -> tuple[Bool[Tensor, "B P"], Bool[Tensor, "B P"]]:
    """Whether anchors lie strictly inside boxes, and whether near their centres.

    For a few boxes at a time: see `blocks_of_boxes`.
    """
    x, y, z = (anchors[:, axis] - boxes.center[:, axis, None] for axis in range(3))
    farthest = torch.maximum(torch.maximum(x.abs(), y.abs()), z.abs())
    return _is_inside(boxes, x, y, z), farthest < half_edge_m


def anchors_inside(
    boxes: Boxes3D, anchors: Float[Tensor, "P 3"]
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """The pairs of a box and an anchor strictly inside it, sorted by box, then by anchor."""
    anchors = side_by_side(anchors)
    box, anchor = [anchors.new_zeros(0).long()], [anchors.new_zeros(0).long()]
    for block in blocks_of_boxes(len(boxes), len(anchors), anchors.device):
        some = boxes[block]
        x, y, z = (anchors[:, axis] - some.center[:, axis, None] for axis in range(3))
        row, column = where(_is_inside(some, x, y, z))
        box.append(row + block.start)
        anchor.append(column)
    return torch.cat(box), torch.cat(anchor)


def _is_inside(boxes: Boxes3D, x: Tensor, y: Tensor, z: Tensor) -> Bool[Tensor, "B P"]:
    """Of offsets to the centres, row by row."""
    half = boxes.size[:, :, None] / 2
    if bool(boxes.yaw.any()):
        cos, sin = boxes.yaw.cos()[:, None], boxes.yaw.sin()[:, None]
        x, y = (x * cos).addcmul_(y, sin), (y * cos).addcmul_(x, -sin)
    return (x.abs() < half[:, 0]) & (y.abs() < half[:, 1]) & (z.abs() < half[:, 2])


def centerness(boxes: Boxes3D, anchors: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """FCAF3D's centre-ness of `anchors[i]` in `boxes[i]`: 1 at the centre, 0 at faces and outside.

    The square root of the product, over the three axes of the box, of its distance to the nearer
    face over that to the farther one (arXiv 2112.00322, sec 3.3).
    """
    offset = anchors - boxes.center
    cos, sin = boxes.yaw.cos(), boxes.yaw.sin()
    x = offset[:, 0] * cos + offset[:, 1] * sin
    y = offset[:, 1] * cos - offset[:, 0] * sin
    away = torch.stack([x, y, offset[:, 2]], dim=1).abs()
    half = boxes.size / 2
    return ((half - away).clamp(min=0) / (half + away)).prod(dim=1).sqrt()
