"""SPOTA: each box claims the anchors whose predictions fit it best (SR3D eqs 3-5, Algorithm 1).

The cost of a pair is a centre prior times the sum of a regression cost and the vertex distance:
`cost = (1 - exp(-mu d^2)) (C_reg + R_VD)`, with `d` from the anchor point to the box centre.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.geometry.boxes import bounds, corners, volume
from sr3d_core.geometry.iou import aligned_diou, aligned_iou
from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Assignment, Boxes3D, Predictions, Targets
from sr3d_core.supervision.class_costs import focal_cost
from sr3d_core.supervision.matching import (
    cheapest,
    cheapest_box,
    check_levels,
    has_box,
    level_of_boxes,
    nearest_anchors,
    squared_distance,
)

SMALLEST_IOU = 1e-7
"""Where -ln(IoU) is cut off, so that boxes that do not touch have a finite cost."""

_NUM_FIRST = 16
"""So many anchors nearest to a box are looked at first: their costs rule out most others."""

_ROUNDING = 1 - 1e-3  # a bound may be this much too large
_NO_LIMIT = 1e30  # of a cost; not infinite, which times a distance of 0 is no number
_FEW_PAIRS = 2**17  # are looked at together

SPACE_DIAGONALS = ((0, 6), (1, 7), (2, 4), (3, 5))
"""Lower and upper corner of each space diagonal, as `geometry.boxes.corners` counts them."""


def vertex_distance(predicted: Boxes3D, truth: Boxes3D) -> Float[Tensor, "P M"]:
    """R_VD of every pair (eq 3), in 0..1; see `aligned_vertex_distance`."""
    num_predicted, num_truth = len(predicted), len(truth)
    device = predicted.center.device
    row = torch.arange(num_predicted, device=device).repeat_interleave(num_truth)
    column = torch.arange(num_truth, device=device).repeat(num_predicted)
    distance = aligned_vertex_distance(predicted[row], truth[column])
    return distance.view(num_predicted, num_truth)


def aligned_vertex_distance(predicted: Boxes3D, truth: Boxes3D) -> Float[Tensor, " N"]:
    """R_VD row by row (eq 3): `(|v1 - v1'| + |v2 - v2'|) / (2 rho)`, in 0..1.

    v1 and v2 are the lower and the upper corner on a space diagonal, rho is the diagonal of the
    smallest axis-aligned box around both boxes. Where a box is rotated, the same box has four
    descriptions (quarter turns of the heading) with four different diagonals, so the smallest
    distance over the four counts; where both yaws are 0 the corners are the minima and maxima.
    """
    corner, truth_corner = corners(predicted), corners(truth)
    distance = _diagonal_distance(corner, truth_corner, *SPACE_DIAGONALS[0])
    is_rotated = (predicted.yaw != 0) | (truth.yaw != 0)
    if is_rotated.any():
        for lower, upper in SPACE_DIAGONALS[1:]:
            other = _diagonal_distance(corner, truth_corner, lower, upper)
            distance = torch.where(is_rotated, torch.minimum(distance, other), distance)
    (low, high), (truth_low, truth_high) = bounds(predicted), bounds(truth)
    rho = (torch.maximum(high, truth_high) - torch.minimum(low, truth_low)).norm(dim=1)
    return distance / (2 * rho.clamp(min=torch.finfo(rho.dtype).eps))


def _diagonal_distance(
    corner: Float[Tensor, "N 8 3"], truth_corner: Float[Tensor, "N 8 3"], lower: int, upper: int
) -> Float[Tensor, " N"]:
    """Summed distance of the first space diagonal's ends to the truth's `lower` and `upper`."""
    first_lower, first_upper = SPACE_DIAGONALS[0]
    to_lower = (corner[:, first_lower] - truth_corner[:, lower]).norm(dim=1)
    return to_lower + (corner[:, first_upper] - truth_corner[:, upper]).norm(dim=1)


def center_prior(
    anchors: Float[Tensor, "P 3"], centers: Float[Tensor, "M 3"], mu: float
) -> Float[Tensor, "P M"]:
    """gamma_c = 1 - exp(-mu d^2) (eq 4), in 0..1: 0 at the centre; `mu` per square metre."""
    return _prior(squared_distance(centers, anchors), mu).T


def _prior(distance: Tensor, mu: float) -> Tensor:
    # expm1 keeps the digits of the small values, which are the ones that decide.
    return -torch.expm1(-mu * distance)


@dataclass(frozen=True, kw_only=True)
class Spota:
    """Assign to each box the `k` predictions of smallest cost (Algorithm 1).

    The defaults are eq 5 with the candidates limited; `candidates: all` is the algorithm as
    printed. What the paper leaves open: C_reg, here 1 - IoU as the vertex distance stands beside
    it; the distance of eq 4, here in metres and from the anchor point; a prediction that several
    boxes claim, which goes to the cheapest; C_cls of its ablation, see
    `classification`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["spota"] = "spota"
    k: int = 6
    """How many predictions a box may claim; at least 1."""
    mu: float = 1.0
    """How fast the centre prior saturates, per square metre; above 0."""
    regression: Literal["iou", "neg_log_iou", "diou"] = "iou"
    """C_reg of eq 5: 1 - IoU, -ln IoU, or 1 - DIoU."""
    vertex_distance: bool = True
    """Whether R_VD is part of the cost; False is the paper's ablation "w/o R_VD"."""
    classification: float = 0.0
    """Weight of a classification cost beside C_reg and R_VD; at least 0, and 0 in SR3D. Above 0 is
    the paper's ablation "w/ C_cls": it does not print the cost, here it is OTA's, the focal loss
    of all classes (alpha 0.25, gamma 2)."""
    level_filter: tuple[int, ...] | None = None
    """The level of each class, outside which its boxes claim nothing; None: all levels."""
    candidates: int | Literal["all"] = 64
    """Only so many anchors nearest to each box may be claimed, at least `k`; "all" as in
    Algorithm 1. The cost is nearly always smallest close to the centre: in 60 rooms with 432 boxes
    (the weights that ship, before and after their head knew anything) and in two made-up scenes of
    100 boxes and 30,000 anchors, 64 gave what all give, 16 did not."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.k < 1:
            raise ValueError(f"Spota.k is {self.k}, expected at least 1")
        if not self.mu > 0:
            raise ValueError(f"Spota.mu is {self.mu}, expected a number above 0")
        if not 0 <= self.classification < math.inf:
            raise ValueError(
                f"Spota.classification is {self.classification}, expected a number of at least 0"
            )
        if self.candidates != "all" and self.candidates < self.k:
            raise ValueError(
                f"Spota.candidates is {self.candidates}, expected at least k = {self.k}, or all"
            )
        check_levels(self.level_filter, "Spota")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the predictions and the boxes of one scene.

        A prediction that several boxes claim goes to the box of smallest cost; the others do not
        claim a further one. Of equal costs the first box, and the first prediction, comes first.
        Predictions whose cost is not finite are never claimed.
        """
        num = len(predictions)
        weight = predictions.anchors.new_ones(num)
        if len(targets) == 0 or num == 0:
            return Assignment(torch.full((num,), -1, device=weight.device), weight)
        cost, anchor = _Search(self, predictions, targets).cheapest()
        return Assignment(cheapest_box(cost, anchor, num), weight)

    @torch.no_grad()
    def cost(self, predictions: Predictions, targets: Targets) -> Float[Tensor, "P M"]:
        """Eq 5 for every pair, infinite where undefined or on another level than the box's class.

        For study: the assignment computes the costs of few pairs, this one needs the memory of
        all.
        """
        num = len(predictions)
        anchor = torch.arange(num, device=predictions.anchors.device).repeat(len(targets))
        box = torch.arange(len(targets), device=anchor.device).repeat_interleave(num)
        cost = _Search(self, predictions, targets).cost(box, anchor)
        return cost.view(len(targets), num).T


