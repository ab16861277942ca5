"""What simOTA and AlignOTA share: each box takes as many anchors as its predictions overlap it.

Candidates are the anchors that lie in any box or near any centre. A box of which `num_overlaps`
candidates' predictions overlap most takes the floor of the sum of these IoUs, at least 1, of the
cheapest candidates (YOLOX, arXiv 2107.08430, sec 2.1). Those that are both in the box and near its
centre come before all others, whatever they cost. An anchor that several boxes took goes to the
box to which it costs least, of all boxes, and the first of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.geometry.iou import aligned_iou, pairs_that_touch
from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.matching import (
    blocks_of_boxes,
    cheapest,
    is_sound,
    side_by_side,
    smallest,
)
from sr3d_core.supervision.regions import half_edges, inside_and_central

ClassCost = Callable[
    [Int[Tensor, " B"], Int[Tensor, " C"], Float[Tensor, "B C"]], Float[Tensor, "B C"]
]
"""The classification cost of candidates for boxes of these labels, given their IoU."""

SMALLEST_IOU = 1e-7
"""Added to the IoU, so that boxes that do not touch have a finite cost."""

_OUTSIDE = 1e8  # more than any other cost, and exact beside it in double precision


@dataclass(frozen=True, slots=True, eq=False)
class DynamicK:
    """How boxes take anchors; what is open is the classification cost."""

    radius: float
    num_overlaps: int
    iou_weight: float
    class_cost: ClassCost

    def __call__(self, predictions: Predictions, targets: Targets) -> Int[Tensor, " P"]:
        """The box of each anchor, -1 for none."""
        target = torch.full_like(predictions.level, -1)
        candidate = self._candidates(predictions, targets.boxes)
        if len(candidate) == 0:
            return target
        costs = _Costs(self, predictions, targets)
        taken = [costs.taken(block, candidate) for block in _blocks(targets, candidate)]
        box, anchor = (torch.cat(part) for part in zip(*taken, strict=True))
        num_taken = torch.bincount(anchor, minlength=len(predictions))
        target[anchor] = box
        contested = (num_taken > 1).nonzero()[:, 0]
        target[contested] = costs.cheapest_of_all(contested)
        return target

    def _candidates(self, predictions: Predictions, boxes: Boxes3D) -> Int[Tensor, " C"]:
        """The anchors in any box or near any centre whose predictions are numbers."""
        anchors = side_by_side(predictions.anchors)
        edge = half_edges(predictions, self.radius)
        is_near = torch.zeros_like(predictions.level, dtype=torch.bool)
        for block in blocks_of_boxes(len(boxes), len(anchors), anchors.device):
            is_inside, is_central = inside_and_central(boxes[block], anchors, edge)
            is_near |= (is_inside | is_central).any(dim=0)
        return (is_near & is_sound(predictions)).nonzero()[:, 0]


def _blocks(targets: Targets, candidate: Tensor) -> list[slice]:
    return list(blocks_of_boxes(len(targets), len(candidate), candidate.device))


class _Costs:
    """The costs of pairs, a few boxes at a time."""

    def __init__(self, rule: DynamicK, predictions: Predictions, targets: Targets) -> None:
        self._rule, self._predictions, self._targets = rule, predictions, targets
        self._edge = half_edges(predictions, rule.radius)

    def taken(
        self, block: slice, candidate: Int[Tensor, " C"]
    ) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
        """The boxes and anchors of all that a block of boxes takes."""
        cost, wanted = self.of(block, candidate)
        wanted = wanted.clamp(min=1, max=len(candidate))
        _, column = smallest(cost, int(wanted.max()))
        is_taken = torch.arange(column.shape[1], device=column.device) < wanted[:, None]
        box, place = is_taken.nonzero(as_tuple=True)
        return box + block.start, candidate[column[box, place]]

    def cheapest_of_all(self, anchor: Int[Tensor, " A"]) -> Int[Tensor, " A"]:
        """The box to which each anchor costs least."""
        least = torch.full_like(anchor, torch.inf, dtype=torch.float64)
        best = torch.zeros_like(anchor)
        for block in _blocks(self._targets, anchor):
            cost, box = self.of(block, anchor)[0].min(dim=0)
            best = torch.where(cost < least, box + block.start, best)
            least = torch.minimum(least, cost)
        return best

    def of(
        self, block: slice, anchor: Int[Tensor, " A"]
    ) -> tuple[Float[Tensor, "B A"], Int[Tensor, " B"]]:
        """The costs of a block of boxes, and how many anchors each of them wants."""
        truth, labels = self._targets.boxes[block], self._targets.labels[block]
        predicted = self._predictions.boxes[anchor]
        row, column = pairs_that_touch(truth, predicted, num_axes=3)
        overlap = aligned_iou(predicted[column], truth[row]).clamp(0, 1)
        iou = overlap.new_zeros(len(truth), len(anchor)).index_put((row, column), overlap)
        num = min(self._rule.num_overlaps, len(anchor))
        least, _ = cheapest(-overlap, row, column, len(truth), num)
        wanted = (-least).clamp(min=0).sum(dim=1).floor().long()
        cost = self._rule.class_cost(labels, anchor, iou)
        cost -= self._rule.iou_weight * iou.add_(SMALLEST_IOU).log_()
        anchors = side_by_side(self._predictions.anchors[anchor])
        is_inside, is_central = inside_and_central(truth, anchors, self._edge[anchor])
        return cost.double() + _OUTSIDE * ~(is_inside & is_central), wanted


def check_dynamic_k(radius: float, num_overlaps: int, iou_weight: float, owner: str) -> None:
    """Refuse knobs out of range; `owner` names the assigner."""
    if not 0 < radius < math.inf:
        raise ValueError(f"{owner}.center_radius is {radius}, expected a number above 0")
    if num_overlaps < 1:
        raise ValueError(f"{owner}.num_overlaps is {num_overlaps}, expected at least 1")
    if not 0 <= iou_weight < math.inf:
        raise ValueError(f"{owner}.iou_weight is {iou_weight}, expected a number of at least 0")
