"""Parameters that change while the node runs: they act on the next frame, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench import NAME, Bench, start_bench
from robot import Robot
from sensor_msgs.msg import PointCloud2


@pytest.fixture(scope="module")
def bench(robot: Robot, start_node: Any, weights: Path) -> Bench:
    return start_bench(robot, start_node, weights)


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
    topic = f"{NAME}/output/object_clouds"
    listener = bench.robot.node.create_subscription(PointCloud2, topic, heard.append, 2)
    for choice, first_field in (("clouds", "x"), ("indices", "index")):
        assert bench.robot.set("output.object_clouds", choice).successful
        bench.robot.wait(  # what was on its way comes first
            lambda first=first_field: heard and heard[-1].fields[0].name == first,
            f"no {choice}",
            bench.send_room,
            every_s=1.0,
        )
    assert bench.robot.set("output.object_clouds", "none").successful
    bench.robot.node.destroy_subscription(listener)


def test_objects_keep_their_identity_when_they_are_tracked(bench: Bench) -> None:
    assert bench.robot.set("tracking.min_hits", 1).successful
    assert bench.robot.set("tracking.enabled", True).successful
    # Second boxes of one place stay without identity.
    first = {entry.id for entry in bench.array_of_a_room().detections} - {""}
    again = {entry.id for entry in bench.array_of_a_room().detections}
    assert len(first) > 1
    assert first & again
    assert bench.robot.set("tracking.enabled", False).successful
    assert {entry.id for entry in bench.array_of_a_room().detections} == {""}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("filter.roi", [1.0, 2.0], "filter.roi: 2 numbers, expected six"),
        ("filter.roi", ["a"], "expected a list of numbers"),
        ("filter.min_height_m", 10_000.0, "filter.min_height_m: 10000 is not below"),
        ("output.class_id_as", "color", "'color', expected one of 'name', 'index'"),
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
