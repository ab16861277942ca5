"""Where frames are on a running robot: tf2, asked as a `TransformSource`."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
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

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix, matrix_of

_REASONS = (
    (ExtrapolationException, "extrapolation"),
    (ConnectivityException, "disconnected"),
    (InvalidArgumentException, "bad_transform"),
    (TransformException, "no_transform"),  # all others, above all LookupException
)


class Tf2Source:
    """Listens to /tf and /tf_static while its node is spun; answers at once, from any thread.

    Where the node's time is set back (a simulation or a recording starts again), moving frames
    are forgotten: a tf2 buffer of its own does not notice the clock of the node.
    """

    def __init__(self, node: Node) -> None:
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
        )
        self._jump = node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = latest; raises `TransformError`."""
        target, source = frame_name(target_frame), frame_name(source_frame)
        if target == source:
            return np.eye(4)
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except TransformException as error:
            reason = next(slug for kind, slug in _REASONS if isinstance(error, kind))
            raise TransformError(
                reason, f"no '{target}' from '{source}' at {stamp_ns / 1e9:.3f} s: {error}"
            ) from error
        moved, turned = found.transform.translation, found.transform.rotation
        return matrix_of((moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w))

    def _on_jump(self, _: Any) -> None:
        self._buffer.clear()
