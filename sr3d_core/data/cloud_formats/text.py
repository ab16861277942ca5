"""Clouds as text: TXT, XYZ, XYZRGB, XYZN, PTS, CSV.

One point a line; blanks, tabs, commas or semicolons between numbers. A first line of names says
what the columns are, in a comment too; without one their number does, as where the names are the
numbers 0, 1, 2 of the columns. Decimal commas are read where they cannot be separators; what can
be both is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.columns import (
    cloud_of_columns,
    columns_of_table,
    is_known,
    named,
)
from sr3d_core.data.cloud_formats.raw import (
    CloudFileError,
    RawCloud,
    check_count,
    unix_lines,
    without_mark,
)
from sr3d_core.data.cloud_formats.rows import Rows, is_number

_SEPARATORS = re.compile(rb"[,;\s]+")
_EXCEL_LINE = re.compile(rb"sep=(.)[,;\t]*", re.IGNORECASE)
_MAY_BE_ONE = re.compile(rb"[+-]?(?:\d+,\d+|\d{1,3}(?:,\d{3})+(?:\.\d*)?)")
"""What may be one number with a decimal comma or with thousands, or several numbers."""
_EXPECTED = "numbers: x y z, perhaps with colors"
_NUM_SAMPLED = 1000  # lines that are looked at for separators and decimal commas
_PTS_COLUMNS = {
    3: "x y z",
    4: "x y z intensity",
    6: "x y z red green blue",
    7: "x y z intensity red green blue",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The numbers of a text, and what the lines before them say."""

    numbers: NDArray[np.float64]
    names: list[str] | None
    note: str


@dataclass(slots=True)
class _Lead:
    """The lines before the first numbers."""

    end: int  # where the numbers start
    num_lines: int = 0
    separator: str | None = None
    heading: bytes | None = None
    comment: bytes = b""


def read_text(path: Path, data: bytes) -> RawCloud:
    """The points of a text; raises CloudFileError."""
    table = _read_table(path, _text(path, data))
    if table.names is not None:
        return cloud_of_columns(path, named(table.names, table.numbers), table.note)
    columns, note = columns_of_table(path, table.numbers)
    return cloud_of_columns(path, columns, "; ".join(filter(None, (table.note, note))))


def read_xyzn(path: Path, data: bytes) -> RawCloud:
    """Text as above, x y z and a normal where no heading says otherwise."""
    table = _read_table(path, _text(path, data))
    num_columns = table.numbers.shape[1]
    if table.names is None and len(table.numbers) and num_columns != 6:
        raise CloudFileError(
            f"{path}: {num_columns} columns, expected 6 (x y z nx ny nz); rename it to .txt "
            "where it holds no normals"
        )
    names = table.names or ["x", "y", "z", "nx", "ny", "nz"][:num_columns]
    return cloud_of_columns(path, named(names, table.numbers), table.note)


def read_pts(path: Path, data: bytes) -> RawCloud:
    """A line with the number of points, then x y z, perhaps intensity, perhaps r g b a line."""
    text = _text(path, data)
    lead = _lead(path, text)
    first = text[lead.end :].partition(b"\n")[0]
    if lead.heading is not None or not first.strip().isdigit():
        found = (lead.heading or first)[:40].decode("utf-8", "replace")
        raise CloudFileError(f"{path}: starts with {found!r}, expected the number of points")
    after = lead.end + len(first) + 1
    table = _read_table(path, text[after:], lead.num_lines + 1)
    check_count(path, len(table.numbers), int(first), "its first line")
    names = table.names or _PTS_COLUMNS.get(table.numbers.shape[1])
    if names is None:
        raise CloudFileError(
            f"{path}: {table.numbers.shape[1]} columns, expected one of "
            f"{', '.join(_PTS_COLUMNS.values())}"
        )
    return cloud_of_columns(path, named(names, table.numbers), table.note)


def _text(path: Path, data: bytes) -> bytes:
    """The text with plain line ends and without quotes; raises CloudFileError."""
    text = unix_lines(without_mark(path, data))
    if b"\0" in text:
        raise CloudFileError(
            f"{path}: holds zero bytes, expected text; is it binary, or UTF-16 without a mark? "
            "save it as UTF-8"
        )
    if b'"' not in text:
        return text
    quoted = next((q for q in re.finditer(rb'"([^"\n]*)"', text) if b"," in q[1]), None)
    if quoted is not None and is_number(quoted[1].replace(b",", b"")):
        line = text.count(b"\n", 0, quoted.start()) + 1
        raise CloudFileError(
            f"{path}: line {line}: {quoted[0].decode('utf-8', 'replace')} may be a decimal comma "
            "or thousands, expected a number; write a decimal point"
        )
    return text.replace(b'"', b"")


def _read_table(path: Path, text: bytes, num_before: int = 0) -> _Table:
    lead = _lead(path, text, num_before)
    body = text[lead.end :]
    if b"#" in body or b"//" in body:
        body = re.sub(rb"(?m)(?:#|^[ \t]*//).*$", b"", body)
    if not body.strip():
        return _Table(np.zeros((0, 3)), None, "")
    sample = Rows(_first_lines(body), num_before + lead.num_lines + 1)
    separator, note = _separator(path, lead, sample)
    counting = _numbers_of_columns(sample, separator) if lead.heading is None else b""
    if counting:  # its line stays, so that those that follow keep their place
        body = body.replace(counting, b"", 1)
    if separator != "," and b"," in body:
        body = body.replace(b",", b"." if note else b" ")
    if separator is not None and body.partition(b"\n")[0].rstrip().endswith(separator.encode()):
        body = re.sub(rb"[ \t]*" + separator.encode() + rb"[ \t]*$", b"", body, flags=re.MULTILINE)
    rows = Rows(body, num_before + lead.num_lines + 1)
    numbers = rows.numbers(path, _EXPECTED, delimiter=separator)
    if counting:
        taken = f"{counting.decode().strip()} taken as numbers of columns; write a point as 0.0"
        note = "; ".join(filter(None, (taken, note)))
    return _Table(numbers, _names(path, lead, separator, numbers.shape[1]), note)


