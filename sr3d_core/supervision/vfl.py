"""Varifocal loss: positives learn the IoU of their boxes, and those of good boxes count more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from sr3d_core.supervision.losses import Matches, at_least_float32, check_focal


def varifocal_loss(
    logits: Float[Tensor, "P K"], target: Float[Tensor, "P K"], alpha: float, gamma: float
) -> Float[Tensor, "P K"]:
    """Of every entry with the target q, in 0..1, and p = sigmoid(logits).

    `q BCE(p, q)` where q > 0, else `alpha p^gamma BCE(p, 0)`.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    of_background = alpha * torch.sigmoid(logits).pow(gamma)
    return entropy * torch.where(target > 0, target, of_background)


@dataclass(frozen=True, kw_only=True)
class Vfl:
    """Varifocal loss over all predictions and classes (arXiv 2008.13367, eq 2), per positive.

    The target is the IoU of a positive's box at its class, without gradient, and 0 elsewhere; a
    positive whose box does not overlap its object at all is background, as the equation has it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["vfl"] = "vfl"
    alpha: float = 0.75
    """Weight of the background; 0..1."""
    gamma: float = 2.0
    """How strongly background that is nearly right is played down; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_focal(self.alpha, self.gamma, "Vfl")

    def __call__(self, logits: Float[Tensor, "P K"], matches: Matches) -> Float[Tensor, ""]:
        """The sum over all entries, divided by the number of positives."""
        logits = at_least_float32(logits)
        loss = varifocal_loss(logits, matches.target_quality(logits), self.alpha, self.gamma)
        return (loss.sum(dim=1) * matches.weight).sum() / matches.divisor
