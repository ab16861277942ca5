"""The head: class logits and a box at every anchor point (TR3D, arXiv 2302.02858, sec 3).

Anchor points are voxel corners in metres: the only place where indices become metres.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sr3d_core.structures import Boxes3D

PRIOR = 0.01
"""The confidence an untrained network gives everything (focal loss's prior)."""

MAX_LOG_EDGE = 8.0
"""Larger logarithms of an edge are cut off, so that a diverged prediction stays finite."""


class Head(nn.Module):
    """Two linear maps shared by both anchor levels."""

    def __init__(self, channels: int, num_classes: int, rotated: bool) -> None:
        super().__init__()
        self.classify = nn.Linear(channels, num_classes)
        self.regress = nn.Linear(channels, 8 if rotated else 6)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.constant_(self.classify.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.normal_(self.regress.weight, std=0.01)
        bound = 1 / math.sqrt(channels)
        nn.init.uniform_(self.regress.bias, -bound, bound)

    def forward(
        self, features: Float[Tensor, "V C"]
    ) -> tuple[Float[Tensor, "V K"], Float[Tensor, "V R"]]:
        """Logits and raw regression, in full precision."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            return self.classify(features), self.regress(features)


def decode(anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P R"]) -> Boxes3D:
    """Boxes of raw regressions: six numbers axis aligned, eight numbers rotated."""
    regression = regression.T.contiguous().T  # each number's column in one piece: 3 times faster
    if regression.shape[1] == 6:
        return decode_axis_aligned(anchors, regression)
    return decode_rotated(anchors, regression)


def decode_axis_aligned(
    anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P 6"]
) -> Boxes3D:
    """Centre = anchor + r0..r2 in metres, size = exp r3..r5."""
    size = _edges(regression)
    return Boxes3D(anchors + regression[:, 0:3], size, torch.zeros_like(size[:, 0]))


def decode_rotated(anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P 8"]) -> Boxes3D:
    """TR3D's rotated coding: footprint by scale and ratio, so always dx <= dy; yaw modulo pi.

    With e = exp r3..r5 and n = hypot(r6, r7): dx = (e0 + e1) / (1 + exp n), dy = dx exp n,
    written as sigmoids, which do not overflow. The height is e1 + e2: a leftover of FCAF3D's
    face distances that trained weights rely on.
    """
    e0, e1, e2 = _edges(regression).unbind(1)
    sine, cosine = regression[:, 6], regression[:, 7]
    is_round = (sine == 0) & (cosine == 0)  # the norm has no gradient there
    norm = torch.where(is_round, 0, torch.hypot(sine, torch.where(is_round, 1, cosine)))
    scale = e0 + e1
    size = torch.stack([scale * torch.sigmoid(-norm), scale * torch.sigmoid(norm), e1 + e2], dim=1)
    yaw = 0.5 * torch.atan2(sine, torch.where(is_round, 1, cosine))
    return Boxes3D(anchors + regression[:, 0:3], size, yaw)


def _edges(regression: Float[Tensor, "P R"]) -> Float[Tensor, "P 3"]:
    """exp r3..r5 in metres; no object needs an edge beyond exp 8, about 3 km."""
    return regression[:, 3:6].clamp(max=MAX_LOG_EDGE).exp()
