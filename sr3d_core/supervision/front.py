"""The front term: each positive learns which side of its own box is the front of its object.

Cross-entropy over the four sides. The side is the one nearest to the label's yaw, along which the
front points; only objects of classes that have a front say one.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from sr3d_core.geometry.front import NUM_SIDES, side_logits
from sr3d_core.supervision.losses import Matches


def front_loss(
    axes: Float[Tensor, "P 4"], matches: Matches, has_front: Bool[Tensor, " Q"]
) -> Float[Tensor, ""]:
    """The sum over positives whose object has a front, divided by the number of positives.

    `axes` as the head gives them, see `geometry.front`. The box gets no gradient from it.
    """
    row, yaw = matches.row[has_front], matches.predicted.yaw[has_front].detach()
    turn = (matches.truth.yaw[has_front] - yaw) / (math.pi / 2)
    side = turn.round().remainder(NUM_SIDES).long() % NUM_SIDES
    logits = side_logits(axes[row], yaw)
    loss = functional.cross_entropy(logits, side, reduction="none")
    return (loss * matches.weight[row]).sum() / matches.divisor
