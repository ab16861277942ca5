"""SPOTA: each box claims the anchors whose predictions fit it best (SR3D eqs 3-5, Algorithm 1).

The cost of a pair is a centre prior times the sum of a regression cost and the vertex distance:
`cost = (1 - exp(-mu d^2)) (C_reg + R_VD)`, with `d` from the anchor point to the box centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.geometry.boxes import bounds, corners
from sr3d_core.geometry.iou import aligned_diou, aligned_iou
from sr3d_core.structures import Assignment, Boxes3D, Predictions, Targets
from sr3d_core.supervision.matching import (
    cheapest_box,
    check_levels,
    keep_levels,
    squared_distance,
)

SMALLEST_IOU = 1e-7
"""Where -ln(IoU) is cut off, so that boxes that do not touch have a finite cost."""

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
    """Assign to each box the `k` predictions of smallest cost (Algorithm 1)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["spota"] = "spota"
    k: int = 6
    """How many predictions a box may claim; at least 1."""
    mu: float = 1.0
    """How fast the centre prior saturates, per square metre; above 0."""
    regression: Literal["iou", "neg_log_iou", "diou"] = "iou"
    """C_reg of eq 5: 1 - IoU, -ln IoU, or 1 - DIoU."""
    level_filter: tuple[int, ...] | None = None
    """The level of each class, outside which its boxes claim nothing; None: all levels."""
    candidates: int = 256
    """Costs are computed for so many anchors nearest to each box; at least `k`. The cost is
    nearly always smallest close to the centre, so this changes the result only where fewer than
    `k` of them predict anything near the box. A number above that of the anchors searches all."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.k < 1:
            raise ValueError(f"Spota.k is {self.k}, expected at least 1")
        if not self.mu > 0:
            raise ValueError(f"Spota.mu is {self.mu}, expected a number above 0")
        if self.candidates < self.k:
            raise ValueError(
                f"Spota.candidates is {self.candidates}, expected at least k = {self.k}"
            )
        check_levels(self.level_filter, "Spota")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the predictions and the boxes of one scene.

        A prediction that several boxes claim goes to the box of smallest cost; the others do not
        claim a further one. Predictions whose cost is not finite are never claimed.
        """
        num = len(predictions)
        weight = predictions.anchors.new_ones(num)
        if len(targets) == 0 or num == 0:
            return Assignment(torch.full((num,), -1, device=weight.device), weight)
        distance = self._distance(predictions, targets)
        distance, anchor = distance.topk(min(self.candidates, num), largest=False, sorted=False)
        cost = self._cost(predictions, targets, distance, anchor)
        cost, best = cost.topk(min(self.k, cost.shape[1]), largest=False)
        return Assignment(cheapest_box(cost, anchor.gather(1, best), num), weight)

    @torch.no_grad()
    def cost(self, predictions: Predictions, targets: Targets) -> Float[Tensor, "P M"]:
        """Eq 5 for every pair, infinite where undefined or on another level than the box's class.

        For study: the assignment computes the candidates' costs only.
        """
        num = len(predictions)
        anchor = torch.arange(num, device=predictions.anchors.device).expand(len(targets), num)
        return self._cost(predictions, targets, self._distance(predictions, targets), anchor).T

    def _distance(self, predictions: Predictions, targets: Targets) -> Float[Tensor, "M P"]:
        distance = squared_distance(targets.boxes.center, predictions.anchors)
        return keep_levels(distance, predictions, targets, self.level_filter)

    def _cost(
        self, predictions: Predictions, targets: Targets, distance: Tensor, anchor: Tensor
    ) -> Float[Tensor, "M C"]:
        """Eq 5 for each box m and the predictions `anchor[m]`."""
        truth_index = torch.arange(len(targets), device=anchor.device)
        truth = targets.boxes[truth_index.repeat_interleave(anchor.shape[1])]
        predicted = predictions.boxes[anchor.flatten()]
        fit = self._regression_cost(predicted, truth) + aligned_vertex_distance(predicted, truth)
        cost = _prior(distance, self.mu) * fit.view_as(distance)
        return cost.masked_fill(distance.isinf() | cost.isnan(), torch.inf)

    def _regression_cost(self, predicted: Boxes3D, truth: Boxes3D) -> Float[Tensor, " N"]:
        if self.regression == "diou":
            return 1 - aligned_diou(predicted, truth)
        iou = aligned_iou(predicted, truth)
        return 1 - iou if self.regression == "iou" else -iou.clamp(min=SMALLEST_IOU).log()
