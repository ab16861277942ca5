"""Detections -> Detection3DArray, LabelInfo and VisionInfo (vision_msgs).

Filled so that every known consumer works: the array's header is the cloud's stamp and the output
frame, repeated in every detection; `results` is never empty and its pose repeats `bbox.center`;
orientations are unit quaternions with w >= 0. An empty array means "looked, found nothing".
For markers see `markers`, for the points of each object `object_clouds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sr3d_core.structures import Detections
from sr3d_ros.messages.blank import Blank, ros_blank
from sr3d_ros.messages.parts import (
    fill_header,
    fill_pose,
    fill_xyz,
    placed_boxes,
    require_one_each,
)
from sr3d_ros.tf.rigid import Matrix


def detection_array(
    detections: Detections,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
    classes: Sequence[str],
    class_id_as: Literal["name", "index"] = "name",
    ids: Sequence[str] | None = None,
    covariances: NDArray[np.float64] | None = None,
    blank: Blank = ros_blank,
) -> Any:
    """A Detection3DArray in `frame_id`, by falling score.

    `ids` and `covariances` (D,6,6; see `covariance`) go by the rows of `detections`. Without
    them ids are "", "not tracked", and covariances 0, "unknown". Raises ValueError where they
    do not match the detections.
    """
    require_one_each("ids", ids, len(detections))
    if covariances is not None and covariances.shape != (len(detections), 6, 6):
        raise ValueError(
            f"covariances have shape {covariances.shape}, expected ({len(detections)}, 6, 6), "
            "one for each detection"
        )
    array = blank("vision_msgs/msg/Detection3DArray")
    fill_header(array.header, stamp_ns, frame_id)
    entries = []
    for box in placed_boxes(detections, output_from_gravity, classes):
        entry = blank("vision_msgs/msg/Detection3D")
        fill_header(entry.header, stamp_ns, frame_id)
        fill_pose(entry.bbox.center, box.center, box.orientation)
        fill_xyz(entry.bbox.size, box.size)
        result = blank("vision_msgs/msg/ObjectHypothesisWithPose")
        result.hypothesis.class_id = box.name if class_id_as == "name" else str(box.label)
        result.hypothesis.score = box.score
        fill_pose(result.pose.pose, box.center, box.orientation)
        if covariances is not None:
            # A float64 array as a whole is safe, and the only thing every rclpy takes quickly.
            result.pose.covariance = np.array(covariances[box.row], np.float64).reshape(36)
        entry.results = [result]
        entry.id = "" if ids is None else str(ids[box.row])
        entries.append(entry)
    array.detections = entries
    return array


def label_info(
    classes: Sequence[str],
    *,
    stamp_ns: int,
    frame_id: str = "",
    threshold: float = 0.0,
    blank: Blank = ros_blank,
) -> Any:
    """A LabelInfo: which number is which class, and the score below which boxes are dropped."""
    info = blank("vision_msgs/msg/LabelInfo")
    fill_header(info.header, stamp_ns, frame_id)
    entries = []
    for index, name in enumerate(classes):
        entry = blank("vision_msgs/msg/VisionClass")
        entry.class_id = index
        entry.class_name = str(name)
        entries.append(entry)
    info.class_map = entries
    info.threshold = float(threshold)
    return info


def vision_info(
    *,
    stamp_ns: int,
    method: str,
    label_topic: str,
    version: int = 0,
    frame_id: str = "",
    blank: Blank = ros_blank,
) -> Any:
    """A VisionInfo: what detects, and where the meaning of its class ids is found.

    `method` names the detector and its weights for people. `label_topic` is the full name of
    the LabelInfo topic, which is the database. `version` must grow each time the classes may
    have changed, so after each change of weights; 0..2^31-1.
    """
    info = blank("vision_msgs/msg/VisionInfo")
    fill_header(info.header, stamp_ns, frame_id)
    info.method = str(method)
    info.database_location = str(label_topic)
    info.database_version = int(version)
    return info
