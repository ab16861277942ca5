"""Processes of the tests: started, listened to, ended."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from warm import WarmProcess, WarmServer, WarmStarter

ROOT = Path(__file__).parent.parent.parent
OURS = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",  # an aborted process prints the stack of every thread
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    ),
}
"""Added to the environment: the modules of the checkout first, those of this folder too."""
PATIENCE_S = 120.0
"""A loaded machine imports torch in half a minute; nothing waits so long when all is well."""
GRACE_S = 30.0
"""How long a process may take to end after an interrupt before it is killed."""


WARM = "SR3D_WARM_SERVER"
"""Where the server of this run listens; see `serve_warm_processes`."""


def serve_warm_processes() -> None:
    """Serve this process and those that it starts, until it ends; call it once in a run."""
    folder = tempfile.TemporaryDirectory()
    address = Path(folder.name) / "warm"
    server = WarmServer(address, {**os.environ, **OURS})
    atexit.register(folder.cleanup)
    atexit.register(server.close)
    os.environ[WARM] = str(address)


@cache
def _starter() -> WarmStarter:
    return WarmStarter(os.environ[WARM])


_SWALLOWED = re.compile(
    r"Exception ignored in: <function RcutilsLogger\.__del__.*?\n\s*KeyboardInterrupt: ?",
    re.DOTALL,
)
"""Where Ctrl-C meets the end of one of rclpy's loggers, Python prints this and goes on."""


class NodeProcess:
    """A node in a process of its own; its log is kept line by line and shown when a wait fails.

    The first word of `command` is this interpreter. Unless the process `is_fresh`, it has already
    imported what every node imports: see warm.py.
    """

    COMMAND: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "sr3d_ros.node")

    def __init__(
        self,
        log: Path,
        arguments: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
        environment: dict[str, str] | None = None,
        is_fresh: bool = False,
    ) -> None:
        self._log = log
        self._lines: list[str] = []
        self._new_line = threading.Condition()
        self._is_over = False
        whole = {**os.environ, **OURS, **(environment or {})}
        self._process: subprocess.Popen[str] | WarmProcess
        if is_fresh:
            self._process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env=whole,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        else:
            self._process = _starter().start([*command[1:], *arguments], whole, ROOT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything it has printed so far."""
        with self._new_line:
            return "\n".join(self._lines)

    @property
    def has_ended(self) -> bool:
        """Whether it is over and all that it printed was read."""
        with self._new_line:
            return self._is_over

    def wait_for_line(self, pattern: str, timeout_s: float = PATIENCE_S) -> str:
        """The first line, printed already or to come, in which the pattern is found."""

        def found() -> str | None:
            return next((line for line in self._lines if re.search(pattern, line)), None)

        with self._new_line:
            self._new_line.wait_for(lambda: found() or self._is_over, timeout_s)
            line = found()
            printed = "\n".join(self._lines)
        assert line is not None, f"no line with {pattern!r} in:\n{printed}"
        return line

    def wait_for_end(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status; a process that does not end in time shows where it hangs."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.aborted()}") from None
        self._reader.join(timeout_s)
        return status

    def aborted(self) -> str:
        """Abort it; everything it has printed, last the stack of every thread."""
        self._process.send_signal(signal.SIGABRT)
        self._reader.join(GRACE_S)
        return self.output

    def require_end(self, status: int = 0) -> None:
        """It ends by itself with this exit status and without a traceback; else shows its log."""
        found = self.wait_for_end()
        assert found == status, f"exit status {found}, expected {status}, of:\n{self.output}"
        assert "Traceback" not in _SWALLOWED.sub("", self.output), self.output

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """End it, politely first: a killed process leaves its shared memory behind."""
        if self._process.poll() is None:
            self.interrupt()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.wait_for_end()
        self._log.write_text(self.output)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._new_line:
                    self._lines.append(line.rstrip("\n"))
                    self._new_line.notify_all()
        with self._new_line:
            self._is_over = True
            self._new_line.notify_all()
