"""The node with a real detector: cloud in, boxes out, every bad cloud counted and explained.

One node process serves the module; see bench.py.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import CAMERA, NAME, TOPIC, Bench, start_bench
from diagnostic_msgs.msg import DiagnosticStatus
from processes import PATIENCE_S
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot import CAMERA_TILT, LATCHED, QUIET_EVENTS, Robot, cloud_message, room, stamp_ns_of
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionInfo

from sr3d_core.sparse.engine_list import ENGINES
from sr3d_ros.parameters.record import Parameters


@pytest.fixture(scope="module")
def bench(robot: Robot, start_node: Any, weights: Path) -> Bench:
    return start_bench(robot, start_node, weights)


def test_a_colored_cloud_gives_boxes_with_its_stamp_and_frame(bench: Bench) -> None:
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


def test_markers_that_nothing_renews_vanish_by_themselves(bench: Bench) -> None:
    """In silence, where all is refused, and where the node is gone."""

    def lifetimes() -> list[float]:
        bench.robot.markers.clear()
        bench.robot.wait(lambda: bench.robot.markers, "no markers", bench.send_room, every_s=1.0)
        shown = bench.robot.markers[-1].markers[1:]
        return [marker.lifetime.sec + 1e-9 * marker.lifetime.nanosec for marker in shown]

    silence_s = Parameters().silence_warning_s
    assert all(silence_s < each < silence_s + PATIENCE_S for each in lifetimes())


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


def test_numbers_of_classes_are_looked_up_as_vision_msgs_describes(bench: Bench) -> None:
    """From VisionInfo to LabelInfo to the name; the same cloud has the same boxes."""
    robot = bench.robot
    names = classes_of(bench.array_of_a_room())
    assert set(names) <= {"chair", "table", "desk"}
    assert robot.set("output.class_id_as", "index").successful
    numbers = [int(class_id) for class_id in classes_of(bench.array_of_a_room())]

    found: list[VisionInfo] = []
    robot.node.create_subscription(VisionInfo, f"{NAME}/vision_info", found.append, LATCHED)
    robot.wait(lambda: found and found[-1].method.endswith("class_id as index"), "not announced")
    labels: list[LabelInfo] = []
    robot.node.create_subscription(LabelInfo, found[-1].database_location, labels.append, LATCHED)
    robot.wait(lambda: labels, "no LabelInfo where VisionInfo says")
    name_of = {entry.class_id: entry.class_name for entry in labels[-1].class_map}
    assert [name_of[number] for number in numbers] == names

    assert robot.set("output.class_id_as", "name").successful
    robot.wait(lambda: found[-1].method.endswith("class_id as name"), "not announced")
    assert classes_of(bench.array_of_a_room()) == names


def classes_of(array: Detection3DArray) -> list[str]:
    return [entry.results[0].hypothesis.class_id for entry in array.detections]


def test_diagnostics_say_that_all_is_well(bench: Bench) -> None:
    bench.array_of_a_room()
    bench.robot.diagnostics.clear()
    for part in ("input", "model", "memory"):
        bench.robot.wait_for_diagnosis(part, DiagnosticStatus.OK, "", bench.send_room)
    model = {entry.key: entry.value for entry in bench.robot.diagnosed("model").values}
    assert model["engine"] in ENGINES  # the one that runs, not "auto"
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


def test_stamps_in_the_future_are_told_in_the_diagnostics(bench: Bench) -> None:
    def send_ahead() -> None:
        bench.send(cloud_message(room(), CAMERA, bench.now_ns() + 20 * 10**9))

    for part in ("input", "inference"):
        bench.robot.diagnostics.clear()
        bench.robot.wait(
            lambda part=part: (
                bench.robot.diagnosed(part).level != DiagnosticStatus.OK
                and "chrony" in bench.robot.diagnosed(part).message
            ),
            f"clocks are not told of in {part}",
            send_ahead,
        )
    for part in ("input", "inference"):
        bench.robot.wait_for_diagnosis(part, DiagnosticStatus.OK, "", bench.send_room)


def test_an_interrupt_ends_the_node_cleanly(bench: Bench) -> None:
    """Last, because the module's node is gone afterwards."""
    bench.array_of_a_room()
    bench.process.interrupt()
    bench.process.require_end()
