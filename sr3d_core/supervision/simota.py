"""simOTA: OTA's transport replaced by a number of anchors that follows from the overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict

from sr3d_core.structures import Assignment, Predictions, Targets
from sr3d_core.supervision.class_costs import cross_entropy_cost
from sr3d_core.supervision.dynamic_k import DynamicK, check_dynamic_k


@dataclass(frozen=True, kw_only=True)
class SimOta:
    """Assign as many anchors to a box as predictions overlap it (YOLOX, arXiv 2107.08430).

    The cost is the binary cross-entropy of all classes, and `iou_weight` times -ln IoU. How
    anchors are taken is said in `dynamic_k`: as YOLOX first had it and AlignOTA has it still,
    with a radius of 2.5 strides; what is a square around a centre there is a cube here.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["simota"] = "simota"
    center_radius: float = 2.5
    """Half the edge of the cube that is near a centre, in strides of the level; above 0."""
    num_overlaps: int = 10
    """How many of the largest IoUs are summed up to the number of anchors; at least 1."""
    iou_weight: float = 3.0
    """Weight of -ln IoU beside the classification cost; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_dynamic_k(self.center_radius, self.num_overlaps, self.iou_weight, "SimOta")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the predictions and the boxes of one scene.

        Raises ValueError where the predictions do not say the strides of their levels.
        """
        of_class = cross_entropy_cost(predictions.logits)
        match = DynamicK(
            radius=self.center_radius,
            num_overlaps=self.num_overlaps,
            iou_weight=self.iou_weight,
            class_cost=lambda label, anchor, iou: of_class[label, anchor],
        )
        return Assignment(
            match(predictions, targets), predictions.anchors.new_ones(len(predictions))
        )
