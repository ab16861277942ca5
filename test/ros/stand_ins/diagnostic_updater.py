"""What the node uses of diagnostic_updater, for environments of pip wheels: it has no wheel.

Where ROS is installed the real package is imported, and this file is not on the path.
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node


class DiagnosticStatusWrapper(DiagnosticStatus):
    """A status that a task fills."""

    def summary(self, level: bytes, message: str) -> None:
        """Say how things stand."""
        self.level, self.message = level, message

    def add(self, key: str, value: str) -> None:
        """Add a value."""
        self.values = [*self.values, KeyValue(key=key, value=value)]


class Updater:
    """Asks its tasks at every period and publishes what they say."""

    def __init__(self, node: Node, period: float = 1.0) -> None:
        self._node = node
        self._hardware_id = ""
        self._tasks: dict[str, Callable[[DiagnosticStatusWrapper], DiagnosticStatusWrapper]] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        name = "diagnostic_updater.period"
        if not node.has_parameter(name):
            node.declare_parameter(name, period)
        node.create_timer(node.get_parameter(name).value, self.update)

    def setHardwareID(self, hardware_id: str) -> None:
        """Name what is watched."""
        self._hardware_id = hardware_id

    def add(
        self, name: str, task: Callable[[DiagnosticStatusWrapper], DiagnosticStatusWrapper]
    ) -> None:
        """Ask a task from now on."""
        self._tasks[name] = task

    def update(self) -> None:
        """Ask all tasks and publish."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        for name, task in self._tasks.items():
            status = DiagnosticStatusWrapper()
            status.name = f"{self._node.get_name()}: {name}"
            status.hardware_id = self._hardware_id
            array.status.append(task(status))
        self._publisher.publish(array)
