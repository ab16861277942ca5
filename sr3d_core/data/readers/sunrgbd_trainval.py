"""SUN RGB-D as VoteNet's MATLAB scripts extract it: `sunrgbd_trainval`.

    PATH/depth/000001.mat            `instance`: x y z r g b, upright, colors 0..1
    PATH/label/000001.txt            v2 labels; label_v1/ those of v1
    PATH/train_data_idx.txt, val_data_idx.txt    one number a line

A line of a label file is `class xmin ymin w h cx cy cz W L H ox oy`: the sizes are HALF, and
(dx, dy, dz) are 2 (L, W, H); yaw = atan2(oy, ox), counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    scene_labels,
    upright_cloud,
)
from sr3d_core.data.readers.arrays import raw_cloud
from sr3d_core.data.readers.class_names import SUNRGBD, ClassNames, our_name
from sr3d_core.data.readers.lists import (
    existing_folder,
    needed_file,
    no_split,
    read_lines,
    unique,
)
from sr3d_core.data.readers.matlab import load_mat
from sr3d_core.structures import PointCloud

_NUM_NUMBERS = 12  # after the class, whose name may have spaces


@dataclass(frozen=True, kw_only=True)
class SunRgbdTrainvalSource:
    """Frames of SUN RGB-D in the folder `sunrgbd_trainval`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["sunrgbd_trainval"] = "sunrgbd_trainval"
    path: Path = Path("data/sunrgbd/sunrgbd_trainval")
    """Folder with depth/, label/ and the lists of frames, or the folder around it."""
    labels: Literal["v2", "v1"] = "v2"
    """Which labels; those of v1 are noisier."""
    classes: ClassNames = SUNRGBD
    """The classes to read: those of the benchmark, or any others of the files."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> SunRgbdTrainval:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        if split not in ("train", "val"):
            raise no_split(self.path, split, ("train", "val"))
        root = existing_folder(self.path, "the folder sunrgbd_trainval")
        root = next(
            (at for at in (root, root / "sunrgbd_trainval") if (at / "depth").is_dir()), root
        )
        path = needed_file([root], (f"{split}_data_idx.txt",), "the list of frames of this split")
        names = [_number(line, path) for line in read_lines(path)]
        folder = existing_folder(
            root / ("label" if self.labels == "v2" else "label_v1"),
            f"the {self.labels} labels; the others are read with labels=v1 or labels=v2",
        )
        note = f"SUN RGB-D with {self.labels} labels, half sizes doubled, yaw counter-clockwise"
        return SunRgbdTrainval(
            root, folder, unique(names, path)[:num], classes or self.classes, note
        )


def _number(line: str, path: Path) -> str:
    if not line.isdigit():
        raise DatasetError(f"{path}: {line!r}, expected the number of a frame on each line")
    return f"{int(line):06d}"


class SunRgbdTrainval(FileScenes):
    """The frames of one split."""

    def __init__(
        self, root: Path, folder: Path, names: list[str], classes: Sequence[str], note: str
    ) -> None:
        self._root, self._folder, self.names = root, folder, names
        self.classes, self.notes = tuple(classes), (note,)

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one frame, also of classes nobody asked for. Raises DatasetError."""
        path = self._folder / f"{self.names[index]}.txt"
        parsed = [_parsed(line, path) for line in read_lines(path)]
        rows = np.array([row for _, row in parsed], dtype=np.float64).reshape(-1, 7)
        return scene_labels(str(path), rows, [name for name, _ in parsed])

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one frame, what of them was a guess, and their file."""
        path = self._root / "depth" / f"{self.names[index]}.mat"
        table = np.atleast_2d(load_mat(path, "instance"))
        if table.size and (table.shape[1:] != (6,) or table.dtype.kind not in "fiu"):
            raise DatasetError(f"{path}: instance of shape {table.shape}, expected (N, 6)")
        return upright_cloud(path, raw_cloud(path, table.reshape(-1, 6)))


def _parsed(line: str, path: Path) -> tuple[str, list[float]]:
    """Class and box of a line."""
    words = line.split()
    try:
        numbers = [float(word) for word in words[-_NUM_NUMBERS:]]
    except ValueError:
        numbers = []
    if len(numbers) != _NUM_NUMBERS or len(words) == _NUM_NUMBERS:
        raise DatasetError(f"{path}: {line!r}, expected class xmin ymin w h cx cy cz W L H ox oy")
    *_, x, y, z, width, length, height, ox, oy = numbers
    yaw = float(np.arctan2(oy, ox))
    box = [x, y, z, 2 * abs(length), 2 * abs(width), 2 * abs(height), yaw]
    return our_name(" ".join(words[:-_NUM_NUMBERS])), box
