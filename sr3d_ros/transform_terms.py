"""What all transform code shares: the error, the names of frames, the stamps."""

from __future__ import annotations

from typing import Any


class TransformError(ValueError):
    """A transform that is not known; `reason` is a short stable slug to count it under.

    Reasons: `no_transform` (a frame nobody publishes), `disconnected`, `extrapolation` (waiting
    may help), `cycle`, `bad_transform` (what was published cannot be used).
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def frame_name(frame_id: str) -> str:
    """A frame id without the leading slashes of ROS 1."""
    return str(frame_id).lstrip("/")


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a `builtin_interfaces/Time`."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
