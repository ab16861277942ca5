"""A node with a real detector and the robot around it, for the modules that send it rooms.

The node is started as the launch file starts it: in a namespace, with the input remapped, the
shipped parameter file and some parameters on top of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import ROOT, NodeProcess
from rclpy.qos import QoSProfile
from robot import CAMERA_TILT, Robot, cloud_message, room, stamp_ns_of
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray

NAMESPACE = "/robot"
NAME = f"{NAMESPACE}/sr3d_detector"
TOPIC = "/camera/points"
CAMERA = "camera_optical_frame"


class Bench:
    """The node under test, the robot around it, and clouds with ever newer stamps."""

    def __init__(self, robot: Robot, process: NodeProcess) -> None:
        self.robot = robot
        self.process = process
        self.publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))
        self.sent_ns: set[int] = set()

    def now_ns(self) -> int:
        return int(self.robot.node.get_clock().now().nanoseconds)

    def send(self, message: PointCloud2) -> None:
        self.sent_ns.add(stamp_ns_of(message))
        self.publisher.publish(message)

    def send_room(self, frame_id: str = CAMERA) -> None:
        self.send(cloud_message(room(), frame_id, self.now_ns()))

    def array_of_a_room(self) -> Detection3DArray:
        """What comes back for a good cloud, sent again until the node knows the frames.

        What was sent before is not taken for it, however late it comes.
        """
        robot, started_ns = self.robot, self.now_ns()
        robot.detections.clear()

        def answers() -> list[Detection3DArray]:
            return [array for array in robot.detections if stamp_ns_of(array) >= started_ns]

        robot.wait(answers, "no detections", self.send_room, every_s=1.0)
        return answers()[0]

    def send_until_counted(self, make: Any, reason: str) -> None:
        """Send a bad cloud until the node has counted it under a reason."""
        before = self.robot.count_of(reason)
        self.robot.wait(
            lambda: self.robot.count_of(reason) > before,
            f"nothing counted as {reason}",
            lambda: self.send(make(self.now_ns())),
            every_s=1.0,
        )


def start_bench(robot: Robot, start_node: Callable[..., NodeProcess], weights: Path) -> Bench:
    """A bench whose node is ready and knows where the camera is."""
    process = start_node(
        "--ros-args",
        *("-r", f"__ns:={NAMESPACE}"),
        *("-r", f"~/input/points:={TOPIC}"),
        *("--params-file", str(ROOT / "config" / "detector.param.yaml")),
        *("-p", f"model.weights:={weights}"),
        *("-p", "input.reliability:=reliable"),
        *("-p", "output.score_threshold:=0.0"),
        *("-p", "frames.timeout_s:=3.0"),
    )
    process.wait_for_line("ready: 3 classes")
    robot.listen_to(NAME)
    robot.publish_static("base_link", CAMERA, translation=(0.0, 0.0, 1.2), rotation=CAMERA_TILT)
    return Bench(robot, process)
