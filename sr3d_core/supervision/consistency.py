"""The consistency term: a scene and its turned copy should be seen alike.

What merging of several views gains at inference (see `merged_views`) can be taught: the first
scene of a batch is shown a second time, turned by quarters or mirrored, as the batch's last, and
the best prediction of each object in the one is pulled towards that in the other, in class scores
and box; as in SESS (arXiv 1912.11803), with the same network as student and teacher. Both views
also learn from their labels as any scene does.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.geometry.iou import aligned_diou, aligned_iou
from sr3d_core.geometry.turns import Turn
from sr3d_core.structures import Batch, PointCloud
from sr3d_core.supervision.losses import Matches


def with_turned_copy(batch: Batch, turn: Turn) -> Batch:
    """The batch with its first scene once more at its end, turned."""
    first = turn.cloud(batch.cloud[batch.cloud.scene == 0])
    cloud = PointCloud(
        torch.cat([batch.cloud.xyz, first.xyz]),
        torch.cat([batch.cloud.features, first.features]),
        torch.cat([batch.cloud.scene, torch.full_like(first.scene, len(batch.targets))]),
    )
    turned = batch.targets[0].map_boxes(turn.boxes)
    return Batch(cloud, (*batch.targets, turned), (*batch.names, f"{batch.names[0]}, turned"))


def consistency_loss(
    logits: Float[Tensor, "P K"], matches: Matches, turn: Turn, num_boxes: int, num_all: int
) -> Float[Tensor, ""]:
    """The mean over objects that both views have a positive for; zero where there are none.

    Of each object it is the squared difference of class scores, summed over classes, and 1 - DIoU
    of the boxes. The first `num_boxes` of the batch's `num_all` boxes are those of the first
    scene, the last as many their copies.
    """
    iou = aligned_iou(matches.predicted, matches.truth).detach()
    best = _best_of_boxes(iou, matches.box, num_all)
    first, copy = best[:num_boxes], best[num_all - num_boxes :]
    is_seen = (first < len(iou)) & (copy < len(iou))
    first, copy = first[is_seen], copy[is_seen]
    scores = logits[matches.row].sigmoid()
    apart = (scores[first] - scores[copy]).square().sum(dim=1)
    diou = aligned_diou(turn.boxes(matches.predicted[first]), matches.predicted[copy])
    return (apart + 1 - diou).sum() / max(1, len(first))


def _best_of_boxes(
    iou: Float[Tensor, " Q"], box: Int[Tensor, " Q"], num_boxes: int
) -> Int[Tensor, " M"]:
    """Which positive overlaps each box most, the first of equal ones; Q where it has none."""
    best = iou.new_full((num_boxes,), -1).scatter_reduce(0, box, iou, "amax")
    index = torch.arange(len(iou), device=box.device)
    is_best = iou == best[box]
    nobody = box.new_full((num_boxes,), len(iou))
    return nobody.scatter_reduce(0, box[is_best], index[is_best], "amin")
