"""Read a user's point cloud file into a z-up PointCloud.

PLY, PCD, NPZ, NPY, TXT, XYZ and CSV, with this package's own readers: nothing else is needed.
`up` says which axis of the file points away from the ground; "auto" finds the floor and levels it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.data.cloud_formats.pcd import read_pcd
from sr3d_core.data.cloud_formats.ply import read_ply
from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud
from sr3d_core.data.cloud_formats.table import read_npy, read_npz, read_text
from sr3d_core.geometry.gravity import GravityError, Up, axis_rotation, up_rotation
from sr3d_core.structures import PointCloud

_READERS: dict[str, Callable[[Path, bytes], RawCloud]] = {
    ".ply": read_ply,
    ".pcd": read_pcd,
    ".npz": read_npz,
    ".npy": read_npy,
    ".txt": read_text,
    ".xyz": read_text,
    ".csv": read_text,
}

__all__ = ["SUFFIXES", "CloudFile", "CloudFileError", "open_cloud", "read_cloud"]

SUFFIXES = tuple(_READERS)
"""Endings of the files that can be read."""


@dataclass(frozen=True, slots=True, eq=False)
class CloudFile:
    """A cloud and what happened to it on the way in."""

    cloud: PointCloud
    num_dropped: int  # points of the file that were not finite
    upright_from_file: Float[Tensor, "3 3"]  # the rotation that was applied, float64

    @property
    def is_turned(self) -> bool:
        """Whether the cloud's axes differ from the file's."""
        return not torch.equal(self.upright_from_file, torch.eye(3, dtype=torch.float64))


def read_cloud(path: str | Path, up: Up = "auto") -> PointCloud:
    """The points of a file, z up; non-finite ones are left out. Raises CloudFileError."""
    return open_cloud(path, up).cloud


def open_cloud(path: str | Path, up: Up = "auto") -> CloudFile:
    """As `read_cloud`, with the number of dropped points and the rotation that was applied.

    Raises CloudFileError where the file is missing, unknown, damaged or has no usable point, or
    where `up` is "auto" and no floor is found.
    """
    path = Path(path)
    raw = _read_raw(path)
    is_finite = np.isfinite(raw.xyz).all(axis=1)
    if not is_finite.any():
        raise CloudFileError(
            f"{path}: none of its {len(raw.xyz)} points is finite, expected at least one; "
            "was the sensor covered, or the recording stopped early?"
        )
    xyz = torch.from_numpy(raw.xyz[is_finite])
    rotation = _rotation(path, xyz, up)
    rgb = None if raw.rgb is None else torch.from_numpy(raw.rgb[is_finite])
    cloud = PointCloud.single((xyz @ rotation.T).float(), rgb)
    return CloudFile(cloud, len(raw.xyz) - len(cloud), rotation)


def _read_raw(path: Path) -> RawCloud:
    suffix = path.suffix.lower()
    if path.is_dir():
        raise CloudFileError(f"{path}: a folder, expected a file; name one of the clouds in it")
    if not path.is_file():
        raise CloudFileError(f"{path}: no such file; check the path")
    if suffix not in _READERS:
        raise CloudFileError(
            f"{path}: unknown ending {suffix!r}, expected one of {' '.join(SUFFIXES)}; "
            "convert the cloud to one of these"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CloudFileError(f"{path}: cannot be read ({error.strerror})") from error
    return _READERS[suffix](path, data)


def _rotation(path: Path, xyz: Float[Tensor, "N 3"], up: Up) -> Float[Tensor, "3 3"]:
    if up != "auto":
        return axis_rotation(up)
    try:
        return up_rotation(xyz)[0]
    except GravityError as error:
        raise CloudFileError(
            f"{path}: {error}; say which way is up: --up z, --up y or --up -y (camera frames)"
        ) from error
