"""What is odd about a frame that is worked on all the same, each in a sentence with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sr3d_core.geometry.origin import MAX_DISTANCE_M, reach
from sr3d_core.structures import PointCloud
from sr3d_ros.sensors.depth_image import DepthSet, color_misfit

_SAMPLE = 1000  # points that are looked at to see how far a cloud lies


def is_optical(frame_id: str) -> bool:
    """Whether a frame is named as a camera's with z forward and y down (REP-103).

    Believed as an alarm alone, never as a rotation.
    """
    return frame_id.endswith(("_optical_frame", "_optical"))


def notes_on_up(frame_id: str, is_cloud_z_up: bool) -> Iterator[str]:
    """What is odd about the frame that is taken as z up."""
    if is_cloud_z_up and is_optical(frame_id):
        yield (
            f"z of '{frame_id}' is taken as up, but an optical frame's z points forward: "
            "set frames.up to tf, imu or floor"
        )


def notes_on_header(output_frame: str, stamp_ns: int) -> Iterator[str]:
    """What is odd about where and when boxes are published."""
    if not output_frame:
        yield (
            "header.frame_id of the cloud is empty, so nobody can tell where its boxes are: set "
            "it in the driver"
        )
    if stamp_ns == 0:  # also the very first moment of a simulation
        yield (
            "header.stamp of the cloud is 0, which transforms take for the latest time there is; "
            "in a recording that is its end: set it in the driver"
        )


def notes_on_precision(cloud: PointCloud, frame_id: str) -> tuple[str, ...]:
    """What the publisher rounded away: nothing here can bring it back."""
    if cloud.xyz.dtype != torch.float32 or not len(cloud):
        return ()
    farthest = float(reach(cloud.xyz[:: max(len(cloud) // _SAMPLE, 1)]).max())
    if farthest <= MAX_DISTANCE_M:
        return ()
    step_m = float(np.spacing(np.float32(farthest)))
    return (
        f"the cloud lies so far from the origin of '{frame_id}' that its FLOAT32 coordinates are "
        f"{step_m:.2g} m apart: publish it in the sensor's frame, or as FLOAT64",
    )


def notes_on_color(views: Sequence[Any]) -> tuple[str, ...]:
    """Why color images of depth sets were not used."""
    pairs = [(v.depth, v.color) for v in views if isinstance(v, DepthSet) and v.color is not None]
    return tuple(filter(None, (color_misfit(depth, color) for depth, color in pairs)))
