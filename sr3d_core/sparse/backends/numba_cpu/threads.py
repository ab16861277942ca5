"""Several threads on one compiled function, which runs without Python's lock.

The threads sleep between calls, may be used by several callers at once, and are made anew in a
forked process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _workers(process: int, num_workers: int) -> ThreadPoolExecutor:
    """Threads besides the calling one; `process` is the process they live in."""
    return ThreadPoolExecutor(num_workers, thread_name_prefix=f"sr3d-{process}")


def run(function: Callable[[int, int], None], num_tasks: int) -> None:
    """Call `function(thread, num_threads)` in the threads torch may use, at most one per task.

    Returns when all have returned; an exception of any of them is raised.
    """
    num_threads = max(1, min(torch.get_num_threads(), num_tasks))
    others: list[Future[None]] = []
    if num_threads > 1:
        workers = _workers(os.getpid(), torch.get_num_threads() - 1)
        others = [workers.submit(function, t, num_threads) for t in range(1, num_threads)]
    function(0, num_threads)
    for other in others:
        other.result()
