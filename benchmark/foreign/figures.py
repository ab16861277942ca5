"""What an evaluation on foreign rooms says beyond average precision.

Size terciles: the true boxes of a class over all scenes, split into three equal parts by volume.
A detection belongs to the part of the true box of its class that it overlaps most, also where it
overlaps it too little, and where it overlaps none to the part that its own volume falls into.

Slopes: log of the predicted over log of the true extent, least squares, over true boxes and the
detection of the same class with the highest score among those that overlap it by `MATCH_IOU`.
1 is right, 0 is a network that answers with the mean of a class. Axes are those of the true box.

Confusion: for each true box the class of the detection of any class that overlaps it most, by
`MATCH_IOU` at least, or `NOTHING`; of detections that overlap each other only the best-scored is
asked, as a robot reports them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foreign.table import AXES
from sr3d_core.evaluate import report
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.geometry.nms import nms
from sr3d_core.matches import best_overlap
from sr3d_core.structures import Boxes3D, Detections, Targets

MATCH_IOU = 0.25
NMS_IOU = 0.5
TERCILES = ("small", "middle", "large")
NOTHING = "nothing"
REPORTED = 0.3
"""What a detection must score for a robot to report it."""

FEWEST_FOR_SLOPE = 10


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was found in scenes, and what is there; labels index `classes`."""

    classes: tuple[str, ...]
    found: Sequence[Detections]
    truth: Sequence[Targets]

    def of(self, scenes: Sequence[int]) -> Answers:
        """Some of the scenes."""
        return Answers(
            self.classes, [self.found[k] for k in scenes], [self.truth[k] for k in scenes]
        )


def precision(answers: Answers, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """AP25 and AP50 by class, and their means over the classes that are not left out."""
    result = report(answers.found, answers.truth, answers.classes)
    figures: dict[str, Any] = {"scenes": result.num_scenes, "per_class": {}}
    for index, name in enumerate(answers.classes):
        figures["per_class"][name] = {
            "boxes": int(result.ap25.num_truth[index]),
            "ap25": _plain(result.ap25.per_class[index]),
            "ap50": _plain(result.ap50.per_class[index]),
        }
    counted = [row for name, row in figures["per_class"].items() if name not in left_out]
    for measure in ("ap25", "ap50"):
        values = [row[measure] for row in counted if row[measure] is not None]
        figures[measure] = sum(values) / len(values) if values else None
    return figures


def precision_by_size(answers: Answers, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """The same for each tercile of size."""
    edges = _edges(answers)
    return {
        name: precision(_only(answers, edges, part), left_out)
        for part, name in enumerate(TERCILES)
    }


def _edges(answers: Answers) -> Float[Tensor, "K 2"]:
    """Volumes between the terciles of each class, infinite where it has no box."""
    volume = torch.cat([_volume(target.boxes) for target in answers.truth])
    label = torch.cat([target.labels for target in answers.truth])
    edges = torch.full((len(answers.classes), 2), math.inf, dtype=torch.float64)
    for index in label.unique().tolist():
        levels = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
        edges[index] = volume[label == index].quantile(levels)
    return edges


def _only(answers: Answers, edges: Float[Tensor, "K 2"], part: int) -> Answers:
    found, truth = [], []
    for detections, target in zip(answers.found, answers.truth, strict=True):
        part_of_truth = _part(_volume(target.boxes), target.labels, edges)
        part_of_found = _part(_volume(detections.boxes), detections.labels, edges)
        overlap, index = best_overlap(detections, target)
        touches = overlap > 0
        part_of_found[touches] = part_of_truth[index[touches]]
        found.append(detections[part_of_found == part])
        truth.append(target[part_of_truth == part])
    return Answers(answers.classes, found, truth)


def _part(
    volume: Float[Tensor, " N"], label: Int[Tensor, " N"], edges: Float[Tensor, "K 2"]
) -> Int[Tensor, " N"]:
    return (volume[:, None] > edges[label]).sum(dim=1)


def _volume(boxes: Boxes3D) -> Float[Tensor, " N"]:
    return boxes.size.double().prod(dim=1)


def slopes(answers: Answers) -> dict[str, Any]:
    """By class and axis, and how many boxes of a class were matched; None where too few were."""
    pairs: list[list[Float[Tensor, "2 3"]]] = [[] for _ in answers.classes]
    for detections, target in zip(answers.found, answers.truth, strict=True):
        for row, column in _best_scored(detections, target):
            sizes = torch.stack(
                [target.boxes.size[column], _along(detections.boxes, row, target.boxes, column)]
            )
            pairs[int(target.labels[column])].append(sizes.double())
    return {
        name: {"n": len(mine), **_slope(mine)}
        for name, mine in zip(answers.classes, pairs, strict=True)
        if mine
    }


def _best_scored(detections: Detections, target: Targets) -> list[tuple[int, int]]:
    """Pairs of a detection and the true box that it overlaps most: for each box the first."""
    overlap, index = best_overlap(detections, target)
    chosen: dict[int, int] = {}
    for row in (overlap >= MATCH_IOU).nonzero()[:, 0].tolist():  # by falling score
        chosen.setdefault(int(index[row]), row)
    return [(row, column) for column, row in chosen.items()]


def _along(found: Boxes3D, row: int, truth: Boxes3D, column: int) -> Float[Tensor, " 3"]:
    """Extents of a found box along the axes of the true one, as near as quarter turns allow."""
    quarters = round(float(found.yaw[row] - truth.yaw[column]) / (math.pi / 2))
    size = found.size[row]
    return size[[1, 0, 2]] if quarters % 2 else size


def _slope(pairs: list[Float[Tensor, "2 3"]]) -> dict[str, float | None]:
    if len(pairs) < FEWEST_FOR_SLOPE:
        return dict.fromkeys(AXES)
    truth, found = torch.stack(pairs, dim=1).log()
    centred = truth - truth.mean(dim=0)
    spread = centred.square().sum(dim=0)
    slope = (centred * found).sum(dim=0) / spread
    return {axis: _plain(slope[k]) for k, axis in enumerate(AXES)}


def confusion(answers: Answers, least_score: float = 0.0) -> dict[str, dict[str, int]]:
    """By true class: how many boxes were taken for which class, or for nothing.

    Detections that score less than `least_score` are not asked.
    """
    names = (*answers.classes, NOTHING)
    counts = np.zeros((len(answers.classes), len(names)), dtype=np.int64)
    for detections, target in zip(answers.found, answers.truth, strict=True):
        taken_for = _taken_for(_reported_once(detections, least_score), target)
        np.add.at(counts, (target.labels.numpy(), taken_for.numpy()), 1)
    return {
        name: dict(zip(names, row.tolist(), strict=True))
        for name, row in zip(answers.classes, counts, strict=True)
        if row.sum()
    }


def _reported_once(detections: Detections, least_score: float) -> Detections:
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


def spread(figures: Sequence[Any]) -> Any:
    """The same figures of several views as one: numbers become their mean, sd, min and max.

    What a view does not have does not count.
    """
    values = [value for value in figures if value is not None]
    if not values:
        return None
    if isinstance(values[0], dict):
        keys = dict.fromkeys(key for one in values for key in one)
        return {key: spread([one.get(key) for one in values]) for key in keys}
    return {
        "mean": round(float(np.mean(values)), 4),
        "sd": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
        "min": round(float(min(values)), 4),
        "max": round(float(max(values)), 4),
    }


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
