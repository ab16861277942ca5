"""Arrays of numbers in files, as data sets keep them; damaged ones are named."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_core.data.cloud_formats.color_scale import unit_color
from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud
from sr3d_core.data.file_scenes import DatasetError


def load_npy(path: Path, expected: str, num_columns: int | None = None) -> NDArray:
    """The numbers of a .npy file, finite or not; with `num_columns` as rows of so many.

    `expected` says what it should hold. Raises DatasetError.
    """
    return _checked(path, _loaded(path, expected), expected, num_columns)


def load_npz(path: Path, name: str, expected: str, num_columns: int) -> NDArray:
    """The rows of one array of a .npz file. Raises DatasetError."""
    archive = _loaded(path, expected)
    try:
        array = archive[name]
    except Exception as error:  # a dozen types, from KeyError to zlib.error
        raise DatasetError(
            f"{path}: no whole array {name!r}, expected {expected}; copy or make it again"
        ) from error
    return _checked(path, array, expected, num_columns)


def _loaded(path: Path, expected: str) -> Any:
    try:
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected {expected}") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path}: damaged, cut off or not plain numbers, expected {expected}; copy or make it "
            "again"
        ) from error


def _checked(path: Path, array: Any, expected: str, num_columns: int | None) -> NDArray:
    is_array = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
    is_shaped = is_array and (num_columns is None or array.shape[1:] == (num_columns,))
    # A scene without boxes is saved as zeros(0), too.
    if is_array and num_columns is not None and array.size == 0:
        return np.zeros((0, num_columns), array.dtype)
    if not is_shaped:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise DatasetError(f"{path}: {found}, expected {expected}; is it of another version?")
    return array


def load_bin(path: Path, num_columns: int) -> NDArray[np.float32]:
    """Points of a .bin file: rows of so many numbers in single precision, without a header.

    Some were written in double precision by mistake: where all numbers are read as such, they
    make sense only in one of the two. Raises DatasetError.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected points as float32") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    for kind in ("<f4", "<f8"):
        if len(data) % (num_columns * np.dtype(kind).itemsize) == 0:
            rows = np.frombuffer(data, kind).reshape(-1, num_columns)
            if _makes_sense(rows):
                return rows.astype(np.float32)
    raise DatasetError(
        f"{path}: {len(data)} bytes are no rows of {num_columns} numbers as float32, in metres "
        "with colors; the file is cut off, or has another number of columns"
    )


def _makes_sense(rows: NDArray) -> bool:
    """Whether numbers may be metres and colors; bits read as another type are far from it."""
    with np.errstate(invalid="ignore"):
        size = np.abs(rows[np.isfinite(rows)])
    # Nearly all: a few points of a scan may be anything.
    is_likely = (size == 0) | ((size > 1e-12) & (size < 1e6))
    return size.size >= 0.5 * rows.size and is_likely.mean() > 0.99 if rows.size else True


def raw_cloud(path: Path, table: NDArray) -> RawCloud:
    """Points of rows x y z, or x y z r g b in any of the usual scales. Raises DatasetError."""
    try:
        rgb, note = unit_color(path, table[:, 3:6]) if table.shape[1] >= 6 else (None, "")
    except CloudFileError as error:
        raise DatasetError(str(error)) from error
    return RawCloud(table[:, :3].astype(np.float64), rgb, note)
