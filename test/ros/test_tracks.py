"""Tracks on ~/output/tracks: in odom, while occluded, for its time, and no longer.

One node with a test double that finds a chair at the camera in every cloud but empty ones. The
robot stands in odom; stamps are the tests' own, so that time goes as they need it. The tests go on
from one to the next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from double_node import QUICK
from lifecycle_msgs.msg import Transition
from processes import NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, cloud_message, stamp_ns_of
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

NAME = "/sr3d_detector"
STEP_S = 0.25
STANDS = (3.0, -2.0, 0.0)  # of the robot in odom


class Bench:
    """The node, and what it says about each frame."""

    def __init__(self, robot: Robot, process: NodeProcess) -> None:
        self.robot = robot
        self.process = process
        self.tracks: list[Detection3DArray] = []
        self.markers: list[MarkerArray] = []
        for kept, kind, topic in (
            (self.tracks, Detection3DArray, "tracks"),
            (self.markers, MarkerArray, "track_markers"),
        ):
            robot.node.create_subscription(kind, f"{NAME}/output/{topic}", kept.append, 10)
        self.publisher = robot.cloud_publisher(f"{NAME}/input/points", QoSProfile(depth=5))
        self.stamp_ns = robot.now_ns()
        robot.publish_static("base_link", "camera", translation=(0.0, 0.0, 1.0))
        robot.wait(lambda: robot.detections, "no detections", self.send)

    def send(self, after_s: float = STEP_S, *, is_empty: bool = False) -> None:
        """One more frame; no two have the same stamp, also where time jumps back."""
        self.stamp_ns += round(1e9 * after_s) + 1
        for offset_ns in (-1000, 1000):
            stamp_ns = self.stamp_ns + offset_ns
            self.robot.publish_moving("odom", "base_link", stamp_ns, translation=STANDS)
        xyz = np.ones((0 if is_empty else QUICK, 3), np.float32)
        self.publisher.publish(cloud_message(xyz, "camera", self.stamp_ns))

    def boxes(self, after_s: float = STEP_S, *, is_empty: bool = False) -> Detection3DArray:
        """The detections of one more frame."""
        self.send(after_s, is_empty=is_empty)
        return self._of_this_frame(self.robot.detections)

    def frame(
        self, after_s: float = STEP_S, *, is_empty: bool = False
    ) -> tuple[Detection3DArray, Detection3DArray]:
        """Detections and tracks of one more frame."""
        return self.boxes(after_s, is_empty=is_empty), self._of_this_frame(self.tracks)

    def confirmed(self) -> str:
        """The id of the chair once it has one."""
        for _ in range(2):
            _, known = self.frame()
        return str(known.detections[0].id)

    def used_ids(self) -> set[str]:
        """All ids that tracks ever had."""
        return {track.id for array in self.tracks for track in array.detections}

    def has_tracks(self, stamp_ns: int) -> bool:
        """Whether an array of tracks came for a frame; ask when that of a later one is there."""
        return any(stamp_ns_of(each) == stamp_ns for each in self.tracks)

    def _of_this_frame(self, arrays: list[Detection3DArray]) -> Detection3DArray:
        def found() -> Detection3DArray | None:
            return next((each for each in arrays if stamp_ns_of(each) == self.stamp_ns), None)

        self.robot.wait(found, "no array of this frame")
        array = found()
        assert array is not None
        return array


@pytest.fixture(scope="module")
def bench(robot: Robot, start_node: Callable[..., NodeProcess]) -> Bench:
    process = start_node(
        "--ros-args",
        *("-p", "input.reliability:=reliable"),
        *("-p", "frames.timeout_s:=3.0"),
        *("-p", "tracking.min_hits:=2"),
        *("-p", "tracking.max_age_s:=1.0"),
        command=(sys.executable, str(Path(__file__).parent / "double_node.py")),
    )
    process.wait_for_line("ready: 1 classes")
    robot.listen_to(NAME)
    return Bench(robot, process)


def test_without_tracking_nothing_is_said_about_tracks(bench: Bench) -> None:
    assert bench.robot.node.count_publishers(f"{NAME}/output/tracks") == 1
    (found,) = bench.boxes().detections
    assert found.id == ""
    silent_ns = bench.stamp_ns
    assert bench.robot.set("tracking.enabled", True).successful
    bench.frame(is_empty=True)
    assert not bench.has_tracks(silent_ns)


def test_a_confirmed_object_has_a_track_with_its_id_in_odom(bench: Bench) -> None:
    _, known = bench.frame()
    assert (len(known.detections), known.header.frame_id) == (0, "odom")  # seen once
    boxes, known = bench.frame()
    (found,), (track,) = boxes.detections, known.detections
    assert (boxes.header.frame_id, known.header.frame_id) == ("camera", "odom")
    assert track.header == known.header
    assert track.id == found.id != ""
    assert track.results[0].hypothesis.class_id == "chair"
    assert track.results[0].hypothesis.score == pytest.approx(0.9)
    assert track.results[0].pose.pose == track.bbox.center
    place = track.bbox.center.position
    assert (place.x, place.y) == pytest.approx(STANDS[:2])


def test_a_hidden_object_stays_in_the_tracks_and_its_markers_are_paler(bench: Bench) -> None:
    name = bench.confirmed()

    def opacity() -> float:
        latest = bench.markers[-1].markers
        return float(next(marker.color.a for marker in latest if marker.ns == "boxes"))

    def is_marked() -> bool:
        return bool(bench.markers) and stamp_ns_of(bench.markers[-1].markers[0]) == bench.stamp_ns

    bench.robot.wait(is_marked, "no markers of this frame")
    seen = opacity()
    for _ in range(2):
        boxes, known = bench.frame(is_empty=True)
        assert len(boxes.detections) == 0
        assert [track.id for track in known.detections] == [name]
    bench.robot.wait(is_marked, "no markers of this frame")
    assert 0.0 < opacity() < seen
    assert [found.id for found in bench.boxes().detections] == [name]


def test_a_hidden_object_is_less_and_less_certain(bench: Bench) -> None:
    def variance(array: Detection3DArray) -> float:
        return float(array.detections[0].results[0].pose.covariance[0])

    bench.confirmed()
    boxes, known = bench.frame()
    assert variance(boxes) == variance(known) == pytest.approx(0.01)
    hidden = [variance(bench.frame(is_empty=True)[1]) for _ in range(3)]
    assert variance(known) < hidden[0] < hidden[1] < hidden[2]


def test_an_object_leaves_when_its_time_is_over_and_comes_back_as_another(bench: Bench) -> None:
    assert bench.confirmed()
    _, known = bench.frame(after_s=0.9, is_empty=True)
    assert len(known.detections) == 1
    _, known = bench.frame(after_s=0.2, is_empty=True)
    assert len(known.detections) == 0
    used = bench.used_ids()
    assert bench.confirmed() not in used


def test_time_that_jumps_back_forgets_everything(bench: Bench) -> None:
    assert bench.confirmed()
    used = bench.used_ids()
    boxes, known = bench.frame(after_s=-2.0)
    assert [found.id for found in boxes.detections] == [""]
    assert len(known.detections) == 0
    assert bench.confirmed() not in used


def test_a_fixed_frame_that_is_not_known_costs_the_tracks_and_not_the_boxes(bench: Bench) -> None:
    assert bench.robot.set("tracking.frame", "nowhere").successful
    bench.robot.wait_for_diagnosis(
        "input", DiagnosticStatus.WARN, "no ids and no tracks: ", bench.send
    )
    bench.process.wait_for_line("WARN.*no ids and no tracks: .*nowhere")
    assert [found.id for found in bench.boxes().detections] == [""]
    silent_ns = bench.stamp_ns
    assert len(bench.markers[-1].markers) == 1  # nothing stands that nobody renews
    assert bench.robot.set("tracking.frame", "").successful
    assert bench.confirmed()
    assert not bench.has_tracks(silent_ns)


def test_switched_off_the_markers_go_and_ids_are_not_used_again(bench: Bench) -> None:
    assert bench.confirmed()
    assert bench.robot.set("tracking.enabled", False).successful
    assert [found.id for found in bench.boxes().detections] == [""]
    bench.robot.wait(lambda: len(bench.markers[-1].markers) == 1, "markers stand for ever")
    assert bench.markers[-1].markers[0].action == Marker.DELETEALL
    silent_ns = bench.stamp_ns
    assert bench.robot.set("tracking.enabled", True).successful
    used = bench.used_ids()
    assert bench.confirmed() not in used
    assert not bench.has_tracks(silent_ns)


def test_a_deactivated_node_leaves_no_track_markers_and_goes_on_when_it_is_active_again(
    bench: Bench,
) -> None:
    name = bench.confirmed()
    assert bench.robot.change_state(Transition.TRANSITION_DEACTIVATE)
    bench.robot.wait(lambda: len(bench.markers[-1].markers) == 1, "markers stand for ever")
    assert bench.robot.change_state(Transition.TRANSITION_ACTIVATE)
    bench.robot.wait(bench.publisher.get_subscription_count, "the node does not listen")
    assert bench.confirmed() == name  # it was seen a moment ago, by the stamps


def test_a_node_that_is_configured_anew_knows_nothing(bench: Bench) -> None:
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        assert bench.robot.change_state(transition)
    bench.robot.wait(bench.publisher.get_subscription_count, "the node does not listen")
    bench.robot.wait(
        lambda: bench.robot.node.count_subscribers(f"{NAME}/output/tracks") == 1, "not connected"
    )
    bench.robot.detections.clear()
    bench.robot.wait(lambda: bench.robot.detections, "no detections", bench.send)
    assert bench.confirmed() == "1"
