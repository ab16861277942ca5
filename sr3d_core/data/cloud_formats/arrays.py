"""Clouds as arrays: NPY, NPZ. Python objects in them are never loaded, since that runs code."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.columns import (
    POINTS,
    Column,
    cloud_of_columns,
    columns_of_table,
    is_used,
)
from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud


def read_npy(path: Path, data: bytes) -> RawCloud:
    """An array (N,3) or (N,6), as a grid (H,W,3), or with named fields; raises CloudFileError."""
    loaded = _load(path, data)
    if not isinstance(loaded, np.ndarray):
        raise CloudFileError(f"{path}: an archive of arrays, expected one; rename it to .npz")
    if loaded.dtype.names is not None:
        return cloud_of_columns(path, _fields(loaded))
    columns, note = columns_of_table(path, _flat(loaded))
    return cloud_of_columns(path, columns, note)


def read_npz(path: Path, data: bytes) -> RawCloud:
    """An archive with points (`xyz`, `points`, or `x`, `y`, `z`), perhaps with colors (`rgb`).

    Raises CloudFileError.
    """
    archive = _load(path, data)
    if isinstance(archive, np.ndarray):
        raise CloudFileError(f"{path}: a single array, expected an archive; rename it to .npy")
    keys = list(archive)
    known = {key: key.strip().lower() for key in keys}
    table = next((key for name in POINTS for key in keys if known[key] == name), None)
    columns, note = list[Column](), ""
    if table is not None:
        points = _member(path, archive, table)
        if points.dtype.names is not None:
            columns = _fields(points)
        else:
            columns, note = columns_of_table(path, _flat(points))
    for key in keys:
        if known[key] not in POINTS and is_used(key):
            columns.append((key, _flat(_member(path, archive, key))))
    cloud = cloud_of_columns(path, columns or [(key, np.zeros(0)) for key in keys], note)
    unused = ", ".join(key for key in keys if key != table and not is_used(key))
    if cloud.rgb is not None or not unused:
        return cloud
    return RawCloud(cloud.xyz, None, "; ".join(filter(None, (cloud.note, f"not used: {unused}"))))


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


def _flat(array: NDArray) -> NDArray:
    """A grid of points (H,W,k) as (N,k)."""
    return array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array


def _fields(array: NDArray) -> list[Column]:
    """The fields of a structured array of any shape, (N,) or (N,k) each."""
    rows = array.reshape(-1)
    return [(name, rows[name]) for name in array.dtype.names or ()]
