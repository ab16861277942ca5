"""`ros2 run sr3d_ros doctor` on a real graph: it finds each planted fault, and nothing else.

The pytest process plays cameras and transforms; every doctor is a process of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import NodeProcess
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from robot import Robot, cloud_message, room
from sensor_msgs.msg import PointCloud2

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

COMMAND = (sys.executable, "-m", "sr3d_ros.doctor")
QUICK_S, PATIENT_S = "15", "60"
"""Faults that show as silence are waited for shortly; what arrives ends the waiting early."""
TILT = (-0.5, 0.5, -0.5, 0.5)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
HEALTHY = "/healthy/points"
DEAD = "/dead/points"  # somebody listens, nobody publishes
LARGE = 125_000  # points of the floor, and as many of the box: 8 MB

PLANTED = {
    # name: wait, topic, parameters, check that fails, text, remedy
    "wrong topic": (QUICK_S, "/wrong", (), "topic", "nobody publishes /wrong", HEALTHY),
    "wrong type": (QUICK_S, "/tf", (), "topic", "carries tf2_msgs/msg/TFMessage", HEALTHY),
    "no such name": (QUICK_S, "/a b", (), "topic", "'/a b'", "/camera/points"),
    "several clouds": (
        *(QUICK_S, "", (), "topic", "topics have a PointCloud2"),
        "say which one is meant: --points /adrift/points",
    ),
    "qos": (
        *(QUICK_S, "/best_effort/points", ("input.reliability:=reliable",)),
        *("qos", "incompatible", "input.reliability to best_effort"),
    ),
    "no transform": (
        *(QUICK_S, "/adrift/points", (), "tf", "no transform from 'adrift'"),
        "robot_state_publisher",
    ),
    "stopped sensor": (
        *(QUICK_S, "/stopped/points", (), "arrival", "no message for", "the sensor has stopped"),
    ),
    "millimetres": (PATIENT_S, "/mm/points", (), "units", "millimetres?", "metres"),
    "optical as z up": (
        *(PATIENT_S, HEALTHY, ("frames.up:=none",), "up", "tilted 90 degrees in 'camera'"),
        "frames.up to tf",
    ),
    "empty cloud": (PATIENT_S, "/empty/points", (), "cloud", "empty", "lens"),
    "missing weights": (
        *(PATIENT_S, HEALTHY, ("model.weights:=/nowhere/x.safetensors",)),
        *("weights", "no such weights file", "set model.weights to the path"),
    ),
    "damaged weights": (PATIENT_S, HEALTHY, ("DAMAGED",), "weights", "damaged", "to default"),
    "no gpu": (
        *(PATIENT_S, HEALTHY, ("model.device:=cuda:7",), "gpu", "cuda:7"),
        "set model.device to auto or cpu",
    ),
    "misspelt parameter": (
        *(PATIENT_S, HEALTHY, ("frames.upp:=tf",), "parameters", "did you mean frames.up"),
        "docs/parameters.md",
    ),
}


class Hospital:
    """The cameras, the doctors and their findings by name of the fault."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        node = robot.node
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # their text is deprecated
        best_effort, large = (
            node.create_publisher(PointCloud2, topic, BEST_EFFORT, event_callbacks=quiet)
            for topic in ("/best_effort/points", "/large/points")
        )
        clouds = [
            (node.create_publisher(PointCloud2, HEALTHY, 5), room(), "camera"),
            (best_effort, room(), "camera"),
            (node.create_publisher(PointCloud2, "/adrift/points", 5), room(), "adrift"),
            (node.create_publisher(PointCloud2, "/mm/points", 5), 1000 * room(), "camera"),
            (node.create_publisher(PointCloud2, "/empty/points", 5), room()[:0], "camera"),
            (large, room(LARGE), "camera"),
        ]
        self._clouds = [
            (publisher, cloud_message(xyz.astype(np.float32), frame_id, 0))
            for publisher, xyz, frame_id in clouds
        ]
        self._stopped = node.create_publisher(PointCloud2, "/stopped/points", 5)
        node.create_subscription(PointCloud2, DEAD, lambda _: None, 1)
        robot.publish_static("base_link", "camera", translation=(0.0, 0.0, 1.2), rotation=TILT)

    def publish(self) -> None:
        """One cloud of every camera."""
        stamp = self._robot.node.get_clock().now().to_msg()
        for publisher, cloud in self._clouds:
            cloud.header.stamp = stamp
            publisher.publish(cloud)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("findings")


