"""The figures of a recording in words, the same for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sr3d_core.paired import Difference
    from sr3d_ros.bag.compare import Comparison, FoundByOne
    from sr3d_ros.bag.pace import PaceReport
    from sr3d_ros.bag.score import BagReport

_MAX_NAMES = 15

NOTHING_SCORES = (
    "nothing scores enough: --score shows weaker boxes; a short training may know none yet, and "
    "sr3d model calibrate makes scores of a training chances"
)
"""Where clouds were looked at and no box was found."""


def steady_lines(result: BagReport) -> Iterator[str]:
    """What is right, wrong and missed, and how steadily."""
    right = sum(int(view.is_right.sum()) for view in result.views)
    wrong = sum(int(view.is_wrong.sum()) for view in result.views)
    missed = sum(view.num_missed for view in result.views)
    yield (
        f"at the robot's thresholds, in {len(result.views)} frames: {right} boxes right, "
        f"{wrong} wrong, {missed} missed"
    )
    steady = result.stability
    if not steady.num_objects:
        yield "no figures of objects: the ground truth does not say which box is which object (id)"
        return
    switches = steady.num_id_switches
    yield (
        f"flickers a minute in view: {number(steady.flickers_per_minute, '.1f')}; lost between "
        f"found: {share(steady.lost_share)}; id switches: "
        f"{'not tracked' if switches is None else switches}"
    )
    yield (
        f"jitter of {steady.num_with_jitter} objects, median: "
        f"{number(steady.jitter_center_cm, '.1f')} cm, "
        f"{number(steady.jitter_log_size, '.3f')} of log size, "
        f"{number(steady.jitter_yaw_deg, '.1f')} degrees"
    )


def pace_lines(result: BagReport, pace: PaceReport) -> Iterator[str]:
    """What is said of the same recording at its sensor's pace."""
    from sr3d_core.evaluate import percent

    reasons = pace.report.tally.drops_by_reason.items()
    why = ", ".join(f"{reason} {count}" for reason, count in reasons)
    yield (
        f"at {pace.speed:g} times the sensor's pace: {share(pace.dropped_share)} of "
        f"{len(pace.frames)} frames dropped{f' ({why})' if why else ''}"
    )
    times = "  ".join(f"{name} {value:.1f}" for name, value in pace.latency_ms.items())
    yield f"latency there, from a frame's arrival to its boxes (ms): {times}"
    all_, there = result.scores.figures(None), pace.scores.figures(None)
    yield "; ".join(
        f"{name} {percent(there[row])} there, {percent(all_[row])} over all frames"
        for row, name in enumerate(("AP25", "AP50"))
    )
    if pace.num_back:
        yield f"{pace.num_back} clouds have an earlier stamp than the one before them"


def difference_words(found: Difference) -> tuple[str, str]:
    """Both figures, and their difference with its interval, in percent."""
    first, second, low, high = (
        100 * value for value in (found.first, found.second, found.low, found.high)
    )
    sign = " *" if found.is_clear else ""
    return f"{first:.1f} -> {second:.1f}", f"{second - first:+.1f} [{low:+.1f}, {high:+.1f}]{sign}"


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What is said below the table of differences."""
    yield interval_words(comparison)
    yield f"only the first found: {_names(comparison.only_first)}"
    yield f"only {comparison.model} found: {_names(comparison.only_second)}"


def interval_words(comparison: Comparison) -> str:
    """What the intervals of the differences are."""
    differences = comparison.differences
    return (
        f"95 % intervals of the difference: {differences.num_scenes} frames drawn anew in runs of "
        f"{differences.block}; * = 0 is not in it. They speak for these objects, seen again"
    )


def _names(objects: Sequence[FoundByOne]) -> str:
    names = [f"{each.object_} ({each.num_found}/{each.num_in_view})" for each in objects]
    return f"{', '.join(names[:_MAX_NAMES]) or 'none'}{' ...' * (len(names) > _MAX_NAMES)}"


def number(value: float | None, form: str) -> str:
    """A figure, - where it is not known."""
    return "-" if value is None else format(value, form)


def share(value: float | None) -> str:
    """A share 0..1, - where it is not known."""
    return "-" if value is None else f"{100 * value:.1f} %"
