"""The node with a real detector: cloud in, boxes out, every bad cloud counted and explained.

One node process serves the module, started as the launch file starts it: in a namespace, with
the input remapped, the shipped parameter file and some parameters on top of it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from processes import ROOT, NodeProcess
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot import CAMERA_TILT, LATCHED, QUIET_EVENTS, Robot, cloud_message, room, stamp_ns_of
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionInfo

NAME = "/robot/sr3d_detector"
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
        """What comes back for a good cloud, sent again until the node knows the frames."""
        robot = self.robot
        robot.detections.clear()
        robot.wait(lambda: robot.detections, "no detections", self.send_room, every_s=1.0)
        return robot.detections[0]

    def send_until_counted(self, make: Any, reason: str) -> None:
        """Send a bad cloud until the node has counted it under a reason."""
        before = self.robot.count_of(reason)
        self.robot.wait(
            lambda: self.robot.count_of(reason) > before,
            f"nothing counted as {reason}",
            lambda: self.send(make(self.now_ns())),
            every_s=1.0,
        )


@pytest.fixture(scope="module")
def bench(robot: Robot, start_node: Any, weights: Path) -> Bench:
    process = start_node(
        "--ros-args",
        *("-r", "__ns:=/robot"),
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


def test_a_coloured_cloud_gives_boxes_with_its_stamp_and_frame(bench: Bench) -> None:
    array = bench.array_of_a_room()
    assert stamp_ns_of(array) in bench.sent_ns
    assert array.header.frame_id == CAMERA
    assert len(array.detections) > 0
    assert all(entry.header == array.header for entry in array.detections)


def test_boxes_are_upright_in_the_level_frame_and_near_the_points(bench: Bench) -> None:
    for entry in bench.array_of_a_room().detections:
        center, turned = entry.bbox.center.position, entry.bbox.center.orientation
        size = entry.bbox.size
        numbers = (center.x, center.y, center.z, size.x, size.y, size.z)
        assert all(math.isfinite(number) for number in numbers)
        up = 2 * (turned.y * turned.z - turned.x * turned.w)  # y of the box's z axis
        assert up == pytest.approx(-1.0, abs=1e-6)  # -y is up in an optical frame
        assert np.linalg.norm([center.x, center.y, center.z]) < 20.0


def test_results_hold_a_class_name_a_score_and_the_pose_again(bench: Bench) -> None:
    for entry in bench.array_of_a_room().detections:
        (result,) = entry.results
        assert result.hypothesis.class_id in ("chair", "table", "desk")
        assert 0.0 <= result.hypothesis.score <= 1.0
        assert result.pose.pose == entry.bbox.center


def test_markers_begin_with_deleting_the_old_ones(bench: Bench) -> None:
    bench.robot.markers.clear()
    bench.robot.wait(lambda: bench.robot.markers, "no markers", bench.send_room, every_s=1.0)
    first, *rest = bench.robot.markers[0].markers
    assert first.action == first.DELETEALL
    assert rest
    assert {marker.header.frame_id for marker in rest} == {CAMERA}


def test_a_late_subscriber_still_gets_the_class_names(bench: Bench) -> None:
    heard: list[LabelInfo] = []
    bench.robot.node.create_subscription(LabelInfo, f"{NAME}/label_info", heard.append, LATCHED)
    bench.robot.wait(lambda: heard, "no latched label_info")
    names = {entry.class_id: entry.class_name for entry in heard[0].class_map}
    assert names == {0: "chair", 1: "table", 2: "desk"}


def test_an_empty_cloud_gives_an_empty_array(bench: Bench) -> None:
    bench.array_of_a_room()  # the frames are known from here on
    stamp_ns = bench.now_ns()
    bench.send(cloud_message(np.zeros((0, 3), np.float32), CAMERA, stamp_ns))
    bench.robot.wait(
        lambda: any(stamp_ns_of(array) == stamp_ns for array in bench.robot.detections),
        "no array for an empty cloud",
    )
    (array,) = (a for a in bench.robot.detections if stamp_ns_of(a) == stamp_ns)
    assert len(array.detections) == 0


def test_without_a_transform_there_is_no_array_and_the_status_says_why(bench: Bench) -> None:
    bench.array_of_a_room()
    bench.robot.detections.clear()
    bench.send_until_counted(
        lambda stamp_ns: cloud_message(room(), "nowhere", stamp_ns), "no_transform"
    )
    assert "nowhere" in bench.robot.latest_status().last_error
    assert {a.header.frame_id for a in bench.robot.detections} <= {CAMERA}


def truncated(stamp_ns: int) -> PointCloud2:
    message = cloud_message(room(), CAMERA, stamp_ns)
    message.data = message.data[:1000]
    return message


def without_z(stamp_ns: int) -> PointCloud2:
    message = cloud_message(room(), CAMERA, stamp_ns)
    message.fields = [field for field in message.fields if field.name != "z"]
    return message


@pytest.mark.parametrize(("make", "reason"), [(truncated, "truncated"), (without_z, "no_xyz")])
def test_a_malformed_cloud_is_counted_and_the_next_good_one_works(
    bench: Bench, make: Any, reason: str
) -> None:
    bench.send_until_counted(make, reason)
    assert bench.robot.latest_status().last_error.startswith(f"{reason}: ")
    bench.process.wait_for_line(f"WARN.*frame dropped, {reason}")
    assert len(bench.array_of_a_room().detections) > 0


def test_a_cloud_waits_for_the_transform_of_its_stamp(bench: Bench) -> None:
    """The cloud is sent first; the transform follows, before and after the cloud's stamp."""
    bench.array_of_a_room()
    robot, arm = bench.robot, "arm_camera"
    robot.publish_moving("base_link", arm, bench.now_ns() - 10**9, rotation=CAMERA_TILT)
    robot.detections.clear()

    def send_both() -> None:
        bench.send(cloud_message(room(), arm, bench.now_ns()))
        robot.publish_moving("base_link", arm, bench.now_ns(), rotation=CAMERA_TILT)

    robot.wait(
        lambda: any(array.header.frame_id == arm for array in robot.detections),
        "no array for a cloud whose transform came late",
        send_both,
        every_s=1.0,
    )
    assert {stamp_ns_of(array) for array in robot.detections} <= bench.sent_ns


