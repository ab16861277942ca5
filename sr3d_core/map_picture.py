"""A plan of a map of objects: boxes from above with identity, class and age.

What is gone is dashed; what the frames saw stands below in grey. Drawn with matplotlib, without a
display; it is imported where it draws, because a map without a picture needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.colors import class_color
from sr3d_core.geometry.boxes import bev_corners
from sr3d_core.memory.object_map import MapObject
from sr3d_core.structures import Boxes3D
from sr3d_core.whole_files import naming

CELL_M = 0.05
"""Edge of the cells of the plan that is drawn below the boxes."""

_LOW_M, _HIGH_M = 0.1, 2.0  # over the floor: walls and furniture, no ceiling
_MAX_CELLS = 1_000_000
_RIM_M = 0.5
_LONGEST_IN, _SHORTEST_IN = 11.0, 4.0


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


def require_picture(path: Path) -> None:
    """Raise ValueError for an ending that cannot be drawn, before the work starts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if path.suffix[1:].lower() not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(f"{path}: ending {path.suffix!r}, expected .png, .jpg, .pdf or .svg")


def draw_map(
    objects: Sequence[MapObject], now_ns: int, path: str | Path, title: str, plan: Plan
) -> Path:
    """Write a PNG (or what the ending of `path` says) and return its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Polygon
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    corners = [_corners(each) for each in objects]
    low, high = _limits(corners, plan)
    width, height = _LONGEST_IN * (high - low) / (high - low).max()
    size = (max(width, _SHORTEST_IN), max(height, _SHORTEST_IN) + 1.0)  # and title and legend
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_title(title if objects else f"{title} (none found)", wrap=True)
    axis.set_xlabel("x (m)")
    axis.set_ylabel("y (m)")
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axis.grid(True, linewidth=0.3, alpha=0.5)
    x, y = (plan.cells.T + 0.5) * CELL_M
    edge = 72 * CELL_M * _LONGEST_IN / (high - low).max()  # of a cell, points
    axis.scatter(x, y, s=max(edge, 1.0) ** 2, c="0.8", marker="s", linewidths=0, rasterized=True)
    for each, outline in zip(objects, corners, strict=True):
        color, is_gone = class_color(each.class_name), each.gone_ns is not None
        fill = (*color, 0.0 if is_gone else 0.35)
        line = "--" if is_gone else "-"
        axis.add_patch(
            Polygon(outline, facecolor=fill, edgecolor=color, linestyle=line, linewidth=1.5)
        )
        age = age_text(each, now_ns)
        text = f"{each.identity} {each.class_name}\n" + (
            f"gone for {age}" if is_gone else f"seen {age} ago"
        )
        x, y = each.box[:2].tolist()
        where: dict[str, Any] = {"ha": "center", "va": "center", "clip_on": True}
        axis.text(x, y, text, fontsize=8, path_effects=halo, **where)
    handles = [
        Patch(color=class_color(n), label=n) for n in sorted({o.class_name for o in objects})
    ]
    if any(each.gone_ns is not None for each in objects):
        handles.append(Patch(facecolor="none", edgecolor="0.3", linestyle="--", label="gone"))
    if handles:
        columns = min(len(handles), max(int(size[0]), 1))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    with naming(Path(path)):
        figure.savefig(path, dpi=100, bbox_inches="tight")  # no rim round a narrow plan
    return Path(path)


def _corners(object_: MapObject) -> Float[ndarray, "4 2"]:
    box = Boxes3D.from_array(torch.from_numpy(object_.box[None]))
    corners: Float[ndarray, "4 2"] = bev_corners(box)[0].numpy()
    return corners


def _limits(
    corners: Sequence[Float[ndarray, "4 2"]], plan: Plan
) -> tuple[Float[ndarray, " 2"], Float[ndarray, " 2"]]:
    """The rectangle that holds all boxes and the plan, with room for labels at its rim; metres."""
    known = [*corners, *([plan.cells * CELL_M] if len(plan.cells) else [])]
    places = np.concatenate(known or [np.zeros((1, 2))])
    return places.min(axis=0) - _RIM_M, places.max(axis=0) + _RIM_M
