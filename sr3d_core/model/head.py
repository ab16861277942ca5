"""The head: what is said at every anchor point (TR3D, arXiv 2302.02858, sec 3).

Class logits and the numbers of a box, and, where asked for, how well that box fits: the IoU that
it is expected to have with the object (IoU-Net, arXiv 1807.11590); `ranking` says what it is for.
And, where asked for, which way the front of the object points, see `geometry.front`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sr3d_core.geometry.front import NUM_SIDES
from sr3d_core.model.box_coding import INITIAL_BIAS

PRIOR = 0.01
"""The confidence an untrained network gives everything (focal loss's prior)."""


class HeadOutput(NamedTuple):
    """What the head says of V anchor points."""

    logits: Float[Tensor, "V K"]
    regression: Float[Tensor, "V R"]  # R numbers of a box, see `box_coding`
    quality: Float[Tensor, " V"] | None  # logit of the expected IoU
    front: Float[Tensor, "V 4"] | None  # logits of where the front points, see `geometry.front`


class Head(nn.Module):
    """Linear maps shared by both anchor levels; `rows` names the numbers of a box."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        rows: tuple[str, ...],
        has_quality: bool = False,
        has_front: bool = False,
    ) -> None:
        super().__init__()
        self.classify = nn.Linear(channels, num_classes)
        self.regress = nn.Linear(channels, len(rows))
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.constant_(self.classify.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.normal_(self.regress.weight, std=0.01)
        bound = 1 / math.sqrt(channels)
        nn.init.uniform_(self.regress.bias, -bound, bound)
        with torch.no_grad():
            for name in set(rows) & set(INITIAL_BIAS):
                self.regress.bias[rows.index(name)] = INITIAL_BIAS[name]
        self.rate: nn.Linear | None = None
        if has_quality:
            self.rate = nn.Linear(channels, 1)
            nn.init.normal_(self.rate.weight, std=0.01)
            nn.init.zeros_(self.rate.bias)
        self.face: nn.Linear | None = None
        if has_front:
            self.face = nn.Linear(channels, NUM_SIDES)
            nn.init.normal_(self.face.weight, std=0.01)
            nn.init.zeros_(self.face.bias)

    def forward(self, features: Float[Tensor, "V C"]) -> HeadOutput:
        """Logits, raw regression, quality and front, in full precision."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            quality = None if self.rate is None else self.rate(features)[:, 0]
            front = None if self.face is None else self.face(features)
            return HeadOutput(self.classify(features), self.regress(features), quality, front)
