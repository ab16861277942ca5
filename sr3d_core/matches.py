"""Which detections are right: the rule of the indoor benchmarks, and of every score here.

Per class and scene, detections by falling score; each looks at the ground-truth box of its class
that it overlaps most (3D, yaw respected). It is right if that overlap exceeds the threshold and
nobody with a higher score has claimed the box; a second hit is wrong, also where another box
overlaps. A detection that hits no box to be found, but an ignored one of its class, is neither
right nor wrong. As an ignored object is seen in part, it is hit as well where the share of the
detection inside it exceeds the threshold (as COCO's evaluation treats `iscrowd`, Lin et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.structures import Detections, Targets


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Detections of all scenes, each with the box of its class that it overlaps most."""

    scores: Float[ndarray, " D"]
    labels: Int[ndarray, " D"]
    scene: Int[ndarray, " D"]  # the scene of each detection, counted from 0
    iou: Float[ndarray, " D"]  # 0 where the scene has no box of that class
    truth: Int[ndarray, " D"]  # a number that no other ground-truth box of any scene shares
    ignored: Float[ndarray, " D"]  # how well an ignored box of the class is hit, 0..1

    def is_scored(self, iou: float) -> Bool[ndarray, " D"]:
        """Which detections are right or wrong; the others hit an ignored box only."""
        return (self.iou > iou) | (self.ignored <= iou)

    def is_right(self, iou: float) -> Bool[ndarray, " D"]:
        """Which detections are the first, by falling score, to hit their box."""
        hits = np.flatnonzero(self.iou > iou)
        hits = hits[np.argsort(-self.scores[hits], kind="stable")]
        _, first = np.unique(self.truth[hits], return_index=True)
        is_right = np.zeros(len(self.scores), dtype=np.bool_)
        is_right[hits[first]] = True
        return is_right


def match_all(detections: Sequence[Detections], targets: Sequence[Targets]) -> Matches:
    """Match scene by scene; ground-truth boxes are numbered through all of them."""
    no_floats, no_ints = np.zeros(0), np.zeros(0, dtype=np.int64)
    iou, truth, ignored, scene, first = [no_floats], [no_ints], [no_floats], [no_ints], 0
    for number, (found, target) in enumerate(zip(detections, targets, strict=True)):
        best, index = best_overlap(found.to("cpu"), target.to("cpu"))
        iou.append(best.numpy())
        truth.append(first + index.numpy())
        ignored.append(_share_ignored(found.to("cpu"), target.to("cpu")).numpy())
        scene.append(np.full(len(found), number))
        first += len(target)
    scores = [found.scores.double().cpu().numpy() for found in detections]
    labels = [found.labels.cpu().numpy() for found in detections]
    return Matches(
        scores=np.concatenate([no_floats, *scores]),
        labels=np.concatenate([no_ints, *labels]),
        scene=np.concatenate(scene),
        iou=np.concatenate(iou),
        truth=np.concatenate(truth),
        ignored=np.concatenate(ignored),
    )


def best_overlap(
    found: Detections, target: Targets
) -> tuple[Float[Tensor, " D"], Int[Tensor, " D"]]:
    """Overlap with, and index of, the box of the same class that each detection overlaps most."""
    if len(found) == 0 or len(target) == 0:
        zeros = torch.zeros(len(found), dtype=torch.float64)
        return zeros, zeros.long()
    overlap = _overlaps(found, target)
    index = overlap.argmax(dim=1)
    return overlap.gather(1, index[:, None])[:, 0], index


def _overlaps(found: Detections, target: Targets) -> Float[Tensor, "D M"]:
    """IoU of all pairs of one class, 0 of all others."""
    overlap = torch.zeros(len(found), len(target), dtype=torch.float64)
    rows, columns = (found.labels[:, None] == target.labels[None, :]).nonzero(as_tuple=True)
    overlap[rows, columns] = aligned_iou(found.boxes[rows], target.boxes[columns]).double()
    return overlap


def _share_ignored(found: Detections, target: Targets) -> Float[Tensor, " D"]:
    """IoU with an ignored box of the same class, or share of the detection inside, the larger."""
    ignored = target.ignored
    if ignored is None or len(ignored) == 0 or len(found) == 0:
        return torch.zeros(len(found), dtype=torch.float64)
    iou = _overlaps(found, ignored)
    volume = found.boxes.size.double().prod(dim=1)[:, None]
    # From IoU = I / (A + B - I), A the detection's volume: I = IoU (A + B) / (1 + IoU).
    both = volume + ignored.boxes.size.double().prod(dim=1)
    inside = iou * both / (1 + iou) / volume.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.maximum(iou, inside).amax(dim=1)
