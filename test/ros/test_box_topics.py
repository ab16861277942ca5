"""Boxes on two topics: markers are made only for those who look, and do not outlive themselves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from robot import Robot
from visualization_msgs.msg import Marker, MarkerArray

from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.node import outputs
from sr3d_ros.node.outputs import BoxTopics
from sr3d_ros.node.topics import DETECTIONS, MARKERS
from sr3d_ros.parameters.record import Parameters

CHAIR = Detections(
    Boxes3D.from_array(torch.tensor([[1.0, 0.0, 0.5, 0.5, 0.5, 1.0, 0.0]])),
    torch.tensor([0.9]),
    torch.tensor([0]),
)
DETECTOR: Any = SimpleNamespace(classes=("chair",), spread={})


class Bench:
    """The topics of a node, and how often markers were made for them."""

    def __init__(self, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_made = 0
        self.heard: list[MarkerArray] = []
        self.robot = robot
        self.topics = BoxTopics(
            robot.node, replace(DETECTIONS, name="/boxes"), replace(MARKERS, name="/markers")
        )
        make = outputs.marker_array

        def counted(*given: Any, **parts: Any) -> Any:
            self.num_made += 1
            return make(*given, **parts)

        monkeypatch.setattr(outputs, "marker_array", counted)

    def publish(self, *, markers: bool = True) -> None:
        settings = Parameters.from_values({"output.markers": markers})
        place = {"stamp_ns": 1, "frame_id": "odom", "output_from_gravity": np.eye(4)}
        self.topics.publish(CHAIR, DETECTOR, settings, ids=("7",), markers_stand_s=2.0, **place)

    def wait_for_viewers(self, number: int) -> None:
        self.robot.wait(
            lambda: self.robot.node.count_subscribers("/markers") == number, "no such graph"
        )
        publisher = self.topics._markers
        self.robot.wait(lambda: publisher.get_subscription_count() == number, "not matched")


@pytest.fixture
def bench(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Any:
    bench = Bench(robot, monkeypatch)
    yield bench
    bench.topics.close()


def test_markers_are_made_only_while_somebody_looks(bench: Bench) -> None:
    bench.publish()
    assert bench.num_made == 0
    viewer = bench.robot.node.create_subscription(MarkerArray, "/markers", bench.heard.append, 10)
    bench.wait_for_viewers(1)
    bench.publish()
    bench.robot.wait(lambda: bench.heard, "no markers")
    assert len(bench.heard[0].markers) == 4
    assert {marker.lifetime.sec for marker in bench.heard[0].markers[1:]} == {2}
    bench.robot.node.destroy_subscription(viewer)
    bench.wait_for_viewers(0)
    bench.publish()
    assert bench.num_made == 1


def test_markers_that_are_switched_off_are_wiped_once(bench: Bench) -> None:
    bench.publish(markers=False)
    assert bench.num_made == 0  # none stand
    viewer = bench.robot.node.create_subscription(MarkerArray, "/markers", bench.heard.append, 10)
    bench.wait_for_viewers(1)
    bench.publish()
    bench.publish(markers=False)
    bench.publish(markers=False)
    bench.publish()
    bench.robot.wait(lambda: len(bench.heard) >= 3, "no markers")
    assert [len(array.markers) for array in bench.heard] == [4, 1, 4]
    assert bench.heard[1].markers[0].action == Marker.DELETEALL
    bench.robot.node.destroy_subscription(viewer)
