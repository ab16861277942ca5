"""How far away pixels are: distributions over bins of depth learn the true ones."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def two_hot(
    depth_m: Float[Tensor, "*shape"], centers_m: Float[Tensor, "*shape D"]
) -> Float[Tensor, "*shape D"]:
    """Shares of the two bins around a depth, whose mean it is; beyond the ends, all of the last.

    The bins' centres rise; their shape is that of the depth, and one more dimension.
    """
    num = centers_m.shape[-1]
    above = torch.searchsorted(centers_m.contiguous(), depth_m[..., None].contiguous())
    above = above.clamp(1, num - 1)
    low, high = centers_m.gather(-1, above - 1), centers_m.gather(-1, above)
    share = ((depth_m[..., None] - low) / (high - low)).clamp(0.0, 1.0)
    shares = torch.zeros_like(centers_m)
    return shares.scatter(-1, above - 1, 1 - share).scatter(-1, above, share)


def depth_cross_entropy(
    logits: Float[Tensor, "*shape D"],
    depth_m: Float[Tensor, "*shape"],
    centers_m: Float[Tensor, "*shape D"],
) -> Float[Tensor, "*shape"]:
    """Cross-entropy between the logits of bins and the two-hot shares of true depths."""
    return -(two_hot(depth_m, centers_m) * functional.log_softmax(logits, dim=-1)).sum(dim=-1)


def laplace_loss(
    depth_m: Float[Tensor, "*shape"],
    truth_m: Float[Tensor, "*shape"],
    log_std: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """`sqrt(2) |error| / std + ln std`, the likelihood of a Laplace distribution; metres.

    What MonoSTL's head for uncertainty learns by (its code, after MonoDLE and GUPNet).
    """
    return math.sqrt(2) * (-log_std).exp() * (depth_m - truth_m).abs() + log_std
