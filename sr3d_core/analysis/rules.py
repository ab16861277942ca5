"""The same network output judged by other rules: how boxes suppress each other, and bounds.

Bounds put what is not known into the scores before boxes suppress each other (arXiv 2511.16140,
Table 6): for every prediction that TR3D's rule assigns to a box, the score of the box's class
becomes the IoU of the two (gt_iou), or is multiplied by FCAF3D's centre-ness of the anchor in the
box, 0 outside of it (gt_ctr). All other scores stay. What that gains is what a network with a
perfect score of that kind could gain with the boxes it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.detector import Detector, Look
from sr3d_core.inconsistency import Aic, Foreground, Looking
from sr3d_core.structures import Detections, PointCloud, Sample
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.criterion import Assigner
from sr3d_core.supervision.regions import centerness

OVERLAPS: tuple[Literal["3d", "bev"], ...] = ("3d", "bev")
"""How boxes suppress each other: by volumes, or by footprints as in the published evaluations."""

_EPSILON = 1e-6  # between a score and 0 or 1, so that its logit is a number


class UnderRules:
    """Finds what a detector finds, and keeps what it would find by other rules.

    The network looks once at each cloud. An instance is both the detector that is evaluated and
    what watches the evaluation, see `evaluate.found_and_true`.
    """

    def __init__(self, detector: Detector, assigner: Assigner | None = None) -> None:
        """`assigner` is that of AIC, TR3D's where none is given; bounds are always by TR3D's."""
        assigner = CenterTopK() if assigner is None else assigner
        self._looking = Looking(detector)
        self._of_bounds = assigner if isinstance(assigner, CenterTopK) else CenterTopK()
        self.assigner = str(getattr(assigner, "name", type(assigner).__name__))
        self.aic = Aic(assigner)
        self.by_overlap: dict[str, list[Detections]] = {name: [] for name in OVERLAPS}
        self.bounds: dict[str, list[Detections]] = {name: [] for name in BOUNDS}

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        return self._looking.classes

    def detect(self, cloud: PointCloud) -> Detections:
        """The objects in a cloud of one scene."""
        return self._looking.detect(cloud)

    def watch(self, sample: Sample, found: Detections) -> None:
        """Judge the scene that was looked at last; `found` is what `detect` made of it."""
        look = self._looking.last
        if look is None:
            for kept in (*self.by_overlap.values(), *self.bounds.values()):
                kept.append(Detections.empty())
            return
        detector = self._looking.detector
        for overlap in OVERLAPS:
            rule = replace(detector.postprocess, nms=overlap)
            is_own = rule == detector.postprocess
            self.by_overlap[overlap].append(found if is_own else detector.answer(look, rule))
        self.aic.add(look, sample.targets)
        foreground = Foreground.of(look, sample.targets, self._of_bounds)
        for name, score in BOUNDS.items():
            self.bounds[name].append(detector.answer(bounded(look, foreground, score)))


Score = Callable[[Look, Foreground], Float[Tensor, " Q"]]
"""What each prediction of the foreground scores instead, 0..1."""


def bounded(look: Look, foreground: Foreground, score: Score) -> Look:
    """The same look with other scores of the foreground, each in the class of its box."""
    logits = look.predictions.logits.clone()
    scores = score(look, foreground).to(logits.dtype)
    logits[foreground.row, foreground.label] = torch.logit(scores, _EPSILON)
    return replace(look, predictions=replace(look.predictions, logits=logits))


def _true_overlap(look: Look, foreground: Foreground) -> Float[Tensor, " Q"]:
    del look  # how sure the network is does not matter
    return foreground.iou


def _times_centerness(look: Look, foreground: Foreground) -> Float[Tensor, " Q"]:
    predictions, row = look.predictions, foreground.row
    scores = predictions.logits[row, foreground.label].sigmoid()
    return scores * centerness(foreground.truth, predictions.anchors[row])


BOUNDS: dict[str, Score] = {"gt_iou": _true_overlap, "gt_ctr": _times_centerness}
"""By their names in the paper."""
