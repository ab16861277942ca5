"""A frame's way through the node, from its arrival to its boxes or the reason why there are none.

The executor's thread offers frames; the worker's thread detects in the newest one and publishes.
Every frame is counted once as received, and once as processed or dropped under a reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from sr3d_ros.diagnostics.counters import CloudCounters
from sr3d_ros.errors import DETECTOR_FAILED, STOPPED, Refused
from sr3d_ros.node.work import Work, summary
from sr3d_ros.node.worker import Worker
from sr3d_ros.tf.headers import stamp_to_ns


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame and its number, counted from 1."""

    frame: tuple[Any, ...]
    number: int


class Frames:
    """Works on frames while it has `work` and somebody wants them.

    `is_wanted(number)` is asked before a frame is worked on and before it is published;
    `on_done(number, text)` and `on_trouble()` are called in the worker's thread, the latter when
    something was logged.
    """

    def __init__(
        self,
        node: Node,
        counters: CloudCounters,
        is_wanted: Callable[[int], bool],
        on_done: Callable[[int, str], None],
        on_trouble: Callable[[], None],
    ) -> None:
        self._node = node
        self._counters = counters
        self._is_wanted = is_wanted
        self._on_done = on_done
        self._on_trouble = on_trouble
        self._work: Work | None = None
        self._gate = threading.Lock()  # held while a frame is published
        self._num_arrived = 0
        self._worker: Worker[Arrival] = Worker(
            handle=self._process,
            on_drop=lambda _, reason: self._reject(reason, "a frame waited too long"),
            on_failure=self._on_failure,
            age_s=lambda arrival: 1e-9 * self._age_ns(arrival),
        )

    @property
    def num_arrived(self) -> int:
        """How many frames have arrived."""
        return self._num_arrived

    def limit_age(self, max_age_s: float) -> None:
        """Drop frames that are older when their turn comes; 0 = no limit."""
        self._worker.max_age_s = max_age_s

    def start(self, work: Work) -> None:
        """Work on what comes."""
        self._work = work

    def stop(self) -> None:
        """Publish nothing any more once this has returned; drop what waits."""
        with self._gate:
            self._work = None
        self._worker.clear()

    def clear(self) -> None:
        """Drop what waits."""
        self._worker.clear()

    def close(self, timeout_s: float) -> bool:
        """End the thread; false if a frame is still in hand after the time."""
        self.stop()
        return self._worker.close(timeout_s)

    def offer(self, frame: tuple[Any, ...]) -> None:
        """A frame has arrived."""
        self._num_arrived += 1
        arrival = Arrival(frame, self._num_arrived)
        self._counters.count_received(age_ms=1e-6 * self._age_ns(arrival))
        self._worker.offer(arrival)

    def refuse(self, error: Refused) -> None:
        """Something has arrived that is not a frame."""
        self._counters.count_received()
        self._reject(error.reason, str(error))

    def _process(self, arrival: Arrival) -> None:
        """Detect in one frame and publish; whatever it raises, the worker reports."""
        started_s = time.perf_counter()
        work = self._work
        if work is None or not self._is_wanted(arrival.number):
            self._reject(STOPPED, "")
            return
        finished = work.process(arrival.frame)
        with self._gate:
            if self._work is not work or not self._is_wanted(arrival.number):
                self._reject(STOPPED, "")
                return
            work.publish(finished)
        is_first = self._counters.count_processed(
            processing_ms=1e3 * (time.perf_counter() - started_s),
            latency_ms=1e-6 * self._age_ns(arrival),
            num_detections=len(finished.result.detections),
            frame_id=finished.result.frame_id,
        )
        self._on_done(arrival.number, summary(finished))
        if is_first:
            self._on_trouble()

    def _on_failure(self, _: Arrival, error: Exception) -> None:
        if isinstance(error, Refused):
            self._reject(error.reason, str(error))
        else:
            self._reject(DETECTOR_FAILED, f"{type(error).__name__}: {error}")

    def _reject(self, reason: str, what: str) -> None:
        """Count a frame that yields no boxes, and say why, not more than once a second."""
        text = self._counters.count_dropped(reason, what)
        if text is None:
            return
        try:
            self._node.get_logger().warning(text)
            self._on_trouble()
        except Exception:
            if self._node.context.ok():
                raise  # otherwise: the node is being ended

    def _age_ns(self, arrival: Arrival) -> int:
        """Time since the stamp of a frame's first message."""
        stamp = arrival.frame[0].header.stamp
        return int(self._node.get_clock().now().nanoseconds) - stamp_to_ns(stamp)
