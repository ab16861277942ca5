"""Both ways to publish diagnostics give the same: by ourselves, and by diagnostic_updater.

diagnostic_updater comes only with a ROS installation; where it is missing a recording stand-in
with its public calls shows what it is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from robot import Robot

from sr3d_ros.diagnostics.reports import PARTS, Level, Report
from sr3d_ros.node.diagnostics import DiagnosticsPublisher

REPORTS = tuple(Report(part, Level.WARN, f"about {part}", {"key": "value"}) for part in PARTS)


class RecordingUpdater:
    """What a task is given by an Updater, without its timer."""

    made: RecordingUpdater

    def __init__(self, node: Node) -> None:
        self.hardware_id = ""
        self.tasks: dict[str, Callable[[Any], Any]] = {}
        RecordingUpdater.made = self

    def setHardwareID(self, hardware_id: str) -> None:
        self.hardware_id = hardware_id

    def add(self, name: str, task: Callable[[Any], Any]) -> None:
        self.tasks[name] = task


class StatusWrapper:
    """The calls of a DiagnosticStatusWrapper that are used."""

    def __init__(self) -> None:
        self.level, self.message = b"", ""
        self.values: dict[str, str] = {}

    def summary(self, level: bytes, message: str) -> None:
        self.level, self.message = level, message

    def add(self, key: str, value: str) -> None:
        self.values[key] = value


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node("watched")
    yield node
    node.destroy_node()


def test_without_the_updater_one_array_holds_every_report(
    node: Node, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diagnostic_updater", None)
    heard: list[DiagnosticArray] = []
    listener = robot.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    publisher = DiagnosticsPublisher(node)
    robot.wait(lambda: heard, "no diagnostics", lambda: publisher.publish(REPORTS))
    assert [status.name for status in heard[0].status] == [f"watched: {part}" for part in PARTS]
    first = heard[0].status[0]
    assert (first.level, first.message) == (DiagnosticStatus.WARN, "about input")
    assert [(entry.key, entry.value) for entry in first.values] == [("key", "value")]
    assert first.hardware_id == "sr3d"
    robot.node.destroy_subscription(listener)


def test_with_the_updater_each_report_is_a_task(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("diagnostic_updater")
    module.Updater = RecordingUpdater  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diagnostic_updater", module)
    publisher = DiagnosticsPublisher(node)
    updater = RecordingUpdater.made
    assert (tuple(updater.tasks), updater.hardware_id) == (PARTS, "sr3d")
    status = StatusWrapper()
    assert updater.tasks["tf"](status) is status
    assert (status.level, status.message) == (DiagnosticStatus.STALE, "nothing is known yet")
    publisher.publish(REPORTS)
    updater.tasks["tf"](status)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "about tf")
    assert status.values == {"key": "value"}
