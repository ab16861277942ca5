"""Processes of a study: each command runs apart, writes a log, and stops as the study does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_STOPPED_BY_USER = 130
Start = Callable[..., "subprocess.Popen[bytes]"]
"""Starts a process, with the arguments of `subprocess.Popen`."""


class StudyError(ValueError):
    """A study that cannot be read or done; the text names the file or the training."""


def run_apart(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    num_processes: int = 1,
    environment: Mapping[str, str] | None = None,
    start: Start = subprocess.Popen,
) -> None:
    """Run `sr3d` with these arguments in a process of its own, or in several of one group.

    What it prints is added to `log`. Raises StudyError that says `name` where it fails or is
    stopped; `environment` is for what is not set already, `start` starts the process.
    """
    launch = ["-m", "torch.distributed.run", f"--nproc_per_node={num_processes}"]
    with log.open("ab") as file:
        process = start(
            [
                *(sys.executable, *(launch if num_processes > 1 else [])),
                *("-m", "sr3d_core.cli.main", *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**(environment or {}), **os.environ},
        )
        code = process.wait()
    if code == _STOPPED_BY_USER:
        raise StudyError(f"{name}: stopped and saved; the same command goes on")
    if code != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
        raise StudyError(
            f"{name}: sr3d {command[0]} ended with {code}: {lines[-1]} (all it printed is in "
            f"{log})"
        )


@contextmanager
def children() -> Iterator[Start]:
    """What starts processes; within, SIGTERM is passed on to them and then ends this one.

    Ctrl-C reaches them by itself, and both make a training save and stop.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(*arguments, **options)
        processes.append(process)
        return process

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.terminate()  # nothing to one that has ended
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, pass_on)
    except ValueError:  # not the main thread: nobody sends it signals
        yield start
        return
    try:
        yield start
    finally:
        signal.signal(signal.SIGTERM, before)
