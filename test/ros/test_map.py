"""The map of objects on a robot: ~/output/objects, ~/find_objects, saving, loading, clearing.

One node with a test double that finds a chair at the robot's base in every cloud. The robot
stands in map; the tests go on from one to the next.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from double_node import QUICK
from lifecycle_msgs.msg import Transition
from processes import NodeProcess
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import Robot, cloud_message, stamp_ns_of
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray

from sr3d_ros.srv import FindObjects

NAME = "/sr3d_detector"
STANDS = (3.0, -2.0, 0.0)  # of the robot in map
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Bench:
    """The node, and its map."""

    def __init__(self, robot: Robot, path: Path) -> None:
        self.robot, self.path = robot, path
        self.objects: list[Detection3DArray] = []
        robot.node.create_subscription(
            Detection3DArray, f"{NAME}/output/objects", self.objects.append, LATCHED
        )
        self.publisher = robot.cloud_publisher(f"{NAME}/input/points", QoSProfile(depth=5))
        robot.publish_static("base_link", "camera", translation=(0.0, 0.0, 1.0))
        self.stamp_ns = robot.now_ns()

    def send(self) -> None:
        """One more frame."""
        self.stamp_ns += 100_000_000
        for offset_ns in (-1000, 1000):
            self.robot.publish_moving(
                "map", "base_link", self.stamp_ns + offset_ns, translation=STANDS
            )
        self.publisher.publish(
            cloud_message(np.ones((QUICK, 3), np.float32), "camera", self.stamp_ns)
        )

    def find(self, **asked: object) -> FindObjects.Response:
        """What the map answers."""
        return self.robot.call(FindObjects, "find_objects", FindObjects.Request(**asked))

    def trigger(self, what: str) -> Trigger.Response:
        """What ~/WHAT_map answers."""
        return self.robot.call(Trigger, f"{what}_map", Trigger.Request())


@pytest.fixture(scope="module")
def bench(
    robot: Robot,
    start_node: Callable[..., NodeProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    path = tmp_path_factory.mktemp("maps") / "map.json"
    process = start_node(
        "--ros-args",
        *("-p", "input.reliability:=reliable"),
        *("-p", "frames.timeout_s:=3.0"),
        *("-p", "map.enabled:=true"),
        *("-p", "map.frame:=map"),
        *("-p", f"map.file:={path}"),
        command=(sys.executable, str(Path(__file__).parent / "double_node.py")),
    )
    process.wait_for_line("ready: 1 classes")
    robot.listen_to(NAME)
    return Bench(robot, path)


def test_the_map_is_published_with_ids_in_the_frame_that_stands_still(bench: Bench) -> None:
    heard = bench.objects
    bench.robot.wait(lambda: heard and heard[-1].detections, "no objects", bench.send, every_s=0.2)
    (chair,) = heard[-1].detections
    assert (heard[-1].header.frame_id, chair.id) == ("map", "1")
    at = chair.bbox.center.position
    assert (at.x, at.y) == pytest.approx(STANDS[:2], abs=1e-6)


def test_objects_are_found_by_class_region_and_age(bench: Bench) -> None:
    answer = bench.find(class_names=["chair"])
    assert (answer.success, answer.header.frame_id) == (True, "map")
    (chair,) = answer.objects
    assert (chair.id, chair.class_name, chair.size.x) == ("1", "chair", pytest.approx(0.5))
    assert 0.0 < chair.probability <= 1.0
    near, far = FindObjects.Request().region_min, FindObjects.Request().region_max
    near.x, near.y, near.z, far.x, far.y, far.z = 2.0, -3.0, -1.0, 4.0, -1.0, 1.0
    assert len(bench.find(region_min=near, region_max=far).objects) == 1
    near.x = 3.5
    assert len(bench.find(region_min=near, region_max=far).objects) == 0
    later = FindObjects.Request().newer_than
    later.sec = chair.last_seen.sec + 1000
    assert len(bench.find(newer_than=later).objects) == 0


def test_what_cannot_be_asked_for_is_refused(bench: Bench) -> None:
    answer = bench.find(class_names=["spaceship"])
    assert not answer.success
    assert "spaceship" in answer.message


def test_the_scene_is_forgotten_on_request_and_when_the_node_is_deactivated(bench: Bench) -> None:
    robot = bench.robot

    def values() -> dict[str, str]:
        return {entry.key: entry.value for entry in robot.diagnosed("memory").values}

    def remember() -> None:
        """Until no frame is under way any more: one that comes later is remembered anew."""
        robot.wait(lambda: "scene: points" in values(), "no scene", bench.send, every_s=0.2)
        robot.wait(lambda: stamp_ns_of(bench.objects[-1]) == bench.stamp_ns, "last frame lost")

    assert robot.set("memory.seconds", 60.0).successful
    remember()
    robot.wait(lambda: values()["scene: points"] == "1", "more than a voxel")  # all at one place
    assert values()["scene: fixed frame"] == "map"
    assert (values()["map: objects"], values()["map: renamed"]) == ("1", "")
    assert robot.trigger("reset_scene").success
    robot.wait(lambda: "scene: points" not in values(), "still remembered")
    assert values()["map: objects"] == "1"
    remember()
    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    robot.wait(lambda: "scene: points" not in values(), "still remembered")
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    assert robot.set("memory.seconds", 0.0).successful


def test_the_map_is_saved_cleared_and_loaded(bench: Bench) -> None:
    assert bench.trigger("save").success
    assert json.loads(bench.path.read_text())["objects"][0]["id"] == "1"
    assert bench.trigger("clear").success
    assert len(bench.find().objects) == 0
    assert bench.trigger("load").success
    assert [each.id for each in bench.find().objects] == ["1"]
    bench.path.write_text("{}")
    refused = bench.trigger("load")
    assert not refused.success
    assert "map.json" in refused.message
    assert len(bench.find().objects) == 1
