"""The plots of a report, as PNG; their size does not grow with the recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO

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
from sr3d_ros.bag.figures.objects import seen_objects
from sr3d_ros.bag.figures.recording import recall_over_time
from sr3d_ros.bag.figures.sightings import FOUND_IOU, FrameView
from sr3d_ros.bag.pace import PaceReport
from sr3d_ros.bag.score import BagReport

MAX_OBJECTS = 60
"""How many objects the timeline shows, at most."""

_MAX_DOTS = 5000
_NUM_BINS = 400  # of the timeline
_MISSED, _FOUND = 1, 2
_STATES = ListedColormap(["white", "#c62828", "#2e7d32"])


def precision_plot(result: BagReport) -> bytes:
    """Precision over recall of each class, and how scores go with overlaps."""
    figure, axes = _figure(11, 4.2, 2)
    curves, dots = axes
    classes = result.scores.classes
    (ranked,) = rankings(result.detections, result.targets, len(classes), FOUND_IOU)
    for name, each in zip(classes, ranked, strict=True):
        if each.num_truth.sum() > 0 and len(each.scores):
            (recall,), (precision,) = each.curve()
            curves.plot(recall, precision, color=class_color(name), label=plain(name))
    curves.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    curves.set_title(f"precision at IoU {FOUND_IOU:g}")
    matches = match_all(result.detections, result.targets)
    chosen = np.linspace(0, len(matches.scores) - 1, min(len(matches.scores), _MAX_DOTS))
    rows = chosen.astype(np.int64)
    colors = [class_color(classes[label]) for label in matches.labels[rows]]
    dots.scatter(matches.scores[rows], matches.iou[rows], s=5, c=colors, alpha=0.5, linewidths=0)
    dots.axhline(FOUND_IOU, color="0.5", linewidth=0.8)
    dots.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="IoU with the nearest true box")
    dots.set_title("does the score say how good a box is?")
    if curves.lines:
        curves.legend(fontsize=8, loc="lower left")
    return _png(figure)


def timeline_plot(views: Sequence[FrameView]) -> bytes:
    """When each object was in view, and when it was found."""
    seen = list(seen_objects(views).items())[:MAX_OBJECTS]
    stamps_s = 1e-9 * np.sort(np.array([view.stamp_ns for view in views]) - views[0].stamp_ns)
    step_s = float(np.median(np.diff(stamps_s))) if len(views) > 1 else 0.0
    step_s = max(step_s, 1e-3)  # how long a frame's state is shown
    length_s = float(stamps_s[-1] - stamps_s[0]) + step_s
    start_ns = min(view.stamp_ns for view in views)
    states: Int[ndarray, "O B"] = np.zeros((len(seen), _NUM_BINS), np.int64)
    for row, (_, moments) in enumerate(seen):
        for moment in moments:
            share = 1e-9 * (moment.stamp_ns - start_ns) / length_s
            column = min(int(share * _NUM_BINS), _NUM_BINS - 1)
            is_found = moment.sighting.found is not None
            if not is_found:  # a miss shows among many finds
                states[row, column] = _MISSED
            elif states[row, column] == 0:
                states[row, column] = _FOUND
    figure, (axis,) = _figure(11, 1.2 + 0.22 * len(seen), 1)
    filled = _filled(states, math.ceil(_NUM_BINS * step_s / length_s) + 1)
    axis.imshow(
        filled, aspect="auto", cmap=_STATES, vmin=0, vmax=2, interpolation="nearest",
        extent=(0, length_s, len(seen) - 0.5, -0.5),
    )  # fmt: skip
    axis.set_yticks(range(len(seen)), [plain(name[:28]) for (name, _), _ in seen], fontsize=8)
    axis.set_xlabel("seconds")
    axis.set_title("in view and found (green), in view and missed (red)")
    return _png(figure)


def time_plot(result: BagReport, pace: PaceReport | None) -> bytes:
    """How long frames took, and at the sensor's pace how old their boxes were."""
    figure, (times, recall) = _figure(11, 3.6, 2)
    start_ns = min(view.stamp_ns for view in result.views)
    seconds = [1e-9 * (view.stamp_ns - start_ns) for view in result.views]
    times.plot(seconds, [view.time_ms for view in result.views], ".", label="cloud to boxes")
    if pace is not None:
        done = [each for each in pace.frames if each.latency_ms is not None]
        lost = [each.arrived_s * pace.speed for each in pace.frames if each.latency_ms is None]
        times.plot(
            [each.arrived_s * pace.speed for each in done],
            [each.latency_ms or 0.0 for each in done], "x", label="at the pace: age of the boxes",
        )  # fmt: skip
        times.plot(lost, [0.0] * len(lost), "|", color="red", label="dropped")
    times.set(xlabel="seconds", ylabel="ms", title="latency")
    times.set_ylim(bottom=0)
    times.legend(fontsize=8)
    rows = recall_over_time(result.views) or [{"s": 0.0, "seen": 0, "found": 0}]
    for key in ("seen", "found"):
        counts = [row[key] for row in (*rows, *rows[-1:])]  # the last ones stay to the end
        recall.step([*(row["s"] for row in rows), seconds[-1]], counts, where="post", label=key)
    recall.set(xlabel="seconds", ylabel="objects", title="objects seen and found so far")
    recall.set_ylim(bottom=0)
    recall.legend(fontsize=8)
    return _png(figure)


def _filled(states: Int[ndarray, "O B"], length: int) -> Int[ndarray, "O B"]:
    """Each column's state in the empty columns after it, so far as one frame reaches."""
    filled = states.copy()
    for shift in range(1, length):
        later = np.zeros_like(states)
        later[:, shift:] = states[:, :-shift]
        filled = np.where(filled == 0, later, filled)
    return filled


def _figure(width: float, height: float, num_axes: int) -> tuple[Figure, list]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(1, num_axes)).tolist()
    for axis in axes:
        axis.grid(True, linewidth=0.3, alpha=0.5)
    return figure, axes


def _png(figure: Figure) -> bytes:
    written = BytesIO()
    figure.savefig(written, dpi=90, format="png")
    return written.getvalue()
