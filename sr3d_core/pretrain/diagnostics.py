"""Figures that show a collapse while it happens; the loss does not: constant features give 0."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def effective_rank(features: Float[Tensor, "N C"]) -> float:
    """How many directions the features use: exp of the entropy of the singular values of what
    remains without the mean (Roy and Vetterli, 2007); 1 where all are alike, 0 without rows."""
    if not len(features):
        return 0.0
    values = torch.linalg.svdvals((features - features.mean(dim=0)).double())
    total = values.sum()
    if total <= 1e-12 * max(1.0, float(features.abs().max())):
        return 1.0
    return math.exp(entropy(values / total))


def entropy(shares: Float[Tensor, "*S"]) -> float:
    """The entropy of shares that add up to 1, in nats."""
    return float(torch.special.entr(shares.double()).sum())


def divergence(shares: Float[Tensor, " K"], prior: Float[Tensor, " K"]) -> float:
    """KL(shares || prior) in nats."""
    shares, prior = shares.double(), prior.double()
    return float((torch.special.xlogy(shares, shares) - torch.special.xlogy(shares, prior)).sum())


def perplexity(softmaps: Float[Tensor, "N K"]) -> Float[Tensor, " K"]:
    """How many points each prototype's softmap is spread over: N is flat, 1 a spike."""
    return torch.special.entr(softmaps.double()).sum(dim=0).exp()


def deviation(features: Float[Tensor, "N C"]) -> float:
    """The mean over dimensions of the deviation of unit vectors: 1 / sqrt(C) where they point
    everywhere, 0 where all point the same way."""
    return float(nn.functional.normalize(features, dim=1).std(dim=0, correction=0).mean())


def likeness(prototypes: Float[Tensor, "K C"]) -> tuple[float, float]:
    """The mean cosine between different prototypes, and the share of them with a near copy."""
    num = len(prototypes)
    if num < 2:
        return 0.0, 0.0
    unit = nn.functional.normalize(prototypes, dim=1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(0.0)
    copies = (cosines > 0.9).any(dim=1).float().mean()
    return float(cosines.sum() / (num * (num - 1))), float(copies)
