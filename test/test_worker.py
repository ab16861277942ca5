"""The newest-item-only worker: nothing lost without a reason, nothing queued, nothing fatal."""

from __future__ import annotations

import threading

import pytest

from sr3d_ros.errors import STOPPED, SUPERSEDED, TOO_OLD
from sr3d_ros.node.worker import Worker

PATIENCE_S = 30.0


class Recorder:
    """Handles items as slowly as the test wants and remembers what became of each."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.failed: list[tuple[int, str]] = []
        self.started = threading.Semaphore(0)
        self.may_finish = threading.Semaphore(0)
        self.done = threading.Semaphore(0)

    def handle(self, item: int) -> None:
        self.started.release()
        assert self.may_finish.acquire(timeout=PATIENCE_S)
        if item < 0:
            raise ValueError(f"item {item}")
        self.handled.append(item)
        self.done.release()

    def drop(self, item: int, reason: str) -> None:
        self.dropped.append((item, reason))
        if reason == TOO_OLD:
            self.done.release()

    def fail(self, item: int, error: Exception) -> None:
        self.failed.append((item, str(error)))
        self.done.release()

    def wait(self, event: threading.Semaphore) -> None:
        assert event.acquire(timeout=PATIENCE_S)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def worker_of(recorder: Recorder, max_age_s: float = 0.0) -> Worker[int]:
    return Worker(recorder.handle, recorder.drop, recorder.fail, age_s=float, max_age_s=max_age_s)


def test_an_item_is_handled(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release()
    worker.offer(1)
    recorder.wait(recorder.done)
    assert worker.close()
    assert (recorder.handled, recorder.dropped, recorder.failed) == ([1], [], [])


def test_while_one_item_is_worked_on_only_the_newest_waits(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    worker.offer(1)
    recorder.wait(recorder.started)
    for item in (2, 3, 4):
        worker.offer(item)
    recorder.may_finish.release(2)
    recorder.wait(recorder.done)
    recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.handled == [1, 4]
    assert recorder.dropped == [(2, SUPERSEDED), (3, SUPERSEDED)]


def test_offering_never_waits_for_the_item_in_hand(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    worker.offer(1)
    recorder.wait(recorder.started)
    worker.offer(2)  # would hang here if it waited: item 1 may not finish yet
    assert recorder.handled == []
    recorder.may_finish.release(2)
    assert worker.close(PATIENCE_S)


def test_an_error_is_reported_and_the_next_item_is_handled(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release(2)
    worker.offer(-1)
    recorder.wait(recorder.done)
    worker.offer(2)
    recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.failed == [(-1, "item -1")]
    assert recorder.handled == [2]


def test_items_over_the_age_limit_are_dropped(recorder: Recorder) -> None:
    worker = worker_of(recorder, max_age_s=5.0)
    recorder.may_finish.release(2)
    for age in (6, 5):
        worker.offer(age)
        recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.dropped == [(6, TOO_OLD)]
    assert recorder.handled == [5]


def test_without_an_age_limit_nothing_is_too_old(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release()
    worker.offer(10**9)
    recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.handled == [10**9]


def test_closing_an_idle_worker_ends_its_thread(recorder: Recorder) -> None:
    assert worker_of(recorder).close(PATIENCE_S)


def test_closing_does_not_wait_for_ever_for_a_stuck_item(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    worker.offer(1)
    recorder.wait(recorder.started)
    assert not worker.close(timeout_s=0.01)
    recorder.may_finish.release()
    recorder.wait(recorder.done)


def test_closing_drops_the_item_that_waits(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    worker.offer(1)
    recorder.wait(recorder.started)
    worker.offer(2)
    recorder.may_finish.release()
    assert worker.close(PATIENCE_S)
    assert recorder.handled == [1]
    assert recorder.dropped == [(2, STOPPED)]


def test_clearing_leaves_the_item_in_hand_and_the_worker_at_work(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release(2)
    worker.clear()
    for item in (1, 2):
        worker.offer(item)
        recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.handled == [1, 2]
    assert recorder.dropped == []


def test_the_age_limit_can_change_while_the_worker_runs(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release()
    worker.max_age_s = 5.0
    worker.offer(6)
    recorder.wait(recorder.done)
    assert worker.close()
    assert recorder.dropped == [(6, TOO_OLD)]


def test_every_offered_item_has_exactly_one_fate(recorder: Recorder) -> None:
    worker = worker_of(recorder)
    recorder.may_finish.release(1000)
    for item in range(1, 1001):
        worker.offer(item)
    while 1000 not in recorder.handled:
        recorder.wait(recorder.done)
    assert worker.close()
    fates = sorted(recorder.handled + [item for item, _ in recorder.dropped])
    assert fates == list(range(1, 1001))
