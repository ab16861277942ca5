"""Detecting in many recordings: workers, folder and summary put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from sr3d_core.console import write_json
from sr3d_ros.bag.many.folder import SUMMARY, ResultFolder
from sr3d_ros.bag.many.job import Job
from sr3d_ros.bag.many.schedule import Ended, Workers, run_all

Summary = dict[str, Any]
"""`recordings` (in the order they were named: `bag`, `result`, `attempts` and the answer of the
worker), `num_recordings`, `num_failed`, `time_s`."""


class Told(Protocol):
    """Is told how it goes."""

    def __call__(self, num_done: int, num_clouds: int, ended: Ended | None) -> None:
        """So many recordings are done, so many clouds, and what has just come to an end."""


def detect_many(folder: ResultFolder, like: Job, workers: Workers, told: Told) -> Summary:
    """Detect in the recordings of a folder of results, each as `like` but for its paths.

    The summary is written too, also where something ends this before all are done.
    """
    began_s = time.monotonic()
    entries: dict[int, dict[str, Any]] = {}

    def message(number: int, attempt: int) -> Mapping[str, Any]:
        bag, part = str(folder.bags[number]), str(folder.part(number, attempt))
        return replace(like, bag=bag, part=part).to_dict()

    with ExitStack() as stack:
        stack.callback(folder.remove_parts)  # once nobody writes them any more
        stack.enter_context(workers)
        folder.remove_old()
        try:
            for ended in run_all(len(folder.bags), message, workers):
                if ended is not None:
                    folder.take(ended)
                    if ended.is_final:
                        entries[ended.number] = folder.entry(ended)
                done = sum(entry.get("num_frames", 0) for entry in entries.values())
                told(len(entries), done + workers.num_clouds, ended)
        finally:
            summary = _summary(folder, entries, time.monotonic() - began_s)
            write_json(folder.path / SUMMARY, summary)
    return summary


def _summary(
    folder: ResultFolder, entries: Mapping[int, Mapping[str, Any]], time_s: float
) -> Summary:
    return {
        "recordings": [entries[number] for number in sorted(entries)],
        "num_recordings": len(folder.bags),
        "num_failed": sum("error" in entry for entry in entries.values()),
        "time_s": round(time_s, 3),
    }
