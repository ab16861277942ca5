"""What Ctrl-C does to a process with a node."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """Ctrl-C from now on: a KeyboardInterrupt, and after `leave_to_rclpy` nothing of ours.

    rclpy ends every spinning by itself then, from a thread of its own. A KeyboardInterrupt beside
    it could break one of rclpy's calls, which comes out as another error while all seems well.
    Make one before `rclpy.init`, which calls the handler that it finds.
    """

    def __init__(self) -> None:
        self._are_left = self._are_held = self._has_come = False
        signal.signal(signal.SIGINT, self._on_signal)

    def leave_to_rclpy(self) -> None:
        """From now on the node spins, or ends."""
        self._are_left = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, a KeyboardInterrupt waits for the end: for one call of rclpy that is short."""
        self._are_held = True
        try:
            yield
        finally:
            self._are_held = False
        if self._has_come:
            raise KeyboardInterrupt

    def _on_signal(self, *_: Any) -> None:
        self._has_come = True
        if not (self._are_left or self._are_held):
            raise KeyboardInterrupt
