"""Pose covariances of detections, from the spread that was measured for their classes.

ROS orders a pose's covariance x, y, z, then rotations about the x, y and z axes of the message's
frame. A box errs in its centre, independently along its shorter side, its longer side and upwards,
and in its yaw about gravity.
It stands upright by definition: turns about the other axes have variance 0 where the class is
known, which means "does not happen", not "unknown". Where the class's spread was never measured
all 36 numbers are 0, which is ROS's "unknown". The yaw's variance is that of the box's sides:
which of them is the front is not known.

A box of a color image alone errs along the line of sight besides, by what the network says of its
depth (`depth_std_m`): that variance is added along the ray from the camera to the centre. Of a
class whose spread was never measured it is the variance along the ray, with a guess across it and
the yaw of a box that may stand in any way. Where the image does not tell, nothing is known.

Tracks have what boxes of clouds have, whatever they were seen in, and while they are occluded what
the filter's variance grew by besides. The filter's whole variance would be too small, by 1.7 on
generated drives: it takes errors for noise that averages out, but most of a class's error is alike
in all frames, such as a side that the camera never sees. benchmark/tracking.py measures what is
claimed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.structures import Detections
from sr3d_ros.tf.rigid import Matrix

ACROSS_M = 0.1
"""How far off across the line of sight a box of a color image is taken to be, one standard
deviation, where its class's spread was never measured: a guess."""
ANY_YAW_RAD = math.pi / (2 * math.sqrt(12))
"""Standard deviation of the sides' yaw where it may be any, from -45 to 45 degrees."""


def pose_covariances(
    detections: Detections,
    classes: Sequence[str],
    spread: Mapping[str, ClassSpread],
    output_from_gravity: Matrix,
    added_variance_m2: NDArray[np.float64] | None = None,
    camera_at: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(D,6,6) covariances in the output frame, by the rows of `detections`; m^2 and rad^2.

    `added_variance_m2` (D,) is added to the variance of each centre that is known, in every
    direction. `camera_at` (3,) is the place of the camera in the frame of the detections; needed
    where these have a `depth_std_m`.
    """
    result = np.zeros((len(detections), 6, 6))
    labels = detections.labels.cpu().tolist()
    yaws = short_side_first(detections.boxes).yaw.detach().cpu().double().tolist()
    added = np.zeros(len(detections)) if added_variance_m2 is None else added_variance_m2
    for covariance, label, yaw, more in zip(result, labels, yaws, added, strict=True):
        known = spread.get(classes[label])
        if known is None:
            continue
        output_from_box = output_from_gravity[:3, :3] @ _turn(yaw)
        variances = np.square(known.center_m)
        covariance[:3, :3] = (output_from_box * (variances + more)) @ output_from_box.T
        up = output_from_gravity[:3, 2]
        covariance[3:, 3:] = known.yaw_rad**2 * np.outer(up, up)
    if detections.depth_std_m is not None:
        if camera_at is None:
            raise ValueError("boxes have a depth_std_m, expected `camera_at`, where from")
        _add_depth(result, detections, camera_at, output_from_gravity[:3, :3])
    return result


def _add_depth(
    covariances: NDArray[np.float64],
    detections: Detections,
    camera_at: NDArray[np.float64],
    turn: NDArray[np.float64],
) -> None:
    """Give each covariance what the image says of its box's depth; `turn` is into their frame."""
    assert detections.depth_std_m is not None
    stds = detections.depth_std_m.detach().cpu().double().tolist()
    rays = detections.boxes.center.detach().cpu().double().numpy() - camera_at
    for covariance, std_m, ray in zip(covariances, stds, rays @ turn.T, strict=True):
        length = float(np.linalg.norm(ray))
        if not np.isfinite(std_m) or length == 0.0:
            covariance[:] = 0.0
            continue
        along = np.outer(ray, ray) / length**2
        if not covariance.any():
            across, up = np.eye(3) - along, turn[:, 2]
            covariance[:3, :3] = ACROSS_M**2 * across
            covariance[3:, 3:] = ANY_YAW_RAD**2 * np.outer(up, up)
        covariance[:3, :3] += std_m**2 * along


def _turn(yaw: float) -> NDArray[np.float64]:
    """The rotation about z by `yaw` radians."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
