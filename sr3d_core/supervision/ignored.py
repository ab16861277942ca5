"""Anchors at objects that are there but not asked for: background nobody is punished for.

Of an object at the rim of a view, or behind another, too little may be seen to tell its size. Its
box is no target, yet what finds it is not wrong. So an anchor inside such a box has no loss, as
KITTI leaves out its regions DontCare (Geiger, Lenz and Urtasun 2012), unless it is assigned to a
target.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Assignment, Predictions, Targets


def weight_of(
    assignment: Assignment, predictions: Predictions, targets: Targets
) -> Float[Tensor, " P"]:
    """The assignment's weights, 0 for what is not positive and lies inside an ignored box."""
    if targets.ignored is None or len(targets.ignored) == 0:
        return assignment.weight
    is_inside = points_in_boxes(predictions.anchors, targets.ignored.boxes).any(dim=1)
    return torch.where(is_inside & ~assignment.is_positive, 0.0, assignment.weight)
