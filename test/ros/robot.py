"""The robot of the tests: publishes clouds and transforms, listens to the detector."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from processes import PATIENCE_S, NodeProcess
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2, PointField
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from sr3d_ros.msg import DetectorStatus

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

QUIET_EVENTS = PublisherEventCallbacks(incompatible_qos=lambda _: None)
"""For publishers that are not to be heard: rclpy's own remark is a deprecated call."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CAMERA_TILT = (-0.5, 0.5, -0.5, 0.5)
"""Orientation x y z w of an optical frame (z forward, y down) in a level body frame."""


class Robot:
    """One ROS node of the pytest process and what it has heard, spun only while waiting."""

    def __init__(self) -> None:
        self.node = Node("robot_of_the_tests")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._static = self.node.create_publisher(TFMessage, "/tf_static", LATCHED)
        self._moving = self.node.create_publisher(TFMessage, "/tf", 100)
        self.detections: list[Detection3DArray] = []
        self.markers: list[MarkerArray] = []
        self.labels: list[LabelInfo] = []
        self.statuses: list[DetectorStatus] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.name = ""
        self._heard: list[Any] = []

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def spin_too(self, node: Node) -> None:
        """Let another node of this process hear and answer while this one waits."""
        self._executor.add_node(node)

    def spin_no_more(self, node: Node) -> None:
        """Leave a node alone again."""
        self._executor.remove_node(node)

    def listen_to(self, name: str) -> None:
        """Collect everything that a detector of this full name publishes, from now on.

        What was said by the detector of another test is not heard any more.
        """
        for subscription in self._heard:
            self.node.destroy_subscription(subscription)
        self._heard.clear()
        self.name = name
        for kept, kind, topic, qos in (
            (self.detections, Detection3DArray, "output/detections", 10),
            (self.markers, MarkerArray, "output/markers", 10),
            (self.labels, LabelInfo, "label_info", LATCHED),
            (self.statuses, DetectorStatus, "status", 10),
            (self.diagnostics, DiagnosticArray, "/diagnostics", 10),
        ):
            kept.clear()
            full = topic if topic.startswith("/") else f"{name}/{topic}"
            keep = self._keep_diagnosis if kept is self.diagnostics else kept.append
            self._heard.append(self.node.create_subscription(kind, full, keep, qos))

    def _keep_diagnosis(self, array: DiagnosticArray) -> None:
        """Of all on /diagnostics, what the detector says; others may have its name elsewhere."""
        if any(status.hardware_id == self.name for status in array.status):
            self.diagnostics.append(array)

    def wait(
        self,
        is_over: Callable[[], Any],
        what: str,
        meanwhile: Callable[[], None] | None = None,
        every_s: float = 0.5,
    ) -> None:
        """Spin until something is true; `meanwhile` is done again and again until then."""
        started_s = time.monotonic()
        next_s = started_s
        while not is_over():
            assert time.monotonic() - started_s < PATIENCE_S, f"waited in vain: {what}"
            if meanwhile is not None and time.monotonic() >= next_s:
                meanwhile()
                next_s = time.monotonic() + every_s
            self._executor.spin_once(timeout_sec=0.05)

    def wait_for_ends(
        self, processes: Sequence[NodeProcess], meanwhile: Callable[[], None], every_s: float
    ) -> None:
        """Spin until processes have ended by themselves; patient as long as they print."""
        while running := [process for process in processes if not process.has_ended]:
            printed = [process.output for process in running]
            try:
                self.wait(
                    lambda before=printed, those=running: (
                        before != [p.output for p in those]
                        or any(process.has_ended for process in those)
                    ),
                    "nothing new",
                    meanwhile,
                    every_s,
                )
            except AssertionError:
                hung = "\n".join(process.aborted() for process in running)
                raise AssertionError(f"{len(running)} processes do not end:\n{hung}") from None

    def now_ns(self) -> int:
        """The time of stamps."""
        return int(self.node.get_clock().now().nanoseconds)

    def cloud_publisher(self, topic: str, qos: QoSProfile, kind: type = PointCloud2) -> Any:
        """A publisher that the detector has found."""
        publisher = self.node.create_publisher(kind, topic, qos)
        self.wait(lambda: publisher.get_subscription_count() > 0, f"nobody subscribes to {topic}")
        return publisher

    def latest_status(self) -> DetectorStatus:
        """The newest status; waits for the first."""
        self.wait(lambda: self.statuses, "no status")
        return self.statuses[-1]

    def count_of(self, reason: str) -> int:
        """How many clouds were dropped for a reason, by the newest status."""
        status = self.latest_status()
        return int(status.drop_counts[list(status.drop_reasons).index(reason)])

    def adds_up(self) -> bool:
        """Whether the newest status accounts for every cloud."""
        status = self.latest_status()
        return bool(status.received == status.processed + sum(status.drop_counts))

    def diagnosed(self, part: str) -> DiagnosticStatus:
        """What /diagnostics says last about a part of the detector; waits for the first."""
        self.wait(lambda: self.diagnostics, "no diagnostics")
        ending = f"{self.name.rpartition('/')[2]}: {part}"
        return next(s for s in self.diagnostics[-1].status if s.name == ending)

    def wait_for_diagnosis(
        self, part: str, level: bytes, text: str, meanwhile: Callable[[], None] | None = None
    ) -> DiagnosticStatus:
        """Spin until a part has a level and says a text."""

        def is_said() -> bool:
            if not self.diagnostics:
                return False  # `meanwhile` may be what they wait for, as simulated time
            status = self.diagnosed(part)
            return status.level == level and text in status.message

        self.wait(is_said, f"{part} never said {text!r}", meanwhile)
        return self.diagnosed(part)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer of a service of the detector."""
        client = self.node.create_client(kind, f"{self.name}/{name}")
        self.wait(client.service_is_ready, f"no service {name}")
        answer = client.call_async(request)
        self.wait(answer.done, f"no answer from {name}")
        self.node.destroy_client(client)
        return answer.result()

    def trigger(self, name: str) -> Any:
        """The answer of a service without arguments."""
        return self.call(Trigger, name, Trigger.Request())

    def enable(self, is_enabled: bool) -> Any:
        """The answer of ~/enable."""
        return self.call(SetBool, "enable", SetBool.Request(data=is_enabled))

    def set(self, name: str, value: Any) -> SetParametersResult:
        """What the detector says to a new value of a parameter."""
        message = Parameter(name, value=value).to_parameter_msg()
        answer = self.call(
            SetParameters, "set_parameters", SetParameters.Request(parameters=[message])
        )
        return answer.results[0]

    def change_state(self, transition: int) -> bool:
        """Whether a transition of the life cycle was made."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, "change_state", request).success)

    def publish_static(self, parent: str, child: str, **place: Any) -> None:
        """Where a frame is for ever."""
        self._static.publish(TFMessage(transforms=[transform(parent, child, 0, **place)]))

    def publish_moving(self, parent: str, child: str, stamp_ns: int, **place: Any) -> None:
        """Where a frame is at a stamp."""
        self._moving.publish(TFMessage(transforms=[transform(parent, child, stamp_ns, **place)]))

    def publish_raw_tf(self, data: bytes, static: bool) -> None:
        """A TFMessage as it lies in a bag."""
        (self._static if static else self._moving).publish(data)


