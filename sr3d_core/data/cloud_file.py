"""Read a user's point cloud file into a z-up PointCloud.

The formats are those of `cloud_formats`, with this package's own readers: nothing else is needed,
but for points on meshes, which Open3D (an extra) reads.
`up` says which axis of the file points away from the ground; "auto" finds the floor and levels it.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.choices import UpAxis
from sr3d_core.data import cloud_formats
from sr3d_core.data.cloud_formats import READERS, SUFFIXES
from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud
from sr3d_core.geometry.gravity import GravityError, UnitsError, axis_rotation, up_rotation
from sr3d_core.geometry.origin import MAX_DISTANCE_M, is_on_earth, local_origin, moved
from sr3d_core.structures import Boxes3D, PointCloud

__all__ = [
    "CloudFile",
    "CloudFileError",
    "clouds_named",
    "noted_cloud",
    "open_cloud",
    "open_turned",
    "read_cloud",
    "read_noted",
]


@dataclass(frozen=True, slots=True, eq=False)
class CloudFile:
    """A cloud and what happened to it on the way in.

    `cloud` is `upright_from_file @ (file - origin)`; the origin is 0 unless the file's
    coordinates reach farther than 1 km.
    """

    cloud: PointCloud
    num_dropped: int  # points of the file that were not finite or far from all others
    upright_from_file: Float[Tensor, "3 3"]  # the rotation that was applied, float64
    confidence: float | None  # share of the surface that is floor; None where `up` was given
    origin: Float[Tensor, " 3"]  # whole metres, file frame, float64
    note: str = ""  # what the user should know about how the file was read

    @property
    def is_turned(self) -> bool:
        """Whether the cloud's axes differ from the file's."""
        return not torch.equal(self.upright_from_file, torch.eye(3, dtype=torch.float64))

    @property
    def angle_rad(self) -> float:
        """By how much the cloud was turned."""
        cosine = (float(self.upright_from_file.trace()) - 1.0) / 2.0
        return math.acos(max(-1.0, min(1.0, cosine)))

    def restored(self, boxes: Boxes3D) -> Boxes3D:
        """Boxes of `cloud` in the file's coordinates, turned by `upright_from_file`."""
        return moved(boxes, self.upright_from_file @ self.origin)

    def local(self, boxes: Boxes3D) -> Boxes3D:
        """The other way round: boxes in the file's coordinates as boxes of `cloud`."""
        return moved(boxes, -self.upright_from_file @ self.origin)


def read_cloud(path: str | Path, up: UpAxis = "auto") -> PointCloud:
    """The points of a file in its own coordinates, z up; non-finite ones are left out.

    What was a guess, the note of `open_cloud`, is a Python warning. Raises CloudFileError where
    `open_cloud` does, and where the coordinates are too large for single precision.
    """
    cloud, note = read_noted(path, up)
    if note:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return cloud


def read_noted(path: str | Path, up: UpAxis = "auto") -> tuple[PointCloud, str]:
    """As `read_cloud`, for callers who tell the note themselves."""
    return noted_cloud(path, _read_raw(Path(path)), up)


def noted_cloud(path: str | Path, raw: RawCloud, up: UpAxis = "z") -> tuple[PointCloud, str]:
    """As `read_noted`, of points that were read from `path` before."""
    opened = _opened(Path(path), raw, up)
    if not opened.origin.any():
        return opened.cloud, opened.note
    if float(opened.origin.abs().max()) > MAX_DISTANCE_M:
        x, y, z = (f"{value:.0f}" for value in opened.origin.tolist())
        raise CloudFileError(
            f"{path}: lies about ({x}, {y}, {z}), too far from the origin to be precise; "
            "subtract this from its points, and from the labels where there are any"
        )
    back = torch.eye(4, dtype=torch.float64)
    back[:3, 3] = opened.upright_from_file @ opened.origin
    return opened.cloud.transformed(back), opened.note


