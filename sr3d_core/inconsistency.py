"""How far scores are from the overlaps that they stand for: AIC and PCE (arXiv 2511.16140).

AIC looks at what the network says before boxes suppress each other: the mean of `|score - IoU|`
over the predictions that an assigner would train towards a box, with the score of the box's class.
PCE looks at what comes out: the same mean over the most confident detections of each class, with
the IoU of the box of the class that each overlaps most, 0 where its scene has none. The paper has
no formula of PCE that we know of; this is how we read its words. Detections of objects that are
ignored are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from sr3d_core.detector import Detector, Look
from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.geometry.origin import moved
from sr3d_core.matches import Matches
from sr3d_core.structures import Boxes3D, Detections, Images, PointCloud, Targets
from sr3d_core.supervision.criterion import Assigner

MOST_CONFIDENT = 30
"""Detections of each class, over all scenes, that PCE looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """The predictions of one scene that an assigner would train towards a box."""

    row: Int[Tensor, " Q"]  # which prediction
    label: Int[Tensor, " Q"]  # of its box
    truth: Boxes3D  # Q
    iou: Float[Tensor, " Q"]  # of the predicted box with its box, 0..1

    @classmethod
    @torch.no_grad()
    def of(cls, look: Look, targets: Targets, assigner: Assigner) -> Foreground:
        """Assign the predictions of a look to the boxes of its scene."""
        predictions = look.predictions
        rows = moved(targets.boxes, -look.origin).array.to(predictions.anchors)
        local = Targets(Boxes3D.from_array(rows), targets.labels.to(rows.device))
        target = assigner(predictions, local).target
        row = (target >= 0).nonzero()[:, 0]
        truth = local.boxes[target[row]]
        iou = aligned_iou(predictions.boxes[row], truth).nan_to_num(0.0).clamp(0, 1)
        return cls(row, local.labels[target[row]], truth, iou)


class Looking:
    """Finds what a detector finds, and keeps what its network said of the last cloud."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.last: Look | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        return self.detector.classes

    @property
    def takes_images(self) -> bool:
        """Whether it looks at color images, in place of clouds."""
        return self.detector.takes_images

    def detect(self, seen: PointCloud | Images) -> Detections:
        """The objects in a cloud of one scene, or in one image."""
        self.last = self.detector.look(seen)
        return Detections.empty() if self.last is None else self.detector.answer(self.last)


class Aic:
    """The mean of `|score - IoU|` over the positives of all scenes."""

    def __init__(self, assigner: Assigner) -> None:
        self._assigner = assigner
        self._sum = 0.0
        self.num_positives = 0

    def add(self, look: Look | None, targets: Targets) -> None:
        """The next scene; None where nothing of it was seen."""
        if look is None:
            return
        found = Foreground.of(look, targets, self._assigner)
        scores = look.predictions.logits[found.row, found.label].sigmoid()
        self._sum += float((scores - found.iou).abs().double().sum())
        self.num_positives += len(found.row)

    @property
    def value(self) -> float:
        """0..1; NaN where there is no positive."""
        return self._sum / self.num_positives if self.num_positives else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Pce:
    """`|score - IoU|` of the most confident detections."""

    per_class: Float[ndarray, " K"]  # mean of each class, NaN where it is never found
    mean: float  # over these detections of all classes, NaN without any


def pce(matches: Matches, num_classes: int, iou: float) -> Pce:
    """PCE of the detections that are right or wrong at a threshold."""
    per_class, every = np.full(num_classes, np.nan), [np.zeros(0)]
    is_scored = matches.is_scored(iou)
    for label in range(num_classes):
        rows = np.flatnonzero((matches.labels == label) & is_scored)
        best = rows[np.argsort(-matches.scores[rows], kind="stable")][:MOST_CONFIDENT]
        if len(best):
            every.append(np.abs(matches.scores[best] - matches.iou[best]))
            per_class[label] = every[-1].mean()
    apart = np.concatenate(every)
    return Pce(per_class, float(apart.mean()) if len(apart) else math.nan)
