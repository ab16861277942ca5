"""What every format reader yields, and what it says when it cannot.

Colors come as bytes, 16-bit numbers, 0..1 or 0..255 floats, or one packed integer per point;
here they all become 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class CloudFileError(ValueError):
    """A file cannot be read as a point cloud; the text says where, what, and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RawCloud:
    """Points as they lie in a file: any frame, non-finite points included."""

    xyz: NDArray[np.float64]  # (N,3)
    rgb: NDArray[np.float32] | None  # (N,3) in 0..1
    note: str = ""  # what the user should know about how it was read


def unit_color(path: Path, rgb: NDArray) -> NDArray[np.float32] | None:
    """Colors (N,3) of any type as 0..1; None where all are 0, which is how drivers say unknown.

    8 and 16 bit integers are full-range; other numbers up to 1 are taken as they are, up to 255
    as bytes. Raises CloudFileError where they are neither.
    """
    values = np.asarray(rgb)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0 or not finite.any():
        return None
    low, high = float(finite.min()), float(finite.max())
    if values.dtype == np.uint16:
        full = 65535.0
    elif values.dtype.kind == "f" and high <= 1.0:
        full = 1.0
    else:
        full = 255.0
    if low < 0.0 or high > full:
        raise CloudFileError(
            f"{path}: colors span {low:g}..{high:g}, expected 0..1 or 0..255; "
            "if these columns are not colors, save x y z alone"
        )
    return np.nan_to_num(values.astype(np.float32) / np.float32(full), nan=0.0)


def unpack_color(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Bytes r, g, b (N,3) of colors packed as 0xAARRGGBB."""
    return np.stack([packed >> 16, packed >> 8, packed], axis=1).astype(np.uint8)


def read_header(path: Path, data: bytes, last_keyword: str) -> tuple[list[list[str]], int]:
    """Words of each header line up to the one that starts with `last_keyword`, and its end.

    Raises CloudFileError where no such line comes within the first 64 kB.
    """
    lines: list[list[str]] = []
    start = 0
    while (end := data.find(b"\n", start, 65536)) >= 0:
        words = data[start:end].decode("latin-1").split()
        start = end + 1
        if words:
            lines.append(words)
            if words[0] == last_keyword:
                return lines, start
    raise CloudFileError(
        f"{path}: the header has no line {last_keyword!r}; the file is cut off or of another kind"
    )


def check_size(path: Path, found: int, expected: int, num_points: int) -> None:
    """Raise CloudFileError where fewer bytes are left than the points of the header need."""
    if found < expected:
        raise CloudFileError(
            f"{path}: {found} bytes of points, expected {expected} for the {num_points} points "
            "of the header; the file is cut off, copy or record it again"
        )
