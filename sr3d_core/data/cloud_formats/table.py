"""Clouds as plain tables: TXT, XYZ, XYZRGB, XYZN, PTS, CSV, NPY, NPZ.

Columns are x y z, then red green blue where there are six; other numbers of columns are refused,
because guessing which are colors goes wrong silently. The endings .xyzn and .pts say themselves
what their columns are.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud, unit_color

_POINT_KEYS = ("xyz", "points", "pc")
_COLOR_KEYS = ("rgb", "colors", "colours")
_SEPARATORS = re.compile(rb"[,;\t]")


def read_text(path: Path, data: bytes) -> RawCloud:
    """Numbers separated by blanks, tabs, commas or semicolons, one point a line.

    Lines that start with # or // are comments; the first other line may be a heading.
    """
    return _from_table(path, _numbers(path, _text_lines(data), "x y z or x y z r g b"))


def read_xyzn(path: Path, data: bytes) -> RawCloud:
    """Text as above, x y z and a normal; the normal is not kept."""
    table = _numbers(path, _text_lines(data), "x y z nx ny nz")
    if len(table) and table.shape[1] != 6:
        raise CloudFileError(
            f"{path}: {table.shape[1]} columns, expected 6 (x y z nx ny nz); rename it to .txt "
            "where it holds no normals"
        )
    return RawCloud(table[:, :3], None)


def read_pts(path: Path, data: bytes) -> RawCloud:
    """A line with the number of points, then x y z, perhaps intensity, perhaps r g b a line."""
    lines = _text_lines(data)
    if not lines or not lines[0].isdigit():
        found = lines[0][:40].decode("latin-1") if lines else ""
        raise CloudFileError(f"{path}: starts with {found!r}, expected the number of points")
    num_points = int(lines[0])
    table = _numbers(path, lines[1:], "x y z, x y z i, x y z r g b or x y z i r g b")
    if len(table) < num_points:
        raise CloudFileError(
            f"{path}: {len(table)} points, expected the {num_points} of its first line; the file "
            "is cut off, copy or record it again"
        )
    has_intensity = table.shape[1] in (4, 7)
    return _from_table(path, np.delete(table, 3, axis=1) if has_intensity else table)


def read_npy(path: Path, data: bytes) -> RawCloud:
    """An array (N,3) or (N,6)."""
    loaded = _load(path, data)
    if not isinstance(loaded, np.ndarray):
        raise CloudFileError(f"{path}: an archive of arrays, expected one; rename it to .npz")
    return _from_table(path, loaded)


def read_npz(path: Path, data: bytes) -> RawCloud:
    """An archive with `xyz` (or `points`), (N,3) or (N,6), and perhaps `rgb` (or `colors`)."""
    archive = _load(path, data)
    if isinstance(archive, np.ndarray):
        raise CloudFileError(f"{path}: a single array, expected an archive; rename it to .npy")
    keys = list(archive)
    points = next((key for key in _POINT_KEYS if key in keys), None)
    if points is None:
        raise CloudFileError(f"{path}: holds {keys}, expected one of {list(_POINT_KEYS)}")
    cloud = _from_table(path, _member(path, archive, points))
    colors = next((key for key in _COLOR_KEYS if key in keys), None)
    if colors is None:
        return cloud
    rgb = _member(path, archive, colors)
    if rgb.shape != (len(cloud.xyz), 3):
        raise CloudFileError(
            f"{path}: {colors!r} has shape {rgb.shape}, expected ({len(cloud.xyz)}, 3)"
        )
    return RawCloud(cloud.xyz, unit_color(path, rgb))


def _text_lines(data: bytes) -> list[bytes]:
    """Lines that are neither empty nor comments, separators turned into blanks."""
    lines = [_SEPARATORS.sub(b" ", line).strip() for line in data.splitlines()]
    return [line for line in lines if line and not line.startswith((b"#", b"//"))]


def _numbers(path: Path, lines: list[bytes], columns: str) -> NDArray[np.float64]:
    """The numbers of lines, a heading left out; `columns` says which were expected."""
    if lines and not _is_numbers(lines[0]) and len(lines) > 1 and _is_numbers(lines[1]):
        lines = lines[1:]
    if not lines:
        return np.zeros((0, 3))
    if not _is_numbers(lines[0]):
        raise CloudFileError(
            f"{path}: the text {lines[0][:40].decode('latin-1')!r} is no point; expected "
            f"lines of {columns}"
        )
    try:
        return np.loadtxt(io.BytesIO(b"\n".join(lines)), dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise CloudFileError(f"{path}: {error}; expected {columns} a line") from error


def _load(path: Path, data: bytes) -> NDArray | np.lib.npyio.NpzFile:
    """NumPy's texts are not passed on: some advise to load Python objects, which runs code."""
    if not data.startswith((b"\x93NUMPY", b"PK")):
        raise CloudFileError(
            f"{path}: starts with {data[:16]!r}, expected an array saved by NumPy; is this "
            f"really a {path.suffix} file?"
        )
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # a dozen types, from zlib.error to tokenize.TokenError
        raise CloudFileError(
            f"{path}: damaged, cut off or not plain numbers; expected an array or archive that "
            "is whole and without Python objects; save it again"
        ) from error


def _member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> NDArray:
    try:
        return archive[key]
    except Exception as error:  # as above
        raise CloudFileError(
            f"{path}: {key!r} is damaged, cut off or not plain numbers, expected an array that "
            "is whole and without Python objects; save it again"
        ) from error


def _from_table(path: Path, table: NDArray) -> RawCloud:
    if table.ndim != 2 or table.shape[1] not in (3, 6) or table.dtype.kind not in "fiu":
        raise CloudFileError(
            f"{path}: points of shape {table.shape} and type {table.dtype}, expected 3 columns "
            "(x y z) or 6 (x y z r g b) of numbers"
        )
    xyz = table[:, :3].astype(np.float64)
    return RawCloud(xyz, unit_color(path, table[:, 3:]) if table.shape[1] == 6 else None)


def _is_numbers(line: bytes) -> bool:
    try:
        return len([float(word) for word in line.split()]) > 0
    except ValueError:
        return False
