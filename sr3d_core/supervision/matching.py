"""What the assigners share: distances, nearest anchors, the level filter, who wins an anchor.

Matrices have one row per box and one column per anchor, so that a box's anchors lie side by side
in memory. A pair that must never match has an infinite distance or cost. No matrix of all boxes
and all anchors is ever made: boxes are taken in blocks, see `blocks_of_boxes`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.pairs import blocks_of_boxes, side_by_side, where
from sr3d_core.structures import Boxes3D, Predictions, Targets

_GROUPS_PER_NEAREST = 2
_MIN_GROUPS = 128


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


def level_of_boxes(
    targets: Targets, level_filter: tuple[int, ...] | None
) -> Int[Tensor, " M"] | None:
    """The level whose anchors a box may claim, None where every box may use every level.

    `level_filter[c]` is the level of class `c`. Raises ValueError when a label has no entry.
    """
    if level_filter is None or len(targets) == 0:
        return None
    if int(targets.labels.max()) >= len(level_filter):
        raise ValueError(
            f"level_filter has {len(level_filter)} entries but a box has label "
            f"{int(targets.labels.max())}; give one level per class"
        )
    return torch.tensor(level_filter, device=targets.labels.device)[targets.labels]


def distances(
    centers: Float[Tensor, "M 3"],
    anchors: Float[Tensor, "P 3"],
    level_of_box: Int[Tensor, " M"] | None,
    level: Int[Tensor, " P"],
) -> Float[Tensor, "M P"]:
    """Squared distances, infinite where an anchor is not on its box's level."""
    distance = squared_distance(centers, anchors)
    if level_of_box is None:
        return distance
    return distance.masked_fill_(level_of_box[:, None] != level[None, :], torch.inf)


def nearest_anchors(
    boxes: Boxes3D,
    predictions: Predictions,
    level_of_box: Int[Tensor, " M"] | None,
    num: int,
) -> tuple[Float[Tensor, "M num"], Int[Tensor, "M num"]]:
    """The `num` anchors nearest to each box centre by rising squared distance, and which they are.

    `num` is at most the number of anchors. Of equally distant anchors the first in the order of
    the predictions come first. Where a box may claim fewer, the rest is infinitely far.
    """
    anchors = side_by_side(predictions.anchors)
    found = [(boxes.yaw.new_zeros(0, num), predictions.level.new_zeros(0, num))]
    for block in blocks_of_boxes(len(boxes), len(anchors), anchors.device):
        level = None if level_of_box is None else level_of_box[block]
        distance = distances(boxes.center[block], anchors, level, predictions.level)
        found.append(smallest(distance, num))
    return torch.cat([d for d, _ in found]), torch.cat([a for _, a in found])


def nearest_box(centers: Float[Tensor, "M 3"], points: Float[Tensor, "N 3"]) -> Int[Tensor, " N"]:
    """The box whose centre is nearest to each point, the first of several; at least one box."""
    smallest = points.new_full((len(points),), torch.inf)
    nearest = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for block in blocks_of_boxes(len(centers), len(points), points.device):
        distance, box = squared_distance(centers[block], points).min(dim=0)
        nearest = torch.where(distance < smallest, box + block.start, nearest)
        smallest = torch.minimum(smallest, distance)
    return nearest


def smallest(
    values: Float[Tensor, "B P"], num: int
) -> tuple[Float[Tensor, "B num"], Int[Tensor, "B num"]]:
    """The smallest values of each row, rising, and their columns.

    The columns are dealt out to groups. As many groups as values are wanted have a value below
    the limit found so; what is above it cannot be among the smallest. Reading all values twice
    like that is several times faster than `topk`.
    """
    num_groups = max(_MIN_GROUPS, _GROUPS_PER_NEAREST * num)
    length = values.shape[1] // num_groups * num_groups
    if length < 2 * num_groups:
        order = values.sort(dim=1, stable=True)
        return order.values[:, :num], order.indices[:, :num]
    lowest = values[:, :length].view(len(values), -1, num_groups).amin(dim=1)
    limit = lowest.kthvalue(num, dim=1, keepdim=True).values
    largest = torch.finfo(values.dtype).max  # what is infinitely far is not near
    row, column = where(values <= limit.clamp(max=largest))
    place, width = places(row, len(values))
    width = max(width, num)
    table = values.new_full((len(values), width), torch.inf)
    table[row, place] = values[row, column]
    columns = column.new_zeros(len(values), width)
    columns[row, place] = column
    order = table.sort(dim=1, stable=True)
    return order.values[:, :num], columns.gather(1, order.indices[:, :num])


def has_box(predictions: Predictions) -> Bool[Tensor, " P"]:
    """Which predictions have a box that is made of numbers; no cost can be told of the others."""
    return predictions.boxes.array.isfinite().all(dim=1)


def is_sound(predictions: Predictions) -> Bool[Tensor, " P"]:
    """Which predictions have such a box and such scores."""
    return has_box(predictions) & predictions.logits.isfinite().all(dim=1)


def places(row: Int[Tensor, " N"], num_rows: int) -> tuple[Int[Tensor, " N"], int]:
    """Where in its row of a table each entry goes, and how wide that table is.

    `row` is sorted; entries of a row keep their order.
    """
    size = torch.bincount(row, minlength=num_rows)
    place = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
    return place, int(size.max()) if len(row) else 0


def cheapest(
    cost: Float[Tensor, " N"],
    box: Int[Tensor, " N"],
    anchor: Int[Tensor, " N"],
    num_boxes: int,
    num: int,
) -> tuple[Float[Tensor, "M num"], Int[Tensor, "M num"]]:
    """The `num` cheapest of each box's pairs by rising cost, and their anchors.

    Pairs are sorted by box. Of equal costs the first pair comes first; where a box has fewer
    pairs, the rest costs infinitely much.
    """
    place, width = places(box, num_boxes)
    width = max(width, num)
    table = cost.new_full((num_boxes, width), torch.inf)
    table[box, place] = cost
    anchors = anchor.new_zeros(num_boxes, width)
    anchors[box, place] = anchor
    order = table.sort(dim=1, stable=True)
    return order.values[:, :num], anchors.gather(1, order.indices[:, :num])


def cheapest_box(
    cost: Float[Tensor, "M C"], anchor: Int[Tensor, "M C"], num_anchors: int
) -> Int[Tensor, " P"]:
    """Which box each anchor goes to when box m claims the anchors `anchor[m]`, -1 for none.

    Claims with an infinite cost do not count. An anchor that several boxes claim goes to the
    smallest cost, and to the first of several equal ones: of two identical boxes the first has
    all anchors, the second none. Who loses an anchor claims no other one instead.
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