def _lead(path: Path, text: bytes, num_before: int = 0) -> _Lead:
    """What stands before the first line of numbers; raises CloudFileError where it is prose."""
    lead = _Lead(0)
    while lead.end < len(text):
        end = text.find(b"\n", lead.end)
        end = len(text) if end < 0 else end
        line = text[lead.end : end].strip()
        words = [word for word in _SEPARATORS.split(line) if word]
        excel = _EXCEL_LINE.fullmatch(line)
        if excel and lead.heading is None:
            lead.separator = excel[1].decode("latin-1")
        elif line.startswith((b"#", b"//")):
            lead.comment = line.lstrip(b"#/")
        elif words and all(is_number(word) for word in words):
            break
        elif words and lead.heading is not None:
            raise CloudFileError(
                f"{path}: line {num_before + lead.num_lines + 1}: "
                f"{line[:40].decode('utf-8', 'replace')!r} is no point, expected {_EXPECTED}"
            )
        elif words:
            lead.heading = line
        lead.end, lead.num_lines = end + 1, lead.num_lines + 1
    if lead.heading is not None and not text[lead.end :].strip():
        found = lead.heading[:40].decode("utf-8", "replace")
        raise CloudFileError(f"{path}: the text {found!r} is no point, expected {_EXPECTED}")
    return lead


def _first_lines(body: bytes) -> bytes:
    return b"\n".join(body.split(b"\n", _NUM_SAMPLED)[:_NUM_SAMPLED])


def _numbers_of_columns(sample: Rows, separator: str | None) -> bytes:
    """A first line that counts the columns, as programs write it above columns without names.

    Points have decimals; a first one that is written without them is no point.
    """
    mark = None if separator is None else separator.encode()
    first, *others = ([field.strip() for field in line.split(mark)] for line in sample.lines)
    is_counting = len(first) > 2 and first == [b"%d" % index for index in range(len(first))]
    has_decimals = (any(re.search(rb"[.,eE]", field) for field in row) for row in others)
    is_found = is_counting and others and len(others[0]) == len(first) and all(has_decimals)
    return sample.lines[0] if is_found else b""


def _separator(path: Path, lead: _Lead, sample: Rows) -> tuple[str | None, str]:
    """What separates numbers, None = blanks, and a note where commas are decimal."""
    lines = [line.strip(b" \t,;") for line in sample.lines]
    has_comma = any(b"," in line for line in lines)
    if lead.separator in (",", ";", "\t"):
        separator = lead.separator if lead.separator != "\t" else None
    elif any(b";" in line for line in lines):
        separator = ";"
    elif has_comma and not _has_decimal_commas(path, sample, lines):
        is_mixed = any(re.search(rb"[^\s,][ \t]+[^\s,]", line) for line in lines)
        if is_mixed:
            _refuse(path, sample, (any(map(_MAY_BE_ONE.fullmatch, r.split())) for r in lines))
        return (None if is_mixed else ","), ""
    else:
        separator = None
    return separator, "commas taken as decimal" if has_comma and separator != "," else ""


def _has_decimal_commas(path: Path, sample: Rows, lines: list[bytes]) -> bool:
    """Whether blanks separate numbers with a comma in them; raises where it cannot be told."""
    if any(b"." in line for line in lines):
        return False
    fields = [line.split() for line in lines]
    if any(re.search(rb",.*,|^,|,$", field) for row in fields for field in row):
        return False
    _refuse(path, sample, (len(row) == 2 for row in fields))
    return all(len(row) > 2 for row in fields)


def _refuse(path: Path, sample: Rows, is_unclear: Iterable[bool]) -> None:
    """Raise CloudFileError for the first line whose commas may mean two things."""
    index = next((index for index, is_one in enumerate(is_unclear) if is_one), None)
    if index is not None:
        raise CloudFileError(
            f"{path}: {sample.place(index)} has commas and blanks, expected one separator; "
            "write decimal points, or the same separator everywhere"
        )


def _names(path: Path, lead: _Lead, separator: str | None, num_columns: int) -> list[str] | None:
    """Names of the columns; raises CloudFileError where there are not as many."""
    if lead.heading is None:
        words = _words(lead.comment)
        others = [word for word in words if word.lower() not in ("x", "y", "z")]
        # A sentence may speak of x, y and z, but hardly of other columns.
        is_heading = 2 * sum(map(is_known, others)) >= len(others) == num_columns - 3
        return words if is_heading and len(words) == num_columns else None
    text = lead.heading.decode("utf-8", "replace")
    names = text.rstrip(",;").split(separator) if separator else text.split()
    if len(names) != num_columns:
        names = _words(lead.heading)
    if len(names) != num_columns:
        raise CloudFileError(
            f"{path}: the heading {text[:60]!r} names {len(names)} columns, but lines have "
            f"{num_columns} numbers; name each, or put # before a line that is no heading"
        )
    return names


def _words(line: bytes) -> list[str]:
    return [word.decode("utf-8", "replace") for word in _SEPARATORS.split(line) if word]
