"""The adaptive point budget: down when frames are slow, up when there is room, never beyond."""

from __future__ import annotations

import pytest

from sr3d_ros.budget import AdaptiveBudget
from sr3d_ros.parameters.record import Parameters

LIMITS = Parameters(adaptive=True, target_ms=100.0, min_points=10_000, max_points=200_000)


def took(milliseconds: float) -> dict[str, float]:
    """The time of a frame; waiting for transforms does not count."""
    return {"parse": 0.25 * milliseconds, "transform": 5000.0, "detect": 0.75 * milliseconds}


def after(
    frames: int, ms_per_point: float, budget: AdaptiveBudget | None = None
) -> AdaptiveBudget:
    """The budget after clouds of 300,000 points whose time is proportional to what is kept."""
    budget = budget or AdaptiveBudget()
    for _ in range(frames):
        points = budget.points(LIMITS)
        budget.observe(took(points * ms_per_point), points, LIMITS)
    return budget


def test_before_the_first_frame_everything_is_allowed() -> None:
    assert AdaptiveBudget().points(LIMITS) == 200_000


def test_a_slow_frame_lowers_the_budget_in_proportion() -> None:
    budget = AdaptiveBudget()
    budget.observe(took(160.0), 200_000, LIMITS)
    assert budget.points(LIMITS) == 125_000


def test_one_step_leaves_at_least_half() -> None:
    budget = AdaptiveBudget()
    budget.observe(took(100_000.0), 200_000, LIMITS)
    assert budget.points(LIMITS) == 100_000


def test_the_budget_settles_at_the_target() -> None:
    assert after(20, ms_per_point=0.002).points(LIMITS) == pytest.approx(50_000, rel=0.11)


def test_the_budget_never_goes_below_the_least() -> None:
    assert after(20, ms_per_point=1.0).points(LIMITS) == 10_000


def test_when_the_load_is_gone_the_budget_comes_back() -> None:
    lowered = after(20, ms_per_point=0.002)
    assert after(40, ms_per_point=0.0001, budget=lowered).points(LIMITS) == 200_000


def test_a_frame_near_the_target_changes_nothing() -> None:
    budget = after(20, ms_per_point=0.002)
    before = budget.points(LIMITS)
    for time_ms in (81.0, 100.0, 109.0):
        budget.observe(took(time_ms), before, LIMITS)
    assert budget.points(LIMITS) == before


def test_a_small_cloud_that_is_fast_does_not_raise_the_budget() -> None:
    budget = after(20, ms_per_point=0.002)
    before = budget.points(LIMITS)
    budget.observe(took(1.0), 500, LIMITS)
    assert budget.points(LIMITS) == before


def test_a_small_cloud_that_is_slow_lowers_the_budget_below_its_size() -> None:
    budget = AdaptiveBudget()
    budget.observe(took(200.0), 40_000, LIMITS)
    assert budget.points(LIMITS) == 20_000


def test_limits_that_change_count_at_once() -> None:
    budget = after(20, ms_per_point=0.002)
    tighter = Parameters(adaptive=True, target_ms=100.0, min_points=10_000, max_points=5_000)
    assert budget.points(tighter) == 5_000


def test_after_a_reset_everything_is_allowed_again() -> None:
    budget = after(20, ms_per_point=1.0)
    budget.reset()
    assert budget.points(LIMITS) == 200_000


def test_a_budget_that_is_not_adaptive_is_what_was_set() -> None:
    budget = after(20, ms_per_point=1.0)
    assert budget.points(Parameters(max_points=7_000)) == 7_000
    budget.observe(took(1e6), 7_000, Parameters(max_points=7_000))
    assert budget.points(LIMITS) == 10_000
