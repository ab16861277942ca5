"""The page of an evaluation: what was run, how well it does, what its worst frames look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sr3d_core import html
from sr3d_core.evaluate import HEAD, rows_of
from sr3d_core.picture import Outcome, outcome_picture
from sr3d_core.plots import precision_plot, time_plot, timeline_plot
from sr3d_core.whole_files import write_whole
from sr3d_ros.bag.compare import Comparison
from sr3d_ros.bag.evaluation import Evaluation
from sr3d_ros.bag.figures.objects import ObjectFigures, seen_objects
from sr3d_ros.bag.figures.recording import recall_over_time
from sr3d_ros.bag.figures.sightings import FOUND_IOU
from sr3d_ros.bag.figures.worst import WorstFrame
from sr3d_ros.bag.pace import PaceReport
from sr3d_ros.bag.run import Tally
from sr3d_ros.bag.score import BagReport
from sr3d_ros.bag.words import (
    difference_words,
    interval_words,
    number,
    pace_lines,
    share,
    steady_lines,
)

_MAX_LINES = 60  # objects in the timeline
_MAX_ROWS = 200
"""Rows of a table, at most: the file of --json has all."""


def write_report(
    path: Path,
    title: str,
    about: Mapping[str, object],
    found: Evaluation,
    worst: Sequence[WorstFrame],
) -> None:
    """Write the page; `about` is what was run, in words. Raises OSError."""
    parts = [html.table(("what was run", ""), about.items(), is_words=True)]
    parts += _sections(found, worst)
    write_whole({path: html.page(title, parts).encode("utf-8")})


def _sections(found: Evaluation, worst: Sequence[WorstFrame]) -> Iterator[str]:
    result = found.result
    yield html.heading("Average precision")
    yield html.table(HEAD, rows_of(result.scores))
    found_ = (result.detections, result.targets, result.scores.classes)
    drawn = precision_plot(*found_, FOUND_IOU)
    yield html.picture(drawn, "png", "Every box counts here, however weak.")
    if found.comparison is not None:
        yield from _comparison(found.comparison)
    yield html.heading("At the robot's thresholds")
    for line in steady_lines(result):
        yield html.note(line)
    if result.objects:
        yield from _objects(result)
    yield html.heading("Time")
    yield html.picture(_time_plot(result, found.pace), "png", _latency_words(result.tally))
    if found.pace is not None:
        yield from _pace(result, found.pace)
    if worst:
        yield from _worst(result, worst)
    yield from _troubles(result)


def _comparison(comparison: Comparison) -> Iterator[str]:
    differences = comparison.differences
    yield html.heading(f"Against {comparison.model}")
    rows: list[tuple[object, ...]] = [
        (name, *(cell for each in pair for cell in difference_words(each)))
        for name, pair in (*differences.there.items(), ("mean", differences.mean))
    ]
    yield html.table(("class", "AP25", "difference", "AP50", "difference"), rows)
    yield html.note(f"First -> second; {interval_words(comparison)}.")
    for what, objects in (
        ("Only the first found", comparison.only_first),
        (f"Only {comparison.model} found", comparison.only_second),
    ):
        if objects:
            rows = [
                (each.object_, each.class_name, each.num_found, each.num_in_view)
                for each in objects[:_MAX_ROWS]
            ]
            yield html.table((what, "class", "found", "in view"), rows)
    yield html.note(f"{comparison.model}: {_latency_words(comparison.report.tally)}")


def _objects(result: BagReport) -> Iterator[str]:
    yield html.table(
        (
            *("object", "class", "in view", "found", "after s", "IoU", "score", "size error"),
            *("flickers", "id switches", "jitter cm", "log size", "degrees"),
        ),
        [_object_row(each) for each in result.objects[:_MAX_ROWS]],
    )
    if len(result.objects) > _MAX_ROWS:
        yield html.note(f"{len(result.objects) - _MAX_ROWS} further objects are in the JSON.")
    beyond = len(result.objects) - _MAX_LINES
    caption = f"Each object over time.{f' {beyond} more are not shown.' if beyond > 0 else ''}"
    yield html.picture(_timeline(result), "png", caption)


def _timeline(result: BagReport) -> bytes:
    seconds = _seconds(result)
    moments = {
        name: [(seconds[seen.frame], seen.sighting.found is not None) for seen in all_]
        for (name, _), all_ in list(seen_objects(result.views).items())[:_MAX_LINES]
    }
    return timeline_plot(moments, sorted(seconds))


def _time_plot(result: BagReport, pace: PaceReport | None) -> bytes:
    took = [(s, view.time_ms) for s, view in zip(_seconds(result), result.views, strict=True)]
    frames = () if pace is None else pace.frames
    aged = [(each.arrived_s * (pace.speed if pace else 1), each.latency_ms) for each in frames]
    return time_plot(took, aged, recall_over_time(result.views))


def _seconds(result: BagReport) -> list[float]:
    """When the scored frames were taken, since the first of them."""
    return [1e-9 * (view.stamp_ns - result.views[0].stamp_ns) for view in result.views]


def _object_row(each: ObjectFigures) -> tuple[object, ...]:
    jitter = each.jitter
    return (
        each.object_,
        each.class_name,
        each.num_in_view,
        share(each.recall),
        number(each.first_found_after_s, ".1f"),
        number(each.median_iou, ".2f"),
        number(each.median_score, ".2f"),
        number(each.size_error, ".2f"),
        each.num_flickers,
        each.num_id_switches,
        number(None if jitter is None else jitter.center_cm, ".1f"),
        number(None if jitter is None else jitter.log_size, ".3f"),
        number(None if jitter is None else jitter.yaw_deg, ".1f"),
    )


def _pace(result: BagReport, pace: PaceReport) -> Iterator[str]:
    for line in pace_lines(result, pace):
        yield html.note(line)
    yield html.note("Average precision over the frames that were worked on at that pace:")
    yield html.table(HEAD, rows_of(pace.scores))


def _worst(result: BagReport, worst: Sequence[WorstFrame]) -> Iterator[str]:
    yield html.heading("Worst frames")
    start_ns = result.views[0].stamp_ns
    for frame in worst:
        counts = frame.view.to_dict()
        title = (
            f"{1e-9 * (frame.view.stamp_ns - start_ns):.1f} s: {counts['right']} right, "
            f"{counts['wrong']} wrong, {counts['missed']} missed"
        )
        caption = f"{title} (stamp {frame.view.stamp_ns} ns)"
        outcome = Outcome(frame.right, frame.wrong, frame.missed)
        drawn = outcome_picture(frame.cloud, outcome, result.scores.classes, title)
        yield html.picture(drawn, "jpeg", caption)


def _troubles(result: BagReport) -> Iterator[str]:
    tally = result.tally
    rows: list[tuple[object, ...]] = [
        (f"dropped: {reason}", count, next(d.text for d in tally.dropped if d.reason == reason))
        for reason, count in tally.drops_by_reason.items()
    ]
    rows += [("damage", "", line) for line in tally.damage]
    rows += [("doubt", "", line) for line in tally.notes]
    counts = {
        "clouds without ground truth": result.num_without_truth,
        "stamps of the ground truth without a cloud": result.num_truth_unused,
        "static boxes that count in no cloud": result.num_never_counted,
    }
    rows += [(name, count, "") for name, count in counts.items() if count]
    yield html.heading("Drops, damage and doubts")
    if rows:
        yield html.table(("what", "how many", "the first"), rows[:_MAX_ROWS], is_words=True)
    else:
        yield html.note("None.")


def _latency_words(tally: Tally) -> str:
    times = ", ".join(f"{name} {value:.1f}" for name, value in tally.latency_ms.items())
    return f"Cloud to boxes, ms: {times}, in {len(tally.time_ms)} frames."
