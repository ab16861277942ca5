"""Pose covariances of detections, from the spread that was measured for their classes.

ROS orders a pose's covariance x, y, z, then rotations about the x, y and z axes of the message's
frame. A box errs in its centre, independently along its shorter side, its longer side and upwards,
and in its yaw about gravity.
It stands upright by definition: turns about the other axes have variance 0 where the class is
known, which means "does not happen", not "unknown". Where the class's spread was never measured
all 36 numbers are 0, which is ROS's "unknown". The yaw's variance is that of the box's sides:
which of them is the front is not known.

Tracks have the same, and while they are occluded what the filter's variance grew by besides. The
filter's whole variance would be too small, by 1.7 on generated drives: it takes errors for noise
that averages out, but most of a class's error is alike in all frames, such as a side that the
camera never sees. benchmark/tracking.py measures what is claimed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.structures import Detections
from sr3d_ros.tf.rigid import Matrix


def pose_covariances(
    detections: Detections,
    classes: Sequence[str],
    spread: Mapping[str, ClassSpread],
    output_from_gravity: Matrix,
    added_variance_m2: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(D,6,6) covariances in the output frame, by the rows of `detections`; m^2 and rad^2.

    `added_variance_m2` (D,) is added to the variance of each centre that is known, in every
    direction.
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
    return result


def _turn(yaw: float) -> NDArray[np.float64]:
    """The rotation about z by `yaw` radians."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