def test_the_status_accounts_for_every_cloud(bench: Bench) -> None:
    bench.array_of_a_room()

    def adds_up() -> bool:
        status = bench.robot.statuses[-1]
        return status.received == status.processed + sum(status.drop_counts)

    bench.robot.wait(lambda: bench.robot.statuses and adds_up(), "clouds unaccounted for")
    status = bench.robot.latest_status()
    assert status.received > 0
    assert list(status.class_names) == ["chair", "table", "desk"]
    assert status.model.endswith("untrained.safetensors")
    assert status.processing_ms > 0.0
    assert status.latency_ms > 0.0


def test_a_publisher_that_cannot_be_heard_is_explained(bench: Bench) -> None:
    deaf = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = bench.robot.node.create_publisher(
        PointCloud2, TOPIC, deaf, event_callbacks=QUIET_EVENTS
    )
    line = bench.process.wait_for_line("offers best effort, input.reliability:=reliable asks for")
    assert "set input.reliability:=best_effort" in line
    bench.robot.node.destroy_publisher(publisher)


def test_the_model_is_announced_to_those_who_come_late(bench: Bench) -> None:
    heard: list[VisionInfo] = []
    bench.robot.node.create_subscription(VisionInfo, f"{NAME}/vision_info", heard.append, LATCHED)
    bench.robot.wait(lambda: heard, "no latched vision_info")
    assert "untrained.safetensors" in heard[0].method
    assert heard[0].database_location == f"{NAME}/label_info"


def test_a_threshold_that_is_raised_leaves_boxes_out_at_once(bench: Bench) -> None:
    before = len(bench.array_of_a_room().detections)
    assert bench.robot.set("output.max_detections", 1).successful
    assert len(bench.array_of_a_room().detections) == 1
    assert bench.robot.set("output.max_detections", 100).successful
    assert bench.robot.set("output.score_threshold", 1.0).successful
    assert len(bench.array_of_a_room().detections) == 0
    assert bench.robot.set("output.score_threshold", 0.0).successful
    assert len(bench.array_of_a_room().detections) == before


def test_a_class_that_is_switched_off_is_not_reported(bench: Bench) -> None:
    bench.array_of_a_room()
    for name in ("table", "desk"):
        assert bench.robot.set(f"classes.{name}.enabled", False).successful
    names = {entry.results[0].hypothesis.class_id for entry in bench.array_of_a_room().detections}
    assert names == {"chair"}
    for name in ("table", "desk"):
        assert bench.robot.set(f"classes.{name}.enabled", True).successful


def test_boxes_move_to_another_frame_while_the_node_runs(bench: Bench) -> None:
    assert bench.robot.set("frames.target", "base_link").successful
    (frame,) = {entry.header.frame_id for entry in bench.array_of_a_room().detections}
    assert frame == "base_link"
    assert bench.robot.set("frames.target", "").successful


