"""What happened to every frame: counts, drop reasons, rates, times; the status message.

Counted in the executor's and in the worker's thread; plain Python, no ROS imports.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sr3d_ros.diagnostics.advice import AHEAD_MS
from sr3d_ros.errors import DROP_REASONS, drop_reason

LOG_PERIOD_S = 1.0
_NUM_TIMES = 500  # p99 of the last 500 frames
_NUM_ARRIVALS = 30


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts at one moment; times are NaN before the first processed frame."""

    received: int
    processed: int
    drops: Mapping[str, int]
    lost: int  # messages that did not arrive, as far as the middleware knows; not in `received`
    processing_ms: float
    latency_ms: float
    num_detections: int
    frame_id: str
    input: str  # what the last processed frame was made of: "cloud", "depth" or "rgb"
    num_fallbacks: int  # how often the camera stepped in for depth
    last_error: str
    last_reason: str  # of the last drop that is not normal
    rate_hz: float  # of the last arrivals; 0 before the second
    input_age_ms: float  # from the stamp of the last frame to its arrival
    silence_s: float  # since the last arrival, or since listening began
    late_s: float  # from the first late frame to the last one; 0 = that was in time
    idle_s: float  # since the last frame was processed; infinite where none was lately
    busy_s: float  # how long a frame has been in hand; 0 = none is
    processing_p50_p99_ms: tuple[float, float]
    latency_p50_p99_ms: tuple[float, float]


