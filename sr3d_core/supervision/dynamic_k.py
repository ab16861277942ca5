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

from sr3d_core.geometry.iou import aligned_iou, pairs_that_touch, pairwise_iou
from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Predictions, Targets
from sr3d_core.supervision.matching import cheapest, is_sound, smallest
from sr3d_core.supervision.regions import half_edges, inside_and_central

ClassCost = Callable[
    [Int[Tensor, "*N"], Int[Tensor, "*N"], Float[Tensor, "*N"]], Float[Tensor, "*N"]
]
"""The classification cost of pairs: the box's label, the anchor, and the IoU of the prediction."""

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
        match = _Match(self, predictions, targets)
        if len(match.candidate) == 0 or len(targets) == 0:
            return target
        box, anchor = match.taken()
        target[anchor] = box
        contested = (torch.bincount(anchor, minlength=len(target)) > 1).nonzero()[:, 0]
        target[contested] = match.cheapest_of_all(contested)
        return target


class _Match:
    """One scene: few boxes need the cost of every candidate, most that of the pairs inside."""

    def __init__(self, rule: DynamicK, predictions: Predictions, targets: Targets) -> None:
        self._rule, self._predictions, self._targets = rule, predictions, targets
        self._edge = half_edges(predictions, rule.radius)
        sound = is_sound(predictions)
        anchors = side_by_side(predictions.anchors)
        is_near = torch.zeros_like(sound)
        inside = [(sound.nonzero()[:0, 0], sound.nonzero()[:0, 0])]
        for block in blocks_of_boxes(len(targets), len(anchors), anchors.device):
            is_inside, is_central = inside_and_central(targets.boxes[block], anchors, self._edge)
            box, anchor = where(is_inside & is_central & sound)
            inside.append((box + block.start, anchor))
            is_near |= is_inside.logical_or_(is_central).any(dim=0)
        self._box, self._anchor = (torch.cat(part) for part in zip(*inside, strict=True))
        self.candidate = (is_near & sound).nonzero()[:, 0]

    def taken(self) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
        """The boxes and anchors of all that is taken; several boxes may take one anchor."""
        wanted = self._wanted()
        truth = self._targets.boxes[self._box]
        iou = aligned_iou(self._predictions.boxes[self._anchor], truth).clamp(0, 1)
        cost = self._cost(self._targets.labels[self._box], self._anchor, iou)
        num_inside = torch.bincount(self._box, minlength=len(wanted))
        _, table = cheapest(cost, self._box, self._anchor, len(wanted), int(wanted.max()))
        is_taken = torch.arange(table.shape[1], device=table.device) < wanted[:, None]
        is_taken &= (num_inside >= wanted)[:, None]
        box, place = is_taken.nonzero(as_tuple=True)
        poor = (num_inside < wanted).nonzero()[:, 0]
        parts = [(box, table[box, place])]
        parts += [
            self._taken_anywhere(poor[block], wanted[poor[block]])
            for block in blocks_of_boxes(len(poor), len(self.candidate), poor.device)
        ]
        box, anchor = (torch.cat(part) for part in zip(*parts, strict=True))
        return box, anchor

    def _wanted(self) -> Int[Tensor, " M"]:
        """How many anchors each box takes."""
        predicted, truth = self._predictions.boxes[self.candidate], self._targets.boxes
        num = min(self._rule.num_overlaps, len(self.candidate))
        row, column = pairs_that_touch(truth, predicted, num_axes=3)
        wanted = []
        for block in blocks_of_boxes(len(truth), len(predicted), self.candidate.device):
            ends = row.new_tensor([block.start, block.stop])
            first, last = torch.searchsorted(row, ends).tolist()
            box, other = row[first:last], column[first:last]
            overlap = aligned_iou(predicted[other], truth[box]).clamp(0, 1)
            size = block.stop - block.start
            least, _ = cheapest(-overlap, box - block.start, other, size, num)
            wanted.append((-least).clamp(min=0).sum(dim=1).floor().long())
        return torch.cat(wanted).clamp(min=1, max=len(self.candidate))

    def _taken_anywhere(
        self, box: Int[Tensor, " B"], wanted: Int[Tensor, " B"]
    ) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
        """What boxes take that have fewer anchors inside and near the centre than they want."""
        _, column = smallest(self._of_all(box, self.candidate), int(wanted.max()))
        is_taken = torch.arange(column.shape[1], device=column.device) < wanted[:, None]
        row, place = is_taken.nonzero(as_tuple=True)
        return box[row], self.candidate[column[row, place]]

    def cheapest_of_all(self, anchor: Int[Tensor, " A"]) -> Int[Tensor, " A"]:
        """The box to which each anchor costs least."""
        least = torch.full_like(anchor, torch.inf, dtype=torch.float64)
        best = torch.zeros_like(anchor)
        boxes = torch.arange(len(self._targets), device=anchor.device)
        for block in blocks_of_boxes(len(boxes), len(anchor), anchor.device):
            cost, box = self._of_all(boxes[block], anchor).min(dim=0)
            best = torch.where(cost < least, box + block.start, best)
            least = torch.minimum(least, cost)
        return best

    def _of_all(self, box: Int[Tensor, " B"], anchor: Int[Tensor, " A"]) -> Float[Tensor, "B A"]:
        """The cost of each of these pairs, more where the anchor is outside or not central."""
        truth, predicted = self._targets.boxes[box], self._predictions.boxes[anchor]
        iou = pairwise_iou(truth, predicted).clamp_(0, 1)
        label = self._targets.labels[box][:, None].expand_as(iou)
        cost = self._cost(label, anchor.expand_as(iou), iou)
        anchors = side_by_side(self._predictions.anchors[anchor])
        is_inside, is_central = inside_and_central(truth, anchors, self._edge[anchor])
        return cost.double() + _OUTSIDE * ~(is_inside & is_central)

    def _cost(self, label: Tensor, anchor: Tensor, iou: Tensor) -> Tensor:
        overlap = (iou + SMALLEST_IOU).log()
        return self._rule.class_cost(label, anchor, iou) - self._rule.iou_weight * overlap


def check_dynamic_k(radius: float, num_overlaps: int, iou_weight: float, owner: str) -> None:
    """Refuse knobs out of range; `owner` names the assigner."""
    if not 0 < radius < math.inf:
        raise ValueError(f"{owner}.center_radius is {radius}, expected a number above 0")
    if num_overlaps < 1:
        raise ValueError(f"{owner}.num_overlaps is {num_overlaps}, expected at least 1")
    if not 0 <= iou_weight < math.inf:
        raise ValueError(f"{owner}.iou_weight is {iou_weight}, expected a number of at least 0")
