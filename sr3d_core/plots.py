"""Plots of evaluations and trainings, as PNG; their size does not grow with what is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy import ndarray

from sr3d_core.colors import class_color
from sr3d_core.evaluate import rankings
from sr3d_core.matches import match_all
from sr3d_core.picture import plain
from sr3d_core.structures import Detections, Targets
from sr3d_core.supervision.distill.conflict import Bucket
from sr3d_core.sweeps import Sweep

_MAX_DOTS = 5000
_NUM_BINS = 400  # of the timeline
_MANY_TIMES = 5.0  # the first value of a sweep is the last: drawn by their logarithms
_MISSED, _FOUND = 1, 2
_STATES = ListedColormap(["white", "#c62828", "#2e7d32"])


def precision_plot(
    detections: Sequence[Detections],
    targets: Sequence[Targets],
    classes: Sequence[str],
    iou: float,
) -> bytes:
    """Precision over recall of each class, and how scores go with overlaps."""
    figure, (curves, dots) = _figure(11, 4.2, 2)
    (ranked,) = rankings(detections, targets, len(classes), iou)
    for name, each in zip(classes, ranked, strict=True):
        if each.num_truth.sum() > 0 and len(each.scores):
            (recall,), (precision,) = each.curve()
            curves.plot(recall, precision, color=class_color(name), label=plain(name))
    curves.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    curves.set_title(f"precision at IoU {iou:g}")
    matches = match_all(detections, targets)
    chosen = np.linspace(0, len(matches.scores) - 1, min(len(matches.scores), _MAX_DOTS))
    rows = chosen.astype(np.int64)
    colors = [class_color(classes[label]) for label in matches.labels[rows]]
    dots.scatter(matches.scores[rows], matches.iou[rows], s=5, c=colors, alpha=0.5, linewidths=0)
    dots.axhline(iou, color="0.5", linewidth=0.8)
    dots.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="IoU with the nearest true box")
    dots.set_title("does the score say how good a box is?")
    if curves.lines:
        curves.legend(fontsize=8, loc="lower left")
    return _png(figure)


def reliability_plot(bins: Sequence[tuple[float, float, int]]) -> bytes:
    """The share of right boxes over the score, and how many boxes score so.

    `bins` are mean score, share and number of boxes in each part of the score.
    """
    scores, shares, counts = zip(*bins, strict=True) if bins else ((), (), ())
    figure, (chances, amounts) = _figure(11, 4.2, 2)
    chances.plot([0, 1], [0, 1], "--", color="0.5", linewidth=0.8)
    chances.plot(scores, shares, "o-")
    chances.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="mean score", ylabel="share right")
    amounts.bar(scores, counts, width=0.05)
    amounts.set(xlim=(0, 1), xlabel="mean score", ylabel="boxes")
    if bins:
        amounts.set_yscale("log")
        amounts.set_ylim(bottom=0.5)  # a single box shows
        amounts.yaxis.set_major_formatter("{x:g}")  # no formulas: these ask for fonts of their own
        amounts.yaxis.set_minor_formatter("")
    return _png(figure)


def overlap_plot(
    bins: Sequence[tuple[float, float, float, float]], pce: Mapping[str, float]
) -> bytes:
    """Overlap over the score, and how far both are apart for each class; at least one class.

    `bins` are mean score, mean IoU and the two quarters of IoU in each part of the score.
    """
    scores, overlaps, low, high = zip(*bins, strict=True)
    figure, (means, classes) = _figure(11, max(4.2, 1 + 0.22 * len(pce)), 2)
    means.plot([0, 1], [0, 1], "--", color="0.5", linewidth=0.8)
    means.fill_between(scores, low, high, alpha=0.25, linewidth=0)
    means.plot(scores, overlaps, "o-")
    means.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="mean score", ylabel="IoU", title="overlap")
    places = range(len(pce))
    classes.barh(places, list(pce.values()), color=[class_color(name) for name in pce])
    classes.set_yticks(places, [plain(name[:28]) for name in pce], fontsize=8)
    classes.invert_yaxis()
    classes.set(xlim=(0, 1), xlabel="|score - IoU|", title="PCE")
    return _png(figure)


def training_plot(
    steps: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, Any]]
) -> bytes:
    """Losses and rate over the steps of a training, and mean AP and AIC where it was validated.

    `steps` are rows of log.csv by column, at least one; `scores` lines of validation.jsonl, which
    have no AIC where an older version wrote them. Losses are means over `_NUM_BINS` parts at most.
    """
    with_aic = [line for line in scores if line.get("aic") is not None]
    figure, axes = _figure(11, 3.6, 2 + bool(scores) + bool(with_aic))
    parts = np.array_split(np.arange(len(steps)), min(len(steps), _NUM_BINS))
    ends = [steps[part[-1]]["step"] for part in parts]
    for name in ("loss", "classification", "box"):
        means = [np.mean([steps[index][name] for index in part]) for part in parts]
        axes[0].plot(ends, means, label=name)
    axes[0].set(xlabel="step", title="losses")
    axes[0].legend(fontsize=8)
    axes[1].plot(ends, [steps[part[-1]]["rate"] for part in parts])
    axes[1].set(xlabel="step", title="learning rate")
    axes[1].set_ylim(bottom=0)
    if scores:
        _plot_scores(axes[2], scores)
    if with_aic:
        axes[3].plot([line["step"] for line in with_aic], [line["aic"] for line in with_aic], ".-")
        axes[3].set(xlabel="step", title="AIC on val")
        axes[3].set_ylim(bottom=0)
    return _png(figure)


def pretraining_plot(steps: Sequence[Mapping[str, float]]) -> bytes:
    """The loss and the rank of features over the steps of a pre-training, and what probes say.

    `steps` are rows of its log by column, at least one. Dashed and dotted lines are untrained
    features and raw geometry.
    """
    probed = [row for row in steps if not math.isnan(row.get("probe_miou", math.nan))]
    figure, axes = _figure(11, 3.6, 4 if probed else 2)
    for axis, name, title in zip(
        axes, ("loss", "effective_rank"), ("loss", "directions of features"), strict=False
    ):
        axis.plot([row["step"] for row in steps], [row[name] for row in steps])
        axis.set(xlabel="step", title=title)
    measures = (("miou", "probe mIoU (%)"), ("knn", "probe k-NN (%)")) if probed else ()
    for axis, (name, title) in zip(axes[2:], measures, strict=True):
        values = [100 * row[f"probe_{name}"] for row in probed]
        axis.plot([row["step"] for row in probed], values, ".-")
        for kind, style in (("random", "--"), ("raw", ":")):
            figure_beside = 100 * probed[-1][f"{kind}_{name}"]
            axis.axhline(figure_beside, linestyle=style, color="0.5", linewidth=0.8, label=kind)
        axis.set(xlabel="step", title=title)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    return _png(figure)


def _plot_scores(axis: Any, scores: Sequence[Mapping[str, Any]]) -> None:
    """Mean AP over the steps."""
    for name, label in (("map25", "AP25"), ("map50", "AP50")):
        values = [100 * line[name] for line in scores]
        axis.plot([line["step"] for line in scores], values, ".-", label=label)
    axis.set(xlabel="step", title="mean AP on val (%)")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)


def sweep_plot(sweeps: Sequence[Sweep]) -> bytes:
    """Mean AP over the values of each setting, with its deviation over seeds; one at least."""
    columns = min(len(sweeps), 4)
    rows = math.ceil(len(sweeps) / columns)
    figure, axes = _figure(3.4 * columns, 3.2 * rows, columns, rows)
    has_data = len({sweep.data for sweep in sweeps}) > 1
    for axis, sweep in zip(axes, sweeps, strict=False):
        for measure, means in sweep.means.items():
            spread = [deviation or 0.0 for deviation in sweep.deviations[measure]]
            axis.errorbar(sweep.values, means, spread, fmt="o-", capsize=3, label=measure.upper())
        if sweep.values[0] > 0 and sweep.values[-1] / sweep.values[0] >= _MANY_TIMES:
            axis.set_xscale("log")
            axis.minorticks_off()
        axis.set_xticks(sweep.values, [f"{value:g}" for value in sweep.values])
        where = f", {plain(sweep.data[-20:])}" if has_data else ""
        axis.set(title=f"{plain(sweep.key.rpartition('.')[2])}{where}", ylabel="mean AP (%)")
        axis.legend(fontsize=8)
    for axis in axes[len(sweeps) :]:
        axis.set_axis_off()
    return _png(figure)


def conflict_plot(buckets: Sequence[Bucket]) -> bytes:
    """The share of objects with a conflict by their need, with its interval."""
    figure, (axis,) = _figure(5, 3.4, 1)
    names = ["0" if each.high == 0 else f"to {each.high:g}" for each in buckets]
    for place, each in enumerate(buckets):
        if each.num:
            low, high = each.interval
            reach = [[max(0.0, each.share - low)], [max(0.0, high - each.share)]]
            axis.bar(place, each.share, color="#1565c0", yerr=reach, capsize=4)
            axis.text(place, 0.02, str(each.num), ha="center", color="white", fontsize=8)
    axis.axhline(0.5, color="0.5", linewidth=0.8)
    axis.set_xticks(range(len(buckets)), names)
    axis.set(ylim=(0, 1), xlabel="need", ylabel="share of objects in conflict")
    axis.set_title("does imitation pull against the labels?")
    return _png(figure)


def timeline_plot(
    moments: Mapping[str, Sequence[tuple[float, bool]]], frames_s: Sequence[float]
) -> bytes:
    """When each object was in view, and whether it was found; by its name, in seconds.

    `frames_s` is when frames were taken, rising. A row for each object: few enough to be read.
    """
    steps = np.diff(frames_s)
    step_s = max(float(np.median(steps)) if len(steps) else 0.0, 1e-3)  # a state is shown so long
    length_s = frames_s[-1] - frames_s[0] + step_s
    states: Int[ndarray, "O B"] = np.zeros((len(moments), _NUM_BINS), np.int64)
    for row, seen in enumerate(moments.values()):
        for seconds, is_found in seen:
            share = (seconds - frames_s[0]) / length_s
            column = min(max(int(share * _NUM_BINS), 0), _NUM_BINS - 1)
            if not is_found:  # a miss shows among many finds
                states[row, column] = _MISSED
            elif states[row, column] == 0:
                states[row, column] = _FOUND
    figure, (axis,) = _figure(11, 1.2 + 0.22 * len(moments), 1)
    axis.imshow(
        _filled(states, math.ceil(_NUM_BINS * step_s / length_s) + 1),
        **{"aspect": "auto", "cmap": _STATES, "vmin": 0, "vmax": 2, "interpolation": "nearest"},
        extent=(frames_s[0], frames_s[0] + length_s, len(moments) - 0.5, -0.5),
    )
    axis.set_yticks(range(len(moments)), [plain(name[:28]) for name in moments], fontsize=8)
    axis.set_xlabel("seconds")
    axis.set_title("in view and found (green), in view and missed (red)")
    return _png(figure)


def time_plot(
    took: Sequence[tuple[float, float]],
    aged: Sequence[tuple[float, float | None]],
    recall: Sequence[Mapping[str, float]],
) -> bytes:
    """How long frames took, how old their boxes were, and how many objects were found so far.

    Pairs of seconds and milliseconds; None where a frame was dropped. `recall` has `s` and counts
    by what they are called.
    """
    figure, (times, counts) = _figure(11, 3.6, 2)
    times.plot(*zip(*took, strict=True), ".", label="cloud to boxes")
    if aged:
        done = [(seconds, age) for seconds, age in aged if age is not None]
        lost = [seconds for seconds, age in aged if age is None]
        times.plot(*zip(*done, strict=True), "x", label="at the pace: age of the boxes")
        times.plot(lost, [0.0] * len(lost), "|", color="red", label="dropped")
    times.set(xlabel="seconds", ylabel="ms", title="latency")
    times.set_ylim(bottom=0)
    times.legend(fontsize=8)
    seconds = [*(row["s"] for row in recall), took[-1][0]]  # the last counts stay to the end
    for name in (key for row in recall[-1:] for key in row if key != "s"):
        values = [row[name] for row in (*recall, recall[-1])]
        counts.step(seconds, values, where="post", label=plain(name))
    counts.set(xlabel="seconds", ylabel="objects", title="objects so far")
    counts.set_ylim(bottom=0)
    if counts.lines:
        counts.legend(fontsize=8)
    return _png(figure)


def _filled(states: Int[ndarray, "O B"], length: int) -> Int[ndarray, "O B"]:
    """Each column's state in the empty columns after it, so far as one frame reaches."""
    filled = states.copy()
    for shift in range(1, length):
        later = np.zeros_like(states)
        later[:, shift:] = states[:, :-shift]
        filled = np.where(filled == 0, later, filled)
    return filled


def _figure(
    width: float, height: float, num_axes: int, num_rows: int = 1
) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(num_rows, num_axes)).ravel().tolist()
    for axis in axes:
        axis.grid(True, linewidth=0.3, alpha=0.5)
    return figure, axes


def _png(figure: Figure) -> bytes:
    written = BytesIO()
    figure.savefig(written, dpi=90, format="png")
    return written.getvalue()
