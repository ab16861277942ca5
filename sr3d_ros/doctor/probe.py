"""The doctor's ears: a node that listens to the topics of the detector for some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from sr3d_ros.doctor.detector import Running
from sr3d_ros.doctor.listen import Ear, message_type, name_of
from sr3d_ros.doctor.running import ask, heard_by, names_of_detectors, published_by
from sr3d_ros.doctor.topics import CLOUD_TYPE, IMU_TYPE, Heard, Publisher
from sr3d_ros.node.transforms import Tf2Source
from sr3d_ros.parameters.rules import is_foreign
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.source import TransformSource

NODE_NAME = "sr3d_doctor"
SETTLE_S = 3.0
"""So long others of a kind may show themselves after the first: Fast DDS announces so often."""


class Probe:
    """Listens while `spin_until` runs; parameters and remaps are those of the detector."""

    def __init__(self) -> None:
        self.node = Node(NODE_NAME, automatically_declare_parameters_from_overrides=True)
        self.transforms: TransformSource = Tf2Source(self.node)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def given_parameters(self) -> dict[str, Any]:
        """What the command line and parameter files set of the detector, by ROS name."""
        given: dict[str, Parameter] = self.node.get_parameters_by_prefix("")
        return {name: each.value for name, each in given.items() if not is_foreign(name)}

    def spin_until(self, is_over: Callable[[], bool], limit_s: float) -> None:
        """Hear messages until something is true or the time is over."""
        end_s = time.monotonic() + limit_s
        while not is_over() and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)

    def follow_clock(self) -> None:
        """Take the time from /clock."""
        self.node.set_parameters([Parameter("use_sim_time", value=True)])

    def detectors(self, wanted: str, wait_s: float) -> list[str]:
        """The detectors that run; a wanted one is waited for, or else the first."""
        found: list[str] = []

        def look() -> bool:
            found[:] = names_of_detectors(self.node)
            return wanted in found if wanted else bool(found)

        self._wait_for_all(look, wait_s)
        return found

    def ask(self, detector: str, wait_s: float) -> Running | None:
        """What a detector that runs says about itself; None where it does not answer."""
        return ask(self.node, self.spin_until, detector, wait_s)

    def heard_by(self, detector: str) -> dict[str, list[str]]:
        """The topics that a detector listens to, by type."""
        return heard_by(self.node, detector)

    def remapped(self, private: str) -> str:
        """What the command line makes of a name such as `~/input/points`; "" if it does not."""
        name = str(self.node.resolve_topic_name(private))
        return "" if name.startswith(f"{self.node.get_fully_qualified_name()}/") else name

    def topics_with(self, kind: str, wait_s: float) -> list[str]:
        """The topics on which somebody publishes this type, detectors apart."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [name for name, types in self._topics().items() if kind in types]
            return bool(found)

        self._wait_for_all(look, wait_s)
        return sorted(found)

    def _wait_for_all(self, look: Callable[[], bool], wait_s: float) -> None:
        """Look until something is found, and again when the others had time to come."""
        self.spin_until(look, wait_s)
        if look():
            self.spin_until(lambda: False, SETTLE_S)
            look()

    def _topics(self) -> dict[str, list[str]]:
        """Every topic that somebody publishes, detectors apart, with its types."""
        detectors = names_of_detectors(self.node)
        own = {topic for name in detectors for topic in published_by(self.node, name)}
        topics = self.node.get_topic_names_and_types()
        return {
            name: types
            for name, types in topics
            if name not in own and self.node.count_publishers(name)
        }

    def listen(
        self, topic: str, asked: str, wait_s: float, kind: str = CLOUD_TYPE, argument: str = ""
    ) -> Heard:
        """What comes on a topic with the node's reliability; ends early when enough is known."""
        topic = str(self.node.resolve_topic_name(topic))
        self.spin_until(lambda: bool(self._publishers_of(topic)), wait_s)
        ear = Ear(self.node, kind)
        # A type that this process uses otherwise on the topic, as on /tf, would be an exception.
        if kind in {publisher.kind for publisher in self._publishers_of(topic)}:
            ear.open(topic, asked)
            self.spin_until(ear.has_heard_enough, wait_s)
            ear.close()
        return Heard(
            topic=topic,
            kind=kind,
            argument=argument,
            topics=self._topics(),
            publishers=self._publishers_of(topic),
            waited_s=ear.waited_s,
            arrivals_s=tuple(ear.arrivals_s),
            num_lost=ear.num_lost,
            latest=ear.latest,
            age_s=ear.age_s,
            asked=asked,
        )

    def listen_to_imu(self, topic: str) -> GravityFromImu:
        """Up from an IMU; hears it whenever the probe spins."""
        imu = GravityFromImu()
        best_effort = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(message_type(IMU_TYPE), topic, imu.add, best_effort)
        return imu

    def _publishers_of(self, topic: str) -> tuple[Publisher, ...]:
        return tuple(
            Publisher(info.node_name, name_of(info.qos_profile.reliability), info.topic_type)
            for info in self.node.get_publishers_info_by_topic(topic)
        )