def transform(
    parent: str,
    child: str,
    stamp_ns: int,
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
) -> TransformStamped:
    """One edge of the tree of frames."""
    edge = TransformStamped(child_frame_id=child)
    edge.header.frame_id = parent
    edge.header.stamp = rclpy.time.Time(nanoseconds=stamp_ns).to_msg()
    moved, turned = edge.transform.translation, edge.transform.rotation
    moved.x, moved.y, moved.z = translation
    turned.x, turned.y, turned.z, turned.w = rotation
    return edge


def cloud_message(xyz: NDArray, frame_id: str, stamp_ns: int) -> PointCloud2:
    """A cloud as a RealSense driver sends it: 32 bytes a point, packed color as FLOAT32."""
    kind = np.dtype(
        {
            "names": ["xyz", "rgb"],
            "formats": ["3<f4", "<u4"],
            "offsets": [0, 16],
            "itemsize": 32,
        }
    )
    points = np.zeros(len(xyz), kind)
    points["xyz"] = xyz
    points["rgb"] = 0x00C06030
    message = PointCloud2(height=1, width=len(xyz), point_step=32, row_step=32 * len(xyz))
    message.header.frame_id = frame_id
    message.header.stamp = rclpy.time.Time(nanoseconds=stamp_ns).to_msg()
    message.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
        for name, offset in (("x", 0), ("y", 4), ("z", 8), ("rgb", 16))
    ]
    message.data = array.array("B", points.tobytes())
    return message


def room(num_points: int = 2000, seed: int = 0) -> NDArray:
    """Points of a floor and a box on it before a camera: optical frame, 1.2 m above the floor."""
    random = np.random.default_rng(seed)
    floor = np.stack(
        [
            random.uniform(-1.5, 1.5, num_points),
            np.full(num_points, 1.2),
            random.uniform(1.0, 4.0, num_points),
        ],
        axis=1,
    )
    box = random.uniform((-0.3, 0.5, 2.0), (0.3, 1.2, 2.5), (num_points, 3))
    return np.concatenate([floor, box]).astype(np.float32)


def stamp_ns_of(message: Any) -> int:
    """The stamp in the header of a message."""
    return int(rclpy.time.Time.from_msg(message.header.stamp).nanoseconds)
