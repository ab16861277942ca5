"""The node's life: its arcs, its services, models that cannot be loaded, and how it ends."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from double_node import LOADING_S, QUICK
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from processes import NodeProcess
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile
from robot import Robot, cloud_message
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from sr3d_ros.node.managed import ManagedNode, telling

COMMAND = (sys.executable, str(Path(__file__).parent / "double_node.py"))
NAME = "/sr3d_detector"
TOPIC = f"{NAME}/input/points"


def arguments(*parameters: str) -> tuple[str, ...]:
    given = ("frames.detection:=none", "input.reliability:=reliable", *parameters)
    return ("--ros-args", *(word for each in given for word in ("-p", each)))


class Bench:
    """A node with a test double, and clouds for it."""

    def __init__(self, robot: Robot, process: NodeProcess, topic: str = TOPIC) -> None:
        self.robot = robot
        self.process = process
        self.publisher = robot.node.create_publisher(PointCloud2, topic, QoSProfile(depth=5))

    def state(self) -> str:
        return str(self.robot.call(GetState, "get_state", GetState.Request()).current_state.label)

    def send(self, num_points: int = QUICK, frame_id: str = "camera") -> None:
        xyz = np.ones((num_points, 3), np.float32)
        self.publisher.publish(cloud_message(xyz, frame_id, self.robot.now_ns()))

    def num_listeners(self) -> int:
        return int(self.publisher.get_subscription_count())

    def wait_for_array(self) -> None:
        self.robot.detections.clear()
        self.robot.wait(lambda: self.robot.detections, "no detections", self.send)

    def wait_for_markers(self) -> None:
        seen = self.robot.markers
        self.robot.wait(lambda: seen and len(seen[-1].markers) > 1, "no markers", self.send)

    def wait_for_wiped_markers(self) -> None:
        """Nothing is sent meanwhile, and no array of boxes says what was not measured."""
        seen, num_arrays = self.robot.markers, len(self.robot.detections)
        self.robot.wait(lambda: len(seen[-1].markers) == 1, "markers stand for ever")
        assert seen[-1].markers[0].action == Marker.DELETEALL
        assert all(array.detections for array in self.robot.detections[num_arrays:])


@pytest.fixture(scope="module")
def bench(robot: Robot, start_node: Callable[..., NodeProcess]) -> Bench:
    """A node whose weights are missing at first; the tests go on from state to state."""
    process = start_node(*arguments("model.weights:=missing"), command=COMMAND)
    process.wait_for_line("ERROR.*cannot configure")
    robot.listen_to(NAME)
    return Bench(robot, process)


def test_a_missing_model_refuses_the_configuration_and_the_node_lives(bench: Bench) -> None:
    assert bench.state() == "unconfigured"
    assert not bench.robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert bench.state() == "unconfigured"
    assert "cannot configure: missing: no such weights file" in bench.process.output
    assert "Traceback" not in bench.process.output
    assert bench.num_listeners() == 0


def test_diagnostics_say_why_there_is_no_model(bench: Bench) -> None:
    bench.robot.wait_for_diagnosis("model", DiagnosticStatus.ERROR, "no such weights file")


def test_what_needs_a_model_is_refused_with_the_reason(bench: Bench) -> None:
    answer = bench.robot.trigger("detect_once")
    assert not answer.success
    assert "the node is unconfigured" in answer.message
    answer = bench.robot.trigger("load_model")
    assert not answer.success
    assert "no such weights file" in answer.message
    assert not bench.robot.change_state(Transition.TRANSITION_CONFIGURE)


def test_another_model_starts_the_node_that_could_not_start(bench: Bench) -> None:
    assert bench.robot.set("model.weights", "kitchen").successful
    answer = bench.robot.trigger("load_model")
    assert answer.success, answer.message
    assert bench.state() == "active"
    bench.wait_for_array()
    bench.robot.wait_for_diagnosis("model", DiagnosticStatus.OK, "kitchen")


def test_a_deactivated_node_listens_to_nothing_and_says_so(bench: Bench) -> None:
    assert bench.robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert bench.state() == "inactive"
    bench.robot.wait(lambda: bench.num_listeners() == 0, "still subscribed")
    bench.robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "not listening: inactive")
    assert "the node is inactive" in bench.robot.trigger("detect_once").message


def test_an_activated_node_works_again(bench: Bench) -> None:
    assert bench.robot.change_state(Transition.TRANSITION_ACTIVATE)
    bench.wait_for_array()


def test_a_deactivated_node_leaves_no_markers_behind(bench: Bench) -> None:
    bench.wait_for_markers()
    assert bench.robot.change_state(Transition.TRANSITION_DEACTIVATE)
    bench.wait_for_wiped_markers()
    assert bench.robot.change_state(Transition.TRANSITION_ACTIVATE)


def test_cleaning_up_forgets_the_model_and_configuring_loads_it_again(bench: Bench) -> None:
    assert bench.robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert bench.robot.change_state(Transition.TRANSITION_CLEANUP)
    assert bench.state() == "unconfigured"
    gone = [info.topic_type for info in bench.robot.node.get_publishers_info_by_topic(TOPIC)]
    assert len(gone) == 1  # the robot itself
    assert bench.robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert bench.robot.change_state(Transition.TRANSITION_ACTIVATE)
    bench.wait_for_array()


def test_a_disabled_node_leaves_its_input_and_no_markers(bench: Bench) -> None:
    bench.wait_for_markers()
    assert bench.robot.enable(False).message == "disabled"
    bench.wait_for_wiped_markers()
    bench.robot.wait(lambda: bench.num_listeners() == 0, "still subscribed")
    bench.robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "disabled by ~/enable")
    assert bench.state() == "active"


def test_a_disabled_node_detects_once_on_request(bench: Bench) -> None:
    bench.robot.detections.clear()
    before = bench.robot.latest_status().processed
    answers: list[Any] = []
    client = bench.robot.node.create_client(Trigger, f"{NAME}/detect_once")
    bench.robot.wait(client.service_is_ready, "no service")
    client.call_async(Trigger.Request()).add_done_callback(
        lambda future: answers.append(future.result())
    )
    bench.robot.wait(lambda: answers, "no answer", bench.send, every_s=0.1)
    assert answers[0].success
    assert answers[0].message == "1 objects: 1 chair"
    bench.robot.wait(lambda: bench.num_listeners() == 0, "still subscribed")
    bench.robot.wait(lambda: bench.robot.latest_status().processed > before, "not counted")
    bench.robot.wait(bench.robot.adds_up, "frames unaccounted for")
    assert len(bench.robot.detections) == 1


def test_an_enabled_node_works_again(bench: Bench) -> None:
    assert bench.robot.enable(True).message == "enabled"
    bench.wait_for_array()


def test_a_model_that_cannot_be_loaded_leaves_the_one_in_use(bench: Bench) -> None:
    assert bench.robot.set("model.weights", "missing").successful
    answer = bench.robot.trigger("load_model")
    assert (answer.success, answer.message) == (
        False,
        "cannot load the model: missing: no such weights file",
    )
    bench.wait_for_array()
    bench.robot.wait_for_diagnosis(
        "model", DiagnosticStatus.WARN, "cannot load the model: missing"
    )


def test_frames_go_on_while_a_model_is_loaded(bench: Bench) -> None:
    assert bench.robot.set("model.weights", "slowly").successful
    bench.wait_for_array()
    bench.robot.wait(bench.robot.adds_up, "frames unaccounted for")
    bench.robot.detections.clear()
    before = sum(bench.robot.latest_status().drop_counts)
    answers: list[Any] = []
    client = bench.robot.node.create_client(Trigger, f"{NAME}/load_model")
    bench.robot.wait(client.service_is_ready, "no service")
    client.call_async(Trigger.Request()).add_done_callback(
        lambda future: answers.append(future.result())
    )
    bench.robot.wait(lambda: answers, "no answer", bench.send, every_s=0.25)
    assert answers[0].message == "loaded slowly, 1 classes"
    assert len(bench.robot.detections) >= LOADING_S / 0.25 / 2
    bench.robot.wait(bench.robot.adds_up, "frames unaccounted for")
    assert sum(bench.robot.latest_status().drop_counts) == before


def test_another_model_brings_its_own_classes(bench: Bench) -> None:
    assert bench.robot.set("model.weights", "bedroom").successful
    answer = bench.robot.trigger("load_model")
    assert answer.success
    bench.wait_for_array()
    found = bench.robot.detections[-1].detections[0].results[0].hypothesis.class_id
    assert found == "bed"
    names = [entry.class_name for entry in bench.robot.labels[-1].class_map]
    assert names == ["bed", "chair"]
    assert bench.robot.set("classes.bed.score_threshold", 0.5).successful


def test_two_cameras_on_one_topic_are_told_once_and_others_anew(bench: Bench) -> None:
    """Sets that hold messages of before are told as well, so only those of the two are counted."""

    def lines_of(*cameras: str) -> list[str]:
        pair = re.compile("WARN.*(?<!', )" + ", ".join(f"'{each}'" for each in cameras))
        return [line for line in bench.process.output.splitlines() if pair.search(line)]

    def send(*frame_ids: str) -> None:
        for frame_id in frame_ids:
            bench.send(frame_id=frame_id)

    for cameras in (("left_camera", "right_camera"), ("front_camera", "rear_camera")):
        bench.robot.wait(partial(lines_of, *cameras), "not told", partial(send, *cameras))
        bench.robot.wait_for_diagnosis("input", DiagnosticStatus.WARN, f"'{cameras[1]}'")
        bench.robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "", partial(send, cameras[0]))
        (line,) = lines_of(*cameras)
        assert TOPIC in line
        assert "input.extra_topics" in line


def test_boxes_without_a_frame_are_told_once(bench: Bench) -> None:
    def send_nameless() -> None:
        bench.send(frame_id="")

    bench.robot.wait_for_diagnosis(
        "input", DiagnosticStatus.WARN, "header.frame_id", send_nameless
    )
    bench.process.wait_for_line("WARN.*header.frame_id")
    bench.robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "", bench.send)
    assert bench.process.output.count("header.frame_id of the cloud is empty") == 1


def test_a_node_that_is_interrupted_while_inferring_ends_cleanly(bench: Bench) -> None:
    """Last, because the module's node is gone afterwards."""
    for _ in range(3):
        bench.send(100)
    bench.process.interrupt()
    bench.process.require_end()


