"""The figures of `sr3d bag eval` as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from sr3d_ros.bag.words import difference_words, number, share

if TYPE_CHECKING:
    from sr3d_ros.bag.compare import Comparison
    from sr3d_ros.bag.figures.objects import ObjectFigures

MAX_ROWS = 15
"""How many objects are shown; the file of --json has all."""


def object_table(objects: Sequence[ObjectFigures]) -> Table:
    """One row for each object, those found least first."""
    worst = sorted(objects, key=lambda each: each.recall)[:MAX_ROWS]
    of = f" (the {MAX_ROWS} found least)" if len(objects) > MAX_ROWS else ""
    table = Table(title=f"{len(objects)} objects{of}")
    for heading in (
        *("object", "class", "in view", "found", "after s", "IoU", "size error", "flickers"),
        "jitter cm",
    ):
        is_text = heading in ("object", "class")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for each in worst:
        table.add_row(
            each.object_,
            each.class_name,
            str(each.num_in_view),
            share(each.recall),
            number(each.first_found_after_s, ".1f"),
            number(each.median_iou, ".2f"),
            number(each.size_error, ".2f"),
            str(each.num_flickers),
            number(None if each.jitter is None else each.jitter.center_cm, ".1f"),
        )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """One row for each class that both know and that is there, and one for their mean."""
    differences = comparison.differences
    table = Table(title=f"{comparison.model} against the first, AP (%) and difference [95 %]")
    table.add_column("class")
    for heading in ("AP25", "difference", "AP50", "difference"):
        table.add_column(heading, justify="right")
    for name, pair in (*differences.there.items(), ("mean", differences.mean)):
        table.add_row(name, *(cell for each in pair for cell in difference_words(each)))
    return table
