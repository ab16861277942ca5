"""Where frames are: 4x4 transforms between named frames at a stamp.

`TransformSource` is what the rest of the node sees: tf2 where it imports (every ROS installation),
else the own buffer over /tf and /tf_static; a replayed bag fills the own buffer without ROS.
Nothing of ROS is imported before `transform_source(node)` or `Tf2Source(node)` is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix, matrix_of

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

    Raises `TransformError`, with reason `extrapolation` where waiting may help.
    """
    failures: list[TransformError] = []
    for candidate in candidates:
        failure = _failure(source, candidate, cloud_frame, stamp_ns)
        if failure is None:
            return candidate
        failures.append(failure)
    late = next((error for error in failures if error.reason == "extrapolation"), None)
    if late is not None:
        raise late
    raise TransformError(
        "no_transform",
        f"no transform from '{frame_name(cloud_frame)}' to a gravity-aligned frame: tried "
        f"{', '.join(candidates)}; publish one of them on /tf or /tf_static, set the detection "
        "frame to a z-up frame of this robot, or to 'none' if the cloud itself is z up",
    )


def _failure(
    source: TransformSource, target_frame: str, source_frame: str, stamp_ns: int
) -> TransformError | None:
    """Why a lookup fails, or None."""
    try:
        source.lookup(target_frame, source_frame, stamp_ns)
    except TransformError as error:
        return error
    return None


def transform_source(node: Any) -> TransformSource:
    """tf2 for a running node where it is installed, the own buffer otherwise."""
    try:
        import_module("tf2_ros")
    except ImportError:
        return TopicSource(node)
    return Tf2Source(node)


class Tf2Source:
    """Asks tf2; answers at once, waiting is the caller's business."""

    _REASONS = (  # tf2's exceptions, the most special first
        ("ExtrapolationException", "extrapolation"),
        ("ConnectivityException", "disconnected"),
        ("LookupException", "no_transform"),
        ("InvalidArgumentException", "bad_transform"),
        ("TransformException", "no_transform"),
    )

    def __init__(self, node: Any) -> None:
        self._tf2 = import_module("tf2_ros")
        self._time = import_module("rclpy.time").Time
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, node)
        self._errors = tuple(
            (getattr(self._tf2, name), reason)
            for name, reason in self._REASONS
            if hasattr(self._tf2, name)
        )

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = latest; raises `TransformError`."""
        target, source = frame_name(target_frame), frame_name(source_frame)
        if target == source:
            return np.eye(4)
        try:
            stamped = self._buffer.lookup_transform(
                target, source, self._time(nanoseconds=stamp_ns)
            )
        except tuple(kind for kind, _ in self._errors) as error:
            reason = next(slug for kind, slug in self._errors if isinstance(error, kind))
            raise TransformError(
                reason, f"no '{target}' from '{source}' at {stamp_ns / 1e9:.3f} s: {error}"
            ) from error
        moved, turned = stamped.transform.translation, stamped.transform.rotation
        return matrix_of((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w))


class TopicSource:
    """The own buffer, filled from /tf and /tf_static by subscriptions of a node."""

    def __init__(self, node: Any) -> None:
        self.buffer = TransformBuffer()
        self._log = node.get_logger()
        qos = import_module("rclpy.qos")
        message_type = import_module("tf2_msgs.msg").TFMessage
        latched = qos.QoSProfile(depth=100, durability=qos.DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = (
            node.create_subscription(message_type, "/tf", self._on_tf, qos.QoSProfile(depth=100)),
            node.create_subscription(message_type, "/tf_static", self._on_static, latched),
        )
        self._jump_handle = self._forget_on_clock_reset(node.get_clock())

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = latest; raises `TransformError`."""
        return self.buffer.lookup(target_frame, source_frame, stamp_ns)

    def _forget_on_clock_reset(self, clock: Any) -> Any:
        """Simulated time that is set back makes moving frames worthless."""
        backward = import_module("rclpy.duration").Duration(nanoseconds=-1)
        threshold = import_module("rclpy.clock").JumpThreshold(
            min_forward=None, min_backward=backward, on_clock_change=True
        )
        return clock.create_jump_callback(threshold, post_callback=self._on_clock_jump)

    def _on_clock_jump(self, jump: Any) -> None:
        self.buffer.clear()

    def _on_tf(self, message: Any) -> None:
        self._add(message, static=False)

    def _on_static(self, message: Any) -> None:
        self._add(message, static=True)

    def _add(self, message: Any, static: bool) -> None:
        try:
            self.buffer.add_tf_message(message, static)
        except TransformError as error:
            self._log.warning(str(error), throttle_duration_sec=5.0)


_POLL_S = 0.005


class PatientTransforms:
    """A `TransformSource` that asks another one until it answers or the frame's time is up.

    Used by one thread, apart from `give_up`. Only `extrapolation` is waited for: a frame that
    nobody has published yet would hold up every cloud.
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
                if error.reason != "extrapolation" or self._now_s() >= self._deadline_s:
                    raise
            self._sleep(_POLL_S)
