"""What workers do in the tests of workers; imports little, as each process imports it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def work(
    message: Mapping[str, Any], progress: Callable[[int], object] | None = None
) -> dict[str, Any]:
    """Answer, after what the message asks for."""
    mark = Path(message["mark"])
    if message["ends"] == "never":
        mark.write_text(str(os.getpid()))
    if progress is not None:
        progress(3)
    if message["ends"] == "always" or (message["ends"] == "once" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if message["ends"] == "never":
        time.sleep(600)
    if message["ends"] == "when":
        mark.touch()
        while not Path(message["go"]).exists():
            time.sleep(0.05)
    return {"num_frames": 3, "process": os.getpid()}
