"""`ros2 run sr3d_ros doctor` beside detectors that run: it examines them as they are set.

The pytest process plays the sensors; detectors and doctors are processes of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, cloud_message, room
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

COMMAND = (sys.executable, "-m", "sr3d_ros.doctor")
FRONT, BACK = "/front/eye", "/back/sr3d_detector"
SENSORS = QoSProfile(depth=5)


class Sensors:
    """A cloud in a frame that no transform knows, a depth image, and a color image."""

    def __init__(self, robot: Robot) -> None:
        create = robot.node.create_publisher
        self._robot = robot
        self._points = [create(PointCloud2, f"/{name}/points", SENSORS) for name in ("a", "b")]
        self._depth = create(Image, "/a/depth", SENSORS)
        self._color = create(Image, "/a/color", SENSORS)
        self._info = create(CameraInfo, "/a/camera_info", SENSORS)

    def publish(self) -> None:
        """One message of each."""
        cloud = cloud_message(room(), "adrift", self._robot.now_ns())
        for publisher in self._points:
            publisher.publish(cloud)
        depth = Image(header=cloud.header, height=4, width=6, encoding="16UC1", step=12)
        depth.data = (2000).to_bytes(2, "little") * 24
        color = Image(header=cloud.header, height=4, width=6, encoding="rgb8", step=18)
        color.data = bytes(72)
        info = CameraInfo(header=cloud.header, height=4, width=6)
        info.k = [5.0, 0.0, 3.0, 0.0, 5.0, 2.0, 0.0, 0.0, 1.0]
        info.p = [5.0, 0.0, 3.0, 0.0, 0.0, 5.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        self._color.publish(color)
        self._info.publish(info)
        self._depth.publish(depth)


@pytest.fixture(scope="module")
def start_detector(start_node: Any, weights: Path) -> Callable[..., NodeProcess]:
    """Starts a detector of a full name and waits until it works."""

    def start(name: str, *settings: str) -> NodeProcess:
        namespace, _, own = name.rpartition("/")
        arguments = ["-r", f"__ns:={namespace}", "-r", f"__node:={own}"]
        arguments += ["-p", f"model.weights:={weights}", *settings]
        process: NodeProcess = start_node("--ros-args", *arguments)
        process.wait_for_line("ready: ")
        return process

    return start


class Doctors:
    """Runs doctors at once, as they mostly wait; their processes and findings by name."""

    def __init__(self, start_node: Any, robot: Robot, sensors: Sensors, folder: Path) -> None:
        self._start, self._robot, self._sensors = start_node, robot, sensors
        self._folder = folder
        self._processes: dict[str, NodeProcess] = {}

    def examine(self, **options: Sequence[str]) -> None:
        """One doctor for each name, with its options, until all have ended."""
        started = {
            name: self._start("--wait", "30", "--json", self._path(name), *each, command=COMMAND)
            for name, each in options.items()
        }
        self._processes |= started
        self._robot.wait_for_ends([*started.values()], self._sensors.publish, every_s=0.1)

    def told(self, name: str) -> tuple[NodeProcess, dict[str, dict[str, str]]]:
        """The process of a doctor, and its findings by name."""
        found = json.loads(Path(self._path(name)).read_text())["findings"]
        return self._processes[name], {finding["name"]: finding for finding in found}

    def _path(self, name: str) -> str:
        return str(self._folder / f"{name}.json")


@pytest.fixture(scope="module")
def doctors(
    start_node: Any,
    start_detector: Callable[..., NodeProcess],
    robot: Robot,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Doctors:
    """Doctors who came beside one detector, then two, then one of them disabled.

    The first has a name of its own, needs no transform, and joins two clouds; the second is of
    depth images and listens to color images, too.
    """
    doctors = Doctors(start_node, robot, Sensors(robot), tmp_path_factory.mktemp("findings"))
    start_detector(
        FRONT,
        *("-r", "~/input/points:=/a/points", "-p", "input.extra_topics:=['/b/points']"),
        *("-p", "frames.up:=floor", "-p", "classes.chair.enabled:=false"),
    )
    given = ("-p", f"model.weights:={weights}", "-p", "input.extra_topics:=['/b/points']")
    doctors.examine(alone=(), given=("--wait", "15", "--ros-args", *given))
    start_detector(
        BACK,
        *("-r", "~/input/depth:=/a/depth", "-r", "~/input/camera_info:=/a/camera_info"),
        *("-r", "~/input/color:=/a/color", "-p", "input.kind:=depth", "-p", "frames.up:=none"),
    )
    doctors.examine(
        of_two=(),
        chosen=("--node", BACK),
        chosen_and_given=("--node", FRONT, "--ros-args", "-p", "frames.up:=none"),
    )
    robot.listen_to(FRONT)
    assert robot.enable(False).success
    doctors.examine(disabled=("--node", FRONT, "--points", "/a/points"))
    return doctors


def test_the_detector_that_runs_is_examined_with_its_parameters_and_topics(
    doctors: Doctors,
) -> None:
    doctor, found = doctors.told("alone")
    assert doctor.wait_for_end() == 0, doctor.output
    assert found["detector"]["text"] == f"{FRONT} runs, it is active"
    assert found["parameters"]["text"].startswith(f"of {FRONT}: model.weights: ")
    assert "frames.up: floor, rules for chair; the others" in found["parameters"]["text"]
    assert found["topic"]["text"] == "/a/points from robot_of_the_tests"
    assert "none needed to know up (frames.up: floor)" in found["tf"]["text"]
    assert "fitted floor" in found["up"]["text"]


def test_parameters_that_are_given_are_examined_instead(doctors: Doctors) -> None:
    doctor, found = doctors.told("given")
    doctor.require_end(1)
    text = found["detector"]["text"]
    assert text == f"running: {FRONT}; examined is what would run with the parameters given here"
    assert "floor" not in found["parameters"]["text"]
    assert found["topic"]["text"] == "/a/points from robot_of_the_tests"
    assert "no transform from 'adrift'" in found["tf"]["text"]
    assert "set frames.up to floor (launch argument up:=floor)" in found["tf"]["remedy"]


def test_of_two_detectors_one_must_be_chosen(doctors: Doctors) -> None:
    doctor, found = doctors.told("of_two")
    doctor.require_end(1)
    assert found["detector"]["text"] == f"2 detectors run: {BACK}, {FRONT}"
    assert found["detector"]["remedy"].endswith(f"--node {BACK} or --node {FRONT}")
    assert found["inference"]["status"] == "skip"


def test_the_chosen_detector_is_examined_where_it_listens(doctors: Doctors) -> None:
    doctor, found = doctors.told("chosen")
    assert found["detector"]["text"] == f"{BACK} runs, it is active"
    assert "input.kind: depth" in found["parameters"]["text"]
    assert "4 x 6 points (16UC1) in frame 'adrift'" in found["cloud"]["text"], doctor.output


def test_what_is_given_comes_before_what_the_chosen_detector_has(doctors: Doctors) -> None:
    doctor, found = doctors.told("chosen_and_given")
    assert doctor.wait_for_end() == 1, doctor.output
    assert "frames.up: none, rules for chair" in found["parameters"]["text"]
    assert "tilted 90 degrees in 'adrift'" in found["up"]["text"]


def test_a_detector_that_was_disabled_is_told(doctors: Doctors) -> None:
    doctor, found = doctors.told("disabled")
    assert doctor.wait_for_end() == 1, doctor.output
    assert f"{FRONT} runs, but was disabled" in found["detector"]["text"]
    assert f"ros2 service call {FRONT}/enable" in found["detector"]["remedy"]
    assert found["topic"]["status"] == "ok"
