"""The log of a run: a CSV file whose first column is `step`, with a row every few steps.

A row that a power cut has cut short is not read, and what a resumed run does again replaces what
stands there. A column without a figure is left blank.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sr3d_core.whole_files import write_whole


def whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end, none where there is no such file.

    A power cut may leave a line cut short, or bytes that nobody wrote.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = [line.removesuffix("\r") for line in text.split("\n")[:-1]]
    return [line for line in lines if line.isprintable() and "\ufffd" not in line]


def logged(path: Path, last_step: int = sys.maxsize) -> tuple[list[str], list[list[str]]]:
    """The head of a log and its whole rows up to a step; nothing where it is no log."""
    head, *rows = [*csv.reader(whole_lines(path))] or [[]]
    if head[:1] != ["step"]:
        return [], []
    whole = [row for row in rows if len(row) == len(head) and row[0].isdigit()]
    return head, [row for row in whole if int(row[0]) <= last_step]


def logged_figures(path: Path) -> list[dict[str, float]]:
    """The rows of a log by column; NaN where there is no figure."""
    head, rows = logged(path)
    numbers = ([float(value) if value else math.nan for value in row] for row in rows)
    return [dict(zip(head, row, strict=True)) for row in numbers]


def log_until(path: Path, last_step: int, more: Sequence[str] = ()) -> bytes:
    """A log without the rows that a resumed run will write again, or that were cut short.

    With `more` it has these columns as well, blank so far: an older version may lack some.
    """
    text = io.StringIO(newline="")
    head, kept = logged(path, last_step)
    if kept:
        lacking = [name for name in more if name not in head]
        rows = [[*row, *[""] * len(lacking)] for row in kept]
        csv.writer(text).writerows([[*head, *lacking], *rows])
    return text.getvalue().encode()


def _head(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def append_row(path: Path, row: Mapping[str, str]) -> str:
    """Append a row to a log, which gets the columns that it lacks; returns what went wrong."""
    try:
        head = _head(path)
        if head and not row.keys() <= {*head}:  # a term that is learnt from now on
            write_whole({path: log_until(path, sys.maxsize, [*row])})
            head = _head(path)
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if not head:
                writer.writerow(row)
            writer.writerow(row.get(name, "") for name in head or row)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror}); make room"
    return ""
