"""Infos of mmdetection3d: ScanNet, SUN RGB-D, S3DIS, the data sets of UniDet3D, and one's own.

    PATH/scannet_infos_train.pkl, scannet_infos_val.pkl      or sunrgbd_, multiscan_, 3rscan_
    PATH/s3dis_infos_Area_1.pkl ... Area_6.pkl
    PATH/arkitscenes_offline_train_infos.pkl, ..._val_infos.pkl
    PATH/ANYTHING_infos_train.pkl                            of a data set of one's own
    PATH/points/NAME.bin                                     or bins/, offline_prepared_data/

A pickle is a list of scenes (versions before 1.1) or a dictionary with `metainfo` and `data_list`
(1.1, and 1.0 as UniDet3D writes it). Points are float32 rows x y z r g b. Boxes hold the geometric
centre and full sizes. Points of ScanNet are turned by `axis_align_matrix`, as its boxes are.
Yaw: counter-clockwise in the dictionaries; lists hold either sign, so that the points decide.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.data.cloud_formats.raw import RawCloud
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    scene_labels,
    upright_cloud,
)
from sr3d_core.data.plain_pickle import PickleError, read_pickle
from sr3d_core.data.readers import class_names
from sr3d_core.data.readers.arrays import load_bin, raw_cloud
from sr3d_core.data.readers.class_names import ClassNames, our_name
from sr3d_core.data.readers.lists import S3DIS_AREAS, existing_folder, s3dis_areas, unique
from sr3d_core.data.readers.yaw_sign import Decision, Scene, YawSign, decide
from sr3d_core.structures import PointCloud

InfosOf = Literal["scannet", "sunrgbd", "s3dis", "arkitscenes", "multiscan", "3rscan", "own"]

_CLASSES: dict[InfosOf, tuple[str, ...]] = {
    "scannet": class_names.SCANNET,
    "sunrgbd": class_names.SUNRGBD,
    "s3dis": class_names.S3DIS,
    "arkitscenes": class_names.ARKITSCENES,
    "multiscan": class_names.MULTISCAN,
    "3rscan": class_names.SCANNET,
}
_FILES = {
    "s3dis": ("s3dis_infos_Area_{split}.pkl",),
    "arkitscenes": (
        "arkitscenes_offline_{split}_infos.pkl",
        "arkitscenes_offline_infos_{split}.pkl",
        "arkitscenes_infos_{split}.pkl",
    ),
    **{
        name: (f"{name}_infos_{{split}}.pkl",)
        for name in ("scannet", "sunrgbd", "multiscan", "3rscan")
    },
}
_FOLDERS = ("points", "bins", "offline_prepared_data", ".")
_SPLITS = ("train", "val", "test")
_OWN_FILE = "*_infos_{split}.pkl"
_OF_ROADS = ("kitti", "nuscenes", "waymo", "lyft", "semantickitti")
"""Data sets whose infos look alike, with boxes on their bottoms or in axes of a camera."""
_NO_MATRIX = "no axis_align_matrix in any scene, so points are taken to be aligned already"
_OTHER_FURNITURE = {"otherfurniture": "garbage_bin", "other_furniture": "garbage_bin"}
"""UniDet3D's name of ScanNet's class 39, by which it labels ScanNet and 3RScan."""


@dataclass(frozen=True, kw_only=True)
class InfosSource:
    """Scenes that were prepared for mmdetection3d, TR3D, FCAF3D or UniDet3D."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["infos"] = "infos"
    path: Path = Path("data")
    """Folder of the .pkl files, with the .bin files of points below it."""
    dataset: Literal["auto", InfosOf] = "auto"
    """Which data set, where the folder holds infos of several."""
    yaw: YawSign = "auto"
    """Which way yaws turn; auto goes by version and points, and refuses where they do not tell."""
    align: Literal["auto", "yes", "no"] = "auto"
    """Whether points are turned by `axis_align_matrix`; auto: those of ScanNet are."""
    val_area: int = 5
    """Of S3DIS: the area that is the split val; the others are train."""
    own_classes: ClassNames = ()
    """Classes that infos of one's own have in the place of the usual ones, by label. Without, a
    data set that is none of the known ones has the categories that its infos name."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The usual classes of the data set, or one's own. Raises DatasetError."""
        return self._classes(self._dataset())

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> InfosScenes:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        dataset = self._dataset()
        files = self._files(dataset, split)
        return InfosScenes(self, dataset, files, self._classes(dataset), classes, num)

    def _classes(self, dataset: InfosOf) -> tuple[str, ...]:
        if self.own_classes:
            return self.own_classes
        return _CLASSES[dataset] if dataset != "own" else _categories(self._any_own_file())

    def _dataset(self) -> InfosOf:
        """What the names of the files say, or what was asked for."""
        existing_folder(self.path, "a folder with infos of mmdetection3d (*.pkl)")
        if self.dataset != "auto":
            return self.dataset
        found: list[InfosOf] = [
            name for name in _CLASSES if any((self.path / f).is_file() for f in _all_files(name))
        ]
        if not found and any(self._own_files(split) for split in _SPLITS):
            return "own"
        if len(found) != 1:
            names = [_FILES[name][0] for name in found or _FILES]
            known = " or ".join([*names, *([] if found else [f"your own {_OWN_FILE}"])])
            raise DatasetError(
                f"{self.path}: holds infos of {', '.join(found) or 'no data set'}, expected "
                f"those of one: {known}; name it with dataset="
            )
        return found[0]

    def _own_files(self, split: str) -> list[Path]:
        """Infos of a split that are of no known data set."""
        known = {file for name in _CLASSES for file in _all_files(name)}
        found = self.path.glob(_OWN_FILE.format(split=split))
        return sorted(path for path in found if path.name not in known)

    def _own_file(self, split: str) -> Path:
        found = self._own_files(split)
        if len(found) != 1:
            raise DatasetError(
                f"{self.path}: {', '.join(path.name for path in found) or 'no such file'}, "
                f"expected one {_OWN_FILE.format(split=split)} with infos of your own; "
                "move others into a folder of theirs"
            )
        return found[0]

    def _any_own_file(self) -> Path:
        return self._own_file(next((each for each in _SPLITS if self._own_files(each)), "train"))

    def _files(self, dataset: InfosOf, split: str) -> list[Path]:
        if split not in _SPLITS:
            raise DatasetError(f"{self.path}: no split {split!r}, expected {', '.join(_SPLITS)}")
        if dataset == "own":
            return [self._own_file(split)]
        if dataset == "s3dis":
            areas = s3dis_areas(self.path, split, self.val_area)
            return [self.path / _FILES[dataset][0].format(split=area) for area in areas]
        names = [file.format(split=split) for file in _FILES[dataset]]
        paths = [self.path / name for name in names]
        return [next((path for path in paths if path.is_file()), paths[0])]


