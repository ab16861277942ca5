"""Write the table of furniture sizes in docs/rooms.md: our generator beside published means.

    .venv/bin/python make/rooms_reference.py

The published means are those of benchmark/foreign/furniture.yaml; ours are drawn from the makers
of the rooms with a fixed seed. A mean outside our 5 to 95 % range is set in bold, and so is a
range that is narrower than `WIDE_ENOUGH` unless `EXCUSED` says why. A test compares the committed
page with what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmark"), str(ROOT / "make")]

from foreign.table import AXES, TABLE, ClassOfModels, read_table  # noqa: E402
from robot_reference import replaced  # noqa: E402

from sr3d_core.data.rooms.furniture.classes import ARCHETYPES, LABELS, make  # noqa: E402

PAGE = ROOT / "docs" / "rooms.md"
MARKS = (
    "<!-- sizes: made by make/rooms_reference.py -->\n\n",
    "\n<!-- end of sizes -->",
)
NUM_PIECES = 400
WIDE_ENOUGH = 1.8
"""Largest over smallest (95 over 5 %): what furniture varies by in real rooms, per axis."""

EXCUSED: dict[tuple[str, str], str] = {
    ("bed", "depth"): "people are 1.5 to 2 m long, and mattresses 1.7 to 2.2 m",
    ("toilet", "width"): "bowls and seats are 32 to 45 cm wide, tanks up to 56 cm",
    (
        "door",
        "height",
    ): "leaves are 1.9 to 2.3 m high; scans cut them off at the top, so that their mean is lower",
    ("picture", "depth"): "boxes of thin things are 5 cm deep",
    (
        "shower_curtain",
        "height",
    ): "they hang from rods at 1.8 to 2.1 m to just above the tub or floor",
}
"""Axes along which real furniture varies by less, or is measured otherwise, and why."""

_SUN, _SCANNET = "sun_rgbd", "scannet"


def drawn_sizes(name: str, seed: int = 0) -> np.ndarray:
    """Depth, width, height of pieces of our own makers, one row each."""
    rng = np.random.default_rng((seed, LABELS.index(name)))
    makers = ARCHETYPES[name]
    return np.array(
        [make(name, rng, makers[rng.integers(len(makers))]).size for _ in range(NUM_PIECES)]
    )


def sizes_table() -> str:
    """The table for all classes."""
    table = read_table(TABLE, LABELS)
    head = (
        "| class | | ours: median (5 to 95 %) | 95 / 5 % | SUN RGB-D | ScanNet |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
    )
    rows = [
        row for name in LABELS for row in class_rows(name, table.classes[name], drawn_sizes(name))
    ]
    return head + "".join(rows) + "\nNarrower, as real ones are:\n\n" + reasons()


def reasons() -> str:
    """Why some ranges are narrow, one line each."""
    return "".join(f"- {name}, {axis}: {why}.\n" for (name, axis), why in EXCUSED.items())


def class_rows(name: str, published: ClassOfModels, sizes: np.ndarray) -> list[str]:
    """Three rows: depth, width, height; and ScanNet's mean of both sides on one of its own."""
    sun, scannet = published.published.get(_SUN), published.published.get(_SCANNET)
    sides = sizes[:, :2].mean(axis=1)
    rows = []
    for k, axis in enumerate(AXES):
        means = [None if sun is None else sun[k], None]
        if axis == "height" and scannet is not None:
            means[1] = scannet[k]
        cell = name if k == 0 else ""
        row = _row(cell, axis, sizes[:, k], means)
        rows.append(row.replace("**", "") if (name, axis) in EXCUSED else row)
    if scannet is not None:
        mean = (scannet[0] + scannet[1]) / 2
        rows.append(_row("", "both sides", sides, [None, mean], least_width=1.0))
    return rows


def _row(
    name: str,
    axis: str,
    values: np.ndarray,
    means: list[float | None],
    least_width: float = WIDE_ENOUGH,
) -> str:
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
    wide = _marked(f"{high / low:.2f}", is_fault=bool(high / low < least_width))
    cells = [_mean(mean, low, high) for mean in means]
    ours = f"{median:.2f} ({low:.2f} to {high:.2f})"
    return f"| {name} | {axis} | {ours} | {wide} | {' | '.join(cells)} |\n"


def _mean(mean: float | None, low: float, high: float) -> str:
    if mean is None:
        return ""
    return _marked(f"{mean:.2f}", is_fault=not low <= mean <= high)


def _marked(text: str, *, is_fault: bool) -> str:
    return f"**{text}**" if is_fault else text


def files() -> dict[Path, str]:
    """The page with what it should hold."""
    return {PAGE: replaced(PAGE.read_text(encoding="utf-8"), MARKS, sizes_table())}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