class _Search:
    """The cheapest predictions of each box, found without the cost of every pair.

    The k-th smallest cost of some predictions is an upper limit of the k-th smallest of all, and
    the distances of an anchor and of its predicted centre tell what a pair costs at least. What
    must cost more than the limit is not looked at, so that the result is that of a full search.
    """

    def __init__(self, rule: Spota, predictions: Predictions, targets: Targets) -> None:
        self._rule, self._predictions, self._targets = rule, predictions, targets
        self._level = level_of_boxes(targets, rule.level_filter)
        self._has_box = has_box(predictions)
        self._class_cost: Tensor | None = None
        if rule.classification > 0:
            self._class_cost = rule.classification * focal_cost(predictions.logits)
        self._reach, self._truth_reach = _diagonal(predictions.boxes), _diagonal(targets.boxes)

    def cheapest(self) -> tuple[Float[Tensor, "M k"], Int[Tensor, "M k"]]:
        """The costs of what each box claims, rising, and the anchors; infinite where it cannot."""
        num, candidates = len(self._predictions), self._rule.candidates
        num_first = min(max(_NUM_FIRST, self._rule.k), num)
        num_near = num_first if candidates == "all" else min(candidates, num)
        distance, near = nearest_anchors(
            self._targets.boxes, self._predictions, self._level, num_near
        )
        limit = self._upper_limit(distance[:, :num_first], near[:, :num_first])
        if candidates == "all":
            parts = [self._among(*pairs, limit) for pairs in self._pairs_below(limit)]
        else:
            box, place = where(distance.isfinite())
            parts = [self._among(slice(0, len(near)), box, near[box, place], limit)]
        return torch.cat([cost for cost, _ in parts]), torch.cat([anchor for _, anchor in parts])

    def cost(self, box: Int[Tensor, " N"], anchor: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Eq 5 of pairs; infinite where it is undefined or their levels differ."""
        predicted, truth = self._predictions.boxes[anchor], self._targets.boxes[box]
        fit = self._regression_cost(predicted, truth)
        if self._rule.vertex_distance:
            fit = fit + aligned_vertex_distance(predicted, truth)
        cost = self._prior(box, anchor) * self._with_class_cost(fit, box, anchor)
        is_never = cost.isnan() | ~self._has_box[anchor]
        if self._level is not None:
            is_never |= self._level[box] != self._predictions.level[anchor]
        return cost.masked_fill(is_never, torch.inf)

    def _regression_cost(self, predicted: Boxes3D, truth: Boxes3D) -> Float[Tensor, " N"]:
        if self._rule.regression == "diou":
            return 1 - aligned_diou(predicted, truth)
        iou = aligned_iou(predicted, truth)
        return 1 - iou if self._rule.regression == "iou" else -iou.clamp(min=SMALLEST_IOU).log()

    def _prior(self, box: Tensor, anchor: Tensor) -> Float[Tensor, " N"]:
        offset = self._predictions.anchors[anchor] - self._targets.boxes.center[box]
        return _prior(offset.square().sum(dim=1), self._rule.mu)

    def _with_class_cost(self, fit: Tensor, box: Tensor, anchor: Tensor) -> Float[Tensor, " N"]:
        if self._class_cost is None:
            return fit
        return fit + self._class_cost[self._targets.labels[box], anchor]

    def _upper_limit(
        self, distance: Float[Tensor, "M F"], anchor: Int[Tensor, "M F"]
    ) -> Float[Tensor, " M"]:
        """What the k-th cheapest prediction of each box costs at most."""
        box = torch.arange(len(anchor), device=anchor.device).repeat_interleave(anchor.shape[1])
        cost = self.cost(box, anchor.flatten()).view_as(distance)
        cost = cost.masked_fill(distance.isinf(), torch.inf)  # no anchor at all
        return cost.kthvalue(min(self._rule.k, cost.shape[1]), dim=1).values

    def _pairs_below(
        self, limit: Float[Tensor, " M"]
    ) -> Iterator[tuple[slice, Int[Tensor, " N"], Int[Tensor, " N"]]]:
        """The pairs of some boxes at a time that may cost no more than the limit.

        The prior is at least x / (1 + x) with x = mu d^2, the rest at least `least` below.
        """
        anchors = side_by_side(self._predictions.anchors)
        found = side_by_side(self._predictions.boxes.center)
        centers, first = self._targets.boxes.center, 0
        limit = (limit / _ROUNDING).clamp(max=_NO_LIMIT)[:, None]
        waiting: list[tuple[Tensor, Tensor]] = []
        for block in blocks_of_boxes(len(centers), len(anchors), anchors.device):
            least = self._coarse_fit(block, squared_distance(centers[block], found).sqrt_())
            distance = squared_distance(centers[block], anchors)
            # x / (1 + x) * least <= limit, without a division
            is_below = least.sub_(limit[block]).mul_(distance) <= limit[block] / self._rule.mu
            if self._level is not None:
                is_below &= self._level[block, None] == self._predictions.level
            box, anchor = where(is_below)
            waiting.append((box + block.start, anchor))
            if block.stop == len(centers) or sum(len(box) for box, _ in waiting) > _FEW_PAIRS:
                boxes, pairs = (torch.cat(part) for part in zip(*waiting, strict=True))
                yield slice(first, block.stop), boxes, pairs
                first, waiting = block.stop, []

    def _coarse_fit(self, block: slice, apart: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """A part of `_least_fit` for all predictions; `apart` is the distance of the centres."""
        reach = self._reach + self._truth_reach[block, None]
        if self._rule.vertex_distance:
            fit = apart.div_(reach.add_(apart))
        else:
            fit = (apart * 2 >= reach).to(apart.dtype)
        if self._class_cost is not None:
            fit += self._class_cost[self._targets.labels[block]]
        return fit

    def _among(
        self, boxes: slice, box: Tensor, anchor: Tensor, limit: Float[Tensor, " M"]
    ) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"]]:
        """The cheapest predictions of some boxes among pairs."""
        bound = self._prior(box, anchor) * self._least_fit(box, anchor)
        is_below = _ROUNDING * bound <= limit[box]
        box, anchor = box[is_below], anchor[is_below]
        order = (box * len(self._predictions) + anchor).argsort()
        box, anchor = box[order], anchor[order]
        k = min(self._rule.k, len(self._predictions))
        num = boxes.stop - boxes.start
        return cheapest(self.cost(box, anchor), box - boxes.start, anchor, num, k)

    def _least_fit(self, box: Tensor, anchor: Tensor) -> Float[Tensor, " N"]:
        """What stands in brackets in eq 5 is at least this.

        |v1 - v1'| + |v2 - v2'| is at least twice the distance of the midpoints, and rho at most
        that distance and both diagonals together. Boxes whose surrounding spheres do not meet
        have no overlap; no IoU is above the quotient of the volumes.
        """
        predicted, truth = self._predictions.boxes[anchor], self._targets.boxes[box]
        apart = (predicted.center - truth.center).norm(dim=1)
        reach = self._reach[anchor] + self._truth_reach[box]
        small, large = volume(predicted), volume(truth)
        small, large = torch.minimum(small, large), torch.maximum(small, large)
        iou = (small / large.clamp(min=torch.finfo(large.dtype).tiny)).clamp(max=1)
        fit = 1 - iou.masked_fill(apart * 2 >= reach, 0)
        if self._rule.vertex_distance:
            fit = fit + apart / (apart + reach)
        return self._with_class_cost(fit, box, anchor)


def _diagonal(boxes: Boxes3D) -> Float[Tensor, " N"]:
    """The diagonal of each box's axis-aligned bounds in metres, above 0."""
    low, high = bounds(boxes)
    return (high - low).norm(dim=1).clamp(min=torch.finfo(low.dtype).eps)
