"""SUN RGB-D as it is downloaded (CVPR 2015): depth images and labels of three kinds.

    PATH/SUNRGBD/kv2/.../FRAME/depth/*.png, depth_bfx/*.png, image/*.jpg
                              intrinsics.txt, extrinsics/*.txt
                              annotation3Dfinal/index.json       labels=json
    PATH/SUNRGBDMeta3DBB_v2.mat                                  labels=v2
    PATH/SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat                 labels=v1
    PATH/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat            which frames are in which split

Depth of a PNG: d = ((v >> 3) | (v << 13)) / 1000 m, 0 = none. A pixel (counted from 1) becomes
Rtilt (x, d, -y): x right, y forward, z up, the origin at the camera, so that the floor lies at
about z = -1.2 .. -1.6. `depth_bfx` has its holes filled, as all published figures use it, and its
depths end at 8 m, as in the data set's own toolbox: what is farther is put there. `depth` is what
the sensor saw. Boxes: half sizes along the rows of `basis`, the second of which is along
the orientation; yaw = atan2(oy, ox), counter-clockwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from pydantic import ConfigDict

from sr3d_core.data.cloud_formats.raw import RawCloud
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    scene_labels,
    upright_cloud,
)
from sr3d_core.data.readers.class_names import SUNRGBD, ClassNames, our_name
from sr3d_core.data.readers.image_files import color_image, depth_image, images_of
from sr3d_core.data.readers.lists import (
    existing_folder,
    needed_file,
    no_split,
    read_lines,
    unique,
)
from sr3d_core.data.readers.matlab import load_mat
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.plain_text import read_text
from sr3d_core.structures import Images, PointCloud, Sample

_ALL_SPLITS = {"train": "alltrain", "val": "alltest"}
_META = {"v1": "SUNRGBDMeta.mat", "v2": "SUNRGBDMeta3DBB_v2.mat"}
_NO_OBJECTS = ("wall", "floor", "ceiling")


@dataclass(frozen=True, kw_only=True)
class SunRgbdSource:
    """Frames of SUN RGB-D as they are downloaded."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["sunrgbd"] = "sunrgbd"
    path: Path = Path("data/sunrgbd/OFFICIAL_SUNRGBD")
    """Folder with SUNRGBD/, SUNRGBDtoolbox/ and SUNRGBDMeta3DBB_v2.mat."""
    labels: Literal["v2", "v1", "json"] = "v2"
    """Which labels: corrected (v2), as published first (v1), or those of the frames' own files,
    which v1 was made of."""
    depth: Literal["filled", "raw"] = "filled"
    """Which depth: `depth_bfx`, whose holes are filled, or `depth` as the sensor saw it."""
    classes: ClassNames = SUNRGBD
    """The classes to read: those of the benchmark, or any others of the files."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""
    images: bool = False
    """Whether scenes have the color image and its depth beside the cloud."""

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> SunRgbdScenes:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        if split not in _ALL_SPLITS:
            raise no_split(self.path, split, tuple(_ALL_SPLITS))
        root = existing_folder(self.path, "a folder with SUNRGBD/ and SUNRGBDtoolbox/")
        places = [root, root / "SUNRGBDtoolbox" / "traintestSUNRGBD"]
        path = needed_file(places, ("allsplit.mat",), "the frames of each split, of the toolbox")
        folders = np.atleast_1d(load_mat(path, _ALL_SPLITS[split]))
        names = unique([_frame_name(str(folder)) for folder in folders], path)[:num]
        labelled = {} if self.labels == "json" else _labelled(root, _META[self.labels])
        return SunRgbdScenes(root, names, labelled, classes or self.classes, self)


def _frame_name(folder: str) -> str:
    """The folder of a frame from SUNRGBD/ on, wherever it was where the file was written."""
    parts = [part for part in folder.replace("\\", "/").split("/") if part]
    start = parts.index("SUNRGBD") if "SUNRGBD" in parts else 0
    return "/".join(parts[start:])


def _labelled(root: Path, file: str) -> dict[str, Mapping[str, Any]]:
    """What the table of labels says of each frame."""
    places = [root, root / "SUNRGBDtoolbox" / "Metadata"]
    path = needed_file(places, (file,), "the table of labels")
    table = load_mat(path, "SUNRGBDMeta")
    rows = [table] if isinstance(table, dict) else list(table)
    if not all(isinstance(row, dict) and "sequenceName" in row for row in rows):
        raise DatasetError(
            f"{path}: SUNRGBDMeta without sequenceName, expected one for each frame"
        )
    return {_frame_name(str(row["sequenceName"])): row for row in rows}


class SunRgbdScenes(FileScenes):
    """The frames of one split."""

    def __init__(
        self,
        root: Path,
        names: list[str],
        labelled: dict[str, Mapping[str, Any]],
        classes: Sequence[str],
        source: SunRgbdSource,
    ) -> None:
        self._root, self.names, self.classes = root, names, tuple(classes)
        self._labelled, self._folder = labelled, _DEPTH_FOLDERS[source.depth]
        self._has_table = source.labels != "json"
        self._with_images = source.images
        self.notes = (
            f"SUN RGB-D with {source.labels} labels, half sizes doubled, yaw counter-clockwise",
            f"points from {self._folder}, the floor below z = 0",
        )

    def read(self, index: int) -> tuple[Sample, str]:
        """One scene, with its image where the source asks for it. Raises DatasetError."""
        sample, note = super().read(index)
        if self._with_images:
            sample = replace(sample, images=self.images(index))
        return sample, note

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one frame, also of classes nobody asked for. Raises DatasetError."""
        name = self.names[index]
        if self._has_table:
            row, where = self._row(name), f"SUNRGBDMeta of {name}"
            boxes = row.get("groundtruth3DBB")
            found = [_of_table(box, where) for box in _listed(boxes)]
        else:
            path = self._root / name / "annotation3Dfinal" / "index.json"
            where, found = str(path), _of_json(path)
        rows = np.array([box for _, box in found], dtype=np.float64).reshape(-1, 7)
        return scene_labels(where, rows, [class_name for class_name, _ in found])

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one frame, what of them was a guess, and their file."""
        frame = self._frame(index)
        row, column = np.nonzero(frame.depth)
        d = frame.depth[row, column]
        # Pixels are counted from 1 in the matrix K.
        x = (column + 1 - frame.k[0, 2]) * d / frame.k[0, 0]
        y = (row + 1 - frame.k[1, 2]) * d / frame.k[1, 1]
        xyz = np.stack([x, d, -y], axis=1) @ frame.rtilt.T
        rgb = np.true_divide(frame.pixels[row, column], 255, dtype=np.float32)
        return upright_cloud(frame.path, RawCloud(xyz, rgb))

    def num_images(self, index: int) -> int:
        """Of one: a frame is one image."""
        return 1

    def images(self, index: int, which: Sequence[int] = (0,)) -> Images:
        """The color image of one frame, with its depth, in the frame of its points.

        It is read when asked for. `which` has at least one entry. Raises DatasetError.
        """
        frame = self._frame(index)
        height, width = frame.depth.shape
        fx, fy, cx, cy = (float(frame.k[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        camera = Pinhole(width, height, fx, fy, cx - 1, cy - 1)  # K counts pixels from 1
        pose = np.eye(4)
        pose[:3, :3] = frame.rtilt @ _LEVEL_FROM_OPTICAL
        found = [images_of(frame.pixels, camera, pose, frame.depth)]
        return Images.cat([found[number] for number in which])

    def _frame(self, index: int) -> _Frame:
        name = self.names[index]
        folder = existing_folder(self._root / name, f"the frame {name}")
        path = _only_file(folder / self._folder, "*.png")
        depth = _depth_m(path)
        if self._folder == _DEPTH_FOLDERS["filled"]:
            depth = np.minimum(depth, _FARTHEST_M)
        k, rtilt = self._calibration(folder, name)
        pixels = _image(_only_file(folder / "image", "*.jpg"), depth.shape)
        return _Frame(path, depth, pixels, k, rtilt)

    def _row(self, name: str) -> Mapping[str, Any]:
        row = self._labelled.get(name)
        if row is None:
            raise DatasetError(
                f"{self._root}: no row of {name} in the table of labels, expected one; are table "
                "and allsplit.mat of one release?"
            )
        return row

    def _calibration(
        self, folder: Path, name: str
    ) -> tuple[Float[NDArray, "3 3"], Float[NDArray, "3 3"]]:
        """K, and the rotation from (x, depth, -y) of the camera to the upright frame."""
        if self._has_table:
            row, where = self._row(name), f"SUNRGBDMeta of {name}"
            return _matrix(row.get("K"), where, "K"), _matrix(row.get("Rtilt"), where, "Rtilt")
        k = _table_of_text(folder / "intrinsics.txt").reshape(-1)
        files = sorted((folder / "extrinsics").glob("*.txt"))
        if not files:
            raise DatasetError(f"{folder / 'extrinsics'}: no .txt, expected the camera's rotation")
        camera = _table_of_text(files[-1])[:3, :3]
        turn = _LEVEL_FROM_OPTICAL
        return (
            _matrix(k[:9].reshape(-1, 3), str(folder), "intrinsics.txt"),
            _matrix(turn @ camera @ turn.T, str(files[-1]), "rotation"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One frame as its files have it."""

    path: Path  # of the depth
    depth: Float[NDArray, "H W"]  # metres, 0 = none
    pixels: UInt8[NDArray, "H W 3"]
    k: Float[NDArray, "3 3"]  # of pixels that are counted from 1
    rtilt: Float[NDArray, "3 3"]  # from (x, depth, -y) of the camera to the upright frame


