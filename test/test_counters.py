"""Counts of frames, what is said about drops, rates, times and lateness; the status message."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sr3d_ros.diagnostics.counters import CloudCounters, fill_status
from sr3d_ros.errors import DETECTOR_FAILED, DROP_REASONS


class Clock:
    """Time that passes only when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock) -> CloudCounters:
    return CloudCounters(now_s=clock)


def processed(counters: CloudCounters, **changes: Any) -> bool:
    values = {"processing_ms": 20.0, "latency_ms": 30.0, "num_detections": 2, "frame_id": "base"}
    return counters.count_processed(**{**values, **changes})


def status_of(counters: CloudCounters) -> Any:
    blank = SimpleNamespace(header=SimpleNamespace(stamp=None, frame_id=""))
    return fill_status(blank, counters.snapshot(), "default", ("chair", "bed"), stamp="now")


def test_everything_is_zero_at_the_start(counters: CloudCounters) -> None:
    snapshot = counters.snapshot()
    assert (snapshot.received, snapshot.processed, sum(snapshot.drops.values())) == (0, 0, 0)
    assert math.isnan(snapshot.latency_ms)
    assert snapshot.last_error == ""


def test_the_first_processed_cloud_is_told_apart(counters: CloudCounters) -> None:
    assert processed(counters)
    assert not processed(counters)


def test_a_drop_is_counted_and_explained_with_its_remedy(counters: CloudCounters) -> None:
    text = counters.count_dropped("no_transform", "frame 'lamp' is not known")
    assert text is not None
    assert text.startswith("frame dropped, no_transform: frame 'lamp' is not known")
    assert DROP_REASONS["no_transform"].remedy in text
    assert text.endswith("; 1 so far")
    assert counters.snapshot().drops["no_transform"] == 1


def test_one_reason_is_logged_once_a_second(counters: CloudCounters, clock: Clock) -> None:
    said = []
    for now_s in (100.0, 100.5, 100.9, 101.0, 101.5):
        clock.now_s = now_s
        said.append(counters.count_dropped("truncated", "short") is not None)
    assert said == [True, False, False, True, False]
    assert counters.snapshot().drops["truncated"] == 5


def test_another_reason_is_logged_at_once(counters: CloudCounters) -> None:
    assert counters.count_dropped("truncated", "short") is not None
    assert counters.count_dropped("no_xyz", "no x") is not None


def test_a_superseded_cloud_is_normal_and_not_logged(counters: CloudCounters) -> None:
    assert counters.count_dropped("superseded", "newer came") is None
    assert counters.snapshot().drops["superseded"] == 1
    assert counters.snapshot().last_error == ""


def test_a_reason_that_nobody_foresaw_is_counted_too(counters: CloudCounters) -> None:
    assert counters.count_dropped("meteorite", "hit") is not None
    assert counters.snapshot().drops["meteorite"] == 1


def test_silence_is_measured_from_the_last_cloud(counters: CloudCounters, clock: Clock) -> None:
    clock.now_s = 107.0
    assert counters.silence_s() == 7.0
    counters.count_received()
    clock.now_s = 108.5
    assert counters.silence_s() == 1.5


