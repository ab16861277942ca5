"""TR3D's assigner: each box takes the anchor points nearest to its centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict

from sr3d_core.structures import Assignment, Predictions, Targets
from sr3d_core.supervision.matching import (
    cheapest_box,
    check_levels,
    level_of_boxes,
    nearest_anchors,
    nearest_box,
)


@dataclass(frozen=True, kw_only=True)
class CenterTopK:
    """Assign to each box the anchor points nearest to its centre (TR3D's rule).

    An anchor is claimed if it is strictly nearer than the box's (k+1)-th nearest anchor, or than
    the farthest where there are no more than k. So ties with that one drop out together. Anchors
    need not lie inside the box.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["center_topk"] = "center_topk"
    k: int = 6
    """How many anchor points a box may claim; at least 1."""
    level_filter: tuple[int, ...] | None = None
    """The level of each class, outside which its boxes claim nothing; None: all levels."""
    only_nearest_box: bool = False
    """Whether an anchor that is nearer to another box, even one that cannot claim it, stays
    background. True in TR3D's first release, False in its later one."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.k < 1:
            raise ValueError(f"CenterTopK.k is {self.k}, expected at least 1")
        check_levels(self.level_filter, "CenterTopK")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the anchors and the boxes of one scene.

        An anchor point that two boxes claim goes to the nearer one.
        """
        num = len(predictions)
        weight = predictions.anchors.new_ones(num)
        if len(targets) == 0 or num == 0:
            return Assignment(torch.full((num,), -1, device=weight.device), weight)
        level = level_of_boxes(targets, self.level_filter)
        nearest, anchor = nearest_anchors(targets.boxes, predictions, level, min(self.k + 1, num))
        claimed = nearest.masked_fill(nearest >= nearest[:, -1:], torch.inf)
        target = cheapest_box(claimed, anchor, num)
        if self.only_nearest_box:
            is_claimed = target >= 0
            nearer = nearest_box(targets.boxes.center, predictions.anchors[is_claimed])
            target[is_claimed] = target[is_claimed].where(target[is_claimed] == nearer, -1)
        return Assignment(target, weight)
