"""Publishes reports on /diagnostics: by diagnostic_updater where it is installed, else by itself.

Both give the same: one `diagnostic_msgs/DiagnosticArray` a second, with a status per concern
named "node: concern".
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from sr3d_ros.diagnostics.reports import PARTS, Level, Report


class DiagnosticsPublisher:
    """Call `publish` once a second; diagnostic_updater says it again at its own period.

    `hardware_id` names the machine's part that is watched.
    """

    def __init__(self, node: Node, hardware_id: str = "sr3d") -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._latest: dict[str, Report] = {}
        self._updater = self._made_updater()
        if self._updater is None:
            self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(self, reports: Sequence[Report]) -> None:
        """Say what there is to say."""
        self._latest = {report.part: report for report in reports}
        if self._updater is not None:
            return  # its timer asks _fill
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [self._status(report) for report in reports]
        self._publisher.publish(array)

    def _status(self, report: Report) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=_level(report.level),
            name=f"{self._node.get_name()}: {report.part}",
            message=str(report.message),
            hardware_id=self._hardware_id,
            values=[KeyValue(key=str(key), value=str(v)) for key, v in report.values.items()],
        )

    def _made_updater(self) -> Any:
        """An Updater with a task per concern, None where the package is missing."""
        try:
            updater_module = import_module("diagnostic_updater")
        except ImportError:
            return None
        updater = updater_module.Updater(self._node)
        updater.setHardwareID(self._hardware_id)
        for part in PARTS:
            updater.add(part, lambda status, part=part: self._fill(status, part))
        return updater

    def _fill(self, status: Any, part: str) -> Any:
        report = self._latest.get(part, Report(part, Level.STALE, "nothing is known yet"))
        status.summary(_level(report.level), report.message)
        for key, value in report.values.items():
            status.add(key, value)
        return status


def _level(level: Level) -> bytes:
    """A level as the message carries it."""
    return bytes([int(level)])
