"""The figures of a run as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from foreign.table import AXES
from sr3d_core.analysis.answers import TERCILES
from sr3d_core.analysis.confusion import NOTHING, REPORTED

Figures = dict[str, Any]


def tables(study: Figures) -> list[Table]:
    """Everything that a study holds, in percent where it is a share."""
    figures = study["figures"]
    names = list(figures["all"]["per_class"])
    return [
        _precision_table(study, names),
        _slope_table(figures["slopes"], names),
        _confusion_table(figures["confusion"], "of any score"),
        _confusion_table(figures["confusion_reported"], f"of scores from {REPORTED}"),
        _credits_table(study["models"]),
    ]


def _precision_table(study: Figures, names: Sequence[str]) -> Table:
    figures, left_out = study["figures"], study["left_out"]
    parts = ("all", "frame", "scan", *TERCILES)
    table = Table(title=f"AP25 / AP50 over {study['views']} views (%), * = few models")
    table.add_column("class")
    table.add_column("boxes", justify="right")
    for part in parts:
        table.add_column(part, justify="right")
    for name in names:
        cells = [_both(figures[part]["per_class"][name], with_spread=False) for part in parts]
        boxes = f"{figures['all']['per_class'][name]['boxes']['mean']:.0f}"
        table.add_row(f"{name} *" if name in left_out else name, boxes, *cells)
    table.add_section()
    for what, with_spread in (("mean without *", False), ("± over views", True)):
        table.add_row(what, "", *(_both(figures[part], with_spread) for part in parts))
    return table


def _slope_table(slopes: Figures, names: Sequence[str]) -> Table:
    table = Table(title="Slope of predicted over true size (1 is right, 0 is the mean of a class)")
    for heading in ("class", "matched", *AXES):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name in names:
        if name in slopes:
            row = slopes[name]
            cells = [
                f"{_number(row[axis], 'mean', 1, 2)} ±{_number(row[axis], 'sd', 1, 2)}"
                for axis in AXES
            ]
            table.add_row(name, f"{row['n']['mean']:.0f}", *cells)
    return table


def _confusion_table(confusion: Figures, which: str) -> Table:
    """Rows: true classes; what share of their boxes was taken for what."""
    columns = list(next(iter(confusion.values()), {NOTHING: 0}))
    table = Table(title=f"Taken for, by boxes {which} (% of the true boxes of a row)")
    table.add_column("")
    for column in columns:
        table.add_column(column[:6], justify="right")
    for name, row in confusion.items():
        total = sum(count["mean"] for count in row.values())
        shares = [100 * row[column]["mean"] / total for column in columns]
        table.add_row(name, *("·" if share < 0.5 else f"{share:.0f}" for share in shares))
    return table


def _credits_table(models: Sequence[Figures]) -> Table:
    """Whose models these are; the JSON names each."""
    table = Table(title=f"{len(models)} models")
    for heading in ("author", "licence", "models"):
        table.add_column(heading)
    grouped: dict[tuple[str, str], list[str]] = {}
    for model in models:
        grouped.setdefault((model["author"], model["licence"]), []).append(model["id"])
    for (author, licence), identities in sorted(grouped.items()):
        short = ", ".join(identity.partition("#")[2] for identity in identities)
        table.add_row(author, licence, short)
    return table


def _both(row: Figures, with_spread: bool) -> str:
    """AP25 / AP50, or their standard deviations over the views."""
    key = "sd" if with_spread else "mean"
    return " / ".join(_number(row[name], key, 100, 1) for name in ("ap25", "ap50"))


def _number(figure: Figures | None, key: str, scale: float, digits: int) -> str:
    value = None if figure is None else figure[key]
    return "-" if value is None else f"{scale * value:.{digits}f}"
