"""Which column is what: the one rule for the names of PLY, PCD, arrays and tables of text.

Case, quotes and "[m]" do not count. A cloud needs x, y, z or one column of three numbers; colors
are three columns, one of three or four, one of packed numbers, or the constant term of spherical
harmonics (Gaussian splats). Tables without names are read by their number of columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.color_scale import packed_color, unit_color
from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud

Column = tuple[str, NDArray]
"""Its name in the file, and (N,) or (N,k) numbers."""

POINTS = (
    *("xyz", "points", "point", "pc", "coord", "coords", "coordinates", "pos", "position"),
    *("positions", "vertices", "arr_0"),
)
"""Names of a column that holds x, y and z, the first one counts; `arr_0` is NumPy's own."""

_COLORS = ("rgb", "rgba", "colors", "colours", "color", "colour", "bgr", "bgra")
_NUMBERS = "fiu"
_PACKED = ("rgb", "rgba", "bgr", "bgra")
_AXIS = re.compile(r"(?:(?:pos|position|points?|coords?|coordinates?)[ ._:]*)([xyz012])")
_CHANNEL = re.compile(
    r"(?:(scalar|diffuse|ambient|colou?rs?|vertex|rgb|f_dc)[ ._:]*)?(red|green|blue|[rgb012])"
)
_OTHER = re.compile(
    r"(?:n|normals?|v)[ ._:]*[xyz012]|[ait]|alpha|intensity|reflect\w*|ring|curvature|confidence"
    r"|scalar\w*|gps\w*|\w*(?:id|index|label|class|time|stamp)"
)
_CHANNELS = {
    **{"red": 0, "green": 1, "blue": 2},
    **{"r": 0, "g": 1, "b": 2},
    **{"0": 0, "1": 1, "2": 2},
}
_HARMONIC = 0.28209479177387814  # Y_0^0, the constant spherical harmonic

_LAYOUTS = {
    3: ("x y z",),
    4: ("x y z intensity",),
    6: ("x y z nx ny nz", "x y z red green blue"),
    7: (
        "x y z red green blue alpha",
        "x y z intensity red green blue",
        "x y z red green blue intensity",
    ),
    9: ("x y z nx ny nz red green blue", "x y z red green blue nx ny nz"),
}
"""What columns without names may be, by their number; the first that fits the numbers counts."""

_PLAIN = ("x y z", "x y z red green blue")  # need no note, and no proof


def cloud_of_columns(path: Path, columns: Sequence[Column], note: str = "") -> RawCloud:
    """The points and colors among named columns; raises CloudFileError where there are none."""
    known = [(_plain(name), _single(column)) for name, column in columns]
    xyz = _points(path, known)
    for name, column in known:
        is_wide = name in _COLORS and column.ndim == 2 and column.shape[1] not in (3, 4)
        if is_used(name) and (len(column) != len(xyz) or is_wide):
            raise CloudFileError(
                f"{path}: {name!r} has shape {column.shape}, expected ({len(xyz)}, 3) or "
                f"({len(xyz)},)"
            )
    candidates = _color_candidates(path, known)
    rgb, color_note = next((found for found in candidates if found[0] is not None), (None, ""))
    if rgb is None:
        color_note = _unused_colors(known)
    return RawCloud(xyz, rgb, "; ".join(text for text in (note, color_note) if text))


def columns_of_table(path: Path, table: NDArray) -> tuple[list[Column], str]:
    """Columns of a table (N,k) without names, and a note where their meaning was a guess.

    Raises CloudFileError where the number of columns has no known meaning.
    """
    if table.ndim == 2 and table.dtype.kind in "fiu":
        for layout in _LAYOUTS.get(table.shape[1], ()):
            columns = named(layout, table)
            if layout in _PLAIN:
                return columns, ""
            # A few rows tell most tables apart; all of them are looked at only then.
            if all(_fits(named(layout, part)) for part in (table[:1000], table)):
                return columns, f"columns taken as {layout}; names for them would overrule this"
    raise CloudFileError(
        f"{path}: points of shape {table.shape} and type {table.dtype}, expected 3 columns "
        "(x y z), 6 (x y z r g b), or 4, 7 or 9 with intensity or normals; give the columns "
        "names, in text in the first line"
    )


def named(names: str | Sequence[str], table: NDArray) -> list[Column]:
    """The columns of a table with their names, as many as there are columns."""
    words = names.split() if isinstance(names, str) else names
    return list(zip(words, table.T, strict=True))


def is_used(name: str) -> bool:
    """Whether a column of this name may hold coordinates or colors."""
    plain = _plain(name)
    is_single = bool(_AXIS.fullmatch(plain) or _CHANNEL.fullmatch(plain))
    return is_single or plain in ("x", "y", "z", *POINTS, *_COLORS)


def is_known(name: str) -> bool:
    """Whether a word is one of the usual names of columns."""
    return is_used(name) or _OTHER.fullmatch(_plain(name)) is not None


def _plain(name: str) -> str:
    text = name.strip().strip("\"'").strip().lower()
    return re.sub(r"\s*[\[(](?:m|metres?|meters?)[\])]$", "", text)


def _single(column: NDArray) -> NDArray:
    """(N,) of a column with one number a point, (N,k) of others."""
    return column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column


def _native(column: NDArray) -> NDArray:
    return column.astype(column.dtype.newbyteorder("="), copy=False)


