"""Handing jobs to workers, and doing again what a lost worker had."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sr3d_ros.bag.many.job import Answer

TIMES_AGAIN = 2
"""How often a job is done again whose worker was lost; it may be the job that kills them."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker ended without an answer."""

    how: str  # such as "its process was ended by SIGKILL"


class Workers(AbstractContextManager[object], Protocol):
    """Who does jobs; used in a `with` statement, which stops at its end what is under way."""

    @property
    def num(self) -> int:
        """How many jobs may be under way."""

    @property
    def num_clouds(self) -> int:
        """How many clouds are done in the jobs that are under way, as far as is known."""

    def start(self, number: int, message: Mapping[str, Any]) -> None:
        """Begin the job of that number, which is told as plain JSON values."""

    def wait(self) -> Sequence[tuple[int, Answer | Lost]]:
        """The jobs that ended, by number; waits a while for one, and may come back with none."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job came to an end, or its worker did."""

    number: int
    attempt: int  # from 1
    answer: Answer | Lost
    is_final: bool  # else it is done again


def run_all(
    num_jobs: int, message: Callable[[int, int], Mapping[str, Any]], workers: Workers
) -> Iterator[Ended | None]:
    """Do jobs 0 .. `num_jobs` - 1, each until it is answered or was lost too often.

    `message` says what to tell about a job in which attempt. In between comes None, so that
    somebody can say how far the workers are.
    """
    waiting = deque((number, 1) for number in range(num_jobs))
    under_way: dict[int, int] = {}  # attempts by number
    while waiting or under_way:
        while waiting and len(under_way) < workers.num:
            number, attempt = waiting.popleft()
            under_way[number] = attempt
            workers.start(number, message(number, attempt))
        for number, answer in workers.wait():
            attempt = under_way.pop(number)
            is_final = not isinstance(answer, Lost) or attempt > TIMES_AGAIN
            if not is_final:
                waiting.appendleft((number, attempt + 1))
            yield Ended(number, attempt, answer, is_final)
        yield None
