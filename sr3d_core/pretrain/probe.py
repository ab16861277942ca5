"""What features know of a scene before anybody trains on them: probes of frozen features.

The linear probe asks whether a class can be read off each cell by one matrix: softmax regression,
learnt on some rooms and scored on others by mean IoU. Kinds of cells are the classes of the boxes
that hold their centres, then floor, wall and other. The k-NN probe asks whether objects of a class
lie near each other: the mean feature inside each true box, compared by cosine with those of all
other rooms. Heights and distances to the border, read off by linear regression, show features that
know where a cell is rather than what it is.

None of these figures means anything alone: beside them stand those of a network that has learnt
nothing, and of what anybody can see without one (`raw_geometry`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from sr3d_core.geometry.boxes import points_in_boxes, volume
from sr3d_core.sparse.lattice import found_among
from sr3d_core.structures import PointCloud, Targets

SURFACES = ("floor", "wall", "other")
"""What cells in no box are called, after the classes."""
_FLOOR_M = 0.15
"""Cells whose centre is no higher above the lowest ones are floor."""
_WALL_M = 1.2
"""A column of cells in no box that is at least so tall is wall."""
_LOWEST = 0.02
_BATCH = 4096


@dataclass(frozen=True)
class Linear:
    """How softmax regression learns."""

    steps: int = 2000
    rate: float = 0.01


THOROUGH = Linear()
"""Where nobody waits for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """The cells and the boxes of some scenes, as one kind of feature describes them."""

    cells: Float[Tensor, "V F"]
    kinds: Int[Tensor, " V"]  # class of the box around, or floor, wall, other after these
    height_m: Float[Tensor, " V"]  # above the floor
    border_m: Float[Tensor, " V"]  # to the border of the cloud, seen from above
    cell_room: Int[Tensor, " V"]
    boxes: Float[Tensor, "M F"]  # mean feature in each box that holds a cell
    labels: Int[Tensor, " M"]
    box_room: Int[Tensor, " M"]


def joined(parts: Sequence[Probed]) -> Probed:
    """The same of all scenes together; at least one."""
    names = Probed.__dataclass_fields__
    return Probed(**{name: torch.cat([getattr(each, name) for each in parts]) for name in names})


def probed_scene(
    features: Float[Tensor, "V F"],
    centers_m: Float[Tensor, "V 3"],
    targets: Targets,
    num_classes: int,
    room: int,
) -> Probed:
    """What a scene has to say: features of its cells, where these are, and its boxes."""
    inside = points_in_boxes(centers_m, targets.boxes)
    height = heights(centers_m)
    counts = inside.sum(dim=0)
    pooled = (inside.to(features.dtype).T @ features) / counts.clamp_min(1)[:, None]
    is_seen = counts > 0
    rooms = torch.full((len(features),), room, dtype=torch.int64)
    return Probed(
        cells=features,
        kinds=kinds(centers_m, targets, num_classes),
        height_m=height,
        border_m=_to_border(centers_m),
        cell_room=rooms,
        boxes=pooled[is_seen],
        labels=targets.labels[is_seen],
        box_room=torch.full((int(is_seen.sum()),), room, dtype=torch.int64),
    )


def kinds(
    centers_m: Float[Tensor, "V 3"], targets: Targets, num_classes: int
) -> Int[Tensor, " V"]:
    """What each cell belongs to: the smallest box that holds its centre, else floor, wall, other.

    Boxes to be ignored count as other: nobody knows what they are of.
    """
    inside = points_in_boxes(centers_m, targets.boxes)
    kind = torch.full((len(centers_m),), num_classes + 2, dtype=torch.int64)
    if not len(centers_m):
        return kind
    is_free = ~inside.any(dim=1)
    kind[is_free & _in_tall_column(centers_m, is_free)] = num_classes + 1
    kind[is_free & (heights(centers_m) <= _FLOOR_M)] = num_classes
    if targets.ignored is not None and len(targets.ignored):
        in_ignored = points_in_boxes(centers_m, targets.ignored.boxes).any(dim=1)
        kind[is_free & in_ignored] = num_classes + 2
    for box in volume(targets.boxes).argsort(descending=True).tolist():  # small ones last
        kind[inside[:, box]] = int(targets.labels[box])
    return kind


def heights(centers_m: Float[Tensor, "V 3"]) -> Float[Tensor, " V"]:
    """Above the floor, which is where the lowest fiftieth of the cells ends."""
    z = centers_m[:, 2]
    return z - z.quantile(_LOWEST) if len(z) else z


def _in_tall_column(centers_m: Float[Tensor, "V 3"], is_free: Bool[Tensor, " V"]) -> Tensor:
    """Which cells stand in a column, of free cells, from whose foot to head it is far."""
    _, column = torch.unique(centers_m[:, :2], dim=0, return_inverse=True)
    z = centers_m[:, 2]
    num = int(column.max()) + 1
    low, high = (torch.full((num,), sign * torch.inf) for sign in (1, -1))
    low = low.scatter_reduce(0, column[is_free], z[is_free], "amin")
    high = high.scatter_reduce(0, column[is_free], z[is_free], "amax")
    return (high - low)[column] >= _WALL_M


def _to_border(centers_m: Float[Tensor, "V 3"]) -> Float[Tensor, " V"]:
    """How far each cell is from the nearest side of the box around all of them."""
    if not len(centers_m):
        return centers_m[:, 0]
    xy = centers_m[:, :2]
    return torch.minimum(xy - xy.amin(dim=0), xy.amax(dim=0) - xy).amin(dim=1)


