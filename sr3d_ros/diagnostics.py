"""What happened to every cloud: counts, drop reasons with their remedies, advice on silence.

Counted in the executor's and in the worker's thread; plain Python, no ROS imports.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d_ros.worker import SUPERSEDED, TOO_OLD

DETECTOR_FAILED = "detector_failed"
"""Drop reason: an exception that is no fault of the cloud or of its transform."""

_READ_THE_TEXT = "correct the publisher of the cloud as the text says"

REMEDIES: Mapping[str, str] = {
    SUPERSEDED: "normal when the sensor is faster than the detector",
    TOO_OLD: "raise input.max_age_s, or compare the clocks of sensor and detector",
    "no_transform": "publish the frame, or correct frames.detection and frames.target",
    "disconnected": "publish the transform between the two trees",
    "extrapolation": "raise frames.timeout_s, or compare the clocks of the publishers",
    "cycle": "two publishers disagree about a frame's parent: stop one of them",
    "bad_transform": "correct the publisher of the transform",
    "no_xyz": "publish a cloud with fields x, y and z",
    "field_type": _READ_THE_TEXT,
    "fields": _READ_THE_TEXT,
    "point_step": _READ_THE_TEXT,
    "size": _READ_THE_TEXT,
    "truncated": _READ_THE_TEXT,
    "data": _READ_THE_TEXT,
    DETECTOR_FAILED: "report it with the text; the next cloud is tried as usual",
}
"""Every reason to drop a cloud, and what to do about it."""

_QUIET = (SUPERSEDED,)
LOG_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts at one moment; times are NaN before the first processed cloud."""

    received: int
    processed: int
    drops: Mapping[str, int]
    processing_ms: float
    latency_ms: float
    num_detections: int
    frame_id: str
    last_error: str


class CloudCounters:
    """Counts clouds and keeps what was last said about them; safe to use from several threads."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._drops = dict.fromkeys(REMEDIES, 0)
        self._said_at_s: dict[str, float] = {}
        self._received = 0
        self._processed = 0
        self._processing_ms = math.nan
        self._latency_ms = math.nan
        self._num_detections = 0
        self._frame_id = ""
        self._last_error = ""
        self._last_received_s = now_s()

    def count_received(self) -> None:
        """A cloud has arrived."""
        with self._lock:
            self._received += 1
            self._last_received_s = self._now_s()

    def count_processed(
        self, *, processing_ms: float, latency_ms: float, num_detections: int, frame_id: str
    ) -> bool:
        """The boxes of a cloud are published; true for the first one ever."""
        with self._lock:
            self._processed += 1
            self._processing_ms = processing_ms
            self._latency_ms = latency_ms
            self._num_detections = num_detections
            self._frame_id = frame_id
            return self._processed == 1

    def count_dropped(self, reason: str, what: str) -> str | None:
        """A cloud was dropped; the text to log, None if its reason was logged a moment ago.

        `what` says what was wrong. Nothing is said about reasons that are normal.
        """
        with self._lock:
            self._drops[reason] = self._drops.get(reason, 0) + 1
            if reason in _QUIET:
                return None
            remedy = REMEDIES.get(reason, "see the text")
            self._last_error = f"{reason}: {what} ({remedy})"
            now_s = self._now_s()
            if now_s - self._said_at_s.get(reason, -math.inf) < LOG_PERIOD_S:
                return None
            self._said_at_s[reason] = now_s
            return f"cloud dropped, {self._last_error}; {self._drops[reason]} so far"

    def silence_s(self) -> float:
        """Seconds since the last cloud, or since the start."""
        with self._lock:
            return self._now_s() - self._last_received_s

    def snapshot(self) -> Snapshot:
        """All counts at this moment."""
        with self._lock:
            return Snapshot(
                received=self._received,
                processed=self._processed,
                drops=dict(self._drops),
                processing_ms=self._processing_ms,
                latency_ms=self._latency_ms,
                num_detections=self._num_detections,
                frame_id=self._frame_id,
                last_error=self._last_error,
            )


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
    status.last_error = str(snapshot.last_error)
    return status


def advice_on_silence(
    topic: str, silence_s: float, publishers: Sequence[str], cloud_topics: Sequence[str]
) -> str:
    """Why no cloud may be coming and what to do.

    `publishers` are the nodes that publish on the topic, `cloud_topics` all topics that carry
    clouds.
    """
    start = f"no cloud on {topic} for {silence_s:.0f} s"
    if publishers:
        return (
            f"{start}, although somebody publishes there: {', '.join(publishers)}. "
            "A large best-effort cloud is lost in Fast DDS's shared memory: start the publisher "
            "with config/fastdds_large_data.xml (see the file), or make both sides reliable with "
            "input.reliability:=reliable"
        )
    others = [name for name in cloud_topics if name != topic]
    known = f"clouds are published on {', '.join(others)}" if others else "no topic has clouds yet"
    return (
        f"{start}: nobody publishes there, {known}; start the sensor, or remap ~/input/points "
        "(launch argument points:=TOPIC)"
    )
