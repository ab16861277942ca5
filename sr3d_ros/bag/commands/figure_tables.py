"""The figures of `sr3d bag eval` as tables and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from sr3d_core.paired import Difference
    from sr3d_ros.bag.compare import Comparison
    from sr3d_ros.bag.figures.objects import ObjectFigures
    from sr3d_ros.bag.pace import PaceReport
    from sr3d_ros.bag.score import BagReport

MAX_ROWS = 15
"""How many objects are shown; the file of --json has all."""


def object_table(objects: Sequence[ObjectFigures]) -> Table:
    """One row for each object, those found least first."""
    worst = sorted(objects, key=lambda each: each.recall)[:MAX_ROWS]
    of = f" (the {MAX_ROWS} found least)" if len(objects) > MAX_ROWS else ""
    table = Table(title=f"{len(objects)} objects{of}")
    for heading in (
        *("object", "class", "in view", "found", "after s", "IoU", "size error", "flickers"),
        "jitter cm",
    ):
        is_text = heading in ("object", "class")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for each in worst:
        table.add_row(
            each.object_,
            each.class_name,
            str(each.num_in_view),
            f"{100 * each.recall:.0f} %",
            number(each.first_found_after_s, ".1f"),
            number(each.median_iou, ".2f"),
            number(each.size_error, ".2f"),
            str(each.num_flickers),
            number(None if each.jitter is None else each.jitter.center_cm, ".1f"),
        )
    return table


def lines(result: BagReport) -> Iterator[str]:
    """What is said below the tables."""
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
        f"found: {percent(steady.lost_share)}; id switches: "
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
    from sr3d_core.evaluate import percent as as_percent

    reasons = pace.report.tally.drops_by_reason.items()
    why = ", ".join(f"{reason} {count}" for reason, count in reasons)
    yield (
        f"at {pace.speed:g} times the sensor's pace: {percent(pace.dropped_share)} of "
        f"{len(pace.frames)} frames dropped{f' ({why})' if why else ''}"
    )
    times = "  ".join(f"{name} {value:.1f}" for name, value in pace.latency_ms.items())
    yield f"latency there, from a frame's arrival to its boxes (ms): {times}"
    all_, there = result.scores.figures(None), pace.scores.figures(None)
    yield "; ".join(
        f"{name} {as_percent(there[row])} there, {as_percent(all_[row])} over all frames"
        for row, name in enumerate(("AP25", "AP50"))
    )
    if pace.num_back:
        yield f"{pace.num_back} clouds have an earlier stamp than the one before them"


def comparison_table(comparison: Comparison) -> Table:
    """One row for each class that both know and that is there, and one for their mean."""
    differences = comparison.differences
    table = Table(title=f"{comparison.model} against the first, AP (%) and difference [95 %]")
    table.add_column("class")
    for heading in ("AP25", "difference", "AP50", "difference"):
        table.add_column(heading, justify="right")
    for name, pair in differences.per_class.items():
        if pair[0].first == pair[0].first:  # not NaN: there is such an object
            table.add_row(name, *(cell for each in pair for cell in difference_cells(each)))
    table.add_section()
    table.add_row("mean", *(cell for each in differences.mean for cell in difference_cells(each)))
    return table


def difference_cells(found: Difference) -> tuple[str, str]:
    """Both figures, and their difference with its interval, in percent."""
    first, second, low, high = (
        100 * value for value in (found.first, found.second, found.low, found.high)
    )
    sign = " *" if found.is_clear else ""
    return f"{first:.1f} -> {second:.1f}", f"{second - first:+.1f} [{low:+.1f}, {high:+.1f}]{sign}"


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What is said below the table."""
    differences = comparison.differences
    yield (
        f"intervals from {differences.num_scenes} frames drawn anew in runs of "
        f"{differences.block}; * = 0 is not in it. They speak for these objects, seen again"
    )
    both = (("only the first found", comparison.only_first),
            (f"only {comparison.model} found", comparison.only_second))  # fmt: skip
    for what, objects in both:
        names = [f"{each.object_} ({each.num_found}/{each.num_in_view})" for each in objects]
        yield f"{what}: {', '.join(names[:MAX_ROWS]) or 'none'}{' ...' * (len(names) > MAX_ROWS)}"


def number(value: float | None, form: str) -> str:
    """A figure, - where it is not known."""
    return "-" if value is None else format(value, form)


def percent(share: float | None) -> str:
    """A share 0..1, - where it is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"
