"""The detector that parameters ask for, and which of its boxes they want.

Thresholds, classes and overlaps act in the detector's own `Postprocess`, before boxes suppress
each other, so that a class nobody wants cannot hide one that somebody does. A change while the
detector runs is one assignment:

    detector.postprocess = postprocess_for(parameters, detector.classes)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from sr3d_core.checkpoint import CheckpointError
from sr3d_core.detector import Detector, Postprocess
from sr3d_ros.parameters.record import Parameters


def load_detector(parameters: Parameters) -> Detector:
    """The detector of `model.*`: of color images where `input.kind` is rgb, else of clouds.

    Raises ValueError or OSError with the reason.
    """
    if parameters.num_threads > 0:
        torch.set_num_threads(parameters.num_threads)
    of_images, weights = parameters.kind == "rgb", weights_of(parameters)
    name = "model.camera_weights" if of_images else "model.weights"
    try:
        detector = Detector.from_checkpoint(
            weights, device=parameters.device, backend=parameters.backend
        )
    except CheckpointError as error:
        if not of_images:
            raise
        raise ValueError(
            f"{error}; set {name} to weights of color images, which `sr3d distill` makes "
            "(commands: --weights, with --input auto --camera-weights), or input.kind to cloud or "
            "depth"
        ) from error
    if detector.takes_images != of_images:
        kinds = ("clouds", "color images")
        raise ValueError(
            f"{name} {weights}: weights of {kinds[detector.takes_images]}, expected those of "
            f"{kinds[of_images]}; set model.weights to weights of clouds, model.camera_weights to "
            "those of color images, and input.kind to what there is (commands: --weights, with "
            "--input auto --camera-weights, and --input)"
        )
    detector.postprocess = postprocess_for(parameters, detector.classes, of_images=of_images)
    return detector


def load_camera(
    parameters: Parameters, classes: Sequence[str], load: Callable[[Parameters], Detector]
) -> Detector | None:
    """The detector of color images beside one of clouds; None unless `input.kind` is auto.

    `classes` are those of the detector of clouds, `load` is `load_detector` or stands in for it.
    Both have the same classes, as their boxes come on one topic: raises ValueError otherwise, and
    what `load` raises.
    """
    if parameters.kind != "auto":
        return None
    camera = load(replace(parameters, kind="rgb"))
    if tuple(camera.classes) != tuple(classes):
        raise ValueError(
            f"model.camera_weights {parameters.camera_weights} knows {', '.join(camera.classes)}, "
            f"model.weights {parameters.weights} knows {', '.join(classes)}; expected "
            "the same classes in the same order: use weights that `sr3d distill` made from these"
        )
    return camera


def weights_of(parameters: Parameters) -> str:
    """How the weights are called that `load_detector` loads."""
    return parameters.camera_weights if parameters.kind == "rgb" else parameters.weights


def general_threshold(parameters: Parameters) -> float:
    """The score below which boxes of `input.kind` are left out, but for rules about classes."""
    is_rgb = parameters.kind == "rgb"
    return parameters.rgb_score_threshold if is_rgb else parameters.score_threshold


def postprocess_for(
    parameters: Parameters, classes: Sequence[str], *, of_images: bool = False
) -> Postprocess:
    """Which boxes are reported; what is said about classes the model lacks has no effect."""
    general = parameters.rgb_score_threshold if of_images else parameters.score_threshold
    return Postprocess(
        score_threshold=general,
        class_thresholds=tuple(_threshold(parameters, name, general) for name in classes),
        iou=parameters.nms_iou,
        one_class=True,
        refine=parameters.refine,
        max_detections=parameters.max_detections or None,
    )


def _threshold(parameters: Parameters, class_name: str, general: float) -> float:
    rule = parameters.rule_of(class_name)
    return (rule.score_threshold or general) if rule.enabled else math.inf