_LEVEL_FROM_OPTICAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
_FARTHEST_M = 8.0
_DEPTH_FOLDERS = {"filled": "depth_bfx", "raw": "depth"}


def _listed(value: Any) -> list[Any]:
    """The entries of a struct array, which are none, one or many."""
    if value is None or (isinstance(value, np.ndarray) and value.size == 0):
        return []
    return [value] if isinstance(value, dict) else list(value)


def _of_table(box: Any, where: str) -> tuple[str, list[float]]:
    try:
        width, length, height = np.abs(np.asarray(box["coeffs"], float).reshape(3))
        ox, oy = np.asarray(box["orientation"], float).reshape(-1)[:2]
        center = np.asarray(box["centroid"], float).reshape(3).tolist()
        name = str(box["classname"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{where}: a box without centroid, coeffs, orientation or classname ({error}); "
            "expected SUNRGBDMeta as it is downloaded"
        ) from error
    yaw = float(np.arctan2(oy, ox))
    return our_name(name), [*center, 2 * length, 2 * width, 2 * height, yaw]


def _of_json(path: Path) -> list[tuple[str, list[float]]]:
    """The boxes of annotation3Dfinal: four corners X, Z of the ground, and Y downwards."""
    try:
        tree = json.loads(read_text(path), strict=False)
    except FileNotFoundError:  # frames without objects have no such file
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: no whole JSON, expected objects; download it again"
        ) from error
    found = []
    objects = tree.get("objects") if isinstance(tree, dict) else None
    if objects is not None and not isinstance(objects, list):
        raise DatasetError(f"{path}: objects is no list, expected one; download it again")
    for index, entry in enumerate(objects or []):
        try:
            if not entry or not entry.get("polygon"):
                continue
            name = our_name(str(entry["name"]).partition(":")[0].rstrip("_ "))
            if name not in _NO_OBJECTS:
                found.append((name, _prism(entry["polygon"][0])))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}: objects[{index}] without X, Z, Ymin or Ymax, expected a box"
            ) from error
    return found


