"""A cloud looked at in several views, and what is found in them merged: offline, more accurate.

A network gives somewhat other boxes for the same room turned by a quarter or mirrored. What it
finds in most views is more likely there, and the mean of several boxes fits better than each. It
takes as many times as long as there are views, so it is for files, recordings and labels, not for
a robot's node.

Candidates of all views vote (see `geometry.voting`): per class, the best of those that overlap is
kept and becomes the mean of the others with it. Its score is the mean over the views of the best
that each of them gives to such a box; a view that has none counts 0.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.arrays import as_cloud
from sr3d_core.detector import Detector, Postprocess, with_fronts
from sr3d_core.evaluate import FindsObjects
from sr3d_core.geometry.nms import nms
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.geometry.turns import Turn, turns
from sr3d_core.geometry.voting import mean_boxes, votes
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud

VOTE_IOU = 0.3
"""Boxes of one class that overlap by at least this mean the same object."""

MERGED_IOU = 0.25
"""Of two merged boxes of one class that overlap by more than this, the lower-scored goes."""

WEAKEST_SCORE = 0.01
"""What views give to a box counts from here; thresholds act on the mean over the views."""


def merge_views(detector: Detector, num_views: int) -> Detector | MergedViews:
    """A detector that looks at each cloud in 1, 2, 4 or 8 views; 1 is the detector itself.

    Thresholds, classes and limits of its `postprocess` act on what is merged: a box that is weak
    in each view is still seen, and the given detector stays as it is. What its weights say about
    refinement was measured for one view, and is left out. Raises ValueError for another number.
    """
    if len(turns(num_views)) == 1:
        return detector
    wanted = detector.postprocess
    of_views = copy(detector)
    of_views.postprocess = replace(
        wanted,
        score_threshold=min(wanted.score_threshold, WEAKEST_SCORE),
        class_thresholds=tuple(
            threshold if threshold > 1.0 else min(threshold, WEAKEST_SCORE)
            for threshold in wanted.class_thresholds
        ),
        one_class=False,
        max_detections=None,
        refine=False,
    )
    return MergedViews(of_views, num_views, wanted=wanted, front_classes=detector.front_classes)


class MergedViews:
    """Answers like `Detector`, from several views of each cloud.

    `detector` finds the boxes of one view and should hold back none that is merely weak; for a
    `Detector` with thresholds, `merge_views` sees to that. `wanted` says which merged boxes are
    reported. `num_views` is 2, 4 or 8: quarter turns about the vertical, then mirrored ones.
    The yaw of `front_classes` points out of the front in each view, and in what is merged.
    `refinement` fits merged boxes to the points; it has nothing to say about votes.
    """

    def __init__(
        self,
        detector: FindsObjects,
        num_views: int = 4,
        *,
        wanted: Postprocess | None = None,
        vote_iou: float = VOTE_IOU,
        front_classes: Sequence[str] = (),
    ) -> None:
        if num_views == 1:
            raise ValueError("1 view has nothing to merge, expected 2, 4 or 8; use the detector")
        if not 0.0 < vote_iou <= 1.0:
            raise ValueError(f"vote_iou: {vote_iou}, expected above 0, at most 1")
        self.detector = detector
        self.turns = turns(num_views)
        self.wanted = wanted if wanted is not None else Postprocess()
        self.vote_iou = vote_iou
        self.front_classes = tuple(front_classes)
        self.refinement: Refinement = NONE

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        return self.detector.classes

    def __call__(self, xyz: Tensor | NDArray, rgb: Tensor | NDArray | None = None) -> Detections:
        """Find objects among points `xyz` (N,3), metres, z up; `rgb` (N,3) in 0..1.

        Arrays are read as by `as_cloud`, which raises ValueError.
        """
        return self.detect(as_cloud(xyz, rgb))

    def detect(self, cloud: PointCloud) -> Detections:
        """Find objects in a cloud of one scene; the result is on the CPU.

        The cloud is turned about the origin that the detector sees, see `geometry.origin`;
        `time_ms` is summed over the views, and `merging` comes to it.
        """
        local, origin = near_zero(cloud)
        if len(local) == 0:
            return Detections.empty()
        views = [self._seen_in(turn, local) for turn in self.turns]
        started = time.perf_counter()
        merged = self.refinement.fitted(self._merged(views), local, self.classes)
        times: dict[str, float] = {}
        for view in views:
            times |= {stage: times.get(stage, 0.0) + ms for stage, ms in view.time_ms.items()}
        times["merging"] = 1e3 * (time.perf_counter() - started)
        return Detections(moved(merged.boxes, origin), merged.scores, merged.labels, times)

    def _seen_in(self, turn: Turn, cloud: PointCloud) -> Detections:
        """What is found in a cloud that was turned, turned back."""
        found = self.detector.detect(turn.cloud(cloud)).to("cpu")
        back = turn.inverse
        front = back.direction(found.boxes.yaw) if self.front_classes else None
        return replace(found, boxes=back.boxes(found.boxes), facing=front)

    def _merged(self, views: list[Detections]) -> Detections:
        boxes = Boxes3D.cat([view.boxes for view in views])
        scores = torch.cat([view.scores for view in views])
        labels = torch.cat([view.labels for view in views])
        view_index = torch.repeat_interleave(torch.tensor([len(view) for view in views]))
        kept = nms(boxes, scores, labels, self.vote_iou, overlap="3d")
        vote = votes(boxes, labels, kept, self.vote_iou)
        merged = Detections(
            mean_boxes(boxes, scores, vote, len(kept)),
            _mean_over_views(scores, vote, view_index, len(kept), len(views)),
            labels[kept],
            facing=_mean_directions([view.facing for view in views], scores, vote, len(kept)),
        )
        merged = merged[self.wanted.is_wanted(merged.scores, merged.labels)]
        alone = nms(merged.boxes, merged.scores, merged.labels, MERGED_IOU, overlap="3d")
        found = self.wanted.suppressed(merged[alone])
        return with_fronts(found, self.classes, self.front_classes)


def _mean_directions(
    views: list[Float[Tensor, " D"] | None],
    scores: Float[Tensor, " D"],
    group: Int[Tensor, " D"],
    num_groups: int,
) -> Float[Tensor, " G"] | None:
    """Where the fronts of each group point on average; None where the views do not say it."""
    told = [view for view in views if view is not None]
    if not told:
        return None
    is_in, angle = group >= 0, torch.cat(told)
    vectors = scores[:, None] * torch.stack([angle.sin(), angle.cos()], dim=1)
    sums = vectors.new_zeros(num_groups, 2).index_add(0, group[is_in], vectors[is_in])
    return torch.atan2(sums[:, 0], sums[:, 1])


def _mean_over_views(
    scores: Float[Tensor, " D"],
    group: Int[Tensor, " D"],
    view: Int[Tensor, " D"],
    num_groups: int,
    num_views: int,
) -> Float[Tensor, " G"]:
    """The mean over the views of the best score that each gives to each group; none counts 0."""
    is_in = group >= 0
    place = group[is_in] * num_views + view[is_in]
    best = scores.new_zeros(num_groups * num_views).scatter_reduce(0, place, scores[is_in], "amax")
    return best.reshape(num_groups, num_views).mean(dim=1)
