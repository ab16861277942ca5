"""Color frames of ScanNet's scans, for those who have extracted them.

    PATH/scans/SCAN/color/0.jpg, depth/0.png, pose/0.txt            as ScanNet's SensReader
                    intrinsic/intrinsic_color.txt, intrinsic_depth.txt    exports SCAN.sens
    PATH/scannet_frames_25k/SCAN/color/000000.jpg, depth/..., pose/...    as it is downloaded
                    intrinsics_color.txt, intrinsics_depth.txt

Depth is millimetres, 0 = none; a pose is world from camera, before axisAlignment, and not finite
where the camera had lost its place: such frames are left out. Color and depth have cameras of
their own at one place (their extrinsics are 1), so that a pixel of the color image finds its depth
along its ray: that of the nearest pixel of the depth image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.readers.image_files import color_image, depth_image, images_of
from sr3d_core.data.readers.lists import needed_file, read_lines
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.structures import Images

_FOLDERS = ("scans", "scans_test", ".", "scannet_frames_25k")


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of one scan whose poses are known."""

    folder: Path
    stems: tuple[str, ...]
    color: Float[NDArray, "4 4"]
    depth: Float[NDArray, "4 4"]

    @classmethod
    def of(cls, root: Path, scan: str) -> Frames:
        """Those of a scan, in their order in time. Raises DatasetError where there are none."""
        folders = [root / part / scan for part in _FOLDERS]
        folder = next((each for each in folders if (each / "color").is_dir()), None)
        if folder is None:
            raise DatasetError(
                f"{folders[0] / 'color'}: no such folder, expected color frames of the scan "
                f"{scan}; export its .sens with ScanNet's SensReader, or get scannet_frames_25k"
            )
        stems = sorted((path.stem for path in (folder / "color").glob("*.jpg")), key=_number)
        placed = tuple(stem for stem in stems if np.isfinite(_pose(folder, stem)).all())
        if not placed:
            raise DatasetError(f"{folder}: no frame with a pose, expected color/*.jpg, pose/*.txt")
        return cls(folder, placed, _intrinsics(folder, "color"), _intrinsics(folder, "depth"))

    def read(self, which: Sequence[int], aligned_from_scan: Float[NDArray, "4 4"]) -> Images:
        """Some frames, in the aligned frame of the scan's points. Raises DatasetError."""
        parts = [self._one(self.stems[index], aligned_from_scan) for index in which]
        sizes = {tuple(part.pixels.shape[-2:]) for part in parts}
        if len(sizes) > 1:
            raise DatasetError(f"{self.folder}: color frames of several sizes, expected one")
        return Images.cat(parts)

    def _one(self, stem: str, aligned_from_scan: Float[NDArray, "4 4"]) -> Images:
        pixels = color_image(self.folder / "color" / f"{stem}.jpg")
        metres = depth_image(self.folder / "depth" / f"{stem}.png") / 1000.0
        camera = _camera(self.color, pixels.shape)
        pose = aligned_from_scan @ _pose(self.folder, stem)
        seen = _seen_by(camera, _camera(self.depth, metres.shape), metres)
        return images_of(pixels, camera, pose, seen)


def _number(stem: str) -> tuple[int, str]:
    return (int(stem), "") if stem.isdecimal() else (-1, stem)


def _camera(matrix: Float[NDArray, "4 4"], shape: tuple[int, ...]) -> Pinhole:
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Pinhole(shape[1], shape[0], fx, fy, cx, cy)


def _seen_by(camera: Pinhole, other: Pinhole, depth: Float[NDArray, "h w"]) -> NDArray:
    """What a camera sees of the depth image of another at the same place; 0 beside it."""
    rows = np.rint((np.arange(camera.height) - camera.cy) / camera.fy * other.fy + other.cy)
    columns = np.rint((np.arange(camera.width) - camera.cx) / camera.fx * other.fx + other.cx)
    is_in = (
        ((rows >= 0) & (rows < other.height))[:, None] & (columns >= 0) & (columns < other.width)
    )
    row = rows.clip(0, other.height - 1).astype(np.int64)
    column = columns.clip(0, other.width - 1).astype(np.int64)
    return np.where(is_in, depth[row[:, None], column], 0.0)


def _pose(folder: Path, stem: str) -> Float[NDArray, "4 4"]:
    return _matrix(folder / "pose" / f"{stem}.txt")


def _intrinsics(folder: Path, what: str) -> Float[NDArray, "4 4"]:
    """The camera of the color or depth frames; its extrinsics must be 1, where there are any."""
    places = [folder / "intrinsic", folder]
    names = (f"intrinsic_{what}.txt", f"intrinsics_{what}.txt")
    path = needed_file(places, names, f"the camera of the {what} frames")
    matrix = _matrix(path)
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise DatasetError(f"{path}: expected focal lengths in pixels; export the frames again")
    beside = folder / "intrinsic" / f"extrinsic_{what}.txt"
    if beside.is_file() and not np.allclose(_matrix(beside), np.eye(4), atol=1e-5):
        raise DatasetError(
            f"{beside}: another place than that of the poses, expected the matrix 1 as in "
            "ScanNet; is it another data set?"
        )
    return matrix


def _matrix(path: Path) -> Float[NDArray, "4 4"]:
    """Four rows of four numbers, which need not be finite."""
    try:
        found = np.array([[float(word) for word in line.split()] for line in read_lines(path)])
    except ValueError as error:  # also a DatasetError, which says more
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: expected 4 x 4 numbers") from error
    if found.shape != (4, 4):
        raise DatasetError(f"{path}: numbers of shape {found.shape}, expected 4 x 4")
    return found
