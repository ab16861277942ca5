"""Several threads on one compiled function, which runs without Python's lock.

The threads sleep between calls, may be used by several callers at once, and are made anew in a
forked process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch


@lru_cache(maxsize=1)
def _workers(process: int, num_workers: int) -> ThreadPoolExecutor:
    """Threads besides the calling one; `process` is the process they live in."""
    return ThreadPoolExecutor(num_workers, thread_name_prefix=f"sr3d-{process}")


def share(function: Callable[..., None], num_tasks: int, *args: Any) -> None:
    """Call `function(counter, *args)` in the threads torch may use, at most one per task.

    It takes its tasks' numbers from the counter, an int64 that is 0 at first, until there is none
    left. So a thread that has not woken up when the calling one is done need not do so any more.
    An exception in any of them is raised.
    """
    counter = np.zeros(1, np.int64)
    num_others = min(torch.get_num_threads(), num_tasks) - 1
    others: list[Future[None]] = []
    if num_others > 0:
        workers = _workers(os.getpid(), torch.get_num_threads() - 1)
        others = [workers.submit(function, counter, *args) for _ in range(num_others)]
    function(counter, *args)
    for other in others:
        if not other.cancel():
            other.result()