def open_cloud(path: str | Path, up: UpAxis = "auto") -> CloudFile:
    """The points of a file, z up and near the origin, and how they came to be so.

    Raises CloudFileError where the file is missing, unknown, damaged or has no usable point, or
    where `up` is "auto" and no floor is found.
    """
    return _opened(Path(path), _read_raw(Path(path)), up)


def _opened(path: Path, raw: RawCloud, up: UpAxis) -> CloudFile:
    xyz = torch.from_numpy(raw.xyz)
    is_usable, origin = _usable(path, xyz)
    xyz = xyz[is_usable] - origin
    rotation, confidence = _rotation(path, xyz, up)
    rgb = None if raw.rgb is None else torch.from_numpy(raw.rgb)[is_usable]
    cloud = PointCloud.single((xyz @ rotation.T).float(), rgb)
    num_dropped = len(raw.xyz) - len(cloud)
    return CloudFile(cloud, num_dropped, rotation, confidence, origin, raw.note)


def open_turned(path: str | Path, rotation: Sequence[Sequence[float]] | None) -> CloudFile:
    """The points of a file turned by a rotation that is known, None = z is up.

    Raises CloudFileError where `open_cloud` does.
    """
    opened = open_cloud(path, "z")
    if rotation is None:
        return opened
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor(rotation, dtype=torch.float64)
    return replace(
        opened, cloud=opened.cloud.transformed(matrix), upright_from_file=matrix[:3, :3]
    )


def _usable(
    path: Path, xyz: Float[Tensor, "N 3"]
) -> tuple[Bool[Tensor, " N"], Float[Tensor, " 3"]]:
    """Which points are finite and near each other, at least one, and their origin."""
    is_finite = xyz.isfinite().all(dim=1)
    if not is_finite.any():
        raise CloudFileError(
            f"{path}: none of its {len(xyz)} points is finite, expected at least one; "
            "was the sensor covered, or the recording stopped early?"
        )
    is_usable = is_on_earth(xyz)
    origin = local_origin(xyz[is_usable])
    is_usable &= ((xyz - origin).abs() <= MAX_DISTANCE_M).all(dim=1)
    if not is_usable.any():
        largest = float(xyz[is_finite].abs().max())
        raise CloudFileError(
            f"{path}: coordinates reach {largest:.3g} and no point is near others, expected a "
            "room in metres; are its units metres, and are these columns x y z?"
        )
    return is_usable, origin


def _read_raw(path: Path) -> RawCloud:
    suffix = path.suffix.lower()
    if path.is_dir():
        raise CloudFileError(f"{path}: a folder, expected a file; name one of the clouds in it")
    if not path.is_file():
        raise CloudFileError(f"{path}: no such file; check the path")
    if suffix not in READERS:
        raise CloudFileError(
            f"{path}: unknown ending {suffix!r}, expected one of {' '.join(SUFFIXES)}; "
            "convert the cloud to one of these"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CloudFileError(f"{path}: cannot be read ({error.strerror})") from error
    module, function = READERS[suffix].split(".")
    reader = importlib.import_module(f"{cloud_formats.__name__}.{module}")
    return getattr(reader, function)(path, data)


def _rotation(
    path: Path, xyz: Float[Tensor, "N 3"], up: UpAxis
) -> tuple[Float[Tensor, "3 3"], float | None]:
    if up != "auto":
        return axis_rotation(up), None
    try:
        return up_rotation(xyz)
    except UnitsError as error:
        raise CloudFileError(f"{path}: {error}") from error
    except GravityError as error:
        raise CloudFileError(
            f"{path}: {error}; say which way is up: --up z, --up y or --up -y (camera frames)"
        ) from error


def clouds_named(folder: Path, name: str) -> list[Path]:
    """The cloud files of a scene in a folder, with any ending, in lower case or in upper case."""
    endings = (ending for suffix in SUFFIXES for ending in (suffix, suffix.upper()))
    found = [path for ending in endings if (path := folder / f"{name}{ending}").is_file()]
    # Where upper and lower case are the same, one file is found by both names.
    distinct = {(stat.st_dev, stat.st_ino): path for path in found if (stat := path.stat())}
    return list(distinct.values())
