"""Boxes on two topics: a Detection3DArray for programs, and markers of the same for rviz.

Markers cost as much as all else that is published, so they are built only while somebody
subscribes; those that nobody would renew are wiped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from sr3d_core.detector import Detector
from sr3d_core.structures import Detections
from sr3d_ros.messages.covariance import pose_covariances
from sr3d_ros.messages.detections import detection_array
from sr3d_ros.messages.markers import marker_array
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.rigid import Matrix


class BoxTopics:
    """The publishers of one kind of boxes. `publish` runs in the worker's thread."""

    def __init__(self, node: Node, name: str, marker_name: str) -> None:
        self._node = node
        self._marked_frame = ""  # where markers stand
        self._arrays = advertised(node, Detection3DArray, name)
        self._markers = advertised(node, MarkerArray, marker_name)

    def publish(
        self,
        boxes: Detections,
        detector: Detector,
        settings: Parameters,
        *,
        stamp_ns: int,
        frame_id: str,
        output_from_gravity: Matrix,
        ids: Sequence[str] | None,
        grown_m2: NDArray[np.float64] | None = None,
        is_hidden: Sequence[bool] | None = None,
    ) -> None:
        """Send boxes of a detector; see `detection_array`, `pose_covariances`, `marker_array`."""
        parts: dict[str, Any] = {
            "stamp_ns": stamp_ns,
            "frame_id": frame_id,
            "output_from_gravity": output_from_gravity,
            "classes": detector.classes,
            "ids": ids,
        }
        covariances = pose_covariances(
            boxes, detector.classes, detector.spread, output_from_gravity, grown_m2
        )
        self._arrays.publish(
            detection_array(
                boxes, class_id_as=settings.class_id_as, covariances=covariances, **parts
            )
        )
        if not settings.publish_markers:
            self.wipe()
        elif self._markers.get_subscription_count() > 0:
            self._markers.publish(marker_array(boxes, is_hidden=is_hidden, **parts))
            self._marked_frame = frame_id

    def wipe(self) -> None:
        """Remove the markers that stand, which nobody would renew."""
        if not self._marked_frame:
            return
        eraser = marker_array(
            Detections.empty(),
            stamp_ns=int(self._node.get_clock().now().nanoseconds),
            frame_id=self._marked_frame,
            output_from_gravity=np.eye(4),
            classes=(),
        )
        self._markers.publish(eraser)
        self._marked_frame = ""

    def close(self) -> None:
        """Leave both topics."""
        for publisher in (self._arrays, self._markers):
            self._node.destroy_publisher(publisher)


def advertised(node: Node, kind: type, name: str, depth: int = 10) -> Any:
    """A publisher whose QoS can be set from outside, by `qos_overrides` parameters."""
    return node.create_publisher(
        kind,
        name,
        QoSProfile(depth=depth),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
