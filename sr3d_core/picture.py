"""A picture of a scene: the cloud from above and from the side, boxes with class and score.

Boxes have one color per class (`colors`), or one for what became of them: right, wrong, missed. A
tick points from the centre along the heading. Ground truth, where given, is dashed, what of it is
ignored dotted. Drawn with matplotlib, without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from sr3d_core.colors import class_color
from sr3d_core.geometry.boxes import corners
from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Targets

_DPI = 100
_MAX_POINTS = 60_000
_CEILING_M = 2.1
"""From above, points higher than this over the floor are hidden: a ceiling would hide the rest."""


def draw_detections(
    cloud: PointCloud,
    detections: Detections,
    classes: Sequence[str],
    path: str | Path,
    title: str = "",
    truth: Targets | None = None,
) -> Path:
    """Write a PNG (or what the ending of `path` says) and return its path."""
    _scene_of(cloud, detections, classes, title, truth).write(path, dpi=_DPI)
    return Path(path)


def pixels_of(
    cloud: PointCloud, detections: Detections, classes: Sequence[str], title: str = ""
) -> UInt8[np.ndarray, "H W 3"]:
    """The same picture as pixels, red green blue; both sides are even numbers."""
    return _scene_of(cloud, detections, classes, title, None).pixels()


def _scene_of(
    cloud: PointCloud,
    detections: Detections,
    classes: Sequence[str],
    title: str,
    truth: Targets | None,
) -> _Scene:
    scene = _Scene(cloud, title or f"objects: {len(detections)}")
    if truth is not None:
        scene.add(truth.boxes, [""] * len(truth), _names(truth, classes), "--")
        if truth.ignored is not None:
            ignored = truth.ignored
            scene.add(ignored.boxes, [""] * len(ignored), _names(ignored, classes), ":")
    scene.add(detections.boxes, _texts(detections, classes), _names(detections, classes), "-")
    return scene


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of the boxes of a scene."""

    right: Detections
    wrong: Detections
    missed: Targets


def outcome_picture(
    cloud: PointCloud, outcome: Outcome, classes: Sequence[str], title: str
) -> bytes:
    """A JPEG, about 1050 x 560 pixels."""
    scene = _Scene(cloud, title)
    missed = [f"{name} missed" for name in _names(outcome.missed, classes)]
    scene.add(outcome.missed.boxes, missed, ["missed"] * len(missed), "--")
    for name, found in (("wrong", outcome.wrong), ("right", outcome.right)):
        scene.add(found.boxes, _texts(found, classes), [name] * len(found), "-")
    written = BytesIO()
    scene.write(written, dpi=70, format="jpg", pil_kwargs={"quality": 75})
    return written.getvalue()


_OUTCOME_COLORS = {"right": (0.1, 0.6, 0.2), "wrong": (0.85, 0.45, 0.0), "missed": (0.8, 0.0, 0.1)}


