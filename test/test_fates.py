"""What the benchmarks of the node say about frames, against numbers worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fates import PARTS, account, ages_ms, drops_of, parts_of, shares, spread, timeliness

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000  # as large as real stamps are


def at(milliseconds: float) -> int:
    return START_NS + round(milliseconds * MS)


def status(received: int, processed: int, **drops: int) -> Any:
    return SimpleNamespace(
        received=received,
        processed=processed,
        drop_reasons=list(drops),
        drop_counts=list(drops.values()),
    )


def frame(stamp_ms: float = 0.0) -> dict[str, float]:
    """A line of timed_node.py: 2 ms on the wire, 5 waiting, 40 in the node's worker."""
    return {
        "stamp_ns": at(stamp_ms),
        "arrived_ns": at(stamp_ms + 2),
        "started_ns": at(stamp_ms + 7),
        "parse": 3.0,
        "transform": 1.5,
        "detector": 30.0,
        "network": 26.0,
        "postprocess": 3.0,
        "processed_ns": at(stamp_ms + 42),
        "handed_ns": at(stamp_ms + 44),
        "published_ns": at(stamp_ms + 45),
        "finished_ns": at(stamp_ms + 47),
    }


def test_spread_of_the_numbers_from_1_to_101() -> None:
    assert spread(range(1, 102)) == {
        "mean": 51.0,
        "p50": 51.0,
        "p90": 91.0,
        "p99": 100.0,
        "max": 101.0,
    }


def test_spread_of_one_number_is_that_number() -> None:
    assert set(spread([7.25]).values()) == {7.25}


def test_ages_are_exact_although_stamps_are_large() -> None:
    assert ages_ms({at(0): at(12.5), at(33): at(34)}) == pytest.approx([12.5, 1.0], abs=1e-9)


def test_timeliness_of_five_frames_of_which_one_is_lost() -> None:
    """Arrivals at 50, 150, 370 and 450 ms: intervals of 100, 220 and 80."""
    sent = [at(ms) for ms in (0, 100, 200, 300, 400)]
    arrivals = {sent[0]: at(50), sent[1]: at(150), sent[3]: at(370), sent[4]: at(450)}
    told = timeliness(sent, arrivals)
    counts = ("NUM_FRAMES_SENT", "NUM_MISSED_FRAMES", "DROP_RATE_PERCENT", "MEAN_FRAME_RATE")
    assert [told[name] for name in counts] == [5, 1, 20.0, 7.5]
    assert [told[f"{kind}_LATENCY"] for kind in ("MEAN", "P50", "MAX")] == [55.0, 50.0, 70.0]
    assert [told[f"{kind}_JITTER"] for kind in ("MEAN", "MAX")] == [130.0, 140.0]


def test_a_steady_delay_has_no_jitter() -> None:
    sent = [at(33 * number) for number in range(30)]
    told = timeliness(sent, {stamp: stamp + 250 * MS for stamp in sent})
    assert told["MAX_JITTER"] == 0.0
    assert told["P99_LATENCY"] == 250.0


def test_arrivals_of_frames_that_are_not_asked_about_do_not_count() -> None:
    told = timeliness([at(0)], {at(0): at(10), at(-100): at(900)})
    assert told["MAX_LATENCY"] == 10.0
    assert "MEAN_FRAME_RATE" not in told


def test_nothing_that_arrives_has_no_latency() -> None:
    assert timeliness([at(0), at(100)], {}) == {
        "NUM_FRAMES_SENT": 2,
        "NUM_MISSED_FRAMES": 2,
        "DROP_RATE_PERCENT": 100.0,
    }


def test_drops_are_told_where_there_are_any() -> None:
    assert drops_of(status(9, 4, superseded=3, too_old=0, units=2)) == {
        "superseded": 3,
        "units": 2,
    }


def test_every_frame_has_a_fate() -> None:
    told = account(12, status(10, 4, superseded=5, units=1), 4)
    assert told["adds_up"]
    assert told["not_received"] == 2


@pytest.mark.parametrize(
    ("sent", "said", "published"),
    [
        (10, status(10, 4, superseded=5), 4),  # one vanished inside of the node
        (10, status(10, 4, superseded=7), 4),  # one was counted twice
        (10, status(10, 4, superseded=6), 3),  # boxes were counted but never came
        (10, status(10, 4, superseded=6), 5),  # boxes came that were not counted
        (9, status(10, 4, superseded=6), 4),  # more came in than was sent
        (10, None, 0),  # the node never said anything
    ],
)
def test_a_frame_too_many_or_too_few_is_seen(sent: int, said: Any, published: int) -> None:
    assert not account(sent, said, published)["adds_up"]


def test_the_parts_of_a_frame_follow_each_other_without_a_gap() -> None:
    parts = parts_of(frame(), arrival_ns=at(50))
    assert tuple(parts) == PARTS
    by_hand = [2, 5, 3, 1.5, 1, 26, 3, 0.5, 2, 6]
    assert list(parts.values()) == pytest.approx(by_hand, abs=1e-6)
    assert sum(parts.values()) == pytest.approx(50.0, abs=1e-6)


def test_a_frame_without_points_has_no_detector() -> None:
    empty = {key: frame()[key] for key in frame() if key not in ("network", "postprocess")}
    empty["detector"] = 0.0
    parts = parts_of(empty, arrival_ns=at(50))
    assert parts["network"] == parts["postprocess"] == parts["prepare"] == 0.0
    assert sum(parts.values()) == pytest.approx(50.0, abs=1e-6)


def test_shares_are_those_of_frames_that_arrived() -> None:
    """The worker's 40 ms less the detector's 30; 50 ms of latency less the network's 26."""
    told = shares([frame(0.0), frame(100.0)], {at(0): at(50)})
    assert told["node_adds_ms"]["max"] == told["node_adds_ms"]["p50"] == 10.0
    assert told["not_network_ms"]["p50"] == 24.0
    assert told["detector_ms"]["p50"] == 30.0
    assert (told["publish_ms"]["max"], told["markers_ms"]["max"]) == (1.0, 2.0)
    assert told["parts_ms"]["transport_out"]["max"] == 6.0


def test_where_nothing_arrived_there_are_no_shares() -> None:
    assert set(shares([frame()], {}).values()) == {None}
