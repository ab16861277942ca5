"""FCAF3D's assigner: the most central anchors inside a box, on the level that suits its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.geometry.boxes import volume
from sr3d_core.structures import Assignment, Predictions, Targets
from sr3d_core.supervision.matching import cheapest, cheapest_box
from sr3d_core.supervision.regions import anchors_inside, centerness


@dataclass(frozen=True, kw_only=True)
class Fcaf3d:
    """Assign to each box the most central anchors strictly inside it (arXiv 2112.00322, sec 3.3).

    Each box uses one level: from the finest on, the last one before the first that has fewer than
    `min_inside` anchors in it; the finest where that one has too few already. As in the release,
    an anchor must be more central than the (k+1)-th, so ties with that one drop out together, and
    one that several boxes claim goes to the box of smallest volume (the first of equal ones).
    What the network predicts does not matter.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["fcaf3d"] = "fcaf3d"
    k: int = 18
    """How many anchors a box may claim; at least 1."""
    min_inside: int = 27
    """With fewer anchors of a level inside, a box uses a finer level; at least 1."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("k", "min_inside"):
            if getattr(self, name) < 1:
                raise ValueError(f"Fcaf3d.{name} is {getattr(self, name)}, expected at least 1")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the anchors and the boxes of one scene."""
        num = len(predictions)
        weight = predictions.anchors.new_ones(num)
        if len(targets) == 0 or num == 0:
            return Assignment(torch.full((num,), -1, device=weight.device), weight)
        box, anchor = anchors_inside(targets.boxes, predictions.anchors)
        level = predictions.level[anchor]
        is_best = level == self._levels(box, level, len(targets))[box]
        box, anchor = box[is_best], anchor[is_best]
        central = centerness(targets.boxes[box], predictions.anchors[anchor])
        # Every other anchor counts as less central than those inside, also for the limit.
        away, claimed = cheapest(-central, box, anchor, len(targets), min(self.k + 1, num))
        is_claim = away < away[:, -1:]
        size = volume(targets.boxes)[:, None].expand_as(away)
        return Assignment(
            cheapest_box(size.masked_fill(~is_claim, torch.inf), claimed, num), weight
        )

    def _levels(
        self, box: Int[Tensor, " N"], level: Int[Tensor, " N"], num_boxes: int
    ) -> Int[Tensor, " M"]:
        """The level that each box uses."""
        num_levels = int(level.max()) + 1 if len(level) else 1
        inside = torch.bincount(box * num_levels + level, minlength=num_boxes * num_levels)
        is_enough = inside.view(num_boxes, num_levels) >= self.min_inside
        return (is_enough.long().cumprod(dim=1).sum(dim=1) - 1).clamp(min=0)