class _Scene:
    """A figure with two views of one cloud."""

    def __init__(self, cloud: PointCloud, title: str) -> None:
        self.figure = Figure(figsize=(15, 8), dpi=_DPI, layout="constrained", facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self.figure.suptitle(plain(title), fontsize=13)
        self.above, self.side = self.figure.subplots(1, 2)
        self._names: set[str] = set()
        self._draw_points(cloud)

    def add(self, boxes: Boxes3D, texts: list[str], names: list[str], line: str) -> None:
        """Outline boxes in both views; `names` give the colors."""
        self._names |= set(names)
        outlines = corners(boxes.to("cpu")).numpy()
        for row, (text, name) in enumerate(zip(texts, names, strict=True)):
            points, color = outlines[row], _color(name)
            _outline(self.above, points[:, :2], color, line)
            _outline(self.side, points[:, [0, 2]], color, line)
            center, half = boxes.center[row].tolist(), float(boxes.size[row, 0]) / 2
            yaw = float(boxes.yaw[row])
            tip = (center[0] + half * np.cos(yaw), center[1] + half * np.sin(yaw))
            self.above.plot([center[0], tip[0]], [center[1], tip[1]], color=color, linewidth=1.2)
            _write(self.above, center[0], center[1], text, color)
            _write(self.side, center[0], float(points[:, 2].max()), text, color)

    def write(self, path: str | Path | BytesIO, **how: Any) -> None:
        """Finish the figure and save it; `how` as matplotlib's `savefig`."""
        self._finish()
        self.figure.savefig(path, **how)

    def pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        """Finish the figure and draw it."""
        self._finish()
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3]

    def _finish(self) -> None:
        axes = ((self.above, "from above", "y (m)"), (self.side, "from the side", "z (m)"))
        for axis, heading, vertical in axes:
            axis.set_title(heading)
            axis.set_xlabel("x (m)")
            axis.set_ylabel(vertical)
            axis.set_aspect("equal", adjustable="datalim")
            axis.grid(True, linewidth=0.3, alpha=0.5)
        handles = [Patch(color=_color(name), label=plain(name)) for name in sorted(self._names)]
        if handles:
            columns = min(len(handles), 12)
            self.figure.legend(handles=handles, loc="outside lower center", ncols=columns)

    def _draw_points(self, cloud: PointCloud) -> None:
        chosen = thinned(cloud, _MAX_POINTS).to("cpu")
        xyz = chosen.xyz.numpy()
        if len(xyz) == 0:
            return
        color = _point_colors(xyz, chosen.features.numpy())
        size = float(np.clip(60_000 / len(xyz), 0.8, 8.0))
        floor = np.percentile(xyz[:, 2], 1)
        is_low = xyz[:, 2] < floor + _CEILING_M
        upwards = np.argsort(xyz[:, 2])
        upwards = upwards[is_low[upwards]]
        for axis, rows, columns in (
            (self.above, upwards, (0, 1)),
            (self.side, np.argsort(-xyz[:, 1]), (0, 2)),  # seen from -y: far points first
        ):
            x, y = xyz[rows, columns[0]], xyz[rows, columns[1]]
            axis.scatter(x, y, s=size, c=color[rows], linewidths=0, rasterized=True)


def _names(found: Detections | Targets, classes: Sequence[str]) -> list[str]:
    return [classes[label] for label in found.labels.tolist()]


def _texts(found: Detections, classes: Sequence[str]) -> list[str]:
    scores = found.scores.tolist()
    return [
        f"{name} {score:.2f}" for name, score in zip(_names(found, classes), scores, strict=True)
    ]


def _color(name: str) -> tuple[float, float, float]:
    """Of a class, or of what became of a box."""
    return _OUTCOME_COLORS.get(name) or class_color(name)


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: no formula, nothing that its font lacks."""
    shown = "".join(sign if sign.isprintable() and ord(sign) < 256 else "?" for sign in text)
    return shown.replace("$", r"\$")


def _point_colors(xyz: NDArray, rgb: NDArray) -> NDArray:
    """The sensor's colors, or greys by height where it gave none; pale, so boxes stand out."""
    low, high = np.percentile(xyz[:, 2], [1, 99])
    share = np.clip((xyz[:, 2] - low) / max(high - low, 1e-6), 0, 1)
    grey = np.repeat(0.25 + 0.5 * share[:, None], 3, axis=1)
    return np.clip(0.25 + 0.7 * np.where(np.isfinite(rgb), rgb, grey), 0, 1)


def _outline(axis: Axes, points: NDArray, color: tuple[float, float, float], line: str) -> None:
    """The convex outline of projected corners."""
    hull = _convex_hull(points)
    closed = np.concatenate([hull, hull[:1]])
    axis.plot(closed[:, 0], closed[:, 1], line, color=color, linewidth=1.8)


def _convex_hull(points: NDArray) -> NDArray:
    """Corners of the convex hull, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    chains = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for point in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1] if len(chain) > 1 else chain)
    return np.array(chains[0] + chains[1])


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Above 0 where a, b, c turn left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _write(axis: Axes, x: float, y: float, text: str, color: tuple[float, float, float]) -> None:
    halo = [withStroke(linewidth=2.5, foreground="white")]
    dark = tuple(0.6 * channel for channel in color)
    label = axis.annotate(
        plain(text),
        (x, y),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        fontweight="bold",
        color=dark,
        path_effects=halo,
        zorder=5,
    )
    label.set_in_layout(False)  # measuring every text would take longer than drawing it
