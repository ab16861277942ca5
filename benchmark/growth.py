"""Whether a process grows: memory, open files and threads, sampled and summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

MEASURES = ("rss_mb", "own_mb", "files", "threads")
"""Resident memory, of it what is not shared or mapped from files, open files, threads."""
MINUTE_S = 60.0


def read_process(pid: int) -> tuple[float, ...]:
    """`MEASURES` of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    memory_mb = (round(int(fields[name][0]) / 1024, 2) for name in ("VmRSS", "RssAnon"))
    num_files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return (*memory_mb, num_files, int(fields["Threads"][0]))


def growth(samples: list[list[float]], warm_up_s: float) -> dict[str, Any]:
    """For each measure its first and last value after the warm-up, extremes, slope and course.

    A sample is the seconds since the start and `MEASURES`. There is no slope of less than half a
    minute. A slope over minutes says little where memory goes up and down; the course shows which
    it is.
    """
    rows = np.array([row for row in samples if row[0] >= warm_up_s])
    if len(rows) == 0:
        return {"seconds": 0.0, "why_empty": f"no sample after the warm-up of {warm_up_s:g} s"}
    times_s = rows[:, 0] - rows[0, 0]
    told: dict[str, Any] = {"seconds": round(float(times_s[-1]), 1)}
    for name, values in zip(MEASURES, rows[:, 1:].T, strict=True):
        told[name] = {
            "first": float(values[0]),
            "last": float(values[-1]),
            "min": float(values.min()),
            "max": float(values.max()),
            "slope_per_hour": _slope_per_hour(times_s, values),
            "median_of_each_minute": _medians(times_s, values),
        }
    return told


def _slope_per_hour(times_s: Any, values: Any) -> float | None:
    """Least squares."""
    if times_s[-1] < 0.5 * MINUTE_S:
        return None
    return round(3600.0 * float(np.polyfit(times_s, values, 1)[0]), 2)


def _medians(times_s: Any, values: Any) -> list[float]:
    """Of every minute that was begun."""
    minutes = (times_s // MINUTE_S).astype(int)
    return [float(np.median(values[minutes == minute])) for minute in np.unique(minutes)]
