"""Lines of numbers, and the line that is wrong where one is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.raw import CloudFileError, unix_lines


class Rows:
    """The lines of a text that are not blank, and where they stand in the file."""

    def __init__(self, text: bytes, first_line: int = 1) -> None:
        self._all = unix_lines(text).split(b"\n")
        self._first_line = first_line
        self.lines = [line for line in self._all if line and not line.isspace()]

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, index: int) -> str:
        """Where a line stands and how it begins."""
        numbers = (i for i, line in enumerate(self._all, self._first_line) if line.strip())
        number = next(number for count, number in enumerate(numbers) if count == index)
        return f"line {number} ({self.lines[index][:40].decode('utf-8', 'replace').strip()!r})"

    def numbers(
        self,
        path: Path,
        expected: str,
        *,
        width: int | None = None,
        delimiter: str | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> NDArray[np.float64]:
        """The numbers (N,width) of some of the lines; `expected` says what a line holds.

        Without `width`, all lines hold as many as the first. Raises CloudFileError with the first
        line that holds something else.
        """
        chosen = self.lines[start:stop]
        if not chosen:
            return np.zeros((0, width or 3))
        try:
            table = np.loadtxt(chosen, np.float64, comments=None, delimiter=delimiter, ndmin=2)
        except ValueError:
            table = None
        if table is not None and width in (None, table.shape[1]):
            return table
        index = _first_wrong(chosen, delimiter, width)
        where = "a line" if index is None else self.place(start + index)
        raise CloudFileError(f"{path}: {where} is no point, expected {expected}; correct it")

    def typed(self, kinds: Sequence[str], start: int, stop: int) -> list[NDArray] | None:
        """The columns of some of the lines in types of their own, faster for integers.

        None where a line holds something else, like 21.0 for an integer.
        """
        dtype = np.dtype([(str(index), kind) for index, kind in enumerate(kinds)])
        try:
            with warnings.catch_warnings():
                # NumPy 1 reads 0.5 as the integer 0 and warns.
                warnings.simplefilter("error", DeprecationWarning)
                rows = np.loadtxt(self.lines[start:stop], dtype, comments=None, ndmin=1)
        except (ValueError, DeprecationWarning):
            return None
        return [rows[str(index)] for index in range(len(kinds))]


def _first_wrong(lines: list[bytes], delimiter: str | None, width: int | None) -> int | None:
    """The first line that has not `width` numbers, or as many as the first one."""
    separator = None if delimiter is None else delimiter.encode()
    width = len(lines[0].split(separator)) if width is None else width
    for index, line in enumerate(lines):
        fields = line.split(separator)
        if len(fields) != width or not all(is_number(field) for field in fields):
            return index
    return None


def is_number(field: bytes) -> bool:
    """Whether a field is one number, as NumPy reads it."""
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field  # Python allows 1_000