def _prism(polygon: Mapping[str, Any]) -> list[float]:
    """The box of four corners: dx runs from the edge 2-3 over the centre to the edge 0-1."""
    corners = np.stack([np.asarray(polygon[key], float) for key in ("X", "Z")], axis=1)[:4]
    if corners.shape != (4, 2):
        raise ValueError("not four corners")
    low, high = -float(polygon["Ymax"]), -float(polygon["Ymin"])
    center = (corners[0] + corners[2]) / 2
    ahead = (corners[0] + corners[1]) / 2 - center
    length = float(np.hypot(*(corners[2] - corners[1])))
    width = float(np.hypot(*(corners[1] - corners[0])))
    yaw = float(np.arctan2(ahead[1], ahead[0]))
    return [*center.tolist(), (low + high) / 2, length, width, abs(high - low), yaw]


def _matrix(value: Any, where: str, what: str) -> Float[NDArray, "3 3"]:
    matrix = np.asarray(value, dtype=np.float64) if value is not None else np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise DatasetError(f"{where}: {what} of shape {matrix.shape}, expected 3 x 3 numbers")
    return matrix


def _table_of_text(path: Path) -> Float[NDArray, "N M"]:
    try:
        return np.array([[float(word) for word in line.split()] for line in read_lines(path)])
    except ValueError as error:
        raise DatasetError(f"{path}: expected rows of numbers") from error


def _only_file(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise DatasetError(f"{folder}: {len(files)} files {pattern}, expected one")
    return files[0]


def _depth_m(path: Path) -> Float[NDArray, "H W"]:
    """Metres, 0 where nothing was seen: 16 bits, turned right by three."""
    value = depth_image(path)
    turned = (value >> np.uint16(3)) | (value << np.uint16(13))
    return turned.astype(np.float64) / 1000.0


def _image(path: Path, shape: tuple[int, ...]) -> UInt8[NDArray, "H W 3"]:
    pixels = color_image(path)
    if pixels.shape[:2] != shape:
        raise DatasetError(f"{path}: pixels of shape {pixels.shape}, expected {(*shape, 3)}")
    return pixels
