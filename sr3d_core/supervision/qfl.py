"""Quality focal loss: the score of a positive learns the IoU of its box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from sr3d_core.supervision.losses import Matches, at_least_float32


def quality_focal_loss(
    logits: Float[Tensor, "P K"], target: Float[Tensor, "P K"], beta: float
) -> Float[Tensor, "P K"]:
    """`BCE(p, t) |t - p|^beta` of every entry, p = sigmoid(logits), targets in 0..1."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return entropy * (target - torch.sigmoid(logits)).abs().pow(beta)


@dataclass(frozen=True, kw_only=True)
class Qfl:
    """Quality focal loss over all predictions and classes (arXiv 2006.04388, eq 2), per positive.

    The target is the IoU of a positive's box at its class, without gradient, and 0 elsewhere.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["qfl"] = "qfl"
    beta: float = 2.0
    """How strongly entries that are nearly right are played down; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.beta >= 0:
            raise ValueError(f"Qfl.beta is {self.beta}, expected a number of at least 0")

    def __call__(self, logits: Float[Tensor, "P K"], matches: Matches) -> Float[Tensor, ""]:
        """The sum over all entries, divided by the number of positives."""
        logits = at_least_float32(logits)
        loss = quality_focal_loss(logits, matches.target_quality(logits), self.beta)
        return (loss.sum(dim=1) * matches.weight).sum() / matches.divisor
