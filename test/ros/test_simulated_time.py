"""A recording that starts again: the node's boxes follow the new run, and diagnostics say so.

The node runs in a process of its own on /clock, with a test double that finds a chair at the
camera in every cloud. The robot stands elsewhere in each run, at equal stamps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from double_node import QUICK
from processes import NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, cloud_message, stamp_ns_of
from rosgraph_msgs.msg import Clock

NAME = "/sr3d_detector"
S = 1_000_000_000


class Player:
    """Plays a robot that stands at `x` in odom; topics overtake each other as they do."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.x = 0.0
        self.seconds = 0
        self._clock = robot.node.create_publisher(Clock, "/clock", 10)
        self._points = robot.cloud_publisher(f"{NAME}/input/points", QoSProfile(depth=5))
        robot.publish_static("base_link", "camera", translation=(0.0, 0.0, 1.0))

    def play(self) -> None:
        """One more second."""
        self.seconds += 1
        message = Clock()
        message.clock.sec = self.seconds
        self._clock.publish(message)
        self.tell_place(self.seconds)
        xyz = np.ones((QUICK, 3), np.float32)
        self._points.publish(cloud_message(xyz, "camera", self.seconds * S))

    def tell_place(self, seconds: int) -> None:
        """Where the robot is at a time of the recording."""
        place = (self.x, 0.0, 0.0)
        self.robot.publish_moving("odom", "base_link", seconds * S, translation=place)

    def places(self, until_s: int) -> set[float]:
        """Where the newest boxes up to a time are in odom; plays on until there are some."""

        def found() -> set[float]:
            return {
                round(each.detections[0].bbox.center.position.x, 3)
                for each in self.robot.detections
                if each.detections and stamp_ns_of(each) <= until_s * S
            }

        self.robot.wait(found, "no boxes", self.play, every_s=0.2)
        return found()


@pytest.fixture(scope="module")
def player(robot: Robot, start_node: Callable[..., NodeProcess]) -> Player:
    process = start_node(
        "--ros-args",
        *("-p", "use_sim_time:=true"),
        *("-p", "input.reliability:=reliable"),
        *("-p", "frames.detection:=base_link"),
        *("-p", "frames.target:=odom"),
        *("-p", "frames.timeout_s:=3.0"),
        command=(sys.executable, str(Path(__file__).parent / "double_node.py")),
    )
    process.wait_for_line("ready: 1 classes")
    robot.listen_to(NAME)
    return Player(robot)


def test_boxes_follow_the_new_run_and_diagnostics_say_what_happened(player: Player) -> None:
    player.seconds = 1000
    (first,) = player.places(until_s=2000)
    player.robot.wait_for_diagnosis("tf", DiagnosticStatus.OK, "", player.play)
    last_s = player.seconds
    player.robot.detections.clear()
    player.x, player.seconds = 50.0, 0
    player.play()
    # What is left of the old run arrives after /clock has gone back.
    player.x = 0.0
    player.tell_place(last_s + 1)
    player.x = 50.0
    (second,) = player.places(until_s=1000)
    assert second - first == pytest.approx(50.0)
    player.robot.wait_for_diagnosis("tf", DiagnosticStatus.WARN, "/clock", player.play)
    player.robot.wait_for_diagnosis("tf", DiagnosticStatus.OK, "", player.play)
