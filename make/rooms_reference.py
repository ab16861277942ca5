"""Write the table of furniture sizes in docs/rooms.md: our generator beside published means.

    .venv/bin/python make/rooms_reference.py

The published means are those of benchmark/foreign/furniture.yaml; ours are drawn from the makers
of the rooms with a fixed seed. A mean outside our 5 to 95 % range, and a range that is narrower
than `WIDE_ENOUGH`, are set in bold. A test compares the committed page with what this makes.
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
NUM_PIECES = 600
WIDE_ENOUGH = 1.8
"""Largest over smallest (95 over 5 %): what furniture varies by in real rooms, per axis."""

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
    return head + "".join(
        row for name in LABELS for row in class_rows(name, table.classes[name], drawn_sizes(name))
    )


def class_rows(name: str, published: ClassOfModels, sizes: np.ndarray) -> list[str]:
    """Three rows: depth, width, height; and ScanNet's mean of both sides on one of its own."""
    sun, scannet = published.published.get(_SUN), published.published.get(_SCANNET)
    sides = sizes[:, :2].mean(axis=1)
    rows = []
    for k, axis in enumerate(AXES):
        means = [None if sun is None else sun[k], None]
        if axis == "height" and scannet is not None:
            means[1] = scannet[k]
        rows.append(_row(name if k == 0 else "", axis, sizes[:, k], means))
    if scannet is not None:
        rows.append(_row("", "both sides", sides, [None, (scannet[0] + scannet[1]) / 2]))
    return rows


def _row(name: str, axis: str, values: np.ndarray, means: list[float | None]) -> str:
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
    wide = _marked(f"{high / low:.2f}", is_fault=bool(high / low < WIDE_ENOUGH))
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
