"""From the node's parameters to the settings of the parts that they are about. No ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sr3d_core.detector import Postprocess
from sr3d_ros.budget import LoadLimits
from sr3d_ros.parameters.record import Parameters, specifications
from sr3d_ros.parameters.selection import postprocess_for
from sr3d_ros.pipeline import FrameSettings
from sr3d_ros.sensors.crop import Crop
from sr3d_ros.tracking.tracker import TrackingSettings

_LOWEST_M, _HIGHEST_M = (
    next(s.default for s in specifications() if s.name == f"filter.{name}")
    for name in ("min_height_m", "max_height_m")
)


def frame_settings(parameters: Parameters, max_points: int) -> FrameSettings:
    """How one frame goes; the postprocessing has applied the thresholds already."""
    return FrameSettings(
        up=parameters.up,
        detection_frame=parameters.detection_frame,
        target_frame=parameters.target_frame,
        score_threshold=0.0,
        drop_zeros=parameters.drop_zeros,
        max_points=max_points,
        crop=crop(parameters),
    )


def crop(parameters: Parameters) -> Crop:
    """Which points are detected in; the ends of the allowed heights are no limit."""
    low, high = parameters.min_height_m, parameters.max_height_m
    return Crop(
        min_range_m=parameters.min_range_m,
        max_range_m=parameters.max_range_m,
        min_height_m=-math.inf if low == _LOWEST_M else low,
        max_height_m=math.inf if high == _HIGHEST_M else high,
        roi=parameters.roi if any(parameters.roi) else (),
    )


def postprocess(parameters: Parameters, classes: Sequence[str]) -> Postprocess:
    """Which boxes are reported; what is said about classes the model lacks has no effect."""
    rules = {name: rule for name, rule in parameters.class_rules.items() if name in classes}
    return postprocess_for(
        classes,
        score_threshold=parameters.score_threshold,
        nms_iou=parameters.nms_iou,
        max_detections=parameters.max_detections,
        rules=rules,
    )


def load_limits(parameters: Parameters) -> LoadLimits:
    """What the adaptive point budget aims at."""
    return LoadLimits(
        target_ms=parameters.target_ms,
        min_points=parameters.min_points,
        max_points=parameters.max_points,
    )


def tracking_settings(parameters: Parameters) -> TrackingSettings:
    """When boxes of two frames are the same object."""
    return TrackingSettings(
        max_age_s=parameters.track_max_age_s,
        min_hits=parameters.track_min_hits,
        gate_m=parameters.track_gate_m,
    )