def test_an_ended_node_is_gone_for_others_at_once(
    robot: Robot, start_node: Callable[..., NodeProcess]
) -> None:
    """One that ends without taking its leave is in their graph until its lease of 20 s ends."""
    process = start_node(*arguments("model.weights:=small"), "-r", "__ns:=/left", command=COMMAND)
    process.wait_for_line("ready: 1 classes")

    def is_known() -> bool:
        return ("sr3d_detector", "/left") in robot.node.get_node_names_and_namespaces()

    robot.wait(is_known, "the node is not in the graph")
    process.interrupt()
    process.require_end()
    ended_s = time.monotonic()
    robot.wait(lambda: not is_known(), "the node stays in the graph")
    assert time.monotonic() - ended_s < 10.0


def test_a_context_that_is_shut_down_from_elsewhere_meanwhile_is_no_error(
    start_node: Callable[..., NodeProcess],
) -> None:
    """rclpy's signal thread shuts it down too; the window between the two is made wide here."""
    racing = (sys.executable, str(Path(__file__).parent / "racing_node.py"))
    process = start_node(*arguments("model.weights:=small"), "-r", "__ns:=/racing", command=racing)
    process.wait_for_line("ready: 1 classes")
    process.interrupt()
    process.require_end()


def test_an_interrupt_breaks_no_call_of_rclpy(start_node: Callable[..., NodeProcess]) -> None:
    fragile = (sys.executable, str(Path(__file__).parent / "fragile_node.py"))
    process = start_node(*arguments("model.weights:=small"), "-r", "__ns:=/frail", command=fragile)
    process.wait_for_line("spinning")
    process.interrupt()
    process.require_end()


