"""Which side of a box is the front: four numbers of the head, read along the box's own sides.

They are logits of the front pointing along +x, +y, -x and -y of the scene, not of the sides
themselves: where the yaw of a box jumps by a quarter turn its sides change their names, and what
the network says of them would jump as well. A side that points between two axes has the mean of
their logits, weighted by the squared cosines of its angles to them, which add up to 1.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

NUM_SIDES = 4
_QUARTER_RAD = math.pi / 2


def side_logits(axes: Float[Tensor, "P 4"], yaw: Float[Tensor, " P"]) -> Float[Tensor, "P 4"]:
    """Logits of each side of boxes to be their front; side k points along `yaw + k pi / 2`.

    `axes` are the head's numbers; the yaw gets no gradient.
    """
    quarter = torch.arange(NUM_SIDES, device=axes.device)
    apart = (quarter[:, None] - quarter) * _QUARTER_RAD  # of side k and axis j at yaw 0
    weight = torch.cos(yaw.detach()[:, None, None] + apart).clamp(min=0).square()
    return (weight * axes[:, None, :]).sum(dim=2)


def front_direction(axes: Float[Tensor, "P 4"], yaw: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """Where the likeliest front of each box points, radians: its yaw and some quarter turns."""
    return yaw + side_logits(axes, yaw).argmax(dim=1) * _QUARTER_RAD
