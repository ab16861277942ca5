"""ScanNet V2 as it is downloaded (arXiv 1702.04405): meshes, segments and instances.

    PATH/scans/SCAN/SCAN_vh_clean_2.ply                   vertices with colors
                    SCAN_vh_clean_2.0.010000.segs.json    the segment of each vertex
                    SCAN.aggregation.json                 which segments are which object
                    SCAN.txt                              axisAlignment = 16 numbers
    PATH/scans_test/SCAN/                                 the ply alone
    PATH/scannetv2-labels.combined.tsv                    names of objects -> NYU-40 numbers
    PATH/scannetv2_train.txt, _val.txt, _test.txt         the scans of each split

The last four may lie in PATH/meta_data. Boxes are the bounds of an object's vertices after the
alignment, without yaw, as in VoteNet and all who follow it; a vertex of two objects belongs to the
later one. Test scans have no labels and no alignment. Color frames: `scannet_frames.py`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import ConfigDict

from sr3d_core.data.cloud_file import CloudFileError
from sr3d_core.data.cloud_formats.ply import read_ply
from sr3d_core.data.cloud_formats.raw import RawCloud
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    scene_labels,
    upright_cloud,
)
from sr3d_core.data.readers.class_names import SCANNET, SCANNET_BY_NYU40, ClassNames, our_name
from sr3d_core.data.readers.lists import (
    existing_folder,
    needed_file,
    no_split,
    read_lines,
    unique,
)
from sr3d_core.data.readers.scannet_frames import Frames
from sr3d_core.plain_text import read_text
from sr3d_core.structures import Images, PointCloud

_SPLITS = ("train", "val", "test")
_LABEL_MAP = "scannetv2-labels.combined.tsv"


@dataclass(frozen=True, kw_only=True)
class ScanNetSource:
    """Scans of ScanNet V2 as they are downloaded."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["scannet"] = "scannet"
    path: Path = Path("data/scannet")
    """Folder with scans/, scannetv2-labels.combined.tsv and the lists of scans."""
    classes: ClassNames = SCANNET
    """The classes to read: those of the benchmark, or names of NYU-40 such as lamp."""
    front_classes: tuple[str, ...] = ()
    """None has a front: boxes have no yaw."""

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> ScanNetScenes:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        if split not in _SPLITS:
            raise no_split(self.path, split, _SPLITS)
        root = existing_folder(self.path, "a folder with scans/ of ScanNet")
        places = [root, root / "meta_data"]
        what = "the list of scans of this split, from the ScanNet repository"
        path = needed_file(places, (f"scannetv2_{split}.txt", f"{split}.txt"), what)
        names = unique(read_lines(path), path)[:num]
        numbers = (
            {}
            if split == "test"
            else _label_map(needed_file(places, (_LABEL_MAP,), "the names of ScanNet's objects"))
        )
        _check_known(self.classes, numbers)
        return ScanNetScenes(root, names, numbers, classes or self.classes, split == "test")


