"""Reports on /diagnostics, through diagnostic_updater."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from robot import Robot

from sr3d_ros.diagnostics.reports import PARTS, Level, Report
from sr3d_ros.node.status import Diagnostics

REPORTS = tuple(Report(part, Level.WARN, f"about {part}", {"key": "value"}) for part in PARTS)


@pytest.fixture
def node(robot: Robot) -> Iterator[Node]:
    node = Node("watched")
    robot.spin_too(node)
    yield node
    robot.spin_no_more(node)
    node.destroy_node()


@pytest.fixture
def heard(robot: Robot) -> Iterator[list[DiagnosticArray]]:
    heard: list[DiagnosticArray] = []
    listener = robot.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    yield heard
    robot.node.destroy_subscription(listener)


def test_each_report_is_a_status(node: Node, robot: Robot, heard: list[DiagnosticArray]) -> None:
    Diagnostics(node).renew(REPORTS)

    def are_all_there() -> bool:
        return bool(heard) and len(heard[-1].status) == len(PARTS)

    robot.wait(are_all_there, "no diagnostics")
    assert [status.name for status in heard[-1].status] == [f"watched: {part}" for part in PARTS]
    first = heard[-1].status[0]
    assert (first.level, first.message) == (DiagnosticStatus.WARN, "about input")
    assert [(entry.key, entry.value) for entry in first.values] == [("key", "value")]
    assert first.hardware_id == "/watched"


def test_before_the_first_report_every_part_is_stale(
    node: Node, robot: Robot, heard: list[DiagnosticArray]
) -> None:
    diagnostics = Diagnostics(node)

    def are_all_stale() -> bool:
        levels = [status.level for status in heard[-1].status] if heard else []
        return levels == [DiagnosticStatus.STALE] * len(PARTS)

    robot.wait(are_all_stale, "not stale")
    diagnostics.renew(REPORTS)
    robot.wait(lambda: heard[-1].status[0].level == DiagnosticStatus.WARN, "no report")
