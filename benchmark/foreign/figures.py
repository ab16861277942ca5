"""What an evaluation on foreign rooms says beyond average precision.

Slopes: log of the predicted over log of the true extent, least squares, over true boxes and the
detection of the same class with the highest score among those that overlap it by `MATCH_IOU`.
1 is right, 0 is a network that answers with the mean of a class. Axes are those of the true box.

Parts by size and confusion are those of `sr3d_core.analysis`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreign.table import AXES
from sr3d_core.analysis.answers import Answers, by_size
from sr3d_core.analysis.confusion import MATCH_IOU
from sr3d_core.evaluate import report
from sr3d_core.matches import best_overlap
from sr3d_core.structures import Boxes3D, Detections, Targets

FEWEST_FOR_SLOPE = 10


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
    return {name: precision(part, left_out) for name, part in by_size(answers).items()}


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