def test_a_region_without_points_gives_an_empty_array(bench: Bench) -> None:
    assert bench.robot.set("filter.roi", [50.0, 50.0, 0.0, 51.0, 51.0, 1.0]).successful
    assert len(bench.array_of_a_room().detections) == 0
    assert bench.robot.set("filter.roi", []).successful
    assert len(bench.array_of_a_room().detections) > 0


def test_the_points_of_every_box_come_on_request(bench: Bench) -> None:
    heard: list[PointCloud2] = []
    topic = f"{NAME}/output/objects"
    listener = bench.robot.node.create_subscription(PointCloud2, topic, heard.append, 2)
    for choice, first_field in (("clouds", "x"), ("indices", "index")):
        assert bench.robot.set("output.object_clouds", choice).successful
        heard.clear()
        bench.robot.wait(lambda: heard, f"no {choice}", bench.send_room, every_s=1.0)
        assert heard[-1].fields[0].name == first_field
    assert bench.robot.set("output.object_clouds", "none").successful
    bench.robot.node.destroy_subscription(listener)


def test_objects_keep_their_identity_when_they_are_tracked(bench: Bench) -> None:
    assert bench.robot.set("tracking.min_hits", 1).successful
    assert bench.robot.set("tracking.enabled", True).successful
    first = {entry.id for entry in bench.array_of_a_room().detections}
    again = {entry.id for entry in bench.array_of_a_room().detections}
    assert first
    assert "" not in first
    assert first & again
    assert bench.robot.set("tracking.enabled", False).successful
    assert {entry.id for entry in bench.array_of_a_room().detections} == {""}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("filter.roi", [1.0, 2.0], "filter.roi: 2 numbers, expected six"),
        ("filter.roi", ["a"], "expected a list of numbers"),
        ("filter.min_height_m", 10_000.0, "filter.min_height_m: 10000 is not below"),
        ("output.class_id_as", "colour", "'colour', expected one of 'name', 'index'"),
        ("output.score_threshold", 1.5, "range"),
        ("input.reliability", "best_effort", "read-only"),
        ("classes.tabel.enabled", False, "has no class 'tabel'; did you mean table?"),
        ("output.score", 0.5, "does not exist; did you mean output.score_threshold?"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_a_reason(
    bench: Bench, name: str, value: Any, expected: str
) -> None:
    result = bench.robot.set(name, value)
    assert not result.successful
    assert expected in result.reason
    assert len(bench.array_of_a_room().detections) > 0


def test_diagnostics_say_that_all_is_well(bench: Bench) -> None:
    bench.array_of_a_room()
    bench.robot.diagnostics.clear()
    for part in ("input", "model", "memory"):
        bench.robot.wait_for_diagnosis(part, DiagnosticStatus.OK, "", bench.send_room)
    values = {entry.key: entry.value for entry in bench.robot.diagnosed("inference").values}
    assert float(values["processing p99 (ms)"]) >= float(values["processing p50 (ms)"]) > 0.0


def test_transforms_that_stop_are_diagnosed_and_forgiven_when_they_come_back(
    bench: Bench,
) -> None:
    """A moving camera whose transforms end: nothing is published from then on."""
    robot, mast = bench.robot, "mast_camera"
    assert robot.set("input.max_age_s", 0.0).successful
    robot.publish_moving("base_link", mast, bench.now_ns() - 10**9, rotation=CAMERA_TILT)

    def send_future() -> None:
        bench.send(cloud_message(room(), mast, bench.now_ns() + 3600 * 10**9))

    before = robot.count_of("extrapolation")
    robot.wait(lambda: robot.count_of("extrapolation") > before, "not counted", send_future, 2.0)
    status = robot.wait_for_diagnosis("tf", DiagnosticStatus.ERROR, "extrapolation")
    assert "raise frames.timeout_s" in status.message
    robot.detections.clear()

    def send_both() -> None:
        bench.send(cloud_message(room(), mast, bench.now_ns()))
        robot.publish_moving("base_link", mast, bench.now_ns() + 10**7, rotation=CAMERA_TILT)

    robot.wait(lambda: robot.detections, "no array after the transforms came back", send_both)
    robot.wait_for_diagnosis("tf", DiagnosticStatus.OK, "no frame was lost", bench.send_room)


def test_an_interrupt_ends_the_node_cleanly(bench: Bench) -> None:
    """Last, because the module's node is gone afterwards."""
    bench.array_of_a_room()
    bench.process.interrupt()
    assert bench.process.wait_for_end() == 0
    assert "Traceback" not in bench.process.output
