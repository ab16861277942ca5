"""Ctrl-C and SIGTERM: the first one asks a training to stop, and it saves before it does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt(is_launched: bool) -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM only ask to stop; a second one stops at once.

    Not so under a launcher (`is_launched`): it passes on the Ctrl-C that the terminal has sent
    already, and ends by itself what does not stop.
    """
    is_asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        if is_asked and not is_launched:
            raise KeyboardInterrupt
        is_asked = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody sends it signals
        yield lambda: False
        return
    try:
        yield lambda: is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
