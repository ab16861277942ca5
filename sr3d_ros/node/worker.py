"""One thread that always works on the newest item.

A detector may be slower than the sensor: `newest.py` says which items wait. Nothing disappears
silently: every item is handled, or dropped under a reason, or fails with an error.
Plain threading, no ROS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sr3d_ros.errors import STOPPED, SUPERSEDED
from sr3d_ros.newest import NewestOnly, drop_reason_at

Item = TypeVar("Item")


def _no_age(item: object) -> float:
    """Items have no age unless a worker is told how to read it."""
    return 0.0


class Worker(Generic[Item]):
    """Runs `handle` on the newest item, one at a time, in a thread of its own.

    `handle` may raise: `on_failure` gets the item and the exception, and the next item is
    taken. `on_drop` gets an item that is never handled and the reason. `age_s` says how old an
    item is in seconds, compared with `max_age_s` when the item is taken; 0 means no limit, and
    the limit may be changed at any time.
    `on_drop` runs in the thread that offers or in the worker's, `on_failure` in the worker's.
    """

    def __init__(
        self,
        handle: Callable[[Item], None],
        on_drop: Callable[[Item, str], None],
        on_failure: Callable[[Item, Exception], None],
        age_s: Callable[[Item], float] = _no_age,
        max_age_s: float = 0.0,
    ) -> None:
        self.max_age_s = max_age_s
        self._handle = handle
        self._on_drop = on_drop
        self._on_failure = on_failure
        self._age_s = age_s
        self._newest: NewestOnly[Item] = NewestOnly()
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sr3d_worker", daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Hand over an item; returns at once. An item that still waits is dropped."""
        with self._changed:
            replaced = self._newest.offer(item)
            self._changed.notify()
        for old in replaced:
            self._on_drop(old, SUPERSEDED)

    def clear(self) -> None:
        """Drop an item that still waits; the one in hand is finished."""
        with self._changed:
            waiting = self._newest.clear()
        for old in waiting:
            self._on_drop(old, STOPPED)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Finish the item in hand, drop the one that waits, and end the thread.

        False if the thread is still busy after `timeout_s`; it cannot hold up the process.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self.clear()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._newest.has_item)
                if self._is_closed:
                    return
                item = self._newest.take()
            self._work_on(item)

    def _work_on(self, item: Item) -> None:
        try:
            reason = drop_reason_at(self._age_s(item), self.max_age_s)
            if reason:
                self._on_drop(item, reason)
            else:
                self._handle(item)
        except Exception as error:  # the next item may be a good one
            self._on_failure(item, error)
