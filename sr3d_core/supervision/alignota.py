"""AlignOTA: simOTA whose classification cost asks for a score as high as the overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from sr3d_core.structures import Assignment, Predictions, Targets
from sr3d_core.supervision.dynamic_k import DynamicK, check_dynamic_k
from sr3d_core.supervision.losses import at_least_float32


@dataclass(frozen=True, kw_only=True)
class AlignOta:
    """Assign as many anchors to a box as predictions overlap it (DAMO-YOLO, arXiv 2211.15444).

    As `SimOta`, but the classification cost is the quality focal loss with the IoU as target:
    `sum_c BCE(p_c, t_c) |t_c - p_c|^2` with t = IoU at the box's class and 0 elsewhere.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["alignota"] = "alignota"
    center_radius: float = 2.5
    """Half the edge of the cube that is near a centre, in strides of the level; above 0."""
    num_overlaps: int = 10
    """How many of the largest IoUs are summed up to the number of anchors; at least 1."""
    iou_weight: float = 3.0
    """Weight of -ln IoU beside the classification cost; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_dynamic_k(self.center_radius, self.num_overlaps, self.iou_weight, "AlignOta")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the predictions and the boxes of one scene.

        Raises ValueError where the predictions do not say the strides of their levels.
        """
        match = DynamicK(
            radius=self.center_radius,
            num_overlaps=self.num_overlaps,
            iou_weight=self.iou_weight,
            class_cost=_AlignedCost(predictions.logits),
        )
        return Assignment(
            match(predictions, targets), predictions.anchors.new_ones(len(predictions))
        )


class _AlignedCost:
    """The classification cost of candidates, given their IoU."""

    def __init__(self, logits: Float[Tensor, "P K"]) -> None:
        self._logits = at_least_float32(logits).T.contiguous()
        self._away = functional.softplus(self._logits) * self._logits.sigmoid().square()
        self._all_away = self._away.sum(dim=0)

    def __call__(
        self, label: Int[Tensor, "*N"], anchor: Int[Tensor, "*N"], iou: Float[Tensor, "*N"]
    ) -> Float[Tensor, "*N"]:
        logits = self._logits[label, anchor]
        towards = functional.binary_cross_entropy_with_logits(
            logits, iou.to(logits.dtype), reduction="none"
        )
        towards *= (iou - logits.sigmoid()).square()
        return towards + self._all_away[anchor] - self._away[label, anchor]
