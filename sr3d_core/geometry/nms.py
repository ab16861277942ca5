"""Greedy non-maximum suppression of upright, rotated boxes, per class.

"bev" compares footprints, as the published detectors do: a box above another of the same class
counts as the same object. "3d" compares volumes and keeps both. Yaw counts in both; boxes of an
axis-aligned model have yaw 0.

Boxes are taken in blocks by falling score. A box that is gone is never compared again, and exact
overlaps are computed only where bounds in the ground plane allow one, once per distinct box.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.boxes import bev_area, bounds, volume
from sr3d_core.geometry.iou import aligned_bev_iou, aligned_iou
from sr3d_core.structures import Boxes3D

Overlap = Literal["bev", "3d"]

FIRST_BLOCK = 128
"""So many detections are compared with all others first; each next block is twice as long."""

LARGEST_BLOCK = 1024
"""Where blocks stop growing: the detections of one are compared with each other."""

_PAIRS_AT_ONCE = 2**12  # their intermediate results stay in the cache and in one thread
_ROUNDING = 1 + 1e-4  # a bound may be this much too small


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
    _, classes = np.unique(_on_host(labels[order]), return_inverse=True)
    overlaps = _Overlaps(boxes[order[first.to(order.device)]], iou, overlap)
    kept = _greedy(overlaps, distinct, classes.reshape(-1))
    return order[torch.from_numpy(kept).to(order.device)]


class _Overlaps:
    """Which distinct boxes suppress each other: worked out when first asked for."""

    def __init__(self, boxes: Boxes3D, iou: float, overlap: Overlap) -> None:
        self.boxes = boxes
        self.iou = iou
        self.is_bev = overlap == "bev"
        self.suppresses = np.zeros((len(boxes), len(boxes)), dtype=bool)
        self._is_known = np.zeros(len(boxes), dtype=bool)
        low, high = (_on_host(ends.T).copy() for ends in bounds(boxes))
        self._ends = low, high
        self._area = _on_host(bev_area(boxes))
        self._content = self._area if self.is_bev else _on_host(volume(boxes))

    def look_at(self, wanted: Int[NDArray, " W"], others: Int[NDArray, " L"]) -> None:
        """Fill the rows of these boxes where they meet these others; all others are gone."""
        is_new = self._is_among(wanted) & ~self._is_known
        if not is_new.any():
            return
        rows = np.flatnonzero(is_new)
        columns = np.flatnonzero((is_new | self._is_among(others)) & ~self._is_known)
        self._is_known |= is_new
        is_pair = self._may_suppress(rows, columns)
        is_pair &= (columns >= rows[:, None]) | ~is_new[columns]  # each pair once
        at_row, at_column = is_pair.nonzero()
        row, column = rows[at_row], columns[at_column]
        is_over = self._exceeds(row, column)
        row, column = row[is_over], column[is_over]
        self.suppresses[row, column] = True
        self.suppresses[column, row] = True

    def _is_among(self, rows: Int[NDArray, " R"]) -> Bool[NDArray, " U"]:
        marks = np.zeros_like(self._is_known)
        marks[rows] = True
        return marks

    def _may_suppress(
        self, row: Int[NDArray, " R"], column: Int[NDArray, " C"]
    ) -> Bool[NDArray, "R C"]:
        """Where an upper bound of the overlap exceeds the limit.

        IoU > t where the common part exceeds t / (1 + t) of both contents together. The common
        footprint lies in both footprints and in both axis-aligned bounds.
        """
        low, high = self._ends

        def common(axis: int) -> NDArray[Any]:
            length = np.minimum(high[axis, row, None], high[axis, column])
            length -= np.maximum(low[axis, row, None], low[axis, column])
            return np.maximum(length, 0, out=length)

        bound = common(0)
        bound *= common(1)
        np.minimum(bound, self._area[row, None], out=bound)
        np.minimum(bound, self._area[column], out=bound)
        if not self.is_bev:
            bound *= common(2)
        bound *= _ROUNDING
        share = self.iou / (1 + self.iou)
        content = share * self._content
        may: Bool[NDArray, "R C"] = bound > content[row, None] + content[column]
        return may

    def _exceeds(self, row: Int[NDArray, " P"], column: Int[NDArray, " P"]) -> Bool[NDArray, " P"]:
        """Whether two boxes overlap by more than the limit."""
        ratio = aligned_bev_iou if self.is_bev else aligned_iou
        pairs = torch.from_numpy(np.stack([row, column])).to(self.boxes.center.device)
        parts = pairs.split(_PAIRS_AT_ONCE, dim=1)
        return _on_host(
            torch.cat([ratio(self.boxes[a], self.boxes[b]) > self.iou for a, b in parts])
        )


def _on_host(values: Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy()


def _distinct(boxes: Boxes3D) -> tuple[Int[Tensor, " U"], NDArray[np.int64]]:
    """Index of each distinct box, and which of these each box is."""
    rows = np.ascontiguousarray(_on_host(boxes.array))
    # Compared as bytes: several times faster than `torch.unique` along a dimension.
    whole_rows = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, distinct = np.unique(whole_rows, return_index=True, return_inverse=True)
    return torch.from_numpy(first), distinct.reshape(-1)


def _greedy(
    overlaps: _Overlaps, distinct: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Indices that stay, rising, of detections sorted by falling score.

    `distinct` is each detection's box among the distinct ones, `classes` its class.
    """
    num_classes = int(classes.max()) + 1
    waiting, length, kept = np.arange(len(distinct)), FIRST_BLOCK, []
    while len(waiting):
        block, waiting = waiting[:length], waiting[length:]
        overlaps.look_at(distinct[block], distinct[waiting])
        is_hit = np.zeros((num_classes, len(overlaps.boxes)), dtype=bool)
        for label in np.unique(classes[block]):
            rivals = block[classes[block] == label]
            rows = distinct[rivals]
            stays = _first_come(overlaps.suppresses[rows[:, None], rows])
            kept.append(rivals[stays])
            is_hit[label] = overlaps.suppresses[rows[stays]].any(axis=0)
        waiting = waiting[~is_hit[classes[waiting], distinct[waiting]]]
        length = min(2 * length, LARGEST_BLOCK)
    return np.sort(np.concatenate(kept))


def _first_come(suppresses: Bool[NDArray, "n n"]) -> Bool[NDArray, " n"]:
    """Which of n rivals stay, the best first: those that no better one that stays suppresses.

    Repeated until nothing changes: the best is right after the first round, and whoever depends
    only on those that are right is right one round later.
    """
    beats = np.triu(suppresses, k=1)
    stays = np.ones(len(beats), dtype=bool)
    while True:
        before, stays = stays, np.logical_not(beats[stays].any(axis=0))
        if np.array_equal(stays, before):
            return stays


def _require_matching(boxes: Boxes3D, scores: Tensor, labels: Tensor, overlap: str) -> None:
    """Refuse inputs that do not describe the same boxes, and unknown overlaps."""
    if not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"non-maximum suppression of {len(boxes)} boxes, {len(scores)} scores and "
            f"{len(labels)} labels, expected one score and one label for every box"
        )
    if overlap not in ("bev", "3d"):
        raise ValueError(f'overlap {overlap!r}, expected "bev" (footprints) or "3d" (volumes)')
