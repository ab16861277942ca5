"""A page of pictures of samples, to look at what the rooms are like.

Needs matplotlib. Every sample is drawn from above and obliquely, with its boxes and class names;
ignored boxes are grey and dashed. Images are drawn with the same boxes, and their depth below.
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


def image_sheet(
    samples: Sequence[Sample], path: str | Path, label_space: Sequence[str] = LABELS
) -> None:
    """Draw images with their boxes, and their depth, into an image file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, max(1, len(samples)))
    rows = -(-len(samples) // columns) or 1
    figure = Figure(figsize=(4.2 * columns, 6.6 * rows), dpi=80)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, found in enumerate(samples):
        row, column = divmod(k, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        assert found.images is not None
        above.imshow(found.images.pixels[0].permute(1, 2, 0).numpy())
        _outline_image(above, found, label_space)
        if found.images.depth is not None:
            depth = found.images.depth[0].numpy()
            below.imshow(np.where(depth > 0, depth, np.nan), cmap="turbo", vmin=0, vmax=8)
        above.set_title(f"{found.name}: {len(found.cloud)} points", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def _outline_image(axis: Axes, found: Sample, label_space: Sequence[str]) -> None:
    """Edges of boxes as the camera sees them; what lies behind it is left out."""
    assert found.images is not None
    lens = found.images.intrinsics[0].numpy().astype(np.float64)
    camera_from_world = np.linalg.inv(found.images.world_from_camera[0].numpy().astype(np.float64))
    targets = found.targets
    groups = [(targets, ("red", "-", "yellow"))]
    if targets.ignored is not None:
        groups.insert(0, (targets.ignored, ("0.5", "--", "0.8")))
    share = np.linspace(0, 1, 25)[:, None]
    for some, (color, line, text) in groups:
        for box, label in zip(some.boxes.array.numpy(), some.labels.tolist(), strict=True):
            corners = _corners(box) @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
            for a, b in _EDGES:
                place = (1 - share) * corners[a] + share * corners[b]
                place = place[place[:, 2] > 0.1] @ lens.T
                axis.plot(*(place[:, :2] / place[:, 2:]).T, line, color=color, linewidth=0.7)
            middle = lens @ corners.mean(axis=0)
            if middle[2] > 0.1:
                x, y = middle[:2] / middle[2]
                name = label_space[label]
                axis.text(x, y, name, color=text, fontsize=7, ha="center", clip_on=True)
    height, width = found.images.pixels.shape[-2:]
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)


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
