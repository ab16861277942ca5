"""What all transform code shares: the error, the names of frames, the stamps."""

from __future__ import annotations

from typing import Any

from sr3d_ros.errors import MessageError


def frame_name(frame_id: str) -> str:
    """A frame id without the leading slashes of ROS 1."""
    return str(frame_id).lstrip("/")


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a `builtin_interfaces/Time`."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header; raises `MessageError`."""
    try:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if not -(2**63) <= stamp_ns < 2**63:
            raise OverflowError("it is beyond 64 bits")
        return stamp_ns
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise MessageError(
            "header", f"a {type(message).__name__} without a usable header.stamp ({error})"
        ) from error


def frame_of(message: Any) -> str:
    """Frame of a message, without leading slashes; raises `MessageError`."""
    frame_id = getattr(getattr(message, "header", None), "frame_id", None)
    if not isinstance(frame_id, str):
        raise MessageError("header", f"a {type(message).__name__} without header.frame_id")
    return frame_name(frame_id)
