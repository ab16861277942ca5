"""The node with a detector that is slow or fails: no backlog, nothing fatal, and good advice."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from double_node import SLOW_S, UNLUCKY
from processes import ROOT, NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, cloud_message, room, stamp_ns_of

HERE = Path(__file__).parent
NAME = "/sr3d_detector"
TOPIC = "/points"
PROFILE = ROOT / "config" / "fastdds_large_data.xml"


@pytest.fixture(scope="module")
def process(robot: Robot, start_node: Any) -> NodeProcess:
    """A node with every default but the topic and the silence it bears."""
    process: NodeProcess = start_node(
        "--ros-args",
        *("-r", f"~/input/points:={TOPIC}"),
        *("-p", "frames.detection:=none"),
        *("-p", "input.silence_warning_s:=1.0"),
        command=(sys.executable, str(HERE / "double_node.py")),
    )
    process.wait_for_line("ready: 1 classes")
    robot.listen_to(NAME)
    return process


def test_without_a_publisher_the_node_says_that_nobody_publishes(process: NodeProcess) -> None:
    line = process.wait_for_line(f"nothing on {TOPIC} for .* s: nobody publishes there")
    assert "remap ~/input/points" in line


def test_large_best_effort_clouds_arrive_with_the_shipped_profile(
    process: NodeProcess, robot: Robot, tmp_path: Path
) -> None:
    """Clouds of 3.2 MB at 10 Hz: without the profile about one in sixty arrives."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no shared memory on this machine")
    before = robot.latest_status().received
    camera = NodeProcess(
        tmp_path / "camera.txt",
        [TOPIC],
        [sys.executable, str(HERE / "cloud_publisher.py")],
        {
            "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE),
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]
            ),
        },
    )
    try:
        camera.wait_for_line("publishing")
        robot.wait(lambda: robot.latest_status().received >= before + 20, "large clouds are lost")
        camera.interrupt()  # its shared memory is freed, unlike after a kill
        assert camera.wait_for_end() == 0
    finally:
        camera.end()


def test_a_slow_detector_builds_no_backlog(process: NodeProcess, robot: Robot) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=50))
    sent = []

    def send() -> None:
        message = cloud_message(room(100), "camera", robot.node.get_clock().now().nanoseconds)
        sent.append(stamp_ns_of(message))
        publisher.publish(message)

    robot.detections.clear()
    robot.wait(lambda: len(sent) >= 100, "sending", send, every_s=0.02)
    arrived_while_sending = len(robot.detections)
    robot.wait(
        lambda: robot.detections and stamp_ns_of(robot.detections[-1]) == sent[-1],
        "the newest cloud was never worked on",
    )
    assert arrived_while_sending < 100
    assert len(robot.detections) - arrived_while_sending <= 3  # in hand, in the slot, on the wire
    assert robot.count_of("superseded") > 0

    def adds_up() -> bool:
        status = robot.statuses[-1]
        return status.received == status.processed + sum(status.drop_counts)

    robot.wait(adds_up, "in is not out + dropped")
    assert robot.latest_status().processing_ms >= 1e3 * SLOW_S
    robot.node.destroy_publisher(publisher)


def test_a_failing_detector_is_counted_and_the_node_goes_on(
    process: NodeProcess, robot: Robot
) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))

    def send(num_points: int) -> None:
        xyz = np.ones((num_points, 3), np.float32)
        publisher.publish(cloud_message(xyz, "camera", robot.node.get_clock().now().nanoseconds))

    robot.wait(
        lambda: robot.count_of("detector_failed") > 0,
        "the failure was not counted",
        lambda: send(UNLUCKY),
    )
    assert "RuntimeError: 13 points bring bad luck" in robot.latest_status().last_error
    robot.detections.clear()
    robot.wait(lambda: robot.detections, "the node stopped working", lambda: send(14))
    assert "Traceback" not in process.output
    robot.node.destroy_publisher(publisher)


def test_a_silent_publisher_is_named_with_advice(process: NodeProcess, robot: Robot) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))
    line = process.wait_for_line("although somebody publishes there: .*robot_of_the_tests")
    assert "config/fastdds_large_data.xml" in line
    robot.node.destroy_publisher(publisher)
