"""Starts Python commands in no time: forks of a process that has imported what takes seconds.

Importing torch takes a node longer than all that most tests do with it. `WarmServer` is one
process that has done it, for all workers of a run; a `WarmStarter` asks it. For every command it
forks twice: a keeper that waits for the end and reports it, and below it the command, which is as
a fresh interpreter would be but for what is imported already. It runs as `__main__` and ends as
every interpreter ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

MODULES = (
    "sr3d_core.detector",
    "sr3d_core.sparse.backends.numba_cpu.engine",
    "sr3d_ros.pipeline",
    "sr3d_ros.tracking.tracker",
)
"""What is imported before a command is known. Not rclpy: LTTng starts threads with it, and when a
fork without these threads ends, LTTng crashes."""
LARGEST_REQUEST = 1 << 17  # bytes; mostly the environment


class WarmServer:
    """The process that forks; it ends when it is closed, or with the one that made it."""

    def __init__(self, address: Path, environment: Mapping[str, str]) -> None:
        its_life, self._life = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(str(address))
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-u", __file__, str(listening.fileno())],
                stdin=its_life,
                env={**environment},
                pass_fds=[listening.fileno()],
            )
        os.close(its_life)

    def close(self) -> None:
        """Start no more; what was started goes on."""
        os.close(self._life)
        self._process.wait()


class WarmStarter:
    """Asks the server at an address, which may still be importing."""

    def __init__(self, address: str) -> None:
        self._requests = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.connect(address)

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path
    ) -> WarmProcess:
        """Run what `python COMMAND...` would run."""
        output, output_end = os.pipe()
        report, report_end = os.pipe()
        request = json.dumps([list(command), dict(environment), str(cwd)]).encode()
        socket.send_fds(self._requests, [request], [output_end, report_end])
        os.close(output_end)
        os.close(report_end)
        return WarmProcess(output, report)


class WarmProcess:
    """What the tests need of `subprocess.Popen`."""

    def __init__(self, output: int, report: int) -> None:
        self.stdout = os.fdopen(output)
        self._report = os.fdopen(report)
        self._status: int | None = None
        self._pid = int(self._report.readline())

    def wait(self, timeout_s: float) -> int:
        """The exit status, as Popen has it; raises `subprocess.TimeoutExpired`."""
        if self._status is None:
            if not select.select([self._report], [], [], timeout_s)[0]:
                raise subprocess.TimeoutExpired("a warm process", timeout_s)
            with self._report:
                self._status = os.waitstatus_to_exitcode(int(self._report.readline()))
        return self._status

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)


def _serve(listening: socket.socket) -> list[str]:
    """Fork for each request; comes back in the forked processes with the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the keepers
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    life = sys.stdin.fileno()  # ends with the process that made this one
    askers: list[socket.socket] = []
    while True:
        ready = select.select([life, listening, *askers], [], [])[0]
        if life in ready:
            os._exit(0)
        if listening in ready:
            askers.append(listening.accept()[0])
        for asker in [each for each in askers if each in ready]:
            request, ends, _, _ = socket.recv_fds(asker, LARGEST_REQUEST, 2)
            if not request:
                askers.remove(asker)
                asker.close()
            elif os.fork():
                for end in ends:
                    os.close(end)
            else:
                for kept in (listening, *askers):
                    kept.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _start(json.loads(request), ends, interrupt)


def _start(request: list[Any], ends: Sequence[int], interrupt: Any) -> list[str]:
    """In the keeper: fork once more and keep; in the forked process: the command."""
    output, report = ends
    pid = os.fork()
    if pid:
        os.close(output)
        _keep(pid, report)
    signal.signal(signal.SIGINT, interrupt)
    os.close(report)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    command, environment, cwd = request
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    return list(command)


def _keep(pid: int, report: int) -> NoReturn:
    os.write(report, f"{pid}\n".encode())
    os.write(report, f"{os.waitpid(pid, 0)[1]}\n".encode())
    os._exit(0)


def _become(command: list[str]) -> None:
    """Run a command in this process: `-m MODULE ARGUMENTS...` or `SCRIPT ARGUMENTS...`."""
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # a fork that looks for garbage among it would copy every page of it
    _become(_serve(socket.socket(fileno=int(sys.argv[1]))))
