"""What the node subscribes to: clouds, depth images, an IMU; and why nothing may be coming.

    input.kind cloud    ~/input/points, and input.extra_topics to join with it
    input.kind depth    ~/input/depth, ~/input/camera_info and, once one comes, ~/input/color
    frames.up imu       ~/input/imu

Subscriptions exist only while somebody wants frames: a node that is inactive or disabled costs
nothing. Sensor subscriptions have a queue of one, their QoS can be overridden by `qos_overrides`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, Imu, PointCloud2

from sr3d_ros.diagnostics.advice import advice_on_qos, advice_on_silence
from sr3d_ros.errors import UNMATCHED, Refused
from sr3d_ros.node.subscription import subscribed
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.sensors.sync import FuseWindow, StampMatcher
from sr3d_ros.tf.imu import GravityFromImu

_CLOUD, _DEPTH, _INFO, _COLOR = "~/input/points", "~/input/depth", "~/input/camera_info", "color"
_TYPES = {"cloud": "sensor_msgs/msg/PointCloud2", "depth": "sensor_msgs/msg/Image"}
_IMU_QOS = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)


class Inputs:
    """Hands every frame to `on_frame`, and what cannot become one to `on_refused`.

    A frame is a tuple for `FramePipeline.process`. `on_lost` gets how many messages were lost on
    the way, of which nothing else is known. Used by the executor's thread alone, apart from
    `imu`.
    """

    def __init__(
        self,
        node: Node,
        settings: Parameters,
        on_frame: Callable[[tuple[Any, ...]], None],
        on_refused: Callable[[Refused], None],
        on_lost: Callable[[int], None],
    ) -> None:
        self.imu = GravityFromImu() if settings.up == "imu" else None
        self.qos_advice = ""
        self._node = node
        self._settings = settings
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._on_lost = on_lost
        self._subscriptions: list[Any] = []
        self._start_afresh()

    @property
    def is_open(self) -> bool:
        """Whether there are subscriptions."""
        return bool(self._subscriptions)

    @property
    def topic(self) -> str:
        """Full name of the topic that decides about frames."""
        name = _CLOUD if self._settings.kind == "cloud" else _DEPTH
        return str(self._node.resolve_topic_name(name))

    def open(self) -> None:
        """Subscribe, unless that is done."""
        if self.is_open:
            return
        self._start_afresh()
        if self._settings.kind == "cloud":
            for name in self._cloud_topics:
                self._subscribe(PointCloud2, name, partial(self._on_cloud, name))
        else:
            self._subscribe(Image, _DEPTH, partial(self._on_depth_part, "depth"))
            self._subscribe(CameraInfo, _INFO, partial(self._on_depth_part, "info"))
            self._subscribe(Image, f"~/input/{_COLOR}", self._on_color)
        if self.imu is not None:
            self._subscriptions.append(
                self._node.create_subscription(Imu, "~/input/imu", self.imu.add, _IMU_QOS)
            )

    def close(self) -> None:
        """Leave all topics."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self.qos_advice = ""

    def refresh(self) -> None:
        """Forget a publisher that could not be heard once it is gone."""
        if self.qos_advice and all(self._is_heard(each) for each in self._subscriptions):
            self.qos_advice = ""

    def advice_on_silence(self, silence_s: float, was_heard: bool) -> str:
        """Why nothing may be coming; asks the graph, so not to be called often."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        unmatched = self._matcher.advice() if self._settings.kind == "depth" else ""
        if self.qos_advice or unmatched:
            return self.qos_advice or unmatched
        wanted = _TYPES[self._settings.kind]
        own = f"{self._node.get_fully_qualified_name()}/"
        topics = self._node.get_topic_names_and_types()
        return advice_on_silence(
            self.topic,
            silence_s,
            publishers=[info.node_name for info in publishers if info.topic_type == wanted],
            other_types=[info.topic_type for info in publishers if info.topic_type != wanted],
            candidates=[
                name
                for name, types in topics
                if wanted in types
                and not name.startswith(own)
                and self._node.count_publishers(name)
            ],
            remap=_CLOUD if self._settings.kind == "cloud" else _DEPTH,
            was_heard=was_heard,
        )

    def _is_heard(self, subscription: Any) -> bool:
        """Whether a subscription hears all who publish on its topic."""
        wanted = subscription.qos_profile
        offered = self._node.get_publishers_info_by_topic(subscription.topic_name)
        answers = [qos_check_compatible(info.qos_profile, wanted)[0] for info in offered]
        return QoSCompatibility.ERROR not in answers

    @property
    def _cloud_topics(self) -> list[str]:
        return [_CLOUD, *(name for name in self._settings.extra_topics if name)]

    def _start_afresh(self) -> None:
        """Forget what waits for its partners."""
        self._window = FuseWindow(self._cloud_topics, self._settings.fuse_window_s)
        self._match("depth", "info")
        self._has_color = False

    def _match(self, *names: str) -> None:
        self._matcher = StampMatcher(names, self._settings.match_tolerance_s, steady=("info",))
        self._num_unmatched = 0

    def _subscribe(self, kind: type, name: str, callback: Callable[[Any], None]) -> None:
        is_reliable = self._settings.reliability == "reliable"
        reliability = ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
        subscription = subscribed(
            self._node,
            kind,
            name,
            callback,
            QoSProfile(depth=1, reliability=reliability),
            on_lost=self._on_lost,
            on_incompatible=partial(self._on_incompatible_qos, name),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)

    def _on_incompatible_qos(self, name: str, event: Any) -> None:
        topic = str(self._node.resolve_topic_name(name))
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.qos_advice = advice_on_qos(topic, policy, self._settings.reliability)
        self._node.get_logger().warning(self.qos_advice)

    def _on_cloud(self, name: str, cloud: PointCloud2) -> None:
        if len(self._cloud_topics) == 1:
            self._on_frame((cloud,))
            return
        num_late = self._window.num_late
        try:
            frame = self._window.add(name, cloud)
        except Refused as error:
            self._on_refused(error)
            return
        if frame is not None:
            self._on_frame(frame)
        if self._window.num_late > num_late:
            self._on_refused(Refused(UNMATCHED, f"a cloud on {name} came after its partners"))

    def _on_color(self, image: Image) -> None:
        if not self._has_color:
            self._has_color = True
            self._match("depth", "info", _COLOR)
        self._on_depth_part(_COLOR, image)

    def _on_depth_part(self, name: str, message: Any) -> None:
        try:
            found = self._matcher.add(name, message)
        except Refused as error:
            self._on_refused(error)
            return
        num_unmatched = self._matcher.num_unmatched["depth"]
        for _ in range(num_unmatched - self._num_unmatched):
            what = self._matcher.advice() or "a depth image came without its partners"
            self._on_refused(Refused(UNMATCHED, what))
        self._num_unmatched = num_unmatched
        if found is not None:
            self._on_frame((DepthSet(found["depth"], found["info"], found.get(_COLOR)),))
