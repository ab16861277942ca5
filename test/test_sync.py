"""Messages that belong together, told by their stamps alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d_ros.errors import MessageError, Refused
from sr3d_ros.sensors.sync import FuseWindow, StampMatcher


def at(milliseconds: float) -> Any:
    """A message with a stamp."""
    nanoseconds = round(milliseconds * 1e6)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id="camera"))


def time_of(message: Any) -> float:
    return (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec) / 1e6


def unmatched(matcher: StampMatcher) -> dict[str, list[float]]:
    """What left without a set, as times."""
    return {name: [time_of(m) for m in left] for name, left in matcher.take_unmatched().items()}


def times(found: dict[str, Any] | None) -> dict[str, float] | None:
    return None if found is None else {name: time_of(m) for name, m in found.items()}


def test_two_messages_of_one_stamp_match_in_either_order() -> None:
    for first, second in (("depth", "color"), ("color", "depth")):
        matcher = StampMatcher(("depth", "color"))
        assert matcher.add(first, at(5)) is None
        assert times(matcher.add(second, at(5))) == {"depth": 5, "color": 5}


def test_stamps_within_the_tolerance_match_and_beyond_it_do_not() -> None:
    matcher = StampMatcher(("depth", "color"), tolerance_s=0.02)
    matcher.add("depth", at(100))
    assert matcher.add("color", at(121)) is None
    assert times(matcher.add("color", at(120))) == {"depth": 100, "color": 120}


def test_the_nearest_of_several_is_taken() -> None:
    matcher = StampMatcher(("depth", "color"), tolerance_s=0.05)
    for moment in (10, 40, 70):
        matcher.add("color", at(moment))
    assert times(matcher.add("depth", at(45))) == {"depth": 45, "color": 40}


def test_a_message_is_used_once() -> None:
    matcher = StampMatcher(("depth", "color"), tolerance_s=0.05)
    matcher.add("color", at(0))
    assert matcher.add("depth", at(0)) is not None
    assert matcher.add("depth", at(30)) is None


def test_a_steady_message_serves_every_set_whatever_its_stamp() -> None:
    matcher = StampMatcher(("depth", "info"), steady=("info",))
    assert matcher.add("depth", at(9000)) is None
    assert times(matcher.add("info", at(0))) == {"depth": 9000, "info": 0}
    assert times(matcher.add("depth", at(9033))) == {"depth": 9033, "info": 0}


def test_what_waits_too_long_is_counted_as_unmatched() -> None:
    matcher = StampMatcher(("depth", "color"), queue=3)
    for tick in range(5):
        matcher.add("depth", at(33 * tick))
    assert unmatched(matcher) == {"depth": [0, 33], "color": []}
    assert unmatched(matcher) == {"depth": [], "color": []}


def test_what_came_before_a_set_is_counted_as_unmatched() -> None:
    matcher = StampMatcher(("depth", "color"))
    matcher.add("depth", at(0))
    matcher.add("depth", at(33))
    assert matcher.add("color", at(33)) is not None
    assert unmatched(matcher) == {"depth": [0], "color": []}


def test_a_name_that_is_expected_later_keeps_what_waits_and_what_is_steady() -> None:
    matcher = StampMatcher(("depth", "info"), steady=("info",))
    matcher.add("info", at(0))
    matcher.expect("color")
    assert matcher.add("depth", at(5)) is None
    assert times(matcher.add("color", at(5))) == {"depth": 5, "info": 0, "color": 5}


def test_what_waits_in_the_end_is_unmatched() -> None:
    matcher = StampMatcher(("depth", "color"))
    matcher.add("depth", at(7))
    matcher.give_up()
    assert unmatched(matcher) == {"depth": [7], "color": []}


def test_a_missing_topic_is_named() -> None:
    matcher = StampMatcher(("depth", "color", "info"), steady=("info",))
    assert matcher.advice() == ""
    matcher.add("depth", at(0))
    assert matcher.advice().startswith("no info and no color message matches")


def test_stamps_that_never_meet_are_explained() -> None:
    matcher = StampMatcher(("depth", "color"), tolerance_s=0.02)
    matcher.add("depth", at(0))
    matcher.add("color", at(500))
    assert "differ by at least 0.5 s, expected at most 0.02 s" in matcher.advice()


def test_time_that_is_set_back_matches_again() -> None:
    matcher = StampMatcher(("depth", "color"))
    matcher.add("depth", at(90_000))
    matcher.add("color", at(1))
    assert times(matcher.add("depth", at(1))) == {"depth": 1, "color": 1}
    matcher.add("depth", at(34))
    assert times(matcher.add("color", at(34))) == {"depth": 34, "color": 34}


@pytest.mark.parametrize("message", [None, SimpleNamespace(header=None), at(0).header])
def test_a_message_without_a_stamp_is_refused(message: Any) -> None:
    with pytest.raises(MessageError, match="without a usable header") as caught:
        StampMatcher(("depth",)).add("depth", message)
    assert caught.value.reason == "header"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), max_size=60))
def test_every_message_is_matched_unmatched_or_waiting(arrivals: list[tuple[str, int]]) -> None:
    matcher = StampMatcher("abc", tolerance_s=0.02, queue=4)
    num_sets = 0
    for name, moment in arrivals:
        found = times(matcher.add(name, at(moment)))
        if found is not None:
            num_sets += 1
            assert max(found.values()) - min(found.values()) <= 40
            assert abs(found[name] - moment) <= 20
    left = unmatched(matcher)
    for name in "abc":
        offered = sum(each == name for each, _ in arrivals)
        waiting = offered - num_sets - len(left[name])
        assert 0 <= waiting <= 4


def stamps(found: tuple[Any, ...] | None) -> list[float] | None:
    return None if found is None else [time_of(message) for message in found]


def test_clouds_of_all_cameras_are_handed_out_at_once_in_the_order_of_the_names() -> None:
    window = FuseWindow(("front", "rear"), window_s=0.05)
    assert window.add("rear", at(10)) is None
    assert stamps(window.add("front", at(20))) == [20, 10]


def test_a_silent_camera_does_not_hold_up_the_others() -> None:
    window = FuseWindow(("front", "rear"), window_s=0.05)
    window.add("front", at(0))
    assert stamps(window.add("front", at(33))) == [0]
    assert stamps(window.add("rear", at(40))) == [33, 40]


def test_a_cloud_beyond_the_window_begins_the_next_set() -> None:
    window = FuseWindow(("front", "rear"), window_s=0.05)
    window.add("front", at(0))
    assert stamps(window.add("rear", at(60))) == [0]
    assert stamps(window.add("front", at(70))) == [70, 60]


def test_a_cloud_that_comes_after_its_set_is_gone_is_refused() -> None:
    window = FuseWindow(("front", "rear"), window_s=0.01)
    window.add("front", at(0))
    window.add("front", at(33))
    with pytest.raises(Refused) as caught:
        window.add("rear", at(5))
    assert caught.value.reason == "unmatched"
    assert stamps(window.add("rear", at(35))) == [33, 35]


def test_one_name_needs_no_waiting() -> None:
    assert stamps(FuseWindow(("front",)).add("front", at(3))) == [3]


def test_fusing_goes_on_when_time_is_set_back() -> None:
    window = FuseWindow(("front", "rear"), window_s=0.05)
    window.add("front", at(90_000))
    assert stamps(window.add("front", at(0))) == [90_000]
    assert stamps(window.add("rear", at(1))) == [0, 1]
