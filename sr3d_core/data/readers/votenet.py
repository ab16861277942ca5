"""Folders that VoteNet prepared, and mmdetection3d's first step with ScanNet.

    PATH/scannet_train_detection_data/SCAN_vert.npy     x y z r g b, axis-aligned already
                                      SCAN_bbox.npy     centre, full size, NYU-40 number
    PATH/scannet_instance_data/SCAN_vert.npy            not aligned: SCAN_axis_align_matrix.npy
                               SCAN_aligned_bbox.npy    centre, full size, NYU-40 number
    PATH/meta_data/scannetv2_train.txt, scannetv2_val.txt    which scans are in which split
    PATH/sunrgbd_pc_bbox_votes_50k_v1_train/ID_pc.npz   `pc`: x y z r g b, upright
                                            ID_bbox.npy centre, HALF sizes, clockwise yaw, class

PATH may be one of these folders itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

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
from sr3d_core.data.readers.arrays import load_npy, load_npz, raw_cloud
from sr3d_core.data.readers.class_names import SCANNET, SCANNET_BY_NYU40, SUNRGBD
from sr3d_core.data.readers.lists import (
    existing_folder,
    needed_file,
    no_split,
    read_lines,
    unique,
)
from sr3d_core.data.readers.yaw_sign import Scene, YawSign, decide
from sr3d_core.structures import PointCloud

_SCANNET_FOLDERS = ("scannet_train_detection_data", "scannet_instance_data")
_SUNRGBD = re.compile(r"sunrgbd_pc_bbox_votes_\w*?(v1|v2)_(train|val)")


@dataclass(frozen=True, kw_only=True)
class VoteNetSource:
    """Scenes that VoteNet's scripts prepared from ScanNet or SUN RGB-D."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["votenet"] = "votenet"
    path: Path = Path("data")
    """Folder that VoteNet's scripts wrote, or the folder around it."""
    dataset: Literal["auto", "scannet", "sunrgbd"] = "auto"
    """Which data set, where the folder holds both."""
    labels: Literal["auto", "v1", "v2"] = "auto"
    """Which labels of SUN RGB-D, where there are folders of both."""
    yaw: YawSign = "auto"
    """Which way yaws of SUN RGB-D turn; VoteNet's scripts write them clockwise."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the data set. Raises DatasetError."""
        return SCANNET if self._found()[0] == "scannet" else SUNRGBD

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> VoteNetScanNet | VoteNetSunRgbd:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        dataset, folders = self._found()
        if dataset == "scannet":
            folder = folders[0]
            names = _listed(self.path, folder, split)
            return VoteNetScanNet(folder, unique(names, folder)[:num], classes or SCANNET)
        folder = self._of_split(folders, split)
        return VoteNetSunRgbd(folder, self.yaw, classes or SUNRGBD, num)

    def _found(self) -> tuple[Literal["scannet", "sunrgbd"], list[Path]]:
        """The data set, and its folders in PATH."""
        existing_folder(self.path, "a folder that VoteNet's scripts wrote")
        inside = [self.path.resolve(), *sorted(self.path.iterdir())]
        known: dict[Literal["scannet", "sunrgbd"], list[Path]] = {
            "scannet": [folder for folder in inside if folder.name in _SCANNET_FOLDERS],
            "sunrgbd": [folder for folder in inside if _SUNRGBD.fullmatch(folder.name)],
        }
        there = [name for name, folders in known.items() if folders]
        if self.dataset != "auto":
            there = [name for name in there if name == self.dataset]
        if len(there) != 1:
            raise DatasetError(
                f"{self.path}: holds {' and '.join(there) or 'none'} of "
                f"{', '.join(_SCANNET_FOLDERS)} and sunrgbd_pc_bbox_votes_50k_v1_train, expected "
                "those of one data set; choose another path, or name it with dataset="
            )
        return there[0], known[there[0]]

    def _of_split(self, folders: Sequence[Path], split: str) -> Path:
        """The one folder of SUN RGB-D with these labels and this split."""
        matches = {folder: _SUNRGBD.fullmatch(folder.name) for folder in folders}
        versions = {match[1] for match in matches.values() if match}
        if self.labels == "auto" and len(versions) > 1:
            raise DatasetError(
                f"{self.path}: holds v1 and v2 labels, expected one; say labels=v1 or labels=v2"
            )
        wanted = versions if self.labels == "auto" else {self.labels}
        chosen = [f for f, match in matches.items() if match and match[1] in wanted]
        of_split = [folder for folder in chosen if folder.name.endswith(f"_{split}")]
        if not of_split:
            # Someone may give the path of one split and ask for the other.
            beside = [f.with_name(re.sub("_(train|val)$", f"_{split}", f.name)) for f in chosen]
            of_split = [folder for folder in beside if folder.is_dir() and folder not in chosen]
        if not of_split:
            raise DatasetError(
                f"{self.path}: no folder of the split {split!r} with labels "
                f"{' or '.join(sorted(wanted))}, expected sunrgbd_pc_bbox_votes_50k_v1_train, "
                "or _val"
            )
        return of_split[0]


