"""A plan of a map of objects: boxes from above with identity, class and age.

What is gone is dashed. Drawn with matplotlib, without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from numpy import ndarray

from sr3d_core.colors import class_color
from sr3d_core.geometry.boxes import bev_corners
from sr3d_core.memory.object_map import MapObject
from sr3d_core.structures import Boxes3D

CELL_M = 0.05
"""Edge of the cells of the plan that is drawn below the boxes."""

_LOW_M, _HIGH_M = 0.1, 2.0  # over the floor: walls and furniture, no ceiling
_MAX_CELLS = 1_000_000


class Plan:
    """Where frames saw something, from above, gathered frame by frame."""

    def __init__(self) -> None:
        self.cells: Int[ndarray, "N 2"] = np.zeros((0, 2), np.int32)

    def add(self, xyz: Float[ndarray, "N 3"]) -> None:
        """The points of a frame in the static frame, metres."""
        if not len(xyz) or len(self.cells) >= _MAX_CELLS:
            return
        height = xyz[:, 2] - np.percentile(xyz[:, 2], 1)
        chosen = xyz[(height > _LOW_M) & (height < _HIGH_M), :2]
        cells = np.floor(chosen / CELL_M).astype(np.int32)
        self.cells = np.unique(np.concatenate([self.cells, cells]), axis=0)


def age_text(object_: MapObject, now_ns: int) -> str:
    """How long ago something was seen, in short words; for what is gone, since when it is."""
    since = object_.last_ns if object_.gone_ns is None else object_.gone_ns
    seconds = max(1e-9 * (now_ns - since), 0.0)
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def draw_map(
    objects: Sequence[MapObject], now_ns: int, path: str | Path, title: str, plan: Plan
) -> Path:
    """Write a PNG (or what the ending of `path` says) and return its path."""
    figure = Figure(figsize=(11, 10), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_title(title)
    axis.set_xlabel("x (m)")
    axis.set_ylabel("y (m)")
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(True, linewidth=0.3, alpha=0.5)
    x, y = (plan.cells.T + 0.5) * CELL_M
    axis.scatter(x, y, s=1.5, c="0.75", linewidths=0, rasterized=True)
    for each in objects:
        color, is_gone = class_color(each.class_name), each.gone_ns is not None
        corners = bev_corners(Boxes3D.from_array(torch.from_numpy(each.box[None])))[0].numpy()
        fill = (*color, 0.0 if is_gone else 0.25)
        line = "--" if is_gone else "-"
        axis.add_patch(Polygon(corners, facecolor=fill, edgecolor=color, linestyle=line))
        state = "gone for " if is_gone else ""
        text = f"{each.identity} {each.class_name}\n{state}{age_text(each, now_ns)}"
        x, y = each.box[:2].tolist()
        axis.text(x, y, text, fontsize=8, ha="center", va="center", clip_on=True)
    axis.autoscale_view()
    handles = [
        Patch(color=class_color(n), label=n) for n in sorted({o.class_name for o in objects})
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 12))
    figure.savefig(path, dpi=100)
    return Path(path)
