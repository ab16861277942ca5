"""How tests look into messages: a field's numbers, all plain values, what arrives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

STAMP_NS = 1_700_000_300_123_456_789


def xyz(point: Any) -> list[float]:
    """The numbers of a Point or a Vector3."""
    return [point.x, point.y, point.z]


def xyzw(quaternion: Any) -> list[float]:
    """The numbers of a Quaternion."""
    return [*xyz(quaternion), quaternion.w]


def plain_values(message: Any) -> Iterator[Any]:
    """All numbers and texts of a message and of those in it, one by one."""
    if hasattr(message, "get_fields_and_field_types"):
        for name in message.get_fields_and_field_types():
            yield from plain_values(getattr(message, name))
    elif isinstance(message, np.ndarray):  # an array of basic values is safe as a whole
        yield from message.tolist()
    elif isinstance(message, Sequence) and not isinstance(message, (str, bytes)):
        for entry in message:
            yield from plain_values(entry)
    else:
        yield message


def over_the_wire(message: Any) -> Any:
    """What a subscriber gets."""
    return deserialize_message(serialize_message(message), type(message))
