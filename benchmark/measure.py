"""What all benchmarks share: the machine, its speed, summaries, runs in a process of their own.

Torch is imported only where it is used, so that a start can be timed.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any


def machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on, how fast it multiplies, and how busy it was."""
    import torch

    torch.set_num_threads(threads)
    return {
        "cpu": _cpu_name(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_of_last_minute": round(os.getloadavg()[0], 1),
        "sgemm_gflops": round(statistics.median(sgemm_gflops(2048) for _ in range(5))),
    }


def sgemm_gflops(size: int = 1024) -> float:
    """The rate of a dense matrix product, just now."""
    import torch

    matrix = torch.ones(size, size)
    start = time.perf_counter()
    matrix @ matrix
    return 2 * size**3 / (time.perf_counter() - start) / 1e9


def summary(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median and spread."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of quotients of what was measured in turns: holds on a busy machine."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


def aim(text: str, measured: float | None, limit: str, bound: float) -> dict[str, Any]:
    """A figure beside what it should be; `limit` is "at least" or "at most"."""
    holds = None
    if measured is not None:
        holds = measured >= bound if limit == "at least" else measured <= bound
    return {"aim": f"{text} {limit} {bound:g}", "measured": measured, "holds": holds}


def peak_rss_mb() -> int:
    """The most memory that this process has held so far."""
    try:  # what getrusage says begins with the parent's memory
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_own_process(script: str, *arguments: Any, threads: int | None = None) -> Any:
    """What `script` prints as JSON when it is run with these arguments.

    `threads` is what OpenMP may use, which some libraries read only when they are loaded.
    """
    command = [sys.executable, script, *map(str, arguments)]
    print(" ".join(command[2:]), "...", file=sys.stderr, flush=True)
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