def raw_geometry(
    cloud: PointCloud, coords: Int[Tensor, "V 4"], stride: int, voxel_size_m: float
) -> Float[Tensor, "V 5"]:
    """What is known of each cell without a network: mean color, height above the floor, and how
    many of the 27 cells around and in it are occupied."""
    cells = torch.floor(cloud.xyz.double() / voxel_size_m).long()
    row = found_among(torch.cat([cloud.scene[:, None], cells], dim=1), coords, stride)
    known = row >= 0
    color = cloud.features[known, :3].nan_to_num(0.5)
    total = torch.zeros(len(coords), 3).index_add_(0, row[known], color)
    count = torch.bincount(row[known], minlength=len(coords)).clamp_min(1)
    step = torch.arange(-1, 2) * stride
    offsets = torch.cartesian_prod(torch.zeros(1, dtype=torch.int64), step, step, step)
    occupied = torch.stack([found_among(coords + o, coords, stride) >= 0 for o in offsets])
    height = heights((coords[:, 1:] + stride / 2) * voxel_size_m)
    columns = [total / count[:, None], height[:, None], occupied.sum(dim=0)[:, None].float()]
    return torch.cat(columns, dim=1)


def linear_miou(
    probed: Probed, num_kinds: int, generator: Generator, how: Linear = THOROUGH
) -> float:
    """Mean IoU of softmax regression, learnt on every other room and scored on the rest.

    Over the kinds that occur in the rooms that are scored; NaN where there are not two rooms.
    """
    is_test = _is_test(probed.cell_room)
    if not bool(is_test.any()) or bool(is_test.all()):
        return float("nan")
    rows = standardised(probed.cells, ~is_test)
    learnt, truth = rows[~is_test], probed.kinds[~is_test]
    weight = torch.zeros(num_kinds, rows.shape[1], requires_grad=True)
    bias = torch.zeros(num_kinds, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=how.rate)
    for _ in range(how.steps):
        batch = torch.randint(len(learnt), (min(_BATCH, len(learnt)),), generator=generator)
        loss = nn.functional.cross_entropy(learnt[batch] @ weight.T + bias, truth[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = (rows[is_test] @ weight.T + bias).argmax(dim=1)
    return mean_iou(found, probed.kinds[is_test], num_kinds)


def mean_iou(found: Int[Tensor, " V"], truth: Int[Tensor, " V"], num_kinds: int) -> float:
    """Over the kinds that are there; NaN where nothing is."""
    pairs = torch.bincount(truth * num_kinds + found, minlength=num_kinds**2)
    table = pairs.reshape(num_kinds, num_kinds).double()
    both = table.diagonal()
    union = table.sum(dim=0) + table.sum(dim=1) - both
    is_there = table.sum(dim=1) > 0
    return float((both / union.clamp_min(1))[is_there].mean())


def nearest_accuracy(probed: Probed, num_classes: int, k: int = 20) -> float:
    """The share of boxes whose class most of the `k` nearest boxes of other rooms have.

    Of classes that are as often among these, that of the nearer boxes. NaN where no box has one of
    another room beside it.
    """
    if not len(probed.labels):
        return float("nan")
    unit = nn.functional.normalize(standardised(probed.boxes), dim=1)
    likeness = unit @ unit.T
    is_other = probed.box_room[:, None] != probed.box_room
    likeness[~is_other] = -torch.inf
    near, index = likeness.topk(min(k, len(likeness)), dim=1)
    weight = torch.where(near > -torch.inf, 1.0 + 1e-4 * (1.0 + near), 0.0)
    votes = torch.zeros(len(near), num_classes).scatter_add_(1, probed.labels[index], weight)
    has_other = is_other.any(dim=1)
    is_right = votes.argmax(dim=1) == probed.labels
    return float(is_right[has_other].double().mean())


def explained(probed: Probed, values: Float[Tensor, " V"]) -> float:
    """How much of the variance of values in every other room linear regression on the rest of them
    explains: 1 all of it, 0 or less nothing. NaN where there are not two rooms."""
    is_test = _is_test(probed.cell_room)
    if not bool(is_test.any()) or bool(is_test.all()):
        return float("nan")
    rows = standardised(probed.cells, ~is_test).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
    a, b = rows[~is_test], values[~is_test].double()
    ridge = 1e-3 * len(a) * torch.eye(rows.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(a.T @ a + ridge, a.T @ b)
    truth = values[is_test].double()
    left = ((rows[is_test] @ solved - truth) ** 2).sum()
    return float(1.0 - left / ((truth - truth.mean()) ** 2).sum().clamp_min(1e-12))


def standardised(
    rows: Float[Tensor, "N F"], chosen: Bool[Tensor, " N"] | None = None
) -> Float[Tensor, "N F"]:
    """Rows with mean 0 and deviation 1 in every column, as the chosen ones have it."""
    known = rows if chosen is None else rows[chosen]
    spread = known.std(dim=0, correction=0)
    return (rows - known.mean(dim=0)) / torch.where(spread > 1e-6, spread, 1.0)


def _is_test(room: Int[Tensor, " V"]) -> Bool[Tensor, " V"]:
    """Every second room, in the order of their numbers."""
    _, place = torch.unique(room, return_inverse=True)
    return place % 2 == 1