def _lacks_matrix(info: _Info) -> bool:
    """Whether its boxes cannot be where its points are, if those of others have to be turned."""
    return info.aligned_from_file is None and len(info.rows) > 0


def _all_files(dataset: InfosOf) -> list[str]:
    splits = S3DIS_AREAS if dataset == "s3dis" else _SPLITS
    return [file.format(split=split) for file in _FILES[dataset] for split in splits]


@dataclass(frozen=True, slots=True, eq=False)
class _Info:
    """What infos say about one scene."""

    where: str
    name: str
    lidar_path: str
    num_columns: int
    rows: Float[NDArray, "M 7"]  # yaw as it is in the file
    class_names: list[str]
    aligned_from_file: Float[NDArray, "4 4"] | None


class InfosScenes(FileScenes):
    """The scenes of one split."""

    def __init__(
        self,
        source: InfosSource,
        dataset: InfosOf,
        files: Sequence[Path],
        own_classes: tuple[str, ...],
        classes: Sequence[str] | None,
        num: int | None,
    ) -> None:
        self._root, self.classes = source.path, tuple(classes or own_classes)
        read = [_read(path, dataset, own_classes) for path in files]
        self._infos = [info for file in read for info in file.infos]
        self.names = unique([info.name for info in self._infos], files[0])[:num]
        self._is_aligned = self._alignment(source, dataset)
        self._yaw = self._decision(source, read[0])
        num_ignored = sum(file.num_ignored for file in read)
        self.notes = (
            f"{dataset}, infos of {read[0].version}",
            *([self._yaw.note] if any(len(info.rows) for info in self._infos) else []),
            *(["points turned by axis_align_matrix"] if self._is_aligned else []),
            *([_NO_MATRIX] if dataset == "scannet" and self._all_lack_matrices() else []),
            *([f"{num_ignored} boxes with the label -1 are left out"] if num_ignored else []),
        )

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scene. Raises DatasetError."""
        info = self._infos[index]
        return scene_labels(info.where, self._yaw.apply(info.rows), info.class_names)

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scene, what of them was a guess, and their file."""
        path, raw = self._raw(self._infos[index])
        return upright_cloud(path, raw)

    def _raw(self, info: _Info) -> tuple[Path, RawCloud]:
        path = self._find(info)
        raw = raw_cloud(path, load_bin(path, info.num_columns))
        matrix = info.aligned_from_file if self._is_aligned else None
        if matrix is None:
            return path, raw
        return path, RawCloud(raw.xyz @ matrix[:3, :3].T + matrix[:3, 3], raw.rgb, raw.note)

    def _find(self, info: _Info) -> Path:
        relative = _posix(info.lidar_path)
        is_inside = not relative.is_absolute() and ".." not in relative.parts
        paths = [self._root / relative] if is_inside else []
        paths += [self._root / folder / relative.name for folder in _FOLDERS]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise DatasetError(
                f"{paths[-len(_FOLDERS)]}: no such file, expected the points of {info.where}, "
                f"there or in {', '.join(_FOLDERS[1:3])}"
            )
        return found

    def _alignment(self, source: InfosSource, dataset: InfosOf) -> bool:
        matrices = {info.where: info.aligned_from_file for info in self._infos}
        turned = [
            where
            for where, matrix in matrices.items()
            if matrix is not None and not np.allclose(matrix, np.eye(4))
        ]
        if source.align == "auto" and dataset != "scannet" and turned:
            raise DatasetError(
                f"{turned[0]}: axis_align_matrix in infos of {dataset}, expected in those of "
                "ScanNet only; whether its points are still to be turned is unsure: say it with "
                "align=yes or align=no"
            )
        lacking = [info.where for info in self._infos if _lacks_matrix(info)]
        if source.align != "no" and turned and lacking:
            raise DatasetError(
                f"{lacking[0]}: no axis_align_matrix, but others have one ({turned[0]}), expected "
                "one in each scene with boxes; make the infos again, or say align=no if all "
                "points are aligned already"
            )
        return source.align != "no" and bool(turned)

    def _all_lack_matrices(self) -> bool:
        has_boxes = any(len(info.rows) for info in self._infos)
        return has_boxes and all(info.aligned_from_file is None for info in self._infos)

    def _decision(self, source: InfosSource, first: _File) -> Decision:
        stated = first.stated_yaw
        return decide(str(first.path), source.yaw, stated, first.about_yaw, self._for_votes())

    def _for_votes(self) -> Iterator[Scene]:
        # From the whole list, not its beginning: neighbors are often views of one room.
        step = max(1, len(self._infos) // 300)
        for info in self._infos[::step]:
            yield partial(self._xyz, info), info.rows

    def _xyz(self, info: _Info) -> Float[Tensor, "N 3"]:
        return torch.from_numpy(self._raw(info)[1].xyz)


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """One .pkl file."""

    path: Path
    version: str
    stated_yaw: Literal["counter_clockwise", "clockwise"] | None
    about_yaw: str
    infos: list[_Info]
    num_ignored: int = 0


def _read(path: Path, dataset: InfosOf, classes: Sequence[str]) -> _File:
    """One file; `classes` are meant by the labels of a list without names."""
    tree = _tree(path, dataset)
    if isinstance(tree, list):
        infos = [
            _of_list(f"{path}, scene {index}", entry, dataset, classes)
            for index, entry in enumerate(tree)
        ]
        about = "lists of infos hold yaw clockwise (before 1.0, FCAF3D) or counter-clockwise"
        return _File(path, "mmdetection3d before 1.1 (a list)", None, about, infos)
    if not isinstance(tree, dict) or not {"metainfo", "data_list"} <= tree.keys():
        keys = reprlib.repr(list(tree)) if isinstance(tree, dict) else type(tree).__name__
        raise DatasetError(
            f"{path}: holds {keys}, expected a list of scenes (mmdetection3d before 1.1), or "
            "metainfo and data_list"
        )
    return _of_dictionary(path, tree, dataset)


def _tree(path: Path, dataset: InfosOf) -> Any:
    try:
        return read_pickle(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected infos of {dataset}") from error
    except PickleError as error:
        raise DatasetError(str(error)) from error


def _categories(path: Path) -> tuple[str, ...]:
    """The classes that infos of one's own name, by label. Raises DatasetError."""
    tree = _tree(path, "own")
    if not isinstance(tree, dict):
        raise DatasetError(
            f"{path}: a list of scenes (mmdetection3d before 1.1) does not say its categories, "
            "expected them in the order of the labels; name them with own_classes=chair+lamp"
        )
    by_label = _by_label(tree, str(path), "own")
    return tuple(by_label[label] for label in sorted(by_label))


def _by_label(tree: dict[str, Any], where: str, dataset: InfosOf) -> dict[int, str]:
    metainfo = _field(tree, "metainfo", dict, where)
    made_for = str(metainfo.get("dataset", "")).lower()
    if made_for.startswith(_OF_ROADS):
        raise DatasetError(
            f"{where}: infos of {made_for}, whose boxes are in other axes; expected "
            "those of rooms: centres of boxes, z up"
        )
    categories = _field(metainfo, "categories", dict, where)
    return {int(label): _class_name(name, dataset) for name, label in categories.items()}


def _of_dictionary(path: Path, tree: dict[str, Any], dataset: InfosOf) -> _File:
    where = str(path)
    entries = _field(tree, "data_list", list, where)
    by_label = _by_label(tree, where, dataset)
    version = tree["metainfo"].get("info_version", "1.1")
    parsed = [
        _of_entry(f"{path}, data_list[{index}]", entry, by_label)
        for index, entry in enumerate(entries)
    ]
    infos = [info for info, _ in parsed]
    num_ignored = sum(num for _, num in parsed)
    about = f"infos of version {version} hold counter-clockwise yaw"
    return _File(path, f"version {version}", "counter_clockwise", about, infos, num_ignored)


def _of_entry(where: str, entry: Any, by_label: dict[int, str]) -> tuple[_Info, int]:
    """A scene of version 1, and how many of its boxes are to be ignored."""
    points = _field(entry, "lidar_points", dict, where)
    instances = entry.get("instances") or []
    if not isinstance(instances, list):
        raise DatasetError(f"{where}: instances is {reprlib.repr(instances)}, expected a list")
    boxes, names, num_ignored = [], [], 0
    for index, instance in enumerate(instances):
        place = f"{where}, instances[{index}]"
        label = _field(instance, "bbox_label_3d", (int, np.integer), place)
        if label == -1:
            num_ignored += 1
            continue
        if label not in by_label:
            raise DatasetError(
                f"{place}: bbox_label_3d {label}, expected one of {sorted(by_label)}"
            )
        boxes.append(_field(instance, "bbox_3d", (list, tuple, np.ndarray), place))
        names.append(by_label[int(label)])
    path = _field(points, "lidar_path", str, where)
    columns = _num_columns(points.get("num_pts_feats", 6), where)
    matrix = entry.get("axis_align_matrix")
    info = _Info(
        where, _scene_name(path), path, columns, _rows(boxes, where), names, _matrix(matrix, where)
    )
    return info, num_ignored


def _of_list(where: str, entry: Any, dataset: InfosOf, classes: Sequence[str]) -> _Info:
    """A scene of the versions before 1.1."""
    path = _field(entry, "pts_path", str, where)
    points = entry.get("point_cloud") or {}
    annos = entry.get("annos") or {}
    boxes = annos.get("gt_boxes_upright_depth", np.zeros((0, 6)))
    labels = np.asarray(annos.get("class", np.zeros(0))).reshape(-1)
    names = annos.get("name")
    if names is None:
        names = [_by_index(int(label), classes, where) for label in labels]
    found = {"class": len(labels), "name": len(names), "gt_num": annos.get("gt_num", len(boxes))}
    wrong = next((key for key, num in found.items() if num != len(boxes)), None)
    if wrong is not None:
        raise DatasetError(f"{where}: {wrong} says {found[wrong]} boxes, there are {len(boxes)}")
    return _Info(
        where,
        _scene_name(path),
        path,
        _num_columns(points.get("num_features", 6), where),
        _rows(boxes, where),
        [_class_name(str(name), dataset) for name in names],
        _matrix(annos.get("axis_align_matrix"), where),
    )


def _by_index(label: int, classes: Sequence[str], where: str) -> str:
    if not 0 <= label < len(classes):
        raise DatasetError(f"{where}: class {label}, expected 0 to {len(classes) - 1}")
    return classes[label]


def _class_name(name: str, dataset: InfosOf) -> str:
    plain = our_name(name)
    return _OTHER_FURNITURE.get(plain, plain) if dataset in ("scannet", "3rscan") else plain


def _scene_name(path: str) -> str:
    return _posix(path).stem.removesuffix("_point")


def _posix(path: str) -> PurePosixPath:
    """A path that may have been written on Windows."""
    return PurePosixPath(path.replace("\\", "/"))


def _field(tree: Any, key: str, kind: Any, where: str) -> Any:
    """An entry of a dictionary; raises DatasetError where it is missing or of another type."""
    found = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(found, kind):
        raise DatasetError(
            f"{where}: {key} is {reprlib.repr(found)}, expected it as mmdetection3d writes it; "
            "make the infos again"
        )
    return found


def _num_columns(value: Any, where: str) -> int:
    if not isinstance(value, (int, np.integer)) or not 3 <= value <= 100:
        raise DatasetError(f"{where}: {reprlib.repr(value)} numbers a point, expected 3 or more")
    return int(value)


def _rows(boxes: Any, where: str) -> Float[NDArray, "M 7"]:
    """Boxes of six or seven numbers as rows of seven."""
    try:
        rows = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: boxes {reprlib.repr(boxes)}, expected numbers") from error
    if rows.size == 0:
        return np.zeros((0, 7))
    if rows.ndim != 2 or rows.shape[1] not in (6, 7):
        raise DatasetError(
            f"{where}: boxes of shape {rows.shape}, expected 6 numbers each, or 7 with yaw"
        )
    return np.hstack([rows, np.zeros((len(rows), 7 - rows.shape[1]))])


def _matrix(value: Any, where: str) -> Float[NDArray, "4 4"] | None:
    if value is None:
        return None
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DatasetError(f"{where}: axis_align_matrix {reprlib.repr(value)}, expected 4 x 4")
    return matrix
