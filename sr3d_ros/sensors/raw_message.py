"""Numbers and bytes of a message that may be anything: what clouds and images read alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError


def number_of(record: Any, name: str) -> int:
    """An unsigned integer of a message; raises `MessageError`."""
    value = getattr(record, name, None)
    try:
        number = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number < 1 << 32:  # messages hold 32 bits
        raise MessageError(
            "size",
            f"{name} is {str(value)[:40]}, expected a number of 0 or more; is it another message?",
        )
    return number


def bytes_of(message: Any) -> NDArray[np.uint8]:
    """The data of a message as bytes, without a copy where the buffer allows it."""
    data = getattr(message, "data", None)
    try:
        if isinstance(data, (list, tuple)):
            return np.frombuffer(bytes(data), np.uint8)
        raw = memoryview(data)  # type: ignore[arg-type]
        if raw.nbytes == 0:  # an empty buffer cannot be cast
            return np.zeros(0, np.uint8)
        return np.frombuffer(raw.cast("B"), np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise MessageError(
            "data", f"data is a {type(data).__name__}, expected bytes ({error})"
        ) from error
