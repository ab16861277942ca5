"""The one kind of error that means: this frame cannot be used, the next one may."""

from __future__ import annotations


class Refused(ValueError):
    """Input that cannot be used; `reason` is a short stable slug to count it under.

    The text says where, what was found, what was expected and what to do.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class MessageError(Refused):
    """A message that cannot be read."""


class UpError(Refused):
    """Which way is up is not known.

    Reasons: `no_floor`, `no_imu` (none came), `stale_imu`, `bad_imu` (what came cannot be used).
    """
