"""The detector as a ROS 2 node: clouds in, labelled boxes out, and a word about every failure.

    ~/input/points        sensor_msgs/PointCloud2, any layout, newest only
    ~/output/detections   vision_msgs/Detection3DArray; empty = looked, found nothing
    ~/output/markers      visualization_msgs/MarkerArray
    ~/label_info          vision_msgs/LabelInfo, latched
    ~/status              sr3d_ros/DetectorStatus, at 1 Hz and when something goes wrong

The executor's thread only hands clouds over; the worker's thread parses, transforms, detects and
publishes. A cloud that fails publishes nothing, is counted under its reason and explained in the
log; the node goes on. Runs on Humble and newer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
import torch
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from sr3d_core.detector import Detector, Postprocess
from sr3d_ros.diagnostics import DETECTOR_FAILED, CloudCounters, advice_on_silence, fill_status
from sr3d_ros.frame import FramePipeline, FrameResult, FrameSettings
from sr3d_ros.messages import detection_array, label_info, marker_array, ros_types
from sr3d_ros.msg import DetectorStatus
from sr3d_ros.params import Parameters, declare_parameters
from sr3d_ros.patience import PatientTransforms
from sr3d_ros.transforms import stamp_to_ns, transform_source
from sr3d_ros.worker import Worker

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

STATUS_PERIOD_S = 1.0


def load_detector(parameters: Parameters) -> Detector:
    """The detector that the parameters name; raises ValueError or OSError with the reason."""
    if parameters.num_threads > 0:
        torch.set_num_threads(parameters.num_threads)
    return Detector.from_checkpoint(
        parameters.weights,
        device=parameters.device,
        backend=parameters.backend,
        postprocess=Postprocess(score_threshold=parameters.score_threshold, one_class=True),
    )


class DetectorNode(Node):
    """Publishes the boxes of every cloud that it finds time for.

    Raises `ParameterError`, or what `load` raises where the weights cannot be used.
    """

    def __init__(self, load: Callable[[Parameters], Detector] = load_detector) -> None:
        super().__init__("sr3d_detector", automatically_declare_parameters_from_overrides=True)
        self._settings = declare_parameters(self)
        self._detector = load(self._settings)
        self._counters = CloudCounters()
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand
        self._transforms = PatientTransforms(
            transform_source(self), self._settings.transform_timeout_s
        )
        self._pipeline = FramePipeline(
            self._detector.detect, self._transforms, self._frame_settings()
        )
        self._types = ros_types()
        self._advertise()
        self._worker: Worker[PointCloud2] = Worker(
            handle=self._process,
            on_drop=self._on_drop,
            on_failure=self._on_failure,
            age_s=lambda cloud: 1e-9 * self._age_ns(cloud),
            max_age_s=self._settings.max_age_s,
        )
        self._subscribe()
        self.create_timer(STATUS_PERIOD_S, self._publish_status, clock=self._steady_clock)
        self.get_logger().info(
            f"ready: {len(self._detector.classes)} classes, weights {self._settings.weights}, "
            f"on {self._detector.device}; waiting for clouds on {self._subscription.topic_name}"
        )

    def close(self) -> None:
        """Stop working on clouds, then leave the graph."""
        self._worker.close()
        self.destroy_node()

    def _frame_settings(self) -> FrameSettings:
        return FrameSettings(
            detection_frame=self._settings.detection_frame,
            target_frame=self._settings.target_frame,
            score_threshold=self._settings.score_threshold,
            drop_zeros=self._settings.drop_zeros,
            max_points=self._settings.max_points,
        )

    def _advertise(self) -> None:
        """All publishers, and the class names for those who come later."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._detections = self.create_publisher(Detection3DArray, "~/output/detections", 10)
        self._markers = self.create_publisher(MarkerArray, "~/output/markers", 10)
        self._labels = self.create_publisher(LabelInfo, "~/label_info", latched)
        self._status = self.create_publisher(DetectorStatus, "~/status", 10)
        self._labels.publish(
            label_info(
                self._detector.classes,
                stamp_ns=self.get_clock().now().nanoseconds,
                threshold=self._settings.score_threshold,
                types=self._types,
            )
        )

    def _subscribe(self) -> None:
        """Clouds with a queue of one, and the watch over clouds that do not come."""
        self._subscription = self.create_subscription(
            PointCloud2,
            "~/input/points",
            self._on_cloud,
            QoSProfile(depth=1, reliability=_reliability(self._settings.reliability)),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
        )
        if self._settings.silence_warning_s > 0.0:
            self.create_timer(
                self._settings.silence_warning_s, self._warn_of_silence, clock=self._steady_clock
            )

    def _on_cloud(self, cloud: PointCloud2) -> None:
        self._counters.count_received()
        self._worker.offer(cloud)

    def _process(self, cloud: PointCloud2) -> None:
        """Detect in one cloud and publish; whatever it raises, the worker reports."""
        self._transforms.start_frame()
        result = self._pipeline.process(cloud)
        self._publish(result)
        is_first = self._counters.count_processed(
            processing_ms=sum(result.time_ms.values()),
            latency_ms=1e-6 * self._age_ns(cloud),
            num_detections=len(result.detections),
            frame_id=result.frame_id,
        )
        if is_first:
            self._publish_status()

    def _publish(self, result: FrameResult) -> None:
        parts: dict[str, Any] = {
            "stamp_ns": result.stamp_ns,
            "frame_id": result.frame_id,
            "output_from_gravity": result.output_from_gravity,
            "classes": self._detector.classes,
            "types": self._types,
        }
        class_id_as = self._settings.class_id_as
        self._detections.publish(
            detection_array(result.detections, class_id_as=class_id_as, **parts)
        )
        if self._settings.publish_markers:
            self._markers.publish(marker_array(result.detections, **parts))

    def _on_drop(self, _: PointCloud2, reason: str) -> None:
        self._reject(reason, "a cloud waited too long")

    def _on_failure(self, _: PointCloud2, error: Exception) -> None:
        reason = getattr(error, "reason", DETECTOR_FAILED)
        what = str(error) if reason != DETECTOR_FAILED else f"{type(error).__name__}: {error}"
        self._reject(reason, what)

    def _reject(self, reason: str, what: str) -> None:
        """Count a cloud that yields no boxes, and say why, not more than once a second."""
        text = self._counters.count_dropped(reason, what)
        if text is not None and self.context.ok():
            self.get_logger().warning(text)
            self._publish_status()

    def _publish_status(self) -> None:
        self._status.publish(
            fill_status(
                DetectorStatus(),
                self._counters.snapshot(),
                self._settings.weights,
                self._detector.classes,
                self.get_clock().now().to_msg(),
            )
        )

    def _warn_of_silence(self) -> None:
        """Most "it runs, but I see nothing" is a topic or a QoS: say which."""
        silence_s = self._counters.silence_s()
        if silence_s < self._settings.silence_warning_s:
            return
        topic = self._subscription.topic_name
        publishers = [info.node_name for info in self.get_publishers_info_by_topic(topic)]
        cloud_topics = [
            name
            for name, types in self.get_topic_names_and_types()
            if "sensor_msgs/msg/PointCloud2" in types
        ]
        self.get_logger().warning(advice_on_silence(topic, silence_s, publishers, cloud_topics))

    def _on_incompatible_qos(self, event: Any) -> None:
        self.get_logger().warning(
            f"a publisher on {self._subscription.topic_name} does not offer what "
            f"input.reliability:={self._settings.reliability} asks for (policy "
            f"{event.last_policy_kind}), so none of its clouds come; set "
            "input.reliability:=best_effort, or make the publisher reliable"
        )

    def _age_ns(self, cloud: PointCloud2) -> int:
        """Time since the stamp of a cloud."""
        return int(self.get_clock().now().nanoseconds) - stamp_to_ns(cloud.header.stamp)


def _reliability(name: str) -> ReliabilityPolicy:
    return ReliabilityPolicy.RELIABLE if name == "reliable" else ReliabilityPolicy.BEST_EFFORT


def main(
    arguments: Sequence[str] | None = None,
    load: Callable[[Parameters], Detector] = load_detector,
) -> int:
    """Run the node until it is interrupted; the exit status is 1 where it cannot start."""
    rclpy.init(args=arguments)
    try:
        node = _started_node(load)
        if node is None:
            return 1
        try:
            rclpy.spin(node)
        finally:
            node.close()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # asked to stop
    finally:
        if rclpy.ok():
            rclpy.shutdown()
    return 0


def _started_node(load: Callable[[Parameters], Detector]) -> DetectorNode | None:
    """The node; None, with one line in the log, where its parameters or weights are unusable."""
    try:
        return DetectorNode(load)
    except (ValueError, OSError) as error:
        rclpy.logging.get_logger("sr3d_detector").fatal(f"cannot start: {error}")
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv))