def _points(path: Path, columns: Sequence[Column]) -> NDArray[np.float64]:
    axes = [_axis(columns, axis) for axis in "xyz"]
    if all(len(found) == 1 for found in axes) and len({len(a[0]) for a in axes}) == 1:
        with np.errstate(invalid="ignore"):  # signalling NaNs of sensors
            return np.stack([found[0].astype(np.float64) for found in axes], axis=1)
    vectors = {name: column for name, column in columns if column.shape[1:] == (3,)}
    for name in POINTS:
        if name in vectors and vectors[name].dtype.kind in _NUMBERS:
            with np.errstate(invalid="ignore"):
                return vectors[name].astype(np.float64)
    raise CloudFileError(
        f"{path}: holds {[name for name, _ in columns]}, expected x, y, z, each once, or one of "
        f"{list(POINTS)} with three numbers a point; correct the names"
    )


def _axis(columns: Sequence[Column], axis: str) -> list[NDArray]:
    """The columns of one coordinate; names with a prefix count where there is no other."""
    single = [(n, c) for n, c in columns if c.ndim == 1 and c.dtype.kind in _NUMBERS]
    plain = [column for name, column in single if name == axis]
    keys = (axis, str("xyz".index(axis)))
    matches = [(_AXIS.fullmatch(name), column) for name, column in single]
    return plain or [column for match, column in matches if match and match[1] in keys]


def _color_candidates(
    path: Path, columns: Sequence[Column]
) -> Iterator[tuple[NDArray[np.float32] | None, str]]:
    """Colors in 0..1 with their notes, the likeliest first; None where all are 0."""
    for name, column in columns:
        if name in _COLORS and column.ndim == 2:
            channels = _native(column)[:, :3]
            yield unit_color(path, channels[:, ::-1] if name.startswith("bgr") else channels)
    groups = _channels(columns)
    for prefix in sorted(groups, key=_preference):
        if sorted(_CHANNELS[name] for name, _ in groups[prefix]) == [0, 1, 2]:
            ordered = sorted(groups[prefix], key=lambda channel: _CHANNELS[channel[0]])
            channels = _native(np.stack([column for _, column in ordered], axis=1))
            yield _harmonic(channels) if prefix == "f_dc" else unit_color(path, channels)
    for name, column in columns:
        if _is_packed(name, column):
            octets, note = packed_color(_native(column))
            octets = octets[:, ::-1] if name.startswith("bgr") else octets
            yield (octets / np.float32(255.0) if octets.any() else None), note


def _channels(columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Columns of a single channel, by the prefix of their names."""
    groups: dict[str, list[Column]] = {}
    for name, column in columns:
        match = _CHANNEL.fullmatch(name)
        if match and column.ndim == 1 and (match[1] or not match[2].isdigit()):
            prefix = match[1] or ("" if len(match[2]) > 1 else "letter")
            groups.setdefault(prefix, []).append((match[2], column))
    return groups


def _preference(prefix: str) -> int:
    order = ("", "letter", "diffuse", "ambient")
    return order.index(prefix) if prefix in order else len(order) + (prefix == "f_dc")


def _harmonic(channels: NDArray) -> tuple[NDArray[np.float32], str]:
    colors = (0.5 + _HARMONIC * channels.astype(np.float64)).clip(0.0, 1.0).astype(np.float32)
    return np.nan_to_num(colors), "colors computed from the spherical harmonics f_dc"


def _is_packed(name: str, column: NDArray) -> bool:
    is_number = column.ndim == 1 and column.dtype.kind in _NUMBERS
    return name in _PACKED and is_number and column.dtype.itemsize >= 4


def _unused_colors(columns: Sequence[Column]) -> str:
    """A note where names speak of colors that could not be used."""
    lonely = [n for n, c in columns if n in _COLORS and c.ndim == 1 and not _is_packed(n, c)]
    for channels in _channels(columns).values():
        if len(channels) != 3:
            lonely += [name for name, _ in channels]
    return f"without color: {', '.join(lonely)} are no red, green and blue" if lonely else ""


def _fits(columns: Sequence[Column]) -> bool:
    """Whether normals are unit vectors, colors whole or at most 1, and alpha is opaque."""
    groups = dict(columns)
    if "nx" in groups and not _are_normals(np.stack([groups[n] for n in ("nx", "ny", "nz")])):
        return False
    if "red" in groups and not _are_colors(
        np.stack([groups[n] for n in ("red", "green", "blue")])
    ):
        return False
    alpha = groups.get("alpha")
    return alpha is None or bool(len(alpha) and (alpha == alpha[0]).all() and alpha[0] in (1, 255))


def _are_normals(rows: NDArray) -> bool:
    """Whether (3,N) are unit vectors; such of 0 and 1 alone are as well pure colors."""
    with np.errstate(over="ignore"):
        length = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=0))
    used = np.isfinite(length) & (length != 0)
    is_unit = bool(used.any() and (np.abs(length[used] - 1.0) < 0.02).all())
    return is_unit and not bool(np.isin(rows[:, used], (0, 1)).all())


def _are_colors(rows: NDArray) -> bool:
    used = rows[np.isfinite(rows)]
    if used.size == 0 or used.min() < 0 or used.max() > 65535:
        return False
    return bool(used.max() <= 1 or (used == np.floor(used)).all())
