"""Which number is full brightness: the one rule for colors as numbers, and for packed colors.

Files hold colors as 0..1, 0..255 or 0..65535, and their type says little: bytes lie in 16-bit and
64-bit integers and in floats. So the range decides. Where type and range disagree, or a color lies
a little outside, a note says what was taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.raw import CloudFileError

_SCALES = ((1.0, 2.0), (255.0, 261.0), (65535.0, 66846.0))
"""Full brightness, and below which number colors still mean it: filters overshoot by some
percent, and a room in 0..255 that stays below 2 would be black."""

_UNDERSHOOT = 0.05  # how far below 0 colors may lie, as a share of full brightness
_NAN_BITS = 0x7FC00000  # what a text's "nan" becomes: no color, though its bits are a dark red
_DARK = 0.1  # a cloud without any color above this share of full brightness is doubtful


def unit_color(path: Path, rgb: NDArray) -> tuple[NDArray[np.float32] | None, str]:
    """Colors (N,3) of any scale as 0..1, and a note where the scale was a guess.

    None where all are 0, which is how drivers say unknown. Raises CloudFileError where they have
    no known scale.
    """
    if rgb.dtype.kind not in "biuf":
        raise CloudFileError(f"{path}: colors of type {rgb.dtype}, expected numbers")
    finite = rgb[np.isfinite(rgb)] if rgb.dtype.kind == "f" else rgb
    if finite.size == 0 or not finite.any():
        return None, ""
    low, high = float(finite.min()), float(finite.max())
    full = next((full for full, end in _SCALES if high < end), 0.0)
    if low < -_UNDERSHOOT * full or full == 0.0:
        raise CloudFileError(
            f"{path}: colors span {low:g}..{high:g}, expected 0..1, 0..255 or 0..65535; "
            "if these columns are not colors, save x y z alone"
        )
    unit = rgb.astype(np.float32)
    unit /= np.float32(full)
    if low < 0.0 or high > full or finite.size < rgb.size:
        unit = np.nan_to_num(unit, nan=0.0).clip(0.0, 1.0)
    return unit, _note(rgb.dtype, low, high, full)


def packed_color(column: NDArray) -> tuple[NDArray[np.uint8], str]:
    """Bytes r, g, b (N,3) of colors packed as 0xAARRGGBB, and a note where that was a guess.

    Floats hold the number's bits. Some programs write its value instead: then all are whole
    numbers from 1 to 2^24, which bits are only by design.
    """
    note = ""
    if column.dtype.kind != "f":
        numbers = column.astype(np.uint32)
    elif _is_value(column):
        numbers = np.where(np.isfinite(column), column, 0).astype(np.int64).astype(np.uint32)
        if column.dtype.itemsize == 4:
            note = "packed colors taken from the value of floats, not from their bits"
    else:
        with np.errstate(all="ignore"):  # signalling NaNs, and doubles beyond a float
            numbers = np.ascontiguousarray(column.astype(np.float32)).view(np.uint32)
        numbers = np.where(numbers == _NAN_BITS, 0, numbers)
    return np.stack([numbers >> 16, numbers >> 8, numbers], axis=1).astype(np.uint8), note


def _is_value(column: NDArray) -> bool:
    with np.errstate(all="ignore"):
        used = column[np.isfinite(column) & (column != 0)]
        low, high = (1.0, 2.0**24) if column.dtype.itemsize == 4 else (-(2.0**31), 2.0**32)
        is_value = (used >= low) & (used < high) & (used == np.floor(used))
    return bool(used.size and is_value.all())


def _note(dtype: np.dtype, low: float, high: float, full: float) -> str:
    is_guess = (
        low < 0.0
        or high > full
        or (full == 1.0 and dtype.kind in "iu")
        or (full == 255.0 and dtype == np.uint16)
        or (full == 65535.0 and dtype != np.uint16)
        or (full > 1.0 and high < _DARK * full)
    )
    return f"colors span {low:g}..{high:g}, taken as 0..{full:g}" if is_guess else ""
