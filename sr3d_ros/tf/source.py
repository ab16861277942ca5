"""Where frames are: 4x4 transforms between named frames at a stamp.

`TransformSource` is what the pipeline sees: tf2 in a running node (`node/transforms.py`), our own
buffer (`tf/buffer.py`) where a recording is replayed without ROS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix

GRAVITY_FRAMES = ("base_footprint", "base_link", "odom", "map")
"""Frames that are z up on every robot that follows REP-105, nearest to the robot first."""


class TransformSource(Protocol):
    """Answers where one frame is in another."""

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = latest; raises `TransformError`."""


def first_gravity_frame(
    source: TransformSource,
    cloud_frame: str,
    stamp_ns: int,
    candidates: Sequence[str] = GRAVITY_FRAMES,
) -> str:
    """The first candidate in which the cloud's frame is known at the stamp.

    Raises `TransformError`, one that may still come where there is one.
    """
    require_named(cloud_frame)
    failures: list[TransformError] = []
    for candidate in candidates:
        failure = _failure(source, candidate, cloud_frame, stamp_ns)
        if failure is None:
            return candidate
        failures.append(failure)
    late = next((error for error in failures if error.may_still_come), None)
    if late is not None:
        raise late
    raise TransformError(
        "no_transform",
        f"no transform from '{frame_name(cloud_frame)}' to a gravity-aligned frame: tried "
        f"{', '.join(candidates)}; publish one of them on /tf or /tf_static, set the detection "
        "frame to a z-up frame of this robot, or to 'none' if the cloud itself is z up",
    )


def require_named(*frames: str) -> None:
    """Raise `TransformError` for a frame without a name: no transform that is published helps."""
    if not all(map(frame_name, frames)):
        raise TransformError("header", "header.frame_id is empty, so nobody knows where it is")


def _failure(
    source: TransformSource, target_frame: str, source_frame: str, stamp_ns: int
) -> TransformError | None:
    """Why a lookup fails, or None."""
    try:
        source.lookup(target_frame, source_frame, stamp_ns)
    except TransformError as error:
        return error
    return None


_POLL_S = 0.005


class PatientTransforms:
    """A `TransformSource` that asks another one until it answers or the frame's time is up.

    Used by one thread, apart from `give_up`. Only what may still come is waited for: a frame
    that nobody has published yet would hold up every cloud.
    """

    def __init__(
        self,
        source: TransformSource,
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._sleep = sleep
        self._deadline_s = now_s()

    def start_frame(self) -> None:
        """The next lookups belong to a new frame, which may wait the full time."""
        self._deadline_s = self._now_s() + self._timeout_s

    def give_up(self) -> None:
        """The frame in hand need not wait any more; safe in any thread."""
        self._deadline_s = self._now_s()

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp; raises the `TransformError` that remains."""
        while True:
            try:
                return self._source.lookup(target_frame, source_frame, stamp_ns)
            except TransformError as error:
                if not error.may_still_come or self._now_s() >= self._deadline_s:
                    raise
            self._sleep(_POLL_S)
