"""A page of pictures of samples, to look at what the rooms are like.

Needs matplotlib. Every sample is drawn from above and obliquely, with its boxes and class names;
ignored boxes are grey and dashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.mesh import turn_x, turn_z
from sr3d_core.data.rooms.scene.footprints import rectangle
from sr3d_core.structures import Sample, Targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EDGES = [(k, (k + 1) % 4) for k in range(4)]
_EDGES += [(a + 4, b + 4) for a, b in _EDGES] + [(k, k + 4) for k in range(4)]
_VIEWS = {"above": np.eye(3), "oblique": turn_x(np.deg2rad(-62)) @ turn_z(np.deg2rad(25))}


def contact_sheet(
    samples: Sequence[Sample], path: str | Path, label_space: Sequence[str] = LABELS
) -> None:
    """Draw samples with their boxes into an image file; labels index `label_space`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, max(1, len(samples)))
    rows = -(-len(samples) // columns) or 1
    figure = Figure(figsize=(5.0 * columns, 7.5 * rows), dpi=80)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, sample in enumerate(samples):
        row, column = divmod(k, columns)
        for half, turn in enumerate(_VIEWS.values()):
            _draw(axes[2 * row + half, column], sample, turn, label_space)
        axes[2 * row, column].set_title(f"{sample.name}: {len(sample.cloud)} points", fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


def _draw(
    axis: Axes, sample: Sample, turn: Float[ndarray, "3 3"], label_space: Sequence[str]
) -> None:
    """One sample seen along -z after turning it; ceilings are left out."""
    xyz, rgb = sample.cloud.xyz.numpy(), np.nan_to_num(sample.cloud.features.numpy(), nan=0.5)
    if len(xyz):
        low = np.quantile(xyz[:, 2], 0.02)
        kept = xyz[:, 2] < low + 2.1
        seen = xyz[kept] @ turn.T
        order = np.argsort(seen[:, 2])
        axis.scatter(seen[order, 0], seen[order, 1], s=0.6, c=rgb[kept][order], linewidths=0)
    if sample.targets.ignored is not None:
        _outline(axis, sample.targets.ignored, turn, label_space, ("0.45", "--", "0.3"))
    _outline(axis, sample.targets, turn, label_space, ("red", "-", "blue"))
    axis.set_aspect("equal")


def _outline(
    axis: Axes,
    targets: Targets,
    turn: Float[ndarray, "3 3"],
    label_space: Sequence[str],
    style: tuple[str, str, str],
) -> None:
    """Edges, front and class name of boxes; `style` is color and line of edges, color of text."""
    color, line, text = style
    rows = targets.boxes.array.numpy()
    for row, label in zip(rows, targets.labels.tolist(), strict=True):
        corners = _corners(row) @ turn.T
        for a, b in _EDGES:
            axis.plot(corners[[a, b], 0], corners[[a, b], 1], line, color=color, linewidth=0.8)
        front = corners[[5, 6]].mean(axis=0)
        axis.plot(*zip(corners[4:].mean(axis=0)[:2], front[:2], strict=True), color="lime")
        x, y = corners[:, :2].mean(axis=0)
        axis.text(x, y, label_space[label], color=text, fontsize=8, ha="center")


def _corners(row: Float[ndarray, " 7"]) -> Float[ndarray, "8 3"]:
    """Lower then upper corners of a box row, around the vertical."""
    flat = rectangle(row[:2], row[3:5], float(row[6]))
    low = np.column_stack([flat, np.full(4, row[2] - row[5] / 2)])
    return np.concatenate([low, low + np.array([0, 0, row[5]])])
