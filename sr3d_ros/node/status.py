"""What the node says about itself: ~/status, /diagnostics, and the log when nothing comes.

~/status        sr3d_ros/DetectorStatus, at 1 Hz and when something goes wrong
/diagnostics    diagnostic_msgs/DiagnosticArray, at 1 Hz: a status per concern, "node: concern"
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rclpy.node import Node

from sr3d_ros.diagnostics.counters import CloudCounters, Snapshot, fill_status
from sr3d_ros.diagnostics.reports import PARTS, Level, Report, Situation, reports
from sr3d_ros.msg import DetectorStatus
from sr3d_ros.node.outputs import advertised
from sr3d_ros.node.topics import STATUS

_RECENT = 5  # ticks that "lately" means


class Reporter:
    """Call `tick` once a second."""

    def __init__(
        self,
        node: Node,
        counters: CloudCounters,
        situation: Callable[[], Situation],
        advice_on_silence: Callable[[float], str],
    ) -> None:
        self._node = node
        self._counters = counters
        self._situation = situation
        self._advice_on_silence = advice_on_silence
        self._publisher = advertised(node, STATUS)
        self._diagnostics = Diagnostics(node)
        self._snapshots: deque[Snapshot] = deque([counters.snapshot()], maxlen=_RECENT)
        self._silence_advice = ""
        self._advised_at_s = time.monotonic()

    def tick(self) -> None:
        """Publish the counts, renew the diagnostics, and warn where nothing comes."""
        now, situation = self._counters.snapshot(), self._situation()
        self._watch_silence(now, situation)
        situation = replace(situation, silence_advice=self._silence_advice)
        self._diagnostics.renew(reports(now, self._snapshots[0], situation))
        self._snapshots.append(now)
        self.publish_status()

    def publish_status(self) -> None:
        """Publish the counts."""
        stamp: Any = self._node.get_clock().now().to_msg()
        now, situation = self._counters.snapshot(), self._situation()
        model, classes = situation.model, situation.classes
        self._publisher.publish(fill_status(DetectorStatus(), now, model, classes, stamp))

    def _watch_silence(self, now: Snapshot, situation: Situation) -> None:
        """Most "it runs, but I see nothing" is a topic or a QoS: say which, now and then."""
        limit_s = situation.silence_warning_s
        if not situation.is_listening or limit_s == 0.0 or now.silence_s < limit_s:
            self._silence_advice = ""
            return
        if self._silence_advice and time.monotonic() - self._advised_at_s < limit_s:
            return
        self._advised_at_s = time.monotonic()
        self._silence_advice = self._advice_on_silence(now.silence_s)
        self._node.get_logger().warning(self._silence_advice)


class Diagnostics:
    """The newest reports on /diagnostics: diagnostic_updater asks for them at its own period.

    It names them after the node without its namespace; the `hardware_id` is the whole name, which
    tells several detectors apart.
    """

    def __init__(self, node: Node) -> None:
        self._latest: dict[str, Report] = {}
        self._updater = Updater(node)
        self._updater.setHardwareID(node.get_fully_qualified_name())
        for part in PARTS:
            self._updater.add(part, partial(self._fill, part))

    def renew(self, latest: Sequence[Report]) -> None:
        """What is said from now on."""
        self._latest = {report.part: report for report in latest}

    def _fill(self, part: str, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        report = self._latest.get(part, Report(part, Level.STALE, "nothing is known yet"))
        status.summary(bytes([report.level]), report.message)
        for key, value in report.values.items():
            status.add(key, value)
        return status
