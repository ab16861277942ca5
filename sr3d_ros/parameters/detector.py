"""The detector that parameters ask for, and which of its boxes they want.

Thresholds, classes and overlaps act in the detector's own `Postprocess`, before boxes suppress
each other, so that a class nobody wants cannot hide one that somebody does. A change while the
detector runs is one assignment:

    detector.postprocess = postprocess_for(parameters, detector.classes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sr3d_core.detector import Detector, Postprocess
from sr3d_ros.parameters.record import Parameters


def load_detector(parameters: Parameters) -> Detector:
    """The detector of `model.*`; raises ValueError or OSError with the reason."""
    if parameters.num_threads > 0:
        torch.set_num_threads(parameters.num_threads)
    detector = Detector.from_checkpoint(
        parameters.weights, device=parameters.device, backend=parameters.backend
    )
    detector.postprocess = postprocess_for(parameters, detector.classes)
    return detector


def postprocess_for(parameters: Parameters, classes: Sequence[str]) -> Postprocess:
    """Which boxes are reported; what is said about classes the model lacks has no effect."""
    return Postprocess(
        score_threshold=parameters.score_threshold,
        class_thresholds=tuple(_threshold(parameters, name) for name in classes),
        iou=parameters.nms_iou,
        one_class=True,
        refine=parameters.refine,
        max_detections=parameters.max_detections or None,
    )


def _threshold(parameters: Parameters, class_name: str) -> float:
    rule = parameters.rule_of(class_name)
    return (rule.score_threshold or parameters.score_threshold) if rule.enabled else math.inf