def test_an_interrupt_while_the_model_is_loaded_is_clean(
    start_node: Callable[..., NodeProcess],
) -> None:
    process = start_node(*arguments("model.weights:=slowly"), command=COMMAND)
    process.wait_for_line("loading slowly")
    process.interrupt()
    process.require_end()


def test_a_frame_that_does_not_end_does_not_hold_up_the_end(
    robot: Robot, start_node: Callable[..., NodeProcess]
) -> None:
    """Launch kills five seconds after it has asked; a frame may take longer."""
    process = start_node(*arguments("model.weights:=stuck"), "-r", "__ns:=/stuck", command=COMMAND)
    process.wait_for_line("ready: 1 classes")
    publisher = robot.cloud_publisher("/stuck/sr3d_detector/input/points", QoSProfile(depth=1))
    xyz = np.ones((QUICK, 3), np.float32)
    publisher.publish(cloud_message(xyz, "camera", robot.now_ns()))
    process.wait_for_line("^stuck")
    process.interrupt()
    process.require_end()
    robot.node.destroy_publisher(publisher)


STARTUP = (
    (Transition.TRANSITION_CONFIGURE, "inactive"),
    (Transition.TRANSITION_ACTIVATE, "active"),
)
PAUSE, RESUME = ((Transition.TRANSITION_DEACTIVATE, "inactive"),), STARTUP[1:]
RESET = (*PAUSE, (Transition.TRANSITION_CLEANUP, "unconfigured"))
SHUTDOWN = (*RESET, (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, "finalized"))


