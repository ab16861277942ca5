"""Terms of the training loss: focal classification and DIoU boxes, as in TR3D.

Terms are normalised by the number of positives in the batch (at least 1), and are zero with an
intact gradient graph where there is nothing to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from sr3d_core.geometry.iou import aligned_diou, aligned_iou
from sr3d_core.structures import Boxes3D


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What the assigner decided for a batch: P predictions, of which Q are positives."""

    weight: Float[Tensor, " P"]  # of each prediction in the loss
    row: Int[Tensor, " Q"]  # which prediction
    label: Int[Tensor, " Q"]  # class of its box
    box: Int[Tensor, " Q"]  # its ground-truth box, counted through all scenes of the batch
    predicted: Boxes3D  # Q, with gradients
    truth: Boxes3D  # Q
    num_positives: int | None = None  # of all that is learnt from in this step; None: Q

    @property
    def divisor(self) -> int:
        """What the terms are divided by: the number of positives, at least 1."""
        return max(1, len(self.row) if self.num_positives is None else self.num_positives)

    def is_target(self, num_classes: int) -> Bool[Tensor, "P K"]:
        """The classification target: true at the class of each positive."""
        target = torch.zeros(
            len(self.weight), num_classes, dtype=torch.bool, device=self.weight.device
        )
        target[self.row, self.label] = True
        return target

    @torch.no_grad()
    def iou(self) -> Float[Tensor, " Q"]:
        """The IoU of each positive's box with its object, 0..1, without gradient."""
        return aligned_iou(self.predicted, self.truth).clamp(0, 1)

    def target_quality(self, logits: Float[Tensor, "P K"]) -> Float[Tensor, "P K"]:
        """The IoU of each positive at its class, 0 elsewhere; without gradient."""
        target = torch.zeros_like(logits, requires_grad=False)
        target[self.row, self.label] = self.iou().to(target.dtype)
        return target


def at_least_float32(values: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """The same values in single precision where they were in half."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def focal_loss(
    logits: Float[Tensor, "P K"], is_target: Bool[Tensor, "P K"], alpha: float, gamma: float
) -> Float[Tensor, "P K"]:
    """Sigmoid focal loss of every entry.

    `-alpha (1-p)^gamma ln p` where `is_target`, else `-(1-alpha) p^gamma ln(1-p)`.
    """
    towards_target = torch.where(is_target, logits, -logits)
    balance = (1 - alpha) + (2 * alpha - 1) * is_target.to(logits.dtype)
    miss = torch.sigmoid(-towards_target)
    return -balance * miss.pow(gamma) * functional.logsigmoid(towards_target)


@dataclass(frozen=True, kw_only=True)
class Focal:
    """Focal classification over all predictions and classes, per positive."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["focal"] = "focal"
    alpha: float = 0.25
    """Weight of a positive entry; a negative one has 1 - alpha. 0..1."""
    gamma: float = 2.0
    """How strongly entries that are nearly right are played down; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_focal(self.alpha, self.gamma, "Focal")

    def __call__(self, logits: Float[Tensor, "P K"], matches: Matches) -> Float[Tensor, ""]:
        """The sum over all entries, divided by the number of positives."""
        logits = at_least_float32(logits)
        focal = focal_loss(logits, matches.is_target(logits.shape[1]), self.alpha, self.gamma)
        return (focal.sum(dim=1) * matches.weight).sum() / matches.divisor


def check_focal(alpha: float, gamma: float, owner: str) -> None:
    """Refuse focal parameters out of range; `owner` names the loss."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"{owner}.alpha is {alpha}, expected a number in 0..1")
    if not gamma >= 0:
        raise ValueError(f"{owner}.gamma is {gamma}, expected a number of at least 0")


@dataclass(frozen=True, kw_only=True)
class BoxDiou:
    """Mean of 1 - DIoU over the positives."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["diou"] = "diou"
    tr3d_compat: bool = False
    """Whether to repeat the slip of the published rotated DIoU, whose centre distance has the
    difference of lengths where that of heights belongs."""

    def __call__(self, matches: Matches) -> Float[Tensor, ""]:
        """In 0..2; zero where there are no positives."""
        numerator: Literal["center", "tr3d_compat"] = (
            "tr3d_compat" if self.tr3d_compat else "center"
        )
        loss = 1 - aligned_diou(matches.predicted, matches.truth, numerator=numerator)
        return (loss * matches.weight[matches.row]).sum() / matches.divisor
