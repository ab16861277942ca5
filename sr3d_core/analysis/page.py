"""The page of an evaluation: one file of HTML with its pictures, which loads nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sr3d_core import html
from sr3d_core.analysis.analyse import Analysis, OtherRules
from sr3d_core.analysis.confusion import MATCH_IOU, NOTHING, REPORTED
from sr3d_core.analysis.reliability import Reliability
from sr3d_core.analysis.worst import WorstScene
from sr3d_core.calibration import RIGHT_IOU
from sr3d_core.evaluate import HEAD, IOU_THRESHOLDS, EvaluationReport, percent, rows_of
from sr3d_core.inconsistency import MOST_CONFIDENT
from sr3d_core.picture import Outcome, outcome_picture
from sr3d_core.plots import overlap_plot, precision_plot, reliability_plot
from sr3d_core.whole_files import write_whole

_MEANS = "Means are over the classes that have boxes in a part, which may be others in the next."


def write_page(path: Path, title: str, about: Mapping[str, object], analysis: Analysis) -> None:
    """Write the page; `about` is what was run, in words. Raises OSError."""
    parts = [html.table(("what was run", ""), about.items(), is_words=True), *_sections(analysis)]
    write_whole({path: html.page(title, parts).encode("utf-8")})


def _sections(analysis: Analysis) -> Iterator[str]:
    yield html.heading("Average precision")
    yield html.note(
        f"{analysis.scores.num_scenes} scenes, in percent; - where no box is labelled."
    )
    yield html.table(HEAD, rows_of(analysis.scores))
    answers = analysis.answers
    for iou in IOU_THRESHOLDS:
        drawn = precision_plot(answers.found, answers.truth, answers.classes, iou)
        yield html.picture(drawn, "png", f"Every box counts here, however weak. IoU {iou:g}.")
    yield from _reliability(analysis.reliability)
    yield from _overlaps(analysis)
    yield from _other_rules(analysis.other_rules)
    yield from _confusion(analysis.confusion)
    yield html.heading("By size")
    yield html.note(
        "The labelled boxes of each class in three equal parts by volume. Boxes, and AP25 / AP50 "
        f"in percent. {_MEANS}"
    )
    yield _parts_table(analysis.by_size)
    yield html.heading("By distance")
    yield html.note(
        "From the cloud's origin along the ground: from the sensor or robot only where the clouds "
        f"are in its frame. Boxes, and AP25 / AP50 in percent. {_MEANS}"
    )
    yield _parts_table(analysis.by_distance)
    yield from _by_visible_share(analysis.by_visible_share)
    yield html.heading("Worst scenes")
    yield html.note(
        f"As a robot reports: scores from {REPORTED:g}, the best of boxes that overlap."
    )
    if not analysis.worst:
        yield html.note("None: nothing was missed and nothing was wrong.")
    for scene in analysis.worst:
        yield _picture(scene, answers.classes)


def _by_visible_share(parts: Mapping[str, EvaluationReport] | None) -> Iterator[str]:
    yield html.heading("By visible share")
    if parts is None:
        yield html.note("Not known: these scenes do not say how much of their objects is seen.")
        return
    num = next(iter(parts.values())).num_scenes
    yield html.note(
        f"How much of each labelled object is seen, of the {num} scenes that say it. Boxes, and "
        "AP25 / AP50 in percent. False boxes that touch no labelled box of their class have no "
        f"such share and are left out, so these figures are higher than those of all. {_MEANS}"
    )
    yield _parts_table(parts)


def _reliability(found: Reliability) -> Iterator[str]:
    yield html.heading("What scores say")
    yield html.note(
        f"Expected calibration error {_number(found.ece)}: how far scores are from the share of "
        f"boxes that is right at IoU {RIGHT_IOU:g}. Rank correlation of score and IoU "
        f"{_number(found.rank_correlation)}, of right boxes alone "
        f"{_number(found.rank_correlation_right)}."
    )
    if found.bins:
        caption = "On the dashed line a score is a chance. Bars: how many boxes score so."
        yield html.picture(
            reliability_plot(
                [(each.mean_score, each.share_right, each.num) for each in found.bins]
            ),
            "png",
            caption,
        )
    yield html.table(
        ("score", "boxes", "mean score", "right (%)"),
        [
            (
                *(f"{each.low:.1f} to {each.high:.1f}", each.num),
                *(f"{each.mean_score:.3f}", percent(each.share_right)),
            )
            for each in found.bins
        ],
    )


def _overlaps(analysis: Analysis) -> Iterator[str]:
    yield html.heading("Score against overlap")
    yield html.note(
        f"PCE {_number(analysis.pce.mean)}: the mean of |score - IoU| over the {MOST_CONFIDENT} "
        "most confident boxes of each class, IoU being that with the labelled box of the class "
        "that they overlap most. Beside it the calibration error of each class; - where it is "
        "never found."
    )
    names, bins = analysis.answers.classes, analysis.reliability.bins
    found = {
        name: value
        for name, value in zip(names, analysis.pce.per_class.tolist(), strict=True)
        if not math.isnan(value)
    }
    if found:
        caption = "Left: mean IoU, and its middle half. Right: PCE of each class."
        drawn = overlap_plot(
            [(each.mean_score, each.mean_iou, *each.quarters) for each in bins], found
        )
        yield html.picture(drawn, "png", caption)
    errors = analysis.reliability.class_ece
    yield html.table(
        ("class", "PCE", "ECE"),
        [
            (name, _number(found.get(name, math.nan)), _number(error))
            for name, error in errors.items()
        ],
    )


def _other_rules(rules: OtherRules | None) -> Iterator[str]:
    yield html.heading("The same boxes by other rules")
    if rules is None:
        yield html.note("Not known of merged views: no output of the network is kept of them.")
        return
    yield html.note(
        f"AIC {_number(rules.aic)}: before boxes suppress each other, the mean of |score - IoU| "
        f"over the {rules.num_positives:,} predictions that {rules.assigner} would train towards "
        "a box. Below, AP25 / AP50 in percent. 3d, bev: boxes suppress each other by their "
        "volumes, or seen from above. gt_iou: the predictions that TR3D's rule assigns to a box "
        "score their true IoU with it; gt_ctr: their score is multiplied by how central they are "
        "in it. These are bounds: no network knows the labels."
    )
    yield _rules_table({**rules.by_overlap, **rules.bounds})


def _confusion(taken_for: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield html.heading("Confusion")
    yield html.note(
        f"Each labelled box (row) by the class of the box that overlaps it most, from IoU "
        f"{MATCH_IOU:g} and score {REPORTED:g} on; classes that are never named are left out."
    )
    named = dict.fromkeys(name for row in taken_for.values() for name, num in row.items() if num)
    columns = [*(name for name in named if name != NOTHING), NOTHING]
    rows = [(name, *(row[column] or "" for column in columns)) for name, row in taken_for.items()]
    yield html.table(("is / is taken for", *columns), rows)


def _parts_table(parts: Mapping[str, EvaluationReport]) -> str:
    """A row for each class: of each part its boxes and its average precision."""
    rows = _rows(
        parts, lambda index: [cell for part in parts.values() for cell in _cells(part, index)]
    )
    return html.table(("class", *(head for name in parts for head in ("boxes", name))), rows)


def _rules_table(rules: Mapping[str, EvaluationReport]) -> str:
    """The same of parts that have the same boxes, which are told once."""
    rows = _rows(
        rules,
        lambda index: [
            _cells(next(iter(rules.values())), index)[0],
            *(_cells(rule, index)[1] for rule in rules.values()),
        ],
    )
    return html.table(("class", "boxes", *rules), rows)


def _rows(
    parts: Mapping[str, EvaluationReport], cells: Callable[[int | None], list[object]]
) -> list[tuple[object, ...]]:
    """Of the classes that have boxes in any part, and of their mean."""
    classes = next(iter(parts.values())).classes
    rows: list[tuple[object, ...]] = [
        (name, *cells(index))
        for index, name in enumerate(classes)
        if any(part.ap25.num_truth[index] for part in parts.values())
    ]
    return [*rows, ("mean", *cells(None))]


def _cells(part: EvaluationReport, index: int | None) -> tuple[object, str]:
    ap25, ap50, *_ = part.figures(index)
    num = part.ap25.num_truth.sum() if index is None else part.ap25.num_truth[index]
    return int(num), f"{percent(ap25)} / {percent(ap50)}"


def _picture(scene: WorstScene, classes: tuple[str, ...]) -> str:
    counts = f"{len(scene.right)} right, {len(scene.wrong)} wrong, {len(scene.missed)} missed"
    title = f"{scene.name}: {counts}"
    outcome = Outcome(scene.right, scene.wrong, scene.missed)
    return html.picture(outcome_picture(scene.cloud, outcome, classes, title), "jpeg", title)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