def test_a_manager_such_as_nav2s_leads_the_node_through_its_life(
    robot: Robot, start_node: Callable[..., NodeProcess]
) -> None:
    """Its commands: each transition is asked for by its number, then the state is compared."""
    process = start_node(
        *arguments("lifecycle.autostart:=false"), "-r", "__ns:=/managed", command=COMMAND
    )
    robot.listen_to("/managed/sr3d_detector")
    managed = Bench(robot, process, "/managed/sr3d_detector/input/points")
    for command in (STARTUP, PAUSE, RESUME, RESET, STARTUP):
        for transition, state in command:
            assert robot.change_state(transition)
            assert managed.state() == state
        if state == "active":
            managed.wait_for_array()
    for transition, state in SHUTDOWN:
        assert robot.change_state(transition)
        assert managed.state() == state
    process.interrupt()
    process.require_end()


def test_a_transition_that_its_state_does_not_have_is_refused_and_the_node_lives(
    robot: Robot, start_node: Callable[..., NodeProcess]
) -> None:
    """A manager of a node that has started itself, and one that resets twice; rclpy may raise."""
    process = start_node(*arguments(), "-r", "__ns:=/refusing", command=COMMAND)
    robot.listen_to("/refusing/sr3d_detector")
    refusing = Bench(robot, process, "/refusing/sr3d_detector/input/points")
    process.wait_for_line("ready: 1 classes")
    assert not robot.change_state(Transition.TRANSITION_CONFIGURE)
    assert "lifecycle.autostart" in process.wait_for_line("WARN.*refused to configure")
    assert not robot.change_state(Transition.TRANSITION_CLEANUP)
    assert not robot.change_state(99)
    assert refusing.state() == "active"
    refusing.wait_for_array()
    for transition, state in SHUTDOWN:
        assert robot.change_state(transition)
        assert refusing.state() == state
        assert not robot.change_state(transition)
        assert refusing.state() == state
    robot.wait_for_diagnosis("model", DiagnosticStatus.OK, "finalized")
    assert "finalized" in robot.trigger("detect_once").message
    answer = robot.trigger("load_model")
    assert (answer.success, "finalized" in answer.message) == (False, True)
    process.interrupt()
    process.require_end()


class Breaking(ManagedNode):
    """A fault that shows as late as when the node is activated."""

    @telling
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        raise KeyError("engine")


def test_a_transition_that_breaks_is_told(robot: Robot, capfd: pytest.CaptureFixture[str]) -> None:
    node = Breaking("breaking")
    node.trigger_configure()
    node.trigger_activate()
    node.destroy_node()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "on_activate" in line]
    assert "KeyError: 'engine'" in line


def test_a_node_told_not_to_start_waits_for_a_manager(
    robot: Robot, start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    """It says what is odd about that, and ends by a transition, not with the process."""
    name = "/waiting/sr3d_detector"
    file = tmp_path / "other.yaml"
    file.write_text("/elsewhere/sr3d_detector:\n  ros__parameters:\n    input.max_points: 5\n")
    process = start_node(
        *arguments("lifecycle.autostart:=false", "input.silence_warning_s:=1.0"),
        *("-r", "__ns:=/waiting", "--params-file", str(file)),
        command=COMMAND,
    )
    robot.listen_to(name)
    robot.latest_status()
    namesake = Node("sr3d_detector", namespace="/waiting")
    for text in (str(file), "lifecycle.autostart is false", f"2 nodes are named {name}"):
        robot.wait_for_diagnosis("setup", DiagnosticStatus.WARN, text)
        assert process.output.count(text) == 1
    assert "/elsewhere/sr3d_detector" in robot.diagnosed("setup").message
    namesake.destroy_node()
    state = robot.call(GetState, "get_state", GetState.Request()).current_state.label
    assert state == "unconfigured"
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert robot.change_state(transition)
    process.wait_for_line("ready: 1 classes")
    robot.wait(
        lambda: (
            (said := robot.diagnosed("setup").message)
            and "autostart" not in said
            and "2 nodes" not in said
        ),
        "what is not so any more is told",
    )
    waiting = Bench(robot, process, f"{name}/input/points")
    waiting.wait_for_markers()
    assert robot.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    waiting.wait_for_wiped_markers()
    process.interrupt()
    process.require_end()
