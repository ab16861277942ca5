"""What it costs to call a prediction by a class: the classification part of assigners' costs.

Each cost is the loss that the prediction would have if it were trained towards that class: the sum
over all classes against the one-hot target. Only the terms of the class itself differ from class
to class, so the costs of all classes take the memory of the logits, not that times the boxes.
Half-precision logits are computed with in single precision.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sr3d_core.supervision.losses import at_least_float32


def focal_cost(
    logits: Float[Tensor, "P K"], alpha: float = 0.25, gamma: float = 2.0
) -> Float[Tensor, "K P"]:
    """Focal loss of every prediction towards each class (OTA, arXiv 2103.14259)."""
    logits = at_least_float32(logits).T.contiguous()
    away, towards = _focal(-logits, 1 - alpha, gamma), _focal(logits, alpha, gamma)
    return (towards - away).add_(away.sum(dim=0))


def focal_background(
    logits: Float[Tensor, "P K"], alpha: float = 0.25, gamma: float = 2.0
) -> Float[Tensor, " P"]:
    """Focal loss of every prediction towards no class at all."""
    return _focal(-at_least_float32(logits), 1 - alpha, gamma).sum(dim=1)


def cross_entropy_cost(logits: Float[Tensor, "P K"]) -> Float[Tensor, "K P"]:
    """Binary cross-entropy of every prediction towards each class (YOLOX, arXiv 2107.08430)."""
    logits = at_least_float32(logits).T.contiguous()
    # ln(1 + e^x) for every class, less x for the class itself.
    return functional.softplus(logits).sum(dim=0) - logits


def _focal(towards: Float[Tensor, "*N"], balance: float, gamma: float) -> Float[Tensor, "*N"]:
    """Focal loss of logits that should be large."""
    return -balance * torch.sigmoid(-towards).pow(gamma) * functional.logsigmoid(towards)
