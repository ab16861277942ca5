"""What the node publishes about frames: boxes, markers, objects' points, and the model's names.

~/output/detections    vision_msgs/Detection3DArray; empty = looked, found nothing
~/output/markers       visualization_msgs/MarkerArray
~/output/objects       sensor_msgs/PointCloud2: points of the boxes, or their indices
~/label_info           vision_msgs/LabelInfo, latched
~/vision_info          vision_msgs/VisionInfo, latched
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionInfo
from visualization_msgs.msg import MarkerArray

from sr3d_core.detector import Detector
from sr3d_core.structures import Detections
from sr3d_ros.frame import FrameResult
from sr3d_ros.messages import detection_array, label_info, marker_array, ros_types, vision_info
from sr3d_ros.output.covariance import pose_covariances
from sr3d_ros.output.object_clouds import object_cloud, object_indices
from sr3d_ros.params import Parameters

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """The publishers of frames and of the model. `publish` runs in the worker's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._types = ros_types()
        self._version = 0
        self._marked_frame = ""  # where markers stand
        self._detections = self._publisher(Detection3DArray, "~/output/detections", 10)
        self._markers = self._publisher(MarkerArray, "~/output/markers", 10)
        self._objects = self._publisher(PointCloud2, "~/output/objects", 2)
        self._labels = node.create_publisher(LabelInfo, "~/label_info", _LATCHED)
        self._vision = node.create_publisher(VisionInfo, "~/vision_info", _LATCHED)

    def close(self) -> None:
        """Leave all topics."""
        for publisher in (
            *(self._detections, self._markers, self._objects, self._labels, self._vision),
        ):
            self._node.destroy_publisher(publisher)

    def announce(
        self, detector: Detector, settings: Parameters, weights: str, is_new: bool = True
    ) -> None:
        """Tell which number is which class, and what detects; for late subscribers too."""
        stamp_ns = int(self._node.get_clock().now().nanoseconds)
        self._version += is_new
        self._labels.publish(
            label_info(
                detector.classes,
                stamp_ns=stamp_ns,
                threshold=settings.score_threshold,
                types=self._types,
            )
        )
        self._vision.publish(
            vision_info(
                stamp_ns=stamp_ns,
                method=f"SR3D, weights {weights}",
                label_topic=str(self._labels.topic_name),
                version=self._version,
                types=self._types,
            )
        )

    def publish(
        self,
        result: FrameResult,
        frame: tuple[Any, ...],
        detector: Detector,
        settings: Parameters,
        ids: Sequence[str] | None,
    ) -> None:
        """The boxes of a frame; `ids` one per detection, None = not tracked."""
        place: dict[str, Any] = {
            "stamp_ns": result.stamp_ns,
            "frame_id": result.frame_id,
            "output_from_gravity": result.output_from_gravity,
            "types": self._types,
        }
        parts = {**place, "classes": detector.classes, "ids": ids}
        covariances = pose_covariances(
            result.detections, detector.classes, detector.spread, result.output_from_gravity
        )
        array = detection_array(
            result.detections,
            class_id_as=settings.class_id_as,
            covariances=covariances,
            **parts,
        )
        self._detections.publish(array)
        if settings.publish_markers:
            self._markers.publish(marker_array(result.detections, **parts))
            self._marked_frame = result.frame_id
        if settings.object_clouds == "clouds":
            self._objects.publish(object_cloud(result.detections, result.cloud, **place))
        elif settings.object_clouds == "indices":
            self._objects.publish(
                object_indices(
                    result.detections,
                    frame[0],
                    gravity_from_cloud=result.gravity_from_cloud,
                    types=self._types,
                )
            )

    def wipe(self) -> None:
        """Remove the markers that stand, which nobody would renew."""
        if self._marked_frame:
            self._markers.publish(
                marker_array(
                    Detections.empty(),
                    stamp_ns=int(self._node.get_clock().now().nanoseconds),
                    frame_id=self._marked_frame,
                    output_from_gravity=np.eye(4),
                    classes=(),
                    types=self._types,
                )
            )
            self._marked_frame = ""

    def _publisher(self, kind: type, name: str, depth: int) -> Any:
        return self._node.create_publisher(
            kind,
            name,
            QoSProfile(depth=depth),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
