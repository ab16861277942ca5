"""Transforms of a running node: from /tf and /tf_static through tf2 to matrices and reasons."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import Robot
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from sr3d_ros.errors import TransformError
from sr3d_ros.node.transforms import Tf2Source

S = 1_000_000_000
STILL = (0.0, 0.0, 0.0, 1.0)
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Listening:
    """A node that knows transforms, and what tells it of them."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.node = Node("knows_transforms")
        self.source = Tf2Source(self.node)
        self._publishers = {
            name: robot.node.create_publisher(TFMessage, name, LATCHED)
            for name in ("/tf", "/tf_static")
        }
        robot.spin_too(self.node)

    def publish(
        self,
        parent: str,
        child: str,
        stamp_ns: int = 0,
        moved: tuple[float, ...] = (1.0, 2.0, 3.0),
        turned: tuple[float, ...] = STILL,
        topic: str = "/tf",
    ) -> None:
        entry = TransformStamped(child_frame_id=child)
        entry.header.frame_id = parent
        entry.header.stamp.sec, entry.header.stamp.nanosec = divmod(stamp_ns, S)
        place, turn = entry.transform.translation, entry.transform.rotation
        place.x, place.y, place.z = map(float, moved)
        turn.x, turn.y, turn.z, turn.w = map(float, turned)
        self._publishers[topic].publish(TFMessage(transforms=[entry]))

    def knows(self, target: str, source: str, stamp_ns: int = 0) -> bool:
        return self.reason(target, source, stamp_ns) == ""

    def reason(self, target: str, source: str, stamp_ns: int = 0) -> str:
        """Why a lookup fails; "" = it does not."""
        try:
            self.source.lookup(target, source, stamp_ns)
        except TransformError as error:
            return error.reason
        return ""

    def wait_for(self, target: str, source: str, stamp_ns: int = 0) -> None:
        what = f"no {target} from {source}"
        self.robot.wait(lambda: self.knows(target, source, stamp_ns), what)

    def close(self) -> None:
        self.robot.spin_no_more(self.node)
        self.node.destroy_node()
        for publisher in self._publishers.values():
            self.robot.node.destroy_publisher(publisher)


@pytest.fixture
def listening(robot: Robot) -> Iterator[Listening]:
    listening = Listening(robot)
    yield listening
    listening.close()


def test_moving_and_static_frames_are_put_together(listening: Listening) -> None:
    turned = Rotation.from_euler("z", 90, degrees=True)
    listening.publish("map", "base", 0, (1, 0, 0), tuple(turned.as_quat()), topic="/tf_static")
    listening.publish("base", "camera", 7 * S, (0, 2, 0))
    listening.wait_for("map", "camera", 7 * S)
    matrix = listening.source.lookup("/map", "camera", 7 * S)
    np.testing.assert_allclose(matrix[:3, :3], turned.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 3], [-1, 0, 0], atol=1e-12)


def test_every_failure_has_its_reason(listening: Listening) -> None:
    listening.publish("odom", "base", 5 * S)
    listening.publish("elsewhere", "thing", 5 * S)
    listening.wait_for("odom", "base")
    listening.wait_for("elsewhere", "thing")
    assert listening.reason("odom", "base", 6 * S) == "extrapolation"
    assert listening.reason("odom", "thing", 5 * S) == "disconnected"
    assert listening.reason("odom", "nobody", 5 * S) == "no_transform"


def test_a_frame_in_itself_needs_no_transform(listening: Listening) -> None:
    assert (listening.source.lookup("nobody", "/nobody", 0) == np.eye(4)).all()


def test_what_is_no_rotation_is_ignored(listening: Listening) -> None:
    listening.publish("odom", "broken", S, turned=(0.0, 0.0, 0.0, 0.0))
    listening.publish("odom", "base", S)
    listening.wait_for("odom", "base")
    assert listening.reason("odom", "broken") == "no_transform"


def test_a_ring_has_a_reason_of_its_own(listening: Listening) -> None:
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a"), ("map", "base")):
        listening.publish(parent, child, topic="/tf_static")
    listening.wait_for("map", "base")
    listening.robot.wait(lambda: listening.reason("map", "a") == "cycle", "no ring")


def test_two_parents_are_told_where_lookups_fail_and_where_they_do_not(
    listening: Listening,
) -> None:
    listening.publish("odom", "base", 5 * S)
    listening.wait_for("odom", "base")
    assert listening.source.trouble == ""
    for seconds, parent in ((6, "other"), (7, "odom"), (8, "other")):
        listening.publish(parent, "base", seconds * S)
        listening.wait_for(parent, "base")
    # On the way to the frames that were asked for, `base` is by turns here and there.
    assert "'base' has two parents" in listening.source.trouble
    with pytest.raises(TransformError) as caught:
        listening.source.lookup("odom", "base", 0)
    assert caught.value.reason == "two_parents"
    assert all(name in str(caught.value) for name in ("'base'", "'odom'", "'other'"))


class SimulatedTime:
    """Tells a node the time on /clock, and waits until it knows it."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._publisher = listening.robot.node.create_publisher(Clock, "/clock", 10)
        listening.node.set_parameters([Parameter("use_sim_time", value=True)])

    def is_at(self, seconds: int) -> None:
        message = Clock()
        message.clock.sec = seconds
        now = self._listening.node.get_clock()
        self._listening.robot.wait(
            lambda: now.now().nanoseconds == seconds * S,
            f"time is not {seconds} s",
            lambda: self._publisher.publish(message),
        )

    def close(self) -> None:
        self._listening.robot.node.destroy_publisher(self._publisher)


@pytest.fixture
def simulated(listening: Listening) -> Iterator[SimulatedTime]:
    simulated = SimulatedTime(listening)
    yield simulated
    simulated.close()


def test_when_time_is_set_back_moving_frames_are_forgotten(
    listening: Listening, simulated: SimulatedTime
) -> None:
    simulated.is_at(100)
    listening.publish("map", "odom", 0, topic="/tf_static")
    listening.publish("odom", "base", 100 * S)
    listening.wait_for("map", "base", 100 * S)
    assert listening.source.trouble == ""
    simulated.is_at(10)
    assert not listening.knows("odom", "base")
    assert listening.knows("map", "odom")
    assert all(number in listening.source.trouble for number in ("100.000", "10.000", "/clock"))
    listening.publish("odom", "base", 10 * S)
    listening.wait_for("odom", "base", 10 * S)


def test_a_transform_that_was_under_way_when_time_was_set_back_is_of_the_old_time(
    listening: Listening, simulated: SimulatedTime
) -> None:
    simulated.is_at(100)
    listening.publish("odom", "base", 100 * S)
    listening.wait_for("odom", "base", 100 * S)
    simulated.is_at(10)
    listening.publish("odom", "base", 99 * S)  # it would make tf2 ignore 10 s as old data
    listening.publish("odom", "base", 10 * S, moved=(7, 0, 0))
    listening.wait_for("odom", "base", 10 * S)
    assert listening.source.lookup("odom", "base", 0)[0, 3] == 7
    simulated.is_at(98)
    listening.publish("odom", "base", 99 * S)
    listening.wait_for("odom", "base", 99 * S)
