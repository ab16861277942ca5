"""The trade-off study as a page and a plot for the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

PAGE = """# Which network a robot should run

Written by `benchmark/trade_off.py`; figures in `trade_off.json`. All candidates were trained
alike: {steps} steps of {scenes_a_step} scenes on procedural rooms, one seed, a fraction of what
the weights that ship have seen. Accuracy is on {held_out} held-out procedural scenes (synthetic:
half single RGB-D frames, half fused scans). Differences of one point are noise, and so short a
training favours networks that learn fast: the weights that ship, *grown* trained for many times
as long, have AP25 {shipped_ap25:.1f} and AP50 {shipped_ap50:.1f} on {shipped_scenes:.0f} of
these scenes.

Times are medians in milliseconds from cloud bytes to boxes for 50,000 points, candidates timed in
turn in one process, {threads} threads of {cpu}
({sgemm_gflops} GFLOP/s in a dense product). A *frame* is what a camera sees; a *room* spreads the
same number of points over all surfaces of a furnished room, which makes more work. *In bytes* are
both with `backend: int8`, where the CPU has VNNI.

| network | AP25 | AP50 | frame, ms | room, ms | in bytes, ms | memory, MB | size | what it is |
|---|---|---|---|---|---|---|---|---|
{rows}

![accuracy against time](trade_off.png)
"""
ROW = (
    "| {name} | {ap25:.1f} | {ap50:.1f} | {frame_auto_ms:.0f} | {room_auto_ms:.0f} | {in_bytes} "
    "| {peak_rss_mb} "
    "| {millions:.1f} M | {meaning} |"
)


def write_page(study: dict[str, Any], folder: Path) -> None:
    """Write trade_off.md and trade_off.png."""
    rows = [_readable(row) for row in study["candidates"]]
    lines = [ROW.format(**row, millions=row["parameters"] / 1e6) for row in rows]
    facts = {key: study[key] for key in ("steps", "scenes_a_step", "held_out")}
    facts |= {
        "shipped_ap25": 100 * study["shipped"]["rooms_map25"],
        "shipped_ap50": 100 * study["shipped"]["rooms_map50"],
        "shipped_scenes": study["shipped"]["rooms_scenes"],
    }
    page = PAGE.format(rows="\n".join(lines), **facts, **study["machine"])
    (folder / "trade_off.md").write_text(page, "utf-8")
    _plot(rows, folder / "trade_off.png")


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    in_bytes = ", ".join(
        f"{row[key]:.0f}" for key in ("frame_int8_ms", "room_int8_ms") if key in row
    )
    return {**row, "ap25": 100 * row["ap25"], "ap50": 100 * row["ap50"], "in_bytes": in_bytes}


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, scene in zip(figure.subplots(1, 2, sharey=True), ("frame", "room"), strict=True):
        for row in rows:
            axes.plot(row[f"{scene}_auto_ms"], row["ap50"], "o", color="tab:blue")
            place = (row[f"{scene}_auto_ms"], row["ap50"])
            axes.annotate(row["name"], place, xytext=(5, 5), textcoords="offset points")
        for rate in (30, 15):
            axes.axvline(1e3 / rate, color="0.6", linestyle="--")
            axes.text(
                1e3 / rate,
                0.93 if rate == 30 else 0.87,
                f" {rate} a second",
                transform=axes.get_xaxis_transform(),
            )
        axes.margins(0.15)
        axes.set(
            xscale="log",
            xlim=(15, 1000),
            xlabel="ms per frame",
            title=f"50,000 points of a {scene}",
        )
        axes.xaxis.set_major_locator(FixedLocator([20, 50, 100, 200, 500]))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    figure.axes[0].set_ylabel("AP50 on held-out rooms, %")
    figure.savefig(path, dpi=120)