@pytest.fixture(scope="module")
def doctors(
    start_node: Any, robot: Robot, weights: Path, folder: Path
) -> dict[str, tuple[NodeProcess, dict[str, Any]]]:
    """The process and the findings of each doctor, some at a time because each runs a network."""
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:-100])
    cases = {name: case[:3] for name, case in PLANTED.items()}
    cases["healthy"] = (PATIENT_S, HEALTHY, ())
    cases["remapped"] = (PATIENT_S, "", (f"~/input/points:={HEALTHY}",))
    cases["large"] = (PATIENT_S, "/large/points", ())
    hospital = Hospital(robot)
    names = list(cases)
    processes: dict[str, NodeProcess] = {}
    for some in (names[first : first + 9] for first in range(0, len(names), 9)):
        for name in some:
            wait_s, topic, parameters = cases[name]
            settings = ["-p", f"model.weights:={weights}"]
            for one in parameters:
                flag = "-r" if one.startswith("~/") else "-p"
                settings += [flag, one.replace("DAMAGED", f"model.weights:={damaged}")]
            processes[name] = start_node(
                *(("--points", topic) if topic else ()),
                *("--wait", wait_s, "--json", str(folder / f"{name}.json")),
                *("--ros-args", *settings),
                command=COMMAND,
            )
        robot.wait_for_ends([processes[name] for name in some], hospital.publish, every_s=0.2)
    return {
        name: (process, json.loads((folder / f"{name}.json").read_text()))
        for name, process in processes.items()
    }


@pytest.mark.parametrize("fault", PLANTED)
def test_the_doctor_finds_the_planted_fault(doctors: dict[str, Any], fault: str) -> None:
    process, record = doctors[fault]
    name, text, remedy = PLANTED[fault][3:]
    failures = {f["name"]: f for f in record["findings"] if f["status"] == "fail"}
    assert name in failures, process.output
    assert text in failures[name]["text"]
    assert remedy in failures[name]["remedy"]
    assert failures.keys() <= {name, "inference"}, process.output
    process.require_end(1)


def test_a_healthy_robot_is_called_healthy(doctors: dict[str, Any]) -> None:
    process, record = doctors["healthy"]
    assert process.wait_for_end() == 0, process.output
    assert record["ok"]
    texts = {finding["name"]: finding["text"] for finding in record["findings"]}
    assert "base_link <- camera" in texts["tf"]
    assert "its floor is level" in texts["up"]
    assert "x y z rgb" in texts["cloud"]
    assert "4,000 points on cpu" in texts["inference"]


def test_the_doctor_looks_where_the_detector_would_listen(doctors: dict[str, Any]) -> None:
    process, record = doctors["remapped"]
    assert process.wait_for_end() == 0, process.output
    texts = {finding["name"]: finding["text"] for finding in record["findings"]}
    assert texts["topic"] == f"{HEALTHY} from robot_of_the_tests"


@pytest.mark.parametrize("fault", ["wrong topic", "several clouds"])
def test_a_topic_that_nobody_publishes_is_not_recommended(
    doctors: dict[str, Any], fault: str
) -> None:
    process, _ = doctors[fault]
    assert HEALTHY in process.output
    assert DEAD not in process.output


def test_the_screen_says_what_the_record_says(doctors: dict[str, Any]) -> None:
    process, record = doctors["millimetres"]
    for finding in record["findings"]:
        assert finding["text"] in process.output
        assert finding["remedy"] in process.output
    assert process.output.splitlines()[-1] == "not well: 1 failure above"


def test_clouds_that_fast_dds_loses_are_called_lost(doctors: dict[str, Any]) -> None:
    """How many are lost depends on the machine; at 8 MB in 0.5 MB, never none of 20."""
    if not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        pytest.skip("only Fast DDS loses them")
    process, record = doctors["large"]
    (arrival,) = [f for f in record["findings"] if f["name"] == "arrival"]
    assert arrival["status"] in ("warn", "fail"), process.output
    assert "lost on the way" in arrival["text"]
    assert "/config/fastdds_large_data.xml" in arrival["remedy"]
    is_partly = arrival["status"] == "warn"
    assert process.wait_for_end() == (0 if is_partly else 1)
    assert process.output.splitlines()[-1].startswith("it will run" if is_partly else "not well")


def test_an_interrupt_ends_the_doctor_in_one_line(start_node: Any) -> None:
    doctor = start_node("--wait", "600", command=COMMAND)
    doctor.wait_for_line("packages ")  # from now on it waits for a detector
    doctor.interrupt()
    doctor.require_end(130)
    assert doctor.output.count("interrupted before all was examined") == 1
