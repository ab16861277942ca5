"""Where frames are on a running robot: tf2, asked as a `TransformSource`."""

from __future__ import annotations

import time

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import (
    Buffer,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    TransformException,
    TransformListener,
)

from sr3d_ros.diagnostics.advice import advice_on_time_set_back
from sr3d_ros.errors import TransformError
from sr3d_ros.tf.headers import frame_name, stamp_to_ns
from sr3d_ros.tf.parents import ParentWatch
from sr3d_ros.tf.rigid import Matrix, matrix_of

_REASONS = (
    (ExtrapolationException, "extrapolation"),
    (ConnectivityException, "disconnected"),
    (InvalidArgumentException, "bad_transform"),
    (TransformException, "no_transform"),  # all others, above all LookupException
)
_LOOP = "contains a loop"  # tf2 has no exception of its own for it
_TOLD_FOR_S = 10.0


class _NodeBuffer(Buffer):
    """tf2's buffer under the clock of a node, which watches what comes in.

    It is made without the node: tf2_ros of Humble does not look at the node's clock, that of
    Jazzy before 0.36.5 raises an error when time is set back, later ones clear from a second on.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.parents = ParentWatch()
        self.set_back = ""
        """How time was set back last, in words; "" = never."""
        self.set_back_at_s = 0.0  # steady time
        self._node = node
        self._of_old_time_ns: float = float("inf")
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jump = node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Remember where a moving frame is, unless that was sent before time was set back."""
        stamp_ns = stamp_to_ns(transform.header.stamp)
        if stamp_ns > self._of_old_time_ns:
            if self._now_ns() <= self._of_old_time_ns:
                return
            self._of_old_time_ns = float("inf")
        self._watch(transform, stamp_ns, static=False)
        super().set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Remember where a frame is that does not move."""
        self._watch(transform, stamp_to_ns(transform.header.stamp), static=True)
        super().set_transform_static(transform, authority)

    def _watch(self, transform: TransformStamped, stamp_ns: int, static: bool) -> None:
        parent, child = transform.header.frame_id, transform.child_frame_id
        self.parents.add(frame_name(parent), frame_name(child), stamp_ns, static)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_jump(self, jump: TimeJump) -> None:
        """Forget moving frames; what still comes of the old time would hold up all of the new.

        Messages of /tf and /clock overtake each other. One that is nearer to the old time than to
        the new one is of the old time, until the new time gets there.
        """
        self.clear()
        self._of_old_time_ns = float("inf")
        back_ns = -int(jump.delta.nanoseconds)
        if jump.clock_change != ClockChange.ROS_TIME_NO_CHANGE or back_ns <= 0:
            return
        now_ns = self._now_ns()
        self._of_old_time_ns = now_ns + back_ns // 2
        self.set_back = advice_on_time_set_back((now_ns + back_ns) / 1e9, now_ns / 1e9)
        self.set_back_at_s = time.monotonic()
        self._node.get_logger().warning(self.set_back)


class Tf2Source:
    """Listens to /tf and /tf_static while its node is spun; answers at once, from any thread.

    Where the node's time is set back (a simulation or a recording starts again), moving frames
    are forgotten.
    """

    def __init__(self, node: Node) -> None:
        self._buffer = _NodeBuffer(node)
        self._listener = TransformListener(self._buffer, node)
        self._asked: frozenset[str] = frozenset()

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = latest; raises `TransformError`."""
        target, source = frame_name(target_frame), frame_name(source_frame)
        if target == source:
            return np.eye(4)
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except TransformException as error:
            raise self._explained(error, target, source, stamp_ns) from error
        self._asked |= {target, source}
        moved, turned = found.transform.translation, found.transform.rotation
        return matrix_of((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w))

    @property
    def trouble(self) -> str:
        """What makes places wrong or unknown although frames are published; "" = nothing."""
        if self._buffer.set_back and time.monotonic() < self._buffer.set_back_at_s + _TOLD_FOR_S:
            return self._buffer.set_back
        return self._buffer.parents.disagreement(*sorted(self._asked))

    def _explained(
        self, error: TransformException, target: str, source: str, stamp_ns: int
    ) -> TransformError:
        reason = next(slug for kind, slug in _REASONS if isinstance(error, kind))
        what: object = error
        if _LOOP in str(error):
            reason = "cycle"
        elif reason in ("extrapolation", "disconnected"):
            disagreement = self._buffer.parents.disagreement(target, source)
            if disagreement:
                reason, what = "two_parents", disagreement
        return TransformError(
            reason, f"no '{target}' from '{source}' at {stamp_ns / 1e9:.3f} s: {what}"
        )
