"""How far found boxes lie from the true ones, per class: what covariances are made of.

Each detection is matched to the box of its class that it overlaps most, as in the evaluation;
pairs count from an overlap of `MIN_IOU`. The spread is the root mean square of their errors, so a
constant offset counts too. The centre's error is taken along the shorter and the longer side of
the found box, because some networks write either of them first. The yaw's is how far the sides
turn, so modulo a quarter turn: which side is the front is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.detector import seen_by
from sr3d_core.evaluate import FindsObjects
from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.matches import best_overlap
from sr3d_core.structures import Boxes3D, Detections, Sample, Targets

MIN_IOU = 0.25
"""Less overlap is another object, or none: that is an error of detection, not of place."""

MIN_BOXES = 10
"""A class that was found less often has no spread: it is unknown."""


def measure_spread(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
) -> dict[str, ClassSpread]:
    """Run the detector over labelled scenes it has not seen; spread by class name.

    Labels of the samples index `detector.classes`; `progress` is told how many scenes are done.
    """
    labels, errors = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, 4)]
    for number, sample in enumerate(samples, start=1):
        found = detector.detect(seen_by(detector, sample))
        label, error = matched_errors(found, sample.targets.to("cpu"))
        labels.append(label)
        errors.append(error)
        if progress is not None:
            progress(number)
    return _summary(torch.cat(labels), torch.cat(errors), detector.classes)


def matched_errors(
    found: Detections, targets: Targets
) -> tuple[Int[Tensor, " E"], Float[Tensor, "E 4"]]:
    """Label and error of each matched detection: along its shorter side, along its longer side,
    up, yaw; metres, radians."""
    overlap, index = best_overlap(found, targets)
    is_match = overlap >= MIN_IOU
    boxes, truth = found.boxes[is_match], targets.boxes[index[is_match]]
    return found.labels[is_match], _errors(boxes, truth)


def _errors(found: Boxes3D, truth: Boxes3D) -> Float[Tensor, "E 4"]:
    """Errors of centres and yaws, box by box."""
    found = short_side_first(found)
    offset = (found.center - truth.center).float()
    cosine, sine = found.yaw.cos().float(), found.yaw.sin().float()
    along_x = offset[:, 0] * cosine + offset[:, 1] * sine
    along_y = offset[:, 1] * cosine - offset[:, 0] * sine
    quarter = math.pi / 2
    turn = (found.yaw - truth.yaw + quarter / 2).remainder(quarter) - quarter / 2
    return torch.stack([along_x, along_y, offset[:, 2], turn.float()], dim=1)


def _summary(
    labels: Int[Tensor, " E"], errors: Float[Tensor, "E 4"], classes: tuple[str, ...]
) -> dict[str, ClassSpread]:
    spread = {}
    for label, name in enumerate(classes):
        mine = errors[labels == label]
        if len(mine) < MIN_BOXES:
            continue
        x, y, z, yaw = (round(rms, 4) for rms in mine.square().mean(dim=0).sqrt().tolist())
        spread[name] = ClassSpread(center_m=(x, y, z), yaw_rad=yaw, num_boxes=len(mine))
    return spread
