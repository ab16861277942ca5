"""What the assigners share: distances, the level filter, and who wins a contested anchor.

Matrices have one row per box and one column per anchor, so that a box's anchors lie side by side
in memory. A pair that must never match has an infinite distance or cost.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.structures import Predictions, Targets


def squared_distance(
    centers: Float[Tensor, "M 3"], anchors: Float[Tensor, "P 3"]
) -> Float[Tensor, "M P"]:
    """Squared distance of every box centre to every anchor point, square metres."""
    # Axis by axis is several times faster than a sum over a last dimension of three.
    x, y, z = (centers[:, axis, None] - anchors[None, :, axis] for axis in range(3))
    return x.square_().addcmul_(y, y).addcmul_(z, z)


def check_levels(level_filter: tuple[int, ...] | None, owner: str) -> None:
    """Refuse a level filter that is empty or has negative levels; `owner` names the assigner."""
    if level_filter is not None and (not level_filter or min(level_filter) < 0):
        raise ValueError(
            f"{owner}.level_filter is {level_filter}, expected one level >= 0 per class or None"
        )


def keep_levels(
    distance: Float[Tensor, "M P"],
    predictions: Predictions,
    targets: Targets,
    level_filter: tuple[int, ...] | None,
) -> Float[Tensor, "M P"]:
    """The distances, infinite where an anchor is not on the level of the box's class.

    `level_filter[c]` is the level of class `c`; None lets every box use every level.
    Raises ValueError when a label has no entry.
    """
    if level_filter is None or len(targets) == 0:
        return distance
    if int(targets.labels.max()) >= len(level_filter):
        raise ValueError(
            f"level_filter has {len(level_filter)} entries but a box has label "
            f"{int(targets.labels.max())}; give one level per class"
        )
    level_of_class = torch.tensor(level_filter, device=targets.labels.device)
    is_elsewhere = level_of_class[targets.labels][:, None] != predictions.level[None, :]
    return distance.masked_fill(is_elsewhere, torch.inf)


def cheapest_box(
    cost: Float[Tensor, "M C"], anchor: Int[Tensor, "M C"], num_anchors: int
) -> Int[Tensor, " P"]:
    """Which box each anchor goes to when box m claims the anchors `anchor[m]`, -1 for none.

    Claims with an infinite cost do not count. An anchor that several boxes claim goes to the
    smallest cost, and to the first of several equal ones.
    """
    box = torch.arange(len(cost), device=cost.device)[:, None].expand_as(anchor)
    is_claim = cost.isfinite()
    cost, anchor, box = cost[is_claim], anchor[is_claim], box[is_claim]
    best = cost.new_full((num_anchors,), torch.inf).scatter_reduce(0, anchor, cost, "amin")
    is_best = cost == best[anchor]
    nobody = torch.iinfo(torch.int64).max
    target = box.new_full((num_anchors,), nobody)
    target = target.scatter_reduce(0, anchor[is_best], box[is_best], "amin")
    return target.masked_fill(target == nobody, -1)
