"""Workers that are processes of this machine: each does one recording after another.

They are spawned, so they share nothing with this one, and are told and answer JSON through a pipe.
One that ends without an answer is replaced. They end with this process: their next message finds
nobody.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sr3d_ros.bag.many.job import Answer
from sr3d_ros.bag.many.schedule import Lost

Work = Callable[[Mapping[str, Any], Callable[[int], object]], Answer]
"""Does the job of a message and says how many clouds are done; a function of a module."""

_PATIENCE_S = 5.0


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, and what it is doing."""

    process: BaseProcess
    pipe: Connection
    number: int | None = None  # of its job; None = none
    num_clouds: int = 0


class Processes:
    """At most `num` processes that do jobs; they are started when they are needed."""

    def __init__(self, work: Work, num: int) -> None:
        self._work, self._num = work, num
        self._workers: list[_Worker] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them, whatever they do."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    @property
    def num(self) -> int:
        """How many jobs may be under way."""
        return self._num

    @property
    def num_clouds(self) -> int:
        """How many clouds are done in the jobs that are under way."""
        return sum(worker.num_clouds for worker in self._workers)

    def start(self, number: int, message: Mapping[str, Any]) -> None:
        """Give a job to a worker that has none."""
        worker = next((each for each in self._workers if each.number is None), None)
        if worker is None:
            worker = self._spawned()
            self._workers.append(worker)
        worker.number, worker.num_clouds = number, 0
        with suppress(OSError):  # it is gone already: `wait` sees that
            worker.pipe.send_bytes(json.dumps(message).encode())

    def wait(self) -> Sequence[tuple[int, Answer | Lost]]:
        """The jobs that ended; none where somebody only said how far it is."""
        busy = {worker.pipe: worker for worker in self._workers if worker.number is not None}
        ended = list[tuple[int, Answer | Lost]]()
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]  # wait gives back what it was given
            number = worker.number
            answer = self._heard(worker)
            if answer is not None and number is not None:
                worker.number, worker.num_clouds = None, 0
                ended.append((number, answer))
        return ended

    def _heard(self, worker: _Worker) -> Answer | Lost | None:
        """The answer of a worker, None where it is not done."""
        try:
            heard = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            self._workers.remove(worker)
            worker.pipe.close()
            worker.process.join()
            return Lost(f"its process {_end_of(worker.process.exitcode)}")
        if "answer" in heard:
            answer: Answer = heard["answer"]
            return answer
        worker.num_clouds = heard["clouds"]
        return None

    def _spawned(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        # Ctrl-C in a terminal is for all of its processes; these are stopped by this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process, ours)


def _serve(pipe: Connection, work: Work) -> None:
    """Do jobs until nobody asks any more."""

    def tell(what: str, value: object) -> None:
        try:
            pipe.send_bytes(json.dumps({what: value}).encode())
        except OSError:  # nobody is there
            os._exit(1)

    with suppress(EOFError, OSError):
        while True:
            message = json.loads(pipe.recv_bytes())
            tell("answer", work(message, lambda done: tell("clouds", done)))


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
