"""What the node publishes about frames: boxes, tracks, objects' points, and the model's names.

~/output/detections     vision_msgs/Detection3DArray; empty = looked, found nothing
~/output/markers        visualization_msgs/MarkerArray of these
~/output/tracks         vision_msgs/Detection3DArray; empty = nothing is remembered
~/output/track_markers  visualization_msgs/MarkerArray of these
~/output/objects        sensor_msgs/PointCloud2: points of the boxes, or their indices
~/label_info            vision_msgs/LabelInfo, latched
~/vision_info           vision_msgs/VisionInfo, latched
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import LabelInfo, VisionInfo

from sr3d_core.detector import Detector
from sr3d_ros.messages.detections import label_info, vision_info
from sr3d_ros.messages.object_clouds import object_cloud, object_indices
from sr3d_ros.node.box_topics import BoxTopics, advertised
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tracking.identities import Tracked

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """The publishers of frames and of the model. `publish` runs in the worker's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._version = 0
        self._boxes = BoxTopics(node, "~/output/detections", "~/output/markers")
        self._tracks = BoxTopics(node, "~/output/tracks", "~/output/track_markers")
        self._objects = advertised(node, PointCloud2, "~/output/objects", depth=2)
        self._labels = node.create_publisher(LabelInfo, "~/label_info", _LATCHED)
        self._vision = node.create_publisher(VisionInfo, "~/vision_info", _LATCHED)

    def close(self) -> None:
        """Leave all topics."""
        for topics in (self._boxes, self._tracks):
            topics.close()
        for publisher in (self._objects, self._labels, self._vision):
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
            )
        )
        self._vision.publish(
            vision_info(
                stamp_ns=stamp_ns,
                method=f"SR3D, weights {weights}",
                label_topic=str(self._labels.topic_name),
                version=self._version,
            )
        )

    def publish(
        self,
        result: FrameResult,
        frame: tuple[Any, ...],
        detector: Detector,
        settings: Parameters,
        tracked: Tracked | None,
    ) -> None:
        """The boxes of a frame, and what is known after it; None = not tracked."""
        place: dict[str, Any] = {
            "stamp_ns": result.stamp_ns,
            "frame_id": result.frame_id,
            "output_from_gravity": result.output_from_gravity,
        }
        ids = None if tracked is None else tracked.ids
        self._boxes.publish(result.detections, detector, settings, ids=ids, **place)
        if tracked is None:
            self._tracks.wipe()
        else:
            self._tracks.publish(
                tracked.remembered.objects,
                detector,
                settings,
                stamp_ns=result.stamp_ns,
                frame_id=tracked.place.frame_id,
                output_from_gravity=tracked.place.output_from_static,
                ids=tracked.remembered.ids,
                grown_m2=tracked.remembered.grown_m2,
                is_hidden=tracked.is_hidden,
            )
        if settings.object_clouds == "clouds":
            cloud = object_cloud(result.detections, result.cloud, **place)
            self._objects.publish(cloud)
        elif settings.object_clouds == "indices":
            self._objects.publish(
                object_indices(
                    result.detections,
                    frame[0],
                    gravity_from_cloud=result.gravity_from_cloud,
                )
            )

    def wipe(self) -> None:
        """Remove the markers that stand, which nobody would renew."""
        for topics in (self._boxes, self._tracks):
            topics.wipe()
