"""The folder that results of many recordings go to: a JSON for each, and what became of all.

A result has its name once it is whole; what an earlier run left under that name is removed before
the work begins, so that none stands beside an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.many.job import Answer
from sr3d_ros.bag.many.schedule import Ended, Lost

SUMMARY = "summary.json"


class ResultFolder:
    """Where results go; raises `ReplayError` for a recording that is named twice."""

    def __init__(self, path: Path, bags: Sequence[Path]) -> None:
        self.path = path
        self.bags = [bag.absolute() for bag in bags]
        for bag in self.bags:
            if self.bags.count(bag) > 1:
                raise ReplayError(f"{bag}: named twice, expected each recording once")
        self.names = _names(self.bags)
        path.mkdir(parents=True, exist_ok=True)

    def remove_old(self) -> None:
        """Remove what an earlier run left under the names of the results."""
        for name in (*self.names, SUMMARY):
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def marker(self) -> Iterator[Path]:
        """Within, a file by which others know that they see this very folder."""
        with NamedTemporaryFile(dir=self.path, prefix="seen_from_all_nodes.") as file:
            yield Path(file.name).absolute()

    def part(self, number: int, attempt: int) -> Path:
        """Where a worker writes; each attempt elsewhere, as a lost worker may still be at it."""
        return (self.path / f"{self.names[number]}.{attempt}.part").absolute()

    def take(self, ended: Ended) -> None:
        """Give a result its name, or remove what a worker left of it."""
        part = self.part(ended.number, ended.attempt)
        if isinstance(ended.answer, Lost) or "error" in ended.answer:
            part.unlink(missing_ok=True)
        else:
            part.replace(self.path / self.names[ended.number])

    def remove_parts(self) -> None:
        """Remove what was begun and will not be ended."""
        for name in self.names:
            for part in self.path.glob(f"{escape(name)}.*.part"):
                part.unlink(missing_ok=True)

    def entry(self, ended: Ended) -> dict[str, Any]:
        """What the summary says of a recording."""
        answer = _answer_of(ended.answer)
        name = None if "error" in answer else self.names[ended.number]
        bag = str(self.bags[ended.number])
        return {"bag": bag, "result": name, "attempts": ended.attempt, **answer}


def _answer_of(answer: Answer | Lost) -> Answer:
    """An answer; where the worker was lost that is the error."""
    if not isinstance(answer, Lost):
        return answer
    return {"error": f"{answer.how}, each time; was memory short? Then with fewer at once"}


def _names(bags: Sequence[Path]) -> list[str]:
    """A file for each recording, named after it; a number tells those of one name apart."""
    names = list[str]()
    for bag in bags:
        stem = bag.stem if bag.is_file() else bag.name
        name, number = f"{stem}.json", 1
        while name in (*names, SUMMARY):
            number += 1
            name = f"{stem}-{number}.json"
        names.append(name)
    return names
