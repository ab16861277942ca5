"""What the node publishes about frames and the model; `node/topics.py` lists the topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from sr3d_core.detector import Detector
from sr3d_core.structures import Detections
from sr3d_ros.assembler import Frame
from sr3d_ros.messages.covariance import pose_covariances
from sr3d_ros.messages.detections import detection_array, label_info, vision_info
from sr3d_ros.messages.markers import marker_array
from sr3d_ros.messages.object_clouds import object_cloud, object_indices
from sr3d_ros.node.subscription import message_type
from sr3d_ros.node.topics import (
    DETECTIONS,
    LABEL_INFO,
    MARKERS,
    OBJECT_CLOUDS,
    OBJECT_MARKERS,
    OBJECTS,
    TRACK_MARKERS,
    TRACKS,
    VISION_INFO,
    OutputTopic,
)
from sr3d_ros.parameters.detector import general_threshold
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tracking.identities import Tracked
from sr3d_ros.tracking.mapping import Mapped


def advertised(node: Node, topic: OutputTopic) -> Any:
    """The publisher of a topic; QoS can be overridden by `qos_overrides`, unless it is latched."""
    kind = message_type(topic.kind)
    if topic.is_latched:
        latched = QoSProfile(depth=topic.depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return node.create_publisher(kind, topic.name, latched)
    return node.create_publisher(
        kind,
        topic.name,
        QoSProfile(depth=topic.depth),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )


class Outputs:
    """The publishers of frames and of the model. `publish` runs in the worker's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._version = 0
        self._boxes = BoxTopics(node, DETECTIONS, MARKERS)
        self._tracks = BoxTopics(node, TRACKS, TRACK_MARKERS)
        self._objects = BoxTopics(node, OBJECTS, OBJECT_MARKERS)
        self._object_clouds = advertised(node, OBJECT_CLOUDS)
        self._labels = advertised(node, LABEL_INFO)
        self._vision = advertised(node, VISION_INFO)

    def close(self) -> None:
        """Leave all topics."""
        for topics in (self._boxes, self._tracks, self._objects):
            topics.close()
        for publisher in (self._object_clouds, self._labels, self._vision):
            self._node.destroy_publisher(publisher)

    def announce(
        self, detector: Detector, parameters: Parameters, weights: str, is_new: bool = True
    ) -> None:
        """Tell which number is which class, and what detects; for late subscribers too."""
        stamp_ns = int(self._node.get_clock().now().nanoseconds)
        self._version += is_new
        self._labels.publish(
            label_info(
                detector.classes, stamp_ns=stamp_ns, threshold=general_threshold(parameters)
            )
        )
        self._vision.publish(
            vision_info(
                stamp_ns=stamp_ns,
                method=f"SR3D, weights {weights}, class_id as {parameters.class_id_as}",
                label_topic=str(self._labels.topic_name),
                version=self._version,
            )
        )

    def publish(
        self,
        result: FrameResult,
        frame: Frame,
        detector: Detector,
        parameters: Parameters,
        tracked: Tracked | None,
        mapped: Mapped | None,
        took_s: float,
    ) -> None:
        """The boxes of a frame, and tracks and map after it; None = not tracked, not mapped.

        `took_s` is how long the frame was worked on.
        """
        place: dict[str, Any] = {
            "stamp_ns": result.stamp_ns,
            "frame_id": result.frame_id,
            "output_from_gravity": result.output_from_gravity,
        }
        ids = None if tracked is None else tracked.ids
        stand_s = _markers_stand_s(parameters, took_s)
        self._boxes.publish(
            result.detections,
            detector,
            parameters,
            ids=ids,
            markers_stand_s=stand_s,
            camera_at=result.gravity_from_cloud[:3, 3],
            **place,
        )
        if tracked is None:
            self._tracks.wipe()
        else:
            self._tracks.publish(
                tracked.tracks.boxes,
                detector,
                parameters,
                stamp_ns=result.stamp_ns,
                frame_id=tracked.place.frame_id,
                output_from_gravity=tracked.place.output_from_static,
                ids=tracked.tracks.ids,
                markers_stand_s=stand_s,
                added_variance_m2=tracked.tracks.added_variance_m2,
                is_occluded=tracked.is_occluded,
            )
        if mapped is None:
            self._objects.wipe()
        else:
            self._objects.publish(
                mapped.objects,
                detector,
                parameters,
                stamp_ns=result.stamp_ns,
                frame_id=mapped.place.frame_id,
                output_from_gravity=mapped.place.output_from_static,
                ids=mapped.ids,
                markers_stand_s=stand_s,
            )
        if parameters.object_clouds == "clouds":
            self._object_clouds.publish(object_cloud(result.detections, result.cloud, **place))
        elif parameters.object_clouds == "indices":
            self._object_clouds.publish(
                object_indices(
                    result.detections, frame[0], gravity_from_cloud=result.gravity_from_cloud
                )
            )

    def wipe(self) -> None:
        """Remove the markers that stand, which nobody would renew."""
        for topics in (self._boxes, self._tracks, self._objects):
            topics.wipe()


_LAST_WORD = Duration(seconds=0.5)
"""How long a topic is kept for what was said last: one that is gone sends nothing again."""


def _markers_stand_s(parameters: Parameters, took_s: float) -> float:
    """How long markers stand that are not renewed; 0 = for ever.

    Where frames are refused, or none comes, they show what may not be so any more. As long as the
    sensor is not silent they are renewed in time, also by a slow detector: at the latest after
    `input.silence_warning_s` and the work on a frame, which may take twice as long as the last.
    """
    silence_s = parameters.silence_warning_s
    return silence_s + 2.0 * took_s if silence_s > 0.0 else 0.0


class BoxTopics:
    """Boxes on two topics: a Detection3DArray for programs, and markers of the same for rviz.

    Markers cost as much as all else that is published, so they are made only while somebody
    subscribes; those that nobody would renew are wiped. `publish` runs in the worker's thread.
    """

    def __init__(self, node: Node, boxes: OutputTopic, markers: OutputTopic) -> None:
        self._node = node
        self._marked_frame = ""  # frame_id of the markers that stand
        self._arrays = advertised(node, boxes)
        self._markers = advertised(node, markers)

    def publish(
        self,
        boxes: Detections,
        detector: Detector,
        parameters: Parameters,
        *,
        stamp_ns: int,
        frame_id: str,
        output_from_gravity: Matrix,
        ids: Sequence[str] | None,
        markers_stand_s: float,
        added_variance_m2: NDArray[np.float64] | None = None,
        is_occluded: Sequence[bool] | None = None,
        camera_at: NDArray[np.float64] | None = None,
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
            boxes,
            detector.classes,
            detector.spread,
            output_from_gravity,
            added_variance_m2,
            camera_at,
        )
        self._arrays.publish(
            detection_array(
                boxes, class_id_as=parameters.class_id_as, covariances=covariances, **parts
            )
        )
        if not parameters.publish_markers:
            self.wipe()
        elif self._markers.get_subscription_count() > 0:
            self._markers.publish(
                marker_array(boxes, is_occluded=is_occluded, lifetime_s=markers_stand_s, **parts)
            )
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
        """Leave both topics, once whoever shows markers has heard that they are wiped."""
        self._markers.wait_for_all_acked(_LAST_WORD)
        for publisher in (self._arrays, self._markers):
            self._node.destroy_publisher(publisher)
