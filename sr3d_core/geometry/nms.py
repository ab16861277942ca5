"""Greedy non-maximum suppression of upright, rotated boxes, per class.

"bev" compares footprints, as the published detectors do: a box above another of the same class
counts as the same object. "3d" compares volumes and keeps both. Yaw counts in both; boxes of an
axis-aligned model have yaw 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.boxes import bev_area, volume
from sr3d_core.geometry.iou import aligned_bev_iou, aligned_iou, pairs_that_touch
from sr3d_core.structures import Boxes3D

Overlap = Literal["bev", "3d"]


@torch.no_grad()
def nms(
    boxes: Boxes3D,
    scores: Float[Tensor, " D"],
    labels: Int[Tensor, " D"],
    iou: float,
    overlap: Overlap = "bev",
) -> Int[Tensor, " K"]:
    """Indices of the boxes that stay, by falling score; equal scores by rising index.

    A box goes where a better box of its class that stayed overlaps it by more than `iou` (0..1).
    A box may appear once per class at little cost: overlaps are computed once per distinct box.
    Takes memory for the square of the distinct boxes, so cut to some thousands beforehand.
    Raises ValueError where the inputs differ in length or `overlap` is unknown.
    """
    _require_matching(boxes, scores, labels, overlap)
    if len(boxes) == 0:
        return torch.zeros_like(labels, dtype=torch.int64)
    order = scores.argsort(descending=True, stable=True)
    first, distinct = _distinct(boxes[order])
    _, classes = labels[order].unique(return_inverse=True)
    has_class = torch.zeros(len(first), int(classes.max()) + 1, device=classes.device)
    has_class[distinct, classes] = 1
    suppresses = _suppression(boxes[order[first]], has_class, iou, overlap)
    kept = _greedy(suppresses.cpu().numpy(), distinct.cpu().numpy(), classes.cpu().numpy())
    return order[torch.from_numpy(kept).to(order.device)]


def _distinct(boxes: Boxes3D) -> tuple[Int[Tensor, " U"], Int[Tensor, " D"]]:
    """Index of each distinct box, and which of these each box is."""
    rows = np.ascontiguousarray(boxes.array.detach().cpu().numpy())
    # Compared as bytes: several times faster than `torch.unique` along a dimension.
    whole_rows = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, distinct = np.unique(whole_rows, return_index=True, return_inverse=True)
    device = boxes.center.device
    return torch.from_numpy(first).to(device), torch.from_numpy(distinct).to(device)


def _suppression(
    boxes: Boxes3D, has_class: Float[Tensor, "U K"], iou: float, overlap: Overlap
) -> Bool[Tensor, "U U"]:
    """Which boxes overlap by more than `iou`, looking only at pairs that share a class."""
    is_bev = overlap == "bev"
    row, column = pairs_that_touch(boxes, boxes, num_axes=2 if is_bev else 3)
    content = bev_area(boxes) if is_bev else volume(boxes)
    smaller = torch.minimum(content[row], content[column])
    larger = torch.maximum(content[row], content[column])
    is_candidate = row <= column
    is_candidate &= smaller >= iou * larger  # IoU is at most the ratio of the contents
    is_candidate &= (has_class @ has_class.T)[row, column] > 0
    row, column = row[is_candidate], column[is_candidate]
    common = (aligned_bev_iou if is_bev else aligned_iou)(boxes[row], boxes[column]) > iou
    suppresses = torch.zeros(len(boxes), len(boxes), dtype=torch.bool, device=common.device)
    suppresses[row, column] = common
    suppresses[column, row] = common
    return suppresses


def _greedy(
    suppresses: NDArray[np.bool_], distinct: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Indices that stay, rising, of boxes sorted by falling score.

    `distinct` is each box's row in `suppresses`, `classes` its class.
    """
    is_kept = np.ones(len(distinct), dtype=bool)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        rows = distinct[members]
        is_alive = np.ones(len(members), dtype=bool)
        for rank in range(len(members)):
            if is_alive[rank]:
                is_alive[rank + 1 :] &= ~suppresses[rows[rank]][rows[rank + 1 :]]
        is_kept[members] = is_alive
    return np.flatnonzero(is_kept)


def _require_matching(boxes: Boxes3D, scores: Tensor, labels: Tensor, overlap: str) -> None:
    """Refuse inputs that do not describe the same boxes, and unknown overlaps."""
    if not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"non-maximum suppression of {len(boxes)} boxes, {len(scores)} scores and "
            f"{len(labels)} labels, expected one score and one label for every box"
        )
    if overlap not in ("bev", "3d"):
        raise ValueError(f'overlap {overlap!r}, expected "bev" (footprints) or "3d" (volumes)')
