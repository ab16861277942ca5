"""The node with a detector that is slow or fails: no backlog, nothing fatal, and good advice."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from double_node import HUGE, QUICK, SLOW_S, UNLUCKY
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


def start_camera(folder: Path, hz: int = 10, num_points: int = 50_000) -> NodeProcess:
    """A best-effort camera in a process of its own, with the shipped profile of Fast DDS."""
    return NodeProcess(
        folder / "camera.txt",
        [TOPIC, str(hz), str(num_points)],
        [sys.executable, str(HERE / "cloud_publisher.py")],
        {
            "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE),
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE),
        },
    )


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
    camera = start_camera(tmp_path)
    try:
        camera.wait_for_line("publishing")
        robot.wait(lambda: robot.latest_status().received >= before + 20, "large clouds are lost")
        camera.interrupt()  # its shared memory is freed, unlike after a kill
        camera.require_end()
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
    robot.wait(robot.adds_up, "in is not out + dropped")
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
    robot.wait(lambda: robot.detections, "the node stopped working", lambda: send(QUICK))
    assert "Traceback" not in process.output
    robot.node.destroy_publisher(publisher)


def test_a_full_gpu_is_reported_and_the_frame_tried_again_with_half(
    process: NodeProcess, robot: Robot
) -> None:
    """The double has no memory for clouds of 20,000 points.

    Some may be on their way when other points are asked for; they are thinned to these.
    """
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))
    robot.detections.clear()

    def send() -> None:
        publisher.publish(cloud_message(room(HUGE // 2), "camera", robot.now_ns()))

    robot.wait(lambda: robot.detections, "not tried again", send, every_s=1.0)
    robot.wait_for_diagnosis("memory", DiagnosticStatus.WARN, "thinned to 10000 points", send)
    assert robot.count_of("out_of_memory") == 0
    assert robot.set("input.max_points", 15_000).successful
    robot.wait_for_diagnosis("memory", DiagnosticStatus.OK, "enough memory", send)
    robot.node.destroy_publisher(publisher)


def test_a_cloud_in_millimetres_is_pointed_out(process: NodeProcess, robot: Robot) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))

    def send() -> None:
        publisher.publish(cloud_message(1000.0 * room(500), "camera", robot.now_ns()))

    robot.wait(lambda: robot.count_of("units") > 0, "not refused", send)
    robot.wait(lambda: "is it in millimetres?" in robot.latest_status().last_error, "not told")
    robot.node.destroy_publisher(publisher)


def test_points_are_fewer_under_load_and_more_again_afterwards(
    process: NodeProcess, robot: Robot
) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))

    def send() -> None:
        publisher.publish(cloud_message(room(2500), "camera", robot.now_ns()))

    def budget() -> int:
        values = {entry.key: entry.value for entry in robot.diagnosed("memory").values}
        return int(values["points per frame"])

    assert robot.set("input.max_points", 5000).successful
    assert robot.set("load.min_points", 1000).successful
    assert robot.set("load.target_ms", 100.0).successful
    assert robot.set("load.adaptive", True).successful
    robot.wait(lambda: budget() == 1000, "the budget was not lowered", send)
    assert robot.set("load.target_ms", 60_000.0).successful
    robot.wait(lambda: budget() == 5000, "the budget was not raised", send, every_s=0.1)
    assert robot.set("load.adaptive", False).successful
    robot.node.destroy_publisher(publisher)


def test_parameters_that_change_under_load_are_applied_without_losing_a_frame(
    process: NodeProcess, robot: Robot
) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))
    robot.wait(robot.adds_up, "frames unaccounted for")
    failed = robot.count_of("detector_failed")
    changes = [
        (name, value)
        for index in range(5)
        for name, value in (
            ("output.class_id_as", ("index", "name")[index % 2]),
            ("filter.max_range_m", 5.0 + index),
            ("classes.chair.score_threshold", 0.1 * index),
            ("input.max_points", 50_000 + index),
        )
    ]
    for name, value in changes:
        for _ in range(3):
            publisher.publish(cloud_message(room(100), "camera", robot.now_ns()))
        assert robot.set(name, value).successful
    robot.wait(robot.adds_up, "in is not out + dropped")
    assert robot.count_of("detector_failed") == failed
    robot.node.destroy_publisher(publisher)


def test_thirty_big_clouds_a_second_do_not_pile_up(
    process: NodeProcess, robot: Robot, tmp_path: Path
) -> None:
    """Overload: 9.6 MB clouds at 30 Hz into a detector of 300 ms; memory does not grow with them.

    A queue would hold all that came and were not worked on; a few are in hand or on the wire, and
    up to 64 MB are shared memory. benchmark/overload.py says how old boxes are.
    """
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no shared memory on this machine")
    for name in ("input.max_points", "output.class_id_as"):
        assert robot.set(name, {"input.max_points": 200_000}.get(name, "name")).successful
    before = robot.latest_status()
    megabytes: list[float] = []
    robot.detections.clear()

    def note_memory() -> None:
        values = {entry.key: entry.value for entry in robot.diagnosed("memory").values}
        megabytes.append(float(values["process (MB)"]))

    def num_piled_up() -> int:
        now = robot.latest_status()
        return int(now.received - before.received - (now.processed - before.processed))

    camera = start_camera(tmp_path, hz=30, num_points=150_000)
    try:
        camera.wait_for_line("publishing")
        robot.wait(lambda: num_piled_up() >= 80, "hardly any clouds come", note_memory)
        note_memory()
        camera.interrupt()
        robot.wait(lambda: camera.has_ended, "the camera does not end")
        arrived_while_sending = len(robot.detections)
        camera.require_end()
    finally:
        camera.end()
    robot.statuses.clear()
    robot.wait(robot.adds_up, "in is not out + dropped")
    assert len(robot.detections) - arrived_while_sending <= 3  # in hand, in the slot, on the wire
    assert max(megabytes) - megabytes[0] < 9.6 * 80 / 2


def test_a_silent_publisher_is_named_with_advice(process: NodeProcess, robot: Robot) -> None:
    publisher = robot.cloud_publisher(TOPIC, QoSProfile(depth=5))
    line = process.wait_for_line("although somebody publishes there: .*robot_of_the_tests")
    assert "config/fastdds_large_data.xml" in line
    robot.node.destroy_publisher(publisher)
