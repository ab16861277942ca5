"""Box voting: a box that is kept becomes the mean of the candidates that mean the same object.

Means are weighted by score. Yaws have a mean modulo a quarter turn, not half a turn: some networks
write either side first, others the shorter one, so that yaw jumps by a quarter turn where dx and
dy cross, and the mean of two such boxes modulo half a turn would lie across both. The sides of
each candidate are therefore read along the mean yaw, exchanged where it is a quarter turn off, and
only then averaged. A long box and one that lies across it do not overlap enough to vote together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.geometry.iou import aligned_iou, may_reach
from sr3d_core.structures import Boxes3D

_QUARTER = math.pi / 2


def votes(
    boxes: Boxes3D, labels: Int[Tensor, " D"], kept: Int[Tensor, " K"], iou: float
) -> Int[Tensor, " D"]:
    """For which kept box each box votes, as an index into `kept`; -1 for none.

    It is the one of its class that it overlaps most, in 3D and by at least `iou` (0..1). A kept
    box votes for itself.
    """
    vote = torch.full_like(labels, -1)
    vote[kept] = torch.arange(len(kept), device=vote.device)
    others = (vote < 0).nonzero()[:, 0]
    place, voter = (labels[kept][:, None] == labels[others]).nonzero(as_tuple=True)
    voter = others[voter]
    is_near = may_reach(boxes[kept[place]], boxes[voter], iou)
    place, voter = place[is_near], voter[is_near]
    overlap = aligned_iou(boxes[kept[place]], boxes[voter])
    most = overlap.new_zeros(len(boxes)).scatter_reduce(0, voter, overlap, "amax")
    is_most = (overlap == most[voter]) & (overlap >= iou) & (overlap > 0)
    first = torch.full_like(labels, len(kept))  # of several that overlap alike
    first = first.scatter_reduce(0, voter[is_most], place[is_most], "amin")
    return torch.where(first < len(kept), first, vote)


def mean_boxes(
    boxes: Boxes3D, weights: Float[Tensor, " D"], group: Int[Tensor, " D"], num_groups: int
) -> Boxes3D:
    """The weighted mean of each group of boxes; weights above 0, -1 belongs to no group.

    Written with dx <= dy and a yaw in -90..90 degrees; where all boxes are
    axis aligned, so are the means.
    """
    is_in = group >= 0
    rows, group = boxes.array[is_in].double(), group[is_in]
    weight = weights[is_in].double()[:, None]

    def total(values: Float[Tensor, "V C"]) -> Float[Tensor, "G C"]:
        return values.new_zeros(num_groups, values.shape[1]).index_add(0, group, values * weight)

    angle = 4 * rows[:, 6]
    sine, cosine = total(torch.stack([angle.sin(), angle.cos()], dim=1)).unbind(dim=1)
    yaw = torch.atan2(sine, cosine) / 4
    is_across = ((rows[:, 6] - yaw[group]) / _QUARTER).round().remainder(2) == 1
    exchanged = rows[:, [0, 1, 2, 4, 3, 5]]
    lengths = torch.where(is_across[:, None], exchanged, rows[:, :6])
    mean = total(lengths) / total(torch.ones_like(weight))
    merged = Boxes3D.from_array(torch.cat([mean, yaw[:, None]], dim=1).to(boxes.array.dtype))
    return short_side_first(merged) if bool(boxes.yaw.any()) else merged


@dataclass(frozen=True, slots=True)
class Voting:
    """Replaces the boxes that are kept by means of the candidates around them."""

    iou: float
    """A candidate votes for a box that it overlaps by at least this; 3D, 0..1."""
    of_class: tuple[bool, ...] | None = None
    """Whether the boxes of each class are voted for, by label; None = all are."""

    def __call__(
        self,
        boxes: Boxes3D,
        scores: Float[Tensor, " D"],
        labels: Int[Tensor, " D"],
        kept: Int[Tensor, " K"],
    ) -> Boxes3D:
        """The kept boxes, each the mean of all that vote for it, weighted by score (above 0).

        Those of other classes stay to the last bit.
        """
        if self.of_class is None:
            return _means(boxes, scores, labels, kept, self.iou)
        has_vote = labels.new_tensor(self.of_class).bool()[labels]
        is_mean = has_vote[kept]
        if not bool(is_mean.any()):
            return boxes[kept]
        place = has_vote.cumsum(0) - 1  # of a candidate, among those that have a vote
        given = boxes[has_vote], scores[has_vote], labels[has_vote]
        means = _means(*given, place[kept[is_mean]], self.iou)
        rows = boxes.array[kept]
        rows[is_mean] = means.array
        return Boxes3D.from_array(rows)


def _means(
    boxes: Boxes3D,
    scores: Float[Tensor, " D"],
    labels: Int[Tensor, " D"],
    kept: Int[Tensor, " K"],
    iou: float,
) -> Boxes3D:
    return mean_boxes(boxes, scores, votes(boxes, labels, kept, iou), len(kept))