def test_threads_do_not_lose_counts(counters: CloudCounters) -> None:
    def work() -> None:
        for _ in range(1000):
            counters.count_received()
            counters.count_dropped(DETECTOR_FAILED, "x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot().received == 4000
    assert counters.snapshot().drops[DETECTOR_FAILED] == 4000


def test_the_status_lists_every_reason_in_a_fixed_order(counters: CloudCounters) -> None:
    counters.count_dropped("no_xyz", "no x")
    status = status_of(counters)
    assert status.drop_reasons == list(DROP_REASONS)
    assert status.drop_counts[status.drop_reasons.index("no_xyz")] == 1
    assert sum(status.drop_counts) == 1


def test_the_status_tells_model_classes_and_figures(counters: CloudCounters) -> None:
    counters.count_received()
    processed(counters)
    status = status_of(counters)
    assert (status.model, status.class_names) == ("default", ["chair", "bed"])
    assert (status.received, status.processed, status.detections) == (1, 1, 2)
    assert (status.processing_ms, status.latency_ms) == (20.0, 30.0)
    assert (status.header.stamp, status.header.frame_id) == ("now", "base")


def test_numbers_of_the_status_are_pythons_own(counters: CloudCounters) -> None:
    numpy = pytest.importorskip("numpy")
    processed(
        counters,
        processing_ms=numpy.float32(1.5),
        latency_ms=numpy.float32(2.5),
        num_detections=numpy.int64(3),
    )
    status = status_of(counters)
    assert type(status.processing_ms) is float
    assert type(status.latency_ms) is float
    assert type(status.detections) is int


def test_the_rate_is_that_of_the_last_arrivals(counters: CloudCounters, clock: Clock) -> None:
    assert counters.snapshot().rate_hz == 0.0
    for _ in range(11):
        clock.now_s += 0.1
        counters.count_received()
    assert counters.snapshot().rate_hz == pytest.approx(10.0)


def test_the_rate_falls_while_nothing_comes(counters: CloudCounters, clock: Clock) -> None:
    for _ in range(11):
        clock.now_s += 0.1
        counters.count_received()
    clock.now_s += 9.0
    assert counters.snapshot().rate_hz == pytest.approx(1.1)


def test_percentiles_are_those_of_the_nearest_rank(counters: CloudCounters) -> None:
    for number in range(1, 101):
        processed(counters, processing_ms=float(number), latency_ms=2.0 * number)
    assert counters.snapshot().processing_p50_p99_ms == (50.0, 99.0)
    assert counters.snapshot().latency_p50_p99_ms == (100.0, 198.0)


def test_only_the_last_500_frames_count_for_percentiles(counters: CloudCounters) -> None:
    for _ in range(100):
        processed(counters, processing_ms=1000.0)
    for _ in range(500):
        processed(counters, processing_ms=1.0)
    assert counters.snapshot().processing_p50_p99_ms == (1.0, 1.0)


def test_lateness_is_measured_from_the_first_late_frame(clock: Clock) -> None:
    counters = CloudCounters(now_s=clock, late_ms=100.0)
    for latency_ms in (50.0, 101.0, 150.0):
        clock.now_s += 2.0
        processed(counters, latency_ms=latency_ms)
    assert counters.snapshot().late_s == 2.0
    clock.now_s += 60.0
    assert counters.snapshot().late_s == 2.0  # nothing came since, in time or late


def test_boxes_long_before_their_stamp_are_untimely_too(clock: Clock) -> None:
    counters = CloudCounters(now_s=clock, late_ms=100.0)
    for _ in range(2):
        clock.now_s += 2.0
        processed(counters, latency_ms=-4883.0)
    assert counters.snapshot().late_s == 2.0


def test_a_frame_is_in_hand_until_it_is_done(counters: CloudCounters, clock: Clock) -> None:
    def fail() -> None:
        with counters.at_work():
            clock.now_s += 3.0
            assert counters.snapshot().busy_s == 3.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    clock.now_s += 3.0
    assert counters.snapshot().busy_s == 0.0


def test_a_frame_in_time_ends_lateness(clock: Clock) -> None:
    counters = CloudCounters(now_s=clock, late_ms=100.0)
    processed(counters, latency_ms=500.0)
    processed(counters, latency_ms=100.0)
    assert counters.snapshot().late_s == 0.0


def test_silence_begins_anew_when_listening_does(counters: CloudCounters, clock: Clock) -> None:
    counters.count_received()
    clock.now_s += 60.0
    counters.start_listening()
    assert counters.silence_s() == 0.0


def test_the_status_says_which_input_and_how_often_the_camera_stepped_in(
    counters: CloudCounters,
) -> None:
    status = status_of(counters)
    assert (status.input, status.fallback_count) == ("", 0)
    processed(counters, input="depth")
    counters.count_fallback()
    processed(counters, input="rgb")
    status = status_of(counters)
    assert (status.input, status.fallback_count) == ("rgb", 1)