def _listed(root: Path, folder: Path, split: str) -> list[str]:
    """The scans of a split that are in the folder: its scripts skip some."""
    if split not in ("train", "val"):
        raise no_split(root, split, ("train", "val"))
    places = [root, root / "meta_data", folder.parent, folder.parent / "meta_data"]
    what = "the list of scans of this split, from the ScanNet repository"
    path = needed_file(places, (f"scannetv2_{split}.txt", f"{split}.txt"), what)
    names = [name for name in read_lines(path) if (folder / f"{name}_vert.npy").is_file()]
    if not names:
        raise DatasetError(f"{folder}: none of the scans of {path} is there (SCAN_vert.npy)")
    return names


class VoteNetScanNet(FileScenes):
    """Scans of ScanNet."""

    def __init__(self, folder: Path, names: list[str], classes: Sequence[str]) -> None:
        self._folder, self.names, self.classes = folder, names, tuple(classes)
        self._is_aligned = folder.name == "scannet_train_detection_data"
        points = "axis-aligned already" if self._is_aligned else "turned by axis_align_matrix"
        self.notes = (f"ScanNet as in {folder.name}, points {points}",)

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scan; those of NYU-40 classes that are not in the benchmark, too."""
        kind = "bbox" if self._is_aligned else "aligned_bbox"
        path = self._folder / f"{self.names[index]}_{kind}.npy"
        table = load_npy(path, "rows of centre, size and NYU-40 number", 7).astype(np.float64)
        numbers = table[:, 6].copy()
        is_number = (numbers == np.floor(numbers)) & (numbers >= 1) & (numbers <= 40)
        if not is_number.all():
            raise DatasetError(f"{path}: class {numbers[~is_number][0]:g}, expected 1 to 40")
        table[:, 6] = 0
        names = [SCANNET_BY_NYU40.get(int(n), f"nyu40_{int(n)}") for n in numbers]
        return scene_labels(str(path), table, names)

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scan, what of them was a guess, and their file."""
        path = self._folder / f"{self.names[index]}_vert.npy"
        raw = raw_cloud(path, _points(path, load_npy(path, "points x y z r g b")))
        if self._is_aligned:
            return upright_cloud(path, raw)
        align = self._folder / f"{self.names[index]}_axis_align_matrix.npy"
        matrix = load_npy(align, "a matrix 4 x 4", 4).astype(np.float64)
        if matrix.shape != (4, 4):
            raise DatasetError(f"{align}: {matrix.shape}, expected a matrix 4 x 4")
        xyz = raw.xyz @ matrix[:3, :3].T + matrix[:3, 3]
        return upright_cloud(path, RawCloud(xyz, raw.rgb, raw.note))


class VoteNetSunRgbd(FileScenes):
    """Frames of SUN RGB-D."""

    def __init__(
        self, folder: Path, yaw: YawSign, classes: Sequence[str], num: int | None
    ) -> None:
        self._folder, self.classes = folder, tuple(classes)
        files = sorted(folder.glob("*_pc.npz"))
        self.names = unique([path.name.removesuffix("_pc.npz") for path in files], folder)
        why = "VoteNet's files hold clockwise yaw"
        self._yaw = decide(str(folder), yaw, "clockwise", why, self._for_votes())
        self.names = self.names[:num]
        match = _SUNRGBD.fullmatch(folder.name)
        assert match is not None
        self.notes = (f"SUN RGB-D with {match[1]} labels, half sizes doubled", self._yaw.note)

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one frame. Raises DatasetError."""
        table, path = self._boxes(index)
        labels = table[:, 7]
        is_label = np.isin(labels, np.arange(len(SUNRGBD)))
        if not is_label.all():
            raise DatasetError(
                f"{path}: class {labels[~is_label][0]:g}, expected 0 to {len(SUNRGBD) - 1}"
            )
        names = [SUNRGBD[int(label)] for label in labels]
        return scene_labels(str(path), self._yaw.apply(table[:, :7]), names)

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one frame, what of them was a guess, and their file."""
        path = self._folder / f"{self.names[index]}_pc.npz"
        return upright_cloud(path, raw_cloud(path, self._points_of(path)))

    def _boxes(self, index: int) -> tuple[Float[NDArray, "M 8"], Path]:
        """Rows with full sizes, yaw as it is in the file, and a class."""
        path = self._folder / f"{self.names[index]}_bbox.npy"
        table = load_npy(path, "rows of centre, half sizes, yaw and class", 8).astype(np.float64)
        return table * [1, 1, 1, 2, 2, 2, 1, 1], path

    def _points_of(self, path: Path) -> NDArray:
        expected = "`pc` with points x y z r g b"
        return load_npz(path, "pc", expected, 6)

    def _for_votes(self) -> Iterator[Scene]:
        step = max(1, len(self.names) // 300)
        for index in range(0, len(self.names), step):
            path = self._folder / f"{self.names[index]}_pc.npz"
            yield partial(self._xyz, path), self._boxes(index)[0][:, :7]

    def _xyz(self, path: Path) -> Float[Tensor, "N 3"]:
        return torch.from_numpy(self._points_of(path)[:, :3])


def _points(path: Path, table: NDArray) -> NDArray:
    if table.ndim != 2 or table.shape[1] not in (3, 6):
        raise DatasetError(f"{path}: points of shape {table.shape}, expected rows x y z r g b")
    return table