class CloudCounters:
    """Counts frames and keeps what was last said about them; safe to use from several threads.

    A frame is late whose boxes come more than `late_ms` after its stamp, or so long before it that
    the clocks differ.
    """

    def __init__(
        self, now_s: Callable[[], float] = time.monotonic, late_ms: float = math.inf
    ) -> None:
        self._now_s = now_s
        self._late_ms = late_ms
        self._lock = threading.Lock()
        self._drops = dict.fromkeys(DROP_REASONS, 0)
        self._said_at_s: dict[str, float] = {}
        self._received = 0
        self._lost = 0
        self._processed = 0
        self._num_detections = 0
        self._frame_id = ""
        self._input = ""
        self._num_fallbacks = 0
        self._last_error = ""
        self._last_reason = ""
        self._input_age_ms = math.nan
        self._arrivals_s: deque[float] = deque(maxlen=_NUM_ARRIVALS)
        self._listening_since_s = now_s()
        self._late_since_s: float | None = None
        self._processed_at_s = -math.inf
        self._busy_since_s: float | None = None
        self._processing_ms: deque[float] = deque(maxlen=_NUM_TIMES)
        self._latency_ms: deque[float] = deque(maxlen=_NUM_TIMES)

    def start_listening(self) -> None:
        """Silence counts from now on; what was so before is forgotten."""
        with self._lock:
            self._arrivals_s.clear()
            self._input_age_ms = math.nan
            self._late_since_s, self._processed_at_s = None, -math.inf
            self._listening_since_s = self._now_s()

    def count_received(self, age_ms: float = math.nan) -> None:
        """A frame has arrived, so long after its stamp."""
        with self._lock:
            self._received += 1
            self._input_age_ms = age_ms
            self._arrivals_s.append(self._now_s())

    def count_lost(self, count: int) -> None:
        """So many messages were lost on the way to the node."""
        with self._lock:
            self._lost += count

    def count_fallback(self) -> None:
        """The camera has stepped in for a depth sensor."""
        with self._lock:
            self._num_fallbacks += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A frame is in hand."""
        with self._lock:
            self._busy_since_s = self._now_s()
        try:
            yield
        finally:
            with self._lock:
                self._busy_since_s = None

    def count_processed(
        self,
        *,
        processing_ms: float,
        latency_ms: float,
        num_detections: int,
        frame_id: str,
        input: str = "cloud",
    ) -> bool:
        """The boxes of a frame are published; true for the first one ever."""
        with self._lock:
            self._processed += 1
            self._processing_ms.append(processing_ms)
            self._latency_ms.append(latency_ms)
            self._num_detections = num_detections
            self._frame_id, self._input = frame_id, input
            self._processed_at_s = self._now_s()
            if -AHEAD_MS <= latency_ms <= self._late_ms:
                self._late_since_s = None
            elif self._late_since_s is None:
                self._late_since_s = self._processed_at_s
            return self._processed == 1

    def count_dropped(self, reason: str, what: str) -> str | None:
        """A frame was dropped; the text to log, None if its reason was logged a moment ago.

        `what` says what was wrong. Nothing is said about reasons that are normal.
        """
        with self._lock:
            self._drops[reason] = self._drops.get(reason, 0) + 1
            if drop_reason(reason).is_normal:
                return None
            self._last_reason = reason
            self._last_error = f"{reason}: {what} ({drop_reason(reason).remedy})"
            now_s = self._now_s()
            if now_s - self._said_at_s.get(reason, -math.inf) < LOG_PERIOD_S:
                return None
            self._said_at_s[reason] = now_s
            return f"frame dropped, {self._last_error}; {self._drops[reason]} so far"

    def silence_s(self) -> float:
        """Seconds since the last frame, or since listening began."""
        with self._lock:
            return self._silence_s()

    def snapshot(self) -> Snapshot:
        """All counts at this moment."""
        with self._lock:
            return Snapshot(
                received=self._received,
                processed=self._processed,
                drops=dict(self._drops),
                lost=self._lost,
                processing_ms=self._processing_ms[-1] if self._processing_ms else math.nan,
                latency_ms=self._latency_ms[-1] if self._latency_ms else math.nan,
                num_detections=self._num_detections,
                frame_id=self._frame_id,
                input=self._input,
                num_fallbacks=self._num_fallbacks,
                last_error=self._last_error,
                last_reason=self._last_reason,
                rate_hz=self._rate_hz(),
                input_age_ms=self._input_age_ms,
                silence_s=self._silence_s(),
                late_s=self._late_s(),
                idle_s=self._now_s() - self._processed_at_s,
                busy_s=0.0 if self._busy_since_s is None else self._now_s() - self._busy_since_s,
                processing_p50_p99_ms=_p50_p99(self._processing_ms),
                latency_p50_p99_ms=_p50_p99(self._latency_ms),
            )

    def _silence_s(self) -> float:
        since_s = self._arrivals_s[-1] if self._arrivals_s else self._listening_since_s
        return self._now_s() - since_s

    def _late_s(self) -> float:
        return 0.0 if self._late_since_s is None else self._processed_at_s - self._late_since_s

    def _rate_hz(self) -> float:
        """Arrivals per second, falling while nothing comes."""
        if len(self._arrivals_s) < 2:
            return 0.0
        num_intervals = len(self._arrivals_s) - 1
        span_s = self._arrivals_s[-1] - self._arrivals_s[0]
        waiting_s = self._now_s() - self._arrivals_s[-1]
        if span_s <= 0.0:
            return 0.0
        return min(num_intervals / span_s, (num_intervals + 1) / (span_s + waiting_s))


def fill_status(
    status: Any, snapshot: Snapshot, model: str, class_names: Sequence[str], stamp: Any
) -> Any:
    """Write a snapshot into an `sr3d_ros/DetectorStatus` and return it."""
    status.header.stamp = stamp
    status.header.frame_id = str(snapshot.frame_id)
    status.model = str(model)
    status.class_names = [str(name) for name in class_names]
    status.received = int(snapshot.received)
    status.processed = int(snapshot.processed)
    status.drop_reasons = [str(reason) for reason in snapshot.drops]
    status.drop_counts = [int(count) for count in snapshot.drops.values()]
    status.processing_ms = float(snapshot.processing_ms)
    status.latency_ms = float(snapshot.latency_ms)
    status.detections = int(snapshot.num_detections)
    status.input = str(snapshot.input)
    status.fallback_count = int(snapshot.num_fallbacks)
    status.last_error = str(snapshot.last_error)
    return status


def _p50_p99(times_ms: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, NaN without times; nearest rank."""
    if not times_ms:
        return math.nan, math.nan
    ordered = sorted(times_ms)
    ranks = (math.ceil(share * len(ordered)) - 1 for share in (0.50, 0.99))
    low, high = (ordered[rank] for rank in ranks)
    return low, high