def _check_known(classes: Sequence[str], numbers: dict[str, str]) -> None:
    """Refuse classes that no object can have: scenes would be read without a word, and empty."""
    known = {*SCANNET, *numbers.values()}
    unknown = [name for name in classes if name not in known]
    if numbers and unknown:
        raise DatasetError(
            f"classes={'+'.join(unknown)}: not in {_LABEL_MAP}, expected some of "
            f"{', '.join(sorted(known))}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """One scan as its files have it."""

    path: Path
    raw: RawCloud  # aligned where there is an alignment
    rows: Float[NDArray, "M 7"]
    class_names: list[str]


class ScanNetScenes(FileScenes):
    """The scans of one split."""

    def __init__(
        self,
        root: Path,
        names: list[str],
        numbers: dict[str, str],
        classes: Sequence[str],
        is_test: bool,
    ) -> None:
        self._root, self.names, self.classes = root, names, tuple(classes)
        self._class_of, self._is_test = numbers, is_test
        self._last: tuple[int, _Scan] | None = None
        self._frames: dict[int, Frames] = {}
        self.notes = (
            ("ScanNet V2 test scans: no labels, points as they are",)
            if is_test
            else ("ScanNet V2, points turned by axisAlignment, boxes are bounds of objects",)
        )

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scan, also of classes nobody asked for. Raises DatasetError."""
        scan = self._scan(index)
        return scene_labels(str(scan.path), scan.rows, scan.class_names)

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scan, what of them was a guess, and their file."""
        scan = self._scan(index)
        return upright_cloud(scan.path, scan.raw)

    def num_images(self, index: int) -> int:
        """How many color frames with a pose a scan has. Raises DatasetError where it has none."""
        return len(self._frames_of(index).stems)

    def images(self, index: int, which: Sequence[int] = (0,)) -> Images:
        """Some of a scan's color frames, with depth, in the frame of its points.

        They are read when asked for, those of `which` alone, which has at least one entry.
        Raises DatasetError.
        """
        name = self.names[index]
        aligned = np.eye(4)
        if not self._is_test:
            aligned = _alignment(_scan_folder(self._root, name) / f"{name}.txt")
        return self._frames_of(index).read(which, aligned)

    def _frames_of(self, index: int) -> Frames:
        """Which frames a scan has; kept, as every pose is read for it."""
        if index not in self._frames:
            self._frames[index] = Frames.of(self._root, self.names[index])
        return self._frames[index]

    def _scan(self, index: int) -> _Scan:
        """A scan; the last one is kept, as its labels and its points are asked for in turn."""
        if self._last is None or self._last[0] != index:
            self._last = (index, self._read(index))
        return self._last[1]

    def _read(self, index: int) -> _Scan:
        name = self.names[index]
        folder = _scan_folder(self._root, name)
        path = folder / f"{name}_vh_clean_2.ply"
        raw = _mesh(path)
        if self._is_test:
            return _Scan(path, raw, np.zeros((0, 7)), [])
        matrix = _alignment(folder / f"{name}.txt")
        raw = RawCloud(raw.xyz @ matrix[:3, :3].T + matrix[:3, 3], raw.rgb, raw.note)
        objects, names = _objects(folder, name, len(raw.xyz))
        low, high, is_there = _bounds(raw.xyz, objects, len(names))
        rows = np.hstack([(low + high) / 2, high - low, np.zeros((len(names), 1))])[is_there]
        seen = [label for label, there in zip(names, is_there, strict=True) if there]
        return _Scan(path, raw, rows, [self._class_name(label, folder) for label in seen])

    def _class_name(self, label: str, folder: Path) -> str:
        found = self._class_of.get(label)
        if found is None:
            raise DatasetError(
                f"{folder}: object {label!r} is not in {_LABEL_MAP}, expected a name of it; "
                "get the list that belongs to this release"
            )
        return found


def _scan_folder(root: Path, name: str) -> Path:
    folders = [root / part / name for part in ("scans", "scans_test", ".")]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise DatasetError(f"{folders[0]}: no such folder, expected the scan {name}")
    return found


def _mesh(path: Path) -> RawCloud:
    try:
        return read_ply(path, path.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected the mesh of the scan") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except CloudFileError as error:
        raise DatasetError(str(error)) from error


def _alignment(path: Path) -> Float[NDArray, "4 4"]:
    """The line `axisAlignment = 16 numbers`, row by row: p' = M p."""
    for line in read_lines(path):
        key, _, value = line.partition("=")
        if key.strip() != "axisAlignment":
            continue
        try:
            numbers = [float(word) for word in value.split()]
        except ValueError:
            numbers = []
        if len(numbers) == 16 and np.isfinite(numbers).all():
            return np.array(numbers).reshape(4, 4)
        raise DatasetError(f"{path}: {line!r}, expected axisAlignment = 16 numbers")
    raise DatasetError(
        f"{path}: no line axisAlignment, expected one as in every scan of train and val; without "
        "it boxes would not be those of the benchmark: download the file again"
    )


def _objects(folder: Path, name: str, num_vertices: int) -> tuple[Int[NDArray, " N"], list[str]]:
    """Which object each vertex belongs to, -1 = none, and what the objects are called."""
    segments_path = folder / f"{name}_vh_clean_2.0.010000.segs.json"
    segments = _numbers(segments_path, _json(segments_path, "segIndices"))
    if len(segments) != num_vertices:
        raise DatasetError(
            f"{segments_path}: {len(segments)} vertices, expected the {num_vertices} of the ply; "
            "they are of two different meshes"
        )
    path = folder / f"{name}.aggregation.json"
    groups = _json(path, "segGroups")
    object_of = np.full(int(segments.max(initial=0)) + 1, -1, dtype=np.int64)
    names = []
    for index, group in enumerate(groups):
        is_group = isinstance(group, dict) and isinstance(group.get("label"), str)
        if not is_group or not isinstance(group.get("segments"), list):
            raise DatasetError(f"{path}: segGroups[{index}] has no label or no segments")
        own = _numbers(path, group["segments"])
        object_of[own[own < len(object_of)]] = index
        names.append(group["label"])
    return object_of[segments], names


def _bounds(
    xyz: Float[NDArray, "N 3"], objects: Int[NDArray, " N"], num: int
) -> tuple[Float[NDArray, "M 3"], Float[NDArray, "M 3"], NDArray[np.bool_]]:
    """Lowest and highest corner of each object's vertices, and whether it has any."""
    order = np.argsort(objects, kind="stable")
    ends = np.searchsorted(objects[order], np.arange(num + 1))
    is_there = ends[1:] > ends[:-1]
    low, high = np.zeros((num, 3)), np.zeros((num, 3))
    if is_there.any():
        points, starts = xyz[order[: ends[-1]]], ends[:-1][is_there]
        low[is_there] = np.minimum.reduceat(points, starts)
        high[is_there] = np.maximum.reduceat(points, starts)
    return low, high, is_there


def _json(path: Path, key: str) -> list[Any]:
    """A list of a JSON file. Raises DatasetError."""
    try:
        tree = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected {key}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: no whole JSON, expected {key}; download it again") from error
    found = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(found, list):
        raise DatasetError(f"{path}: no list {key}, expected one; is it of another release?")
    return found


def _numbers(path: Path, values: list[Any]) -> Int[NDArray, " N"]:
    """Numbers of segments."""
    array = np.array(values) if values else np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1 or (array < 0).any():
        raise DatasetError(f"{path}: segments that are no whole numbers from 0 on")
    return array.astype(np.int64)


def _label_map(path: Path) -> dict[str, str]:
    """Our class of every name that objects have; classes out of the benchmark by their own."""
    try:
        text = io.StringIO(read_text(path))
        reader = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [(row["raw_category"], row["nyu40id"], row["nyu40class"]) for row in reader]
        return {
            raw: SCANNET_BY_NYU40.get(int(number or 0), our_name(nyu40 or "unknown"))
            for raw, number, nyu40 in rows
        }
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected a table with the columns raw_category, nyu40id and nyu40class"
        ) from error
