"""What the node subscribes to: clouds, images, an IMU; and why nothing may be coming.

    input.kind cloud    ~/input/points, and input.extra_topics to join with it
    input.kind depth    ~/input/depth, ~/input/camera_info and, once one comes, ~/input/color;
                        ~/input/depth is compressed where input.depth_transport says so,
                        ~/input/color where input.color_transport does
    input.kind rgb      ~/input/color, ~/input/camera_info
    input.kind auto     what input.preferred says, and what rgb says
    frames.up imu       ~/input/imu

Subscriptions exist only while somebody wants frames: a node that is inactive or disabled costs
nothing. Sensor subscriptions have a queue of one, their QoS can be overridden by `qos_overrides`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

from sr3d_ros.assembler import (
    CAMERA_INFO,
    COLOR,
    Frame,
    FrameAssembler,
    color_setting,
    depth_setting,
    type_of,
)
from sr3d_ros.diagnostics.advice import advice_on_cameras, advice_on_qos, advice_on_silence
from sr3d_ros.diagnostics.frame_ids import FrameIds
from sr3d_ros.errors import Refused
from sr3d_ros.fallback import Fallback
from sr3d_ros.node.graph import sensor_topics
from sr3d_ros.node.remarks import Remarks
from sr3d_ros.node.subscription import message_type, sensor_qos, subscribed, subscribed_to_imu
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.imu import GravityFromImu


class Inputs:
    """Hands every frame to `on_frame`, and what cannot become one to `on_refused`.

    `FrameAssembler` makes the frames. `on_lost` gets how many messages were lost on the way, of
    which nothing else is known; `on_fallback` is called when the camera steps in for depth. Used
    by the executor's thread alone, apart from `imu`.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        on_frame: Callable[[Frame], None],
        on_refused: Callable[[Refused], None],
        on_lost: Callable[[int], None],
        on_fallback: Callable[[], None],
    ) -> None:
        self.advice = ""
        """What is odd about the topics, in words."""
        self.imu = GravityFromImu() if parameters.up == "imu" else None
        self.qos_advice = ""
        self._frame_ids: dict[str, FrameIds] = {}  # by input
        self._heard_s: dict[str, float] = {}  # when an input came last, or listening began
        self._node = node
        self._remarks = Remarks(node)
        self._parameters = parameters
        self._on_frame = on_frame
        self._on_refused = on_refused
        self._on_lost = on_lost
        self._on_fallback = on_fallback
        self._subscriptions: list[Any] = []
        self._assembler = FrameAssembler(parameters)

    @property
    def is_open(self) -> bool:
        """Whether there are subscriptions."""
        return bool(self._subscriptions)

    @property
    def fallback_advice(self) -> str:
        """Why boxes are of the camera alone; "" where they are not."""
        fallback = self._assembler.fallback
        return "" if fallback is None or not self.is_open else fallback.advice(1e-9 * self._now_ns)

    @property
    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    @property
    def topic(self) -> str:
        """Full name of the topic that decides about frames."""
        return str(self._node.resolve_topic_name(self._assembler.topics[self._main]))

    @property
    def _main(self) -> str:
        """The input that decides about frames."""
        return next(iter(self._assembler.topics))

    def open(self) -> None:
        """Subscribe, unless that is done."""
        if self.is_open:
            return
        self._assembler = FrameAssembler(self._parameters)
        for name, topic in self._assembler.topics.items():
            self._heard_s[name] = time.monotonic()
            self._subscribe(name, topic)
        if self.imu is not None:
            self._subscriptions.append(subscribed_to_imu(self._node, "~/input/imu", self.imu.add))

    def close(self) -> None:
        """Leave all topics."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._frame_ids.clear()
        self.qos_advice = self.advice = ""

    def refresh(self) -> None:
        """See which publishers there are, and forget those that are gone."""
        said = [*map(self._tell_mixed, self._frame_ids), self._tell_color(), self._tell_camera()]
        self.advice = "; ".join(filter(None, said))
        if self.qos_advice and all(self._fits_all(each) for each in self._subscriptions):
            self.qos_advice = ""

    def advice_on_silence(self, silence_s: float, has_received: bool) -> str:
        """Why nothing may be coming; asks the graph, so not to be called often."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        unmatched = self._assembler.advice()
        if self.qos_advice or unmatched:
            return self.qos_advice or unmatched
        wanted = type_of(self._main, self._parameters)
        others = [info.topic_type for info in publishers if info.topic_type != wanted]
        return advice_on_silence(
            self.topic,
            silence_s,
            publishers=[info.node_name for info in publishers if info.topic_type == wanted],
            other_types=others,
            setting=(color_setting if self._main == COLOR else depth_setting)(wanted, others),
            candidates=[
                name for name, types in sensor_topics(self._node).items() if wanted in types
            ],
            remap=self._assembler.topics[self._main],
            has_received=has_received,
        )

    def _fits_all(self, subscription: Any) -> bool:
        """Whether a subscription's QoS fits every publisher of its topic."""
        wanted = subscription.qos_profile
        offered = self._node.get_publishers_info_by_topic(subscription.topic_name)
        answers = [qos_check_compatible(info.qos_profile, wanted)[0] for info in offered]
        return QoSCompatibility.ERROR not in answers

    def _subscribe(self, name: str, topic: str) -> None:
        """Subscribe to an input of the assembler."""
        subscription = subscribed(
            self._node,
            message_type(type_of(name, self._parameters)),
            topic,
            partial(self._on_message, name),
            sensor_qos(self._parameters.reliability),
            on_lost=self._on_lost,
            on_incompatible=partial(self._on_incompatible_qos, topic),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)

    def _on_incompatible_qos(self, name: str, event: Any) -> None:
        topic = str(self._node.resolve_topic_name(name))
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.qos_advice = advice_on_qos(topic, policy, self._parameters.reliability)
        self._node.get_logger().warning(self.qos_advice)

    def _tell_color(self) -> str:
        """Log once that color of another type is published: depth alone is detected in without
        a word; comes back with what to say, else ""."""
        if not self.is_open or COLOR not in self._assembler.topics:
            return ""
        topic = str(self._node.resolve_topic_name(self._assembler.topics[COLOR]))
        publishers = self._node.get_publishers_info_by_topic(topic)
        setting = color_setting(
            type_of(COLOR, self._parameters), {info.topic_type for info in publishers}
        )
        advice = f"{topic}: {setting}" if setting else ""
        self._remarks.tell(advice)
        return advice

    def _tell_camera(self) -> str:
        """Log once that a camera which is to step in for depth is silent itself: nobody would know
        before depth dies; comes back with what to say, else ""."""
        fallback, limit_s = self._assembler.fallback, self._parameters.silence_warning_s
        if fallback is None or fallback.is_camera or not self.is_open or limit_s == 0.0:
            return ""
        late = [name for name in (COLOR, CAMERA_INFO) if self._silence_s(name) > limit_s]
        # One CameraInfo is enough: some drivers send it once.
        silent = [name for name in late if name == COLOR or name not in self._frame_ids]
        if not silent:
            return ""
        named = " and ".join(self._node.resolve_topic_name(f"~/input/{name}") for name in silent)
        advice = (
            f"nothing comes on {named}, so the camera could not step in for depth: start it, or "
            f"remap {' and '.join(f'~/input/{name}' for name in silent)} (launch argument "
            f"{silent[0]}:=TOPIC)"
        )
        self._remarks.tell(advice)
        return advice

    def _silence_s(self, name: str) -> float:
        return time.monotonic() - self._heard_s[name]

    def _tell_mixed(self, name: str) -> str:
        """Log once which cameras share an input; comes back with what to say, else ""."""
        topic = str(self._node.resolve_topic_name(self._assembler.topics[name]))
        publishers = self._node.get_publishers_info_by_topic(topic)
        frame_ids = self._frame_ids[name].mixed()
        advice = advice_on_cameras(topic, frame_ids, [each.node_name for each in publishers])
        self._remarks.tell(advice, subject=(topic, frame_ids))  # publishers come and go
        return advice

    def _on_message(self, name: str, message: Any) -> None:
        self._frame_ids.setdefault(name, FrameIds()).add(message.header.frame_id)
        self._heard_s[name] = time.monotonic()
        fallback = self._assembler.fallback
        was_camera = fallback is not None and fallback.is_camera
        frame, refused = self._assembler.add(name, message, self._now_ns)
        if fallback is not None and fallback.is_camera != was_camera:
            self._tell_change(fallback)
        for error in refused:
            self._on_refused(error)
        if frame is not None:
            self._on_frame(frame)

    def _tell_change(self, fallback: Fallback) -> None:
        """The camera has stepped in, or back."""
        if fallback.is_camera:
            self._on_fallback()
            self._node.get_logger().warning(fallback.advice(1e-9 * self._now_ns))
        else:
            self._node.get_logger().info("depth is steady again: boxes are made of it")
