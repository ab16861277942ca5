"""What the node uses of tf2_ros, for environments of pip wheels: there is no wheel of tf2.

Where ROS is installed the real package is imported, and this file is not on the path. Lookups are
those of our own buffer, which was compared with tf2: see test_buffer.py.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.headers import stamp_to_ns
from sr3d_ros.tf.rigid import quaternion_of


class TransformException(Exception):
    """Any failure of a lookup."""


class LookupException(TransformException):
    """A frame that nobody published."""


class ConnectivityException(TransformException):
    """Frames of two trees."""


class ExtrapolationException(TransformException):
    """A time outside of what is known."""


class InvalidArgumentException(TransformException):
    """Something that is no transform."""


_EXCEPTIONS = {
    "extrapolation": ExtrapolationException,
    "two_parents": ExtrapolationException,  # tf2 does not know why
    "disconnected": ConnectivityException,
}
_LOOP = "The tf tree is invalid because it contains a loop."


class Buffer:
    """The transforms of the last ten seconds.

    As the real one without a node, it follows no clock of a node: it ignores what is older than
    its ten seconds, and is never cleared unless it is told to.
    """

    def __init__(self) -> None:
        self._known = TransformBuffer()

    def clear(self) -> None:
        """Forget moving frames."""
        self._known.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Remember where a moving frame is."""
        self._insert(transform, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Remember where a frame is that does not move."""
        self._insert(transform, is_static=True)

    def _insert(self, entry: TransformStamped, is_static: bool) -> None:
        moved, turned = entry.transform.translation, entry.transform.rotation
        try:
            self._known.insert(
                entry.header.frame_id,
                entry.child_frame_id,
                stamp_to_ns(entry.header.stamp),
                (moved.x, moved.y, moved.z),
                (turned.x, turned.y, turned.z, turned.w),
                is_static,
            )
        except TransformError as error:
            print(f"transform ignored: {error}")  # tf2 does the same

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Any = None
    ) -> TransformStamped:
        """Where the source frame is in the target frame; time 0 = the latest."""
        try:
            matrix = self._known.lookup(target_frame, source_frame, time.nanoseconds)
        except TransformError as error:
            text = _LOOP if error.reason == "cycle" else str(error)
            raise _EXCEPTIONS.get(error.reason, LookupException)(text) from error
        found = TransformStamped()
        moved, turned = found.transform.translation, found.transform.rotation
        moved.x, moved.y, moved.z = matrix[:3, 3].tolist()
        turned.x, turned.y, turned.z, turned.w = map(float, quaternion_of(matrix))
        return found


class TransformListener:
    """Fills a buffer while the node is spun."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self._buffer = buffer
        group = ReentrantCallbackGroup()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, callback, qos in (
            ("/tf", self._on_tf, QoSProfile(depth=100)),
            ("/tf_static", self._on_static, latched),
        ):
            node.create_subscription(TFMessage, topic, callback, qos, callback_group=group)

    def _on_tf(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform(transform, "")

    def _on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, "")
