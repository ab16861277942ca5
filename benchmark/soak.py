"""The node for a long time on a restless robot: does it leak, and is every frame accounted for?

    nice -n 5 python make/ros_environment.py kilted benchmark/soak.py --minutes 60

Clouds come at 10 Hz, each with its transform. Every minute transforms stay away for two seconds,
a parameter changes, the node is disabled for two seconds, and the model is loaded anew. Each
second memory, open files and threads of the node's process are read from /proc; slopes are least
squares after the warm-up. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rclpy
from fates import account
from geometry_msgs.msg import TransformStamped
from growth import MEASURES, growth, read_process
from measure import machine
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_side import (
    BASE,
    CAMERA,
    NODE,
    TOPIC,
    NodeProcess,
    md5_of,
    point_cloud,
    stay_on_this_machine,
    tell,
)
from scene import SCENES
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sr3d_ros.msg import DetectorStatus

CYCLE_STEPS = 60
SETTLE_S = 30.0
"""How long the last frame, a model that is being loaded, and a status may take."""


class RestlessRobot:
    """Sends clouds, and does something to the node every few steps."""

    def __init__(self, message: PointCloud2, rate_hz: float) -> None:
        self.node = Node("restless_robot")
        self.counts: Counter[str] = Counter()
        self.status: DetectorStatus | None = None
        self._message = message
        self._step = 0
        self._has_frames = self._is_enabled = True
        self._clouds = self.node.create_publisher(PointCloud2, TOPIC, qos_profile_sensor_data)
        self._frames = self.node.create_publisher(TFMessage, "/tf", 100)
        kinds = {"enable": SetBool, "load_model": Trigger, "set_parameters": SetParameters}
        self._clients = {
            name: self.node.create_client(kind, f"{NODE}/{name}") for name, kind in kinds.items()
        }
        self._deeds = {
            10: lambda: self._lose_frames(True),
            12: lambda: self._lose_frames(False),
            20: lambda: self._set_threshold(0.5),
            25: lambda: self._set_threshold(0.3),
            35: lambda: self._enable(False),
            37: lambda: self._enable(True),
            48: lambda: self._call("load_model", Trigger.Request()),
        }
        topic = f"{NODE}/output/detections"
        self.node.create_subscription(Detection3DArray, topic, self._on_detections, 10)
        self.node.create_subscription(DetectorStatus, f"{NODE}/status", self._on_status, 10)
        self._meet()
        self._sending = self.node.create_timer(1.0 / rate_hz, self._send)

    def act(self) -> None:
        """What is due in the next step of the cycle."""
        deed = self._deeds.get(self._step % CYCLE_STEPS)
        self._step += 1
        if deed is not None:
            deed()

    def settle(self) -> None:
        """Send nothing any more; wait for the last boxes, answers and the status behind them."""
        self._sending.cancel()
        self.listen(2.0)  # the last cloud is on its way
        self.status = None
        limit_s = time.monotonic() + SETTLE_S
        while not self._is_settled and time.monotonic() < limit_s:
            rclpy.spin_once(self.node, timeout_sec=0.1)

    @property
    def _is_settled(self) -> bool:
        unanswered = sum(
            self.counts[f"{name}_asked"]
            - self.counts[f"{name}_done"]
            - self.counts[f"{name}_refused"]
            for name in self._clients
        )
        is_counted = account(self.counts["sent"], self.status, self.counts["detection_arrays"])
        return unanswered == 0 and bool(is_counted["adds_up"])

    def listen(self, duration_s: float) -> None:
        """Send, and hear what comes."""
        limit_s = time.monotonic() + duration_s
        while (left_s := limit_s - time.monotonic()) > 0.0:
            rclpy.spin_once(self.node, timeout_sec=left_s)

    def _meet(self) -> None:
        """Wait until the node is heard and hears: what is asked of nobody is never answered."""
        limit_s = time.monotonic() + SETTLE_S
        clients = self._clients.values()
        while self.status is None or not all(client.service_is_ready() for client in clients):
            if time.monotonic() > limit_s:
                raise RuntimeError(f"{NODE} or one of its services was not found")
            rclpy.spin_once(self.node, timeout_sec=0.1)

    def _send(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        if self._has_frames:
            edge = TransformStamped(child_frame_id=CAMERA)
            edge.header.frame_id, edge.header.stamp = BASE, stamp
            self._frames.publish(TFMessage(transforms=[edge]))
        self._message.header.stamp = stamp
        self._clouds.publish(self._message)
        self.counts["sent"] += 1
        self.counts["sent_while_disabled"] += not self._is_enabled

    def _lose_frames(self, is_lost: bool) -> None:
        self._has_frames = not is_lost
        self.counts["tf_losses"] += is_lost

    def _set_threshold(self, value: float) -> None:
        parameter = Parameter("output.score_threshold", value=value).to_parameter_msg()
        self._call("set_parameters", SetParameters.Request(parameters=[parameter]))

    def _enable(self, is_enabled: bool) -> None:
        self._is_enabled = is_enabled
        self._call("enable", SetBool.Request(data=is_enabled))

    def _call(self, name: str, request: Any) -> None:
        """Ask, and count the answer when it comes."""
        self.counts[f"{name}_asked"] += 1
        answer = self._clients[name].call_async(request)
        answer.add_done_callback(lambda done: self._count(name, done.result()))

    def _count(self, name: str, answer: Any) -> None:
        results = getattr(answer, "results", None)
        is_good = results[0].successful if results else answer.success
        self.counts[f"{name}_{'done' if is_good else 'refused'}"] += 1

    def _on_detections(self, _: Detection3DArray) -> None:
        self.counts["detection_arrays"] += 1

    def _on_status(self, message: DetectorStatus) -> None:
        self.status = message


def main() -> None:
    """Run, and print what was counted and how the process grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up-minutes", type=float, default=3.0, help="left out of slopes")
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=10.0, help="clouds per second")
    parser.add_argument("--scene", choices=SCENES, default="camera")
    parser.add_argument("--step", type=float, default=1.0, help="seconds; the cycle has 60 steps")
    options = parser.parse_args()
    stay_on_this_machine()
    message = point_cloud(options.scene, options.points)
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        process = NodeProcess(Path(folder, "log.txt"))
        try:
            robot = RestlessRobot(message, options.rate)
            samples = soak(robot, process, options.minutes, options.step)
        finally:
            status = process.end()
        warnings = process.warnings
    rclpy.try_shutdown()
    told = {"metadata": machine(1), "options": vars(options), "md5": md5_of(message)}
    ended = {"exit_status": status, "warnings_logged": warnings}
    grown = growth(samples, 60.0 * options.warm_up_minutes)
    tell({**told, "growth": grown, "frames": frames(robot), "node": ended})


def soak(
    robot: RestlessRobot, process: NodeProcess, minutes: float, step_s: float
) -> list[list[float]]:
    """Rows of seconds since the start and `MEASURES`, one a step, while the node lives."""
    samples = []
    started_s = time.monotonic()
    while (now_s := time.monotonic() - started_s) < 60.0 * minutes and process.is_alive:
        robot.act()
        samples.append([now_s, *read_process(process.pid)])
        if len(samples) % CYCLE_STEPS == 0:
            shown = dict(zip(MEASURES, samples[-1][1:], strict=True))
            print(f"{now_s:.0f} s: {shown}", file=sys.stderr, flush=True)
        robot.listen(max(0.0, step_s * len(samples) - (time.monotonic() - started_s)))
    robot.settle()
    return samples


def frames(robot: RestlessRobot) -> dict[str, Any]:
    """What was sent and asked, and what the node says became of it.

    A frame that was sent while the node was disabled is never received.
    """
    counts = robot.counts
    return {**counts, **account(counts["sent"], robot.status, counts["detection_arrays"])}


if __name__ == "__main__":
    main()
