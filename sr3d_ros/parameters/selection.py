"""Which boxes are reported: thresholds, classes and overlaps as the node's parameters say.

All of it happens in the detector's own `Postprocess`, before boxes suppress each other, so that a
class nobody wants cannot hide one that somebody does. A live change is one assignment:

    detector.postprocess = postprocess_for(detector.classes, score_threshold=0.3, ...)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

from sr3d_core.detector import Postprocess
from sr3d_ros.parameters.record import ClassRule


class SelectionError(ValueError):
    """Output settings that cannot be applied; the text names the parameter and what to do."""


def postprocess_for(
    classes: Sequence[str],
    *,
    score_threshold: float,
    nms_iou: float = 0.5,
    max_detections: int = 0,
    rules: Mapping[str, ClassRule] | None = None,
) -> Postprocess:
    """The post-processing that these settings ask for; `max_detections` 0 = no limit.

    Raises SelectionError for a number out of range or a class that the model does not know.
    """
    rules = rules or {}
    for name in rules:
        if name not in classes:
            raise SelectionError(_unknown_class(name, classes))
    numbers = {
        "output.score_threshold": score_threshold,
        "output.nms_iou": nms_iou,
        **{
            f"classes.{name}.score_threshold": rule.score_threshold for name, rule in rules.items()
        },
    }
    for parameter, value in numbers.items():
        if not 0.0 <= value <= 1.0:
            raise SelectionError(f"{parameter} is {value:g}, expected 0..1")
    if max_detections < 0:
        raise SelectionError(
            f"output.max_detections is {max_detections}, expected 0 (no limit) or more"
        )
    return Postprocess(
        score_threshold=score_threshold,
        class_thresholds=tuple(_threshold(rules.get(c), score_threshold) for c in classes),
        iou=nms_iou,
        one_class=True,
        max_detections=max_detections or None,
    )


def _threshold(rule: ClassRule | None, general: float) -> float:
    if rule is None:
        return general
    if not rule.enabled:
        return math.inf
    return rule.score_threshold or general


def _unknown_class(name: str, classes: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, classes, n=1)
    advice = f"; did you mean {close[0]}?" if close else ""
    return (
        f"classes.{name}: the model does not know it, expected one of {', '.join(classes)}{advice}"
    )
