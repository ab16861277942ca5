"""OTA: anchors are shared out to boxes and background by optimal transport.

Boxes and the background are suppliers, anchors demand one unit each; what a pair costs is its
loss. The plan is that of Sinkhorn and Knopp's iteration, in the log domain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.geometry.iou import aligned_iou, pairs_that_touch
from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Assignment, Boxes3D, Predictions, Targets
from sr3d_core.supervision.class_costs import focal_background, focal_cost
from sr3d_core.supervision.matching import cheapest, is_sound, places
from sr3d_core.supervision.regions import half_edges, inside_and_central

SMALLEST_IOU = 1e-7
"""Where -ln(IoU) is cut off, so that boxes that do not touch have a finite cost."""


@dataclass(frozen=True, kw_only=True)
class Ota:
    """Share out the anchors to boxes and background at the least cost (arXiv 2103.14259).

    The cost of a box is the focal loss towards its class (alpha 0.25, gamma 2) and `iou_weight`
    times -ln IoU; that of the background is the focal loss towards no class. A box supplies the
    floor of the sum of its `num_overlaps` largest IoUs, at least 1, the background the rest. Each
    anchor goes to the row of the plan whose share of its own largest entry is the largest.

    An anchor that is not strictly inside a box and near its centre costs 1e6 more in the release:
    with that it gets nothing from a box that has others, so such pairs are left out, which
    gives the same plan. Where a box has no other anchors (the constant then cancels out), it is
    offered those whose predictions overlap it; without any it gets none. Where boxes want more
    than there is, the background still supplies one unit.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["ota"] = "ota"
    center_radius: float = 2.5
    """Half the edge of the cube that is near a centre, in strides of the level; above 0."""
    num_overlaps: int = 20
    """How many of the largest IoUs are summed up to a box's supply; at least 1."""
    iou_weight: float = 1.5
    """Weight of -ln IoU beside the classification cost; at least 0."""
    entropy: float = 0.1
    """Weight of the plan's entropy: the smaller, the sharper the plan; above 0."""
    iterations: int = 50
    """How often the plan is scaled; at least 1."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("num_overlaps", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"Ota.{name} is {getattr(self, name)}, expected at least 1")
        for name in ("center_radius", "entropy"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"Ota.{name} is {getattr(self, name)}, expected a number above 0")
        if not 0 <= self.iou_weight < math.inf:
            raise ValueError(
                f"Ota.iou_weight is {self.iou_weight}, expected a number of at least 0"
            )

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the predictions and the boxes of one scene.

        Raises ValueError where the predictions do not say the strides of their levels.
        """
        weight = predictions.anchors.new_ones(len(predictions))
        target = torch.full_like(predictions.level, -1, dtype=torch.int64)
        box, anchor, is_offered = self._pairs(predictions, targets.boxes)
        if len(box) == 0:
            return Assignment(target, weight)
        iou = aligned_iou(predictions.boxes[anchor], targets.boxes[box]).clamp(0, 1)
        served, row = box.unique(return_inverse=True)
        overlap = -torch.where(is_offered, 0.0, iou)
        largest, _ = cheapest(overlap, row, anchor, len(served), self.num_overlaps)
        supply = (-largest).clamp(min=0).sum(dim=1).floor().clamp(min=1)
        cost = focal_cost(predictions.logits)[targets.labels[box], anchor]
        cost = cost - self.iou_weight * iou.clamp(min=SMALLEST_IOU).log()
        background = focal_background(predictions.logits)
        anchors, column = anchor.unique(return_inverse=True)
        plan = Transport(row, column, cost, background[anchors], len(predictions))
        winner = plan.winners(supply, self.entropy, self.iterations)
        target[anchors] = torch.where(winner >= 0, served[winner], -1)
        return Assignment(target, weight)

    def _pairs(self, predictions: Predictions, boxes: Boxes3D) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs that may match, by box, then by anchor; and which were offered for want."""
        edge = half_edges(predictions, self.center_radius)
        sound = is_sound(predictions).nonzero()[:, 0]
        anchors, predicted = side_by_side(predictions.anchors[sound]), predictions.boxes[sound]
        parts = [(sound[:0], sound[:0])]
        for block in blocks_of_boxes(len(boxes), len(sound), anchors.device):
            inside, central = inside_and_central(boxes[block], anchors, edge[sound])
            box, column = where(inside.logical_and_(central))
            parts.append((box + block.start, column))
        box, column = (torch.cat(part) for part in zip(*parts, strict=True))
        poor = (torch.bincount(box, minlength=len(boxes)) == 0).nonzero()[:, 0]
        row, other = pairs_that_touch(boxes[poor], predicted, num_axes=3)
        is_offered = torch.arange(len(box) + len(row), device=box.device) >= len(box)
        box, anchor = torch.cat([box, poor[row]]), sound[torch.cat([column, other])]
        order = box.argsort(stable=True)
        return box[order], anchor[order], is_offered[order]


class Transport:
    """A transport problem in which most anchors can be served by the background alone.

    `box[n]` can serve the anchor `column[n]` at `cost[n]`, the background can serve every anchor;
    `num_anchors - len(background)` further anchors know nothing else.
    """

    def __init__(
        self,
        box: Int[Tensor, " N"],
        column: Int[Tensor, " N"],
        cost: Float[Tensor, " N"],
        background: Float[Tensor, " E"],
        num_anchors: int,
    ) -> None:
        self._box, self._column = box, column
        self._cost, self._background = cost.double(), background.double()
        self._num_anchors = num_anchors

    def winners(
        self, supply: Float[Tensor, " M"], entropy: float, iterations: int
    ) -> Int[Tensor, " E"]:
        """The box that each of the anchors goes to, -1 = background.

        Rows of the plan are divided by their largest entry; the first of equal ones wins, boxes
        before the background.
        """
        by_box, by_background, others = self.log_plan(supply, entropy, iterations)
        best_of_box = _amax(by_box, self._box, len(supply))
        share = by_box - best_of_box[self._box]
        largest = by_background.max() if others is None else by_background.max().clamp(min=others)
        share_of_background = by_background - largest
        best = _amax(share, self._column, len(by_background))
        nobody = len(supply)
        is_best = share == best[self._column]
        first = torch.full_like(by_background, nobody, dtype=torch.int64)
        first = first.scatter_reduce(0, self._column[is_best], self._box[is_best], "amin")
        return torch.where(best >= share_of_background, first, -1)

    def log_plan(
        self, supply: Float[Tensor, " M"], entropy: float, iterations: int
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " E"], Float[Tensor, ""] | None]:
        """The logarithms of the plan: of the pairs, of the background, of each other anchor.

        None for the last where there is no other anchor.
        """
        supply = supply.double()
        pair, alone = -self._cost / entropy, -self._background / entropy
        num_others = self._num_anchors - len(alone)
        rest = (self._num_anchors - supply.sum()).clamp(min=1)
        wanted, wanted_of_rest = supply.log(), rest.log()
        by_anchor, by_box = _Rows(self._column, len(alone)), _Rows(self._box, len(supply))
        u, u_rest = torch.zeros_like(wanted), torch.zeros_like(wanted_of_rest)
        for _ in range(iterations):
            v = -torch.logaddexp(by_anchor.logsumexp(pair + u[self._box]), alone + u_rest)
            u = wanted - by_box.logsumexp(pair + v[self._column])
            # Each other anchor has v = -(alone + u_rest), of which the background's row sees this.
            before = u_rest
            known = torch.logsumexp(alone + v, dim=0)
            unknown = -before + math.log(num_others) if num_others else before - torch.inf
            u_rest = wanted_of_rest - torch.logaddexp(known, unknown)
        others = u_rest - before if num_others else None
        return pair + u[self._box] + v[self._column], alone + v + u_rest, others


class _Rows:
    """Entries of a list that belong together, side by side in a table."""

    def __init__(self, row: Int[Tensor, " N"], num_rows: int) -> None:
        order = row.argsort(stable=True)
        place, width = places(row[order], num_rows)
        self._entry = torch.full((num_rows, width), len(row), device=row.device)
        self._entry[row[order], place] = order

    def logsumexp(self, values: Float[Tensor, " N"]) -> Float[Tensor, " R"]:
        """ln of the sum of exp of each row; -inf for an empty one."""
        padded = torch.cat([values, values.new_full((1,), -torch.inf)])
        return torch.logsumexp(padded[self._entry], dim=1)


def _amax(values: Float[Tensor, " N"], row: Int[Tensor, " N"], num: int) -> Float[Tensor, " R"]:
    """The largest value of each row, -inf for an empty one."""
    return values.new_full((num,), -torch.inf).scatter_reduce(0, row, values, "amax")
