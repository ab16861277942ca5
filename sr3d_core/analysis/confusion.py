"""What objects are taken for, as a robot reports them.

Confusion: for each true box the class of the detection of any class that overlaps it most, by
`MATCH_IOU` at least, or `NOTHING`; of detections that overlap each other only the best-scored is
asked.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sr3d_core.analysis.answers import Answers
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.geometry.nms import nms
from sr3d_core.structures import Detections, Targets

MATCH_IOU = 0.25
NMS_IOU = 0.5
NOTHING = "nothing"
REPORTED = 0.3
"""What a detection must score for a robot to report it."""


def confusion(answers: Answers, least_score: float = 0.0) -> dict[str, dict[str, int]]:
    """By true class: how many boxes were taken for which class, or for nothing.

    Detections that score less than `least_score` are not asked. Classes without a box have no row.
    """
    names = (*answers.classes, NOTHING)
    counts = np.zeros((len(answers.classes), len(names)), dtype=np.int64)
    for detections, target in zip(answers.found, answers.truth, strict=True):
        taken_for = _taken_for(reported_once(detections, least_score), target)
        np.add.at(counts, (target.labels.numpy(), taken_for.numpy()), 1)
    return {
        name: dict(zip(names, row.tolist(), strict=True))
        for name, row in zip(answers.classes, counts, strict=True)
        if row.sum()
    }


def reported_once(detections: Detections, least_score: float) -> Detections:
    """Detections of a score, and of those that overlap, of whatever class, the best-scored."""
    detections = detections[detections.scores >= least_score]
    same = torch.zeros_like(detections.labels)
    return detections[nms(detections.boxes, detections.scores, same, NMS_IOU)]


def _taken_for(detections: Detections, target: Targets) -> Int[Tensor, " M"]:
    """Label of the best overlapping detection of each true box, -1 for none."""
    if len(detections) == 0:
        return torch.full((len(target),), -1)
    overlap, row = pairwise_iou(target.boxes, detections.boxes).max(dim=1)
    is_hit: Bool[Tensor, " M"] = overlap >= MATCH_IOU
    return torch.where(is_hit, detections.labels[row], -1)
