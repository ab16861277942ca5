"""Variables of MATLAB files (up to version 7), which SUN RGB-D is written in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr3d_core.data.file_scenes import DatasetError


def load_mat(path: Path, variable: str) -> Any:
    """A variable; structs are dictionaries, cells are lists or arrays. Raises DatasetError."""
    from scipy.io import loadmat

    try:
        return loadmat(str(path), variable_names=[variable], simplify_cells=True)[variable]
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected the variable {variable}") from error
    except NotImplementedError as error:  # HDF5
        raise DatasetError(
            f"{path}: a MATLAB file of version 7.3, expected up to 7; save it with -v7"
        ) from error
    except KeyError as error:
        raise DatasetError(f"{path}: no variable {variable!r}, expected one") from error
    except Exception as error:  # damaged files raise anything from zlib.error to MemoryError
        raise DatasetError(
            f"{path}: damaged or no MATLAB file, expected the variable {variable}; copy it again"
        ) from error
