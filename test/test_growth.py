"""Does a process grow: slopes against another implementation, readings against a known process."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from statistics import linear_regression

import numpy as np
import pytest
from growth import MEASURES, growth, read_process


def samples(own_mb: list[float]) -> list[list[float]]:
    """One a second; everything but `own_mb` stands still."""
    return [[float(second), 300.0, value, 20.0, 15.0] for second, value in enumerate(own_mb)]


def test_ten_kilobytes_a_second_are_36_megabytes_an_hour() -> None:
    told = growth(samples([100.0 + 0.01 * second for second in range(600)]), warm_up_s=0.0)
    assert told["own_mb"]["slope_per_hour"] == 36.0
    assert told["seconds"] == 599.0
    for name in set(MEASURES) - {"own_mb"}:
        assert told[name]["slope_per_hour"] == 0.0
        assert told[name]["first"] == told[name]["last"] == told[name]["max"]


def test_the_slope_of_noise_is_that_of_the_standard_library() -> None:
    values = np.random.default_rng(0).normal(100.0, 5.0, 300).tolist()
    told = growth(samples(values), warm_up_s=60.0)
    expected = 3600.0 * linear_regression(range(60, 300), values[60:]).slope
    assert told["own_mb"]["slope_per_hour"] == pytest.approx(expected, abs=0.01)


def test_what_happens_while_warming_up_does_not_count() -> None:
    told = growth(samples([50.0] * 30 + [90.0] * 90), warm_up_s=30.0)
    course = told["own_mb"]
    assert (course["first"], course["min"], course["slope_per_hour"]) == (90.0, 90.0, 0.0)


def test_the_course_shows_a_sawtooth_minute_by_minute() -> None:
    told = growth(samples([100.0] * 60 + [160.0] * 60 + [100.0] * 60), warm_up_s=0.0)
    assert told["own_mb"]["median_of_each_minute"] == [100.0, 160.0, 100.0]
    assert (told["own_mb"]["first"], told["own_mb"]["max"]) == (100.0, 160.0)


def test_a_few_seconds_have_no_slope() -> None:
    told = growth(samples([100.0, 101.0, 102.0]), warm_up_s=0.0)
    assert told["own_mb"]["slope_per_hour"] is None
    assert told["own_mb"]["last"] == 102.0


def test_a_run_shorter_than_its_warm_up_says_so() -> None:
    assert "warm-up of 180 s" in growth(samples([1.0] * 20), warm_up_s=180.0)["why_empty"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this machine")
def test_memory_files_and_threads_of_a_process_are_read() -> None:
    """64 MB are written to, a file is opened, a thread started."""
    before = dict(zip(MEASURES, read_process(os.getpid()), strict=True))
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    # Not from malloc, which may give what was freed before.
    block = mmap.mmap(-1, 64 * 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    np.frombuffer(block, np.uint8)[:] = 1
    with Path(os.devnull).open():
        after = dict(zip(MEASURES, read_process(os.getpid()), strict=True))
    is_over.set()
    thread.join()
    assert block[-1] == 1
    assert 60.0 < after["own_mb"] - before["own_mb"] < 80.0
    assert 60.0 < after["rss_mb"] - before["rss_mb"] < 80.0
    assert after["files"] - before["files"] == 1
    assert after["threads"] - before["threads"] == 1
