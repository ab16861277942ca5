"""S3DIS as it is downloaded (CVPR 2016): rooms as text files of points, one for each object.

    PATH/Area_1/office_1/Annotations/chair_1.txt        x y z r g b, colors 0..255

A room is all points of its objects, moved so that their lowest x, y and z are 0; the box of an
object is the bounds of its points, without yaw. `Stanford3dDataset_v1.2_Aligned_Version` is meant.
Text is slow to read: `sr3d data prepare` makes a folder of it for trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import ConfigDict

from sr3d_core.data.cloud_formats.raw import CloudFileError
from sr3d_core.data.cloud_formats.rows import Rows
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    scene_labels,
    upright_cloud,
)
from sr3d_core.data.readers.arrays import raw_cloud
from sr3d_core.data.readers.class_names import S3DIS, ClassNames, our_name
from sr3d_core.data.readers.lists import existing_folder, no_split, s3dis_areas
from sr3d_core.structures import PointCloud

_KNOWN_FAULT = ("Area_5", "hallway_6", "Annotations", "ceiling_1.txt")


@dataclass(frozen=True, kw_only=True)
class S3disSource:
    """Rooms of S3DIS as they are downloaded."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["s3dis"] = "s3dis"
    path: Path = Path("data/s3dis/Stanford3dDataset_v1.2_Aligned_Version")
    """Folder with Area_1/ to Area_6/."""
    val_area: int = 5
    """The area that is the split val; the others that are there are train."""
    classes: ClassNames = S3DIS
    """The classes to read: those of the benchmark, or others such as column."""
    front_classes: tuple[str, ...] = ()
    """None has a front: boxes have no yaw."""

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> S3disScenes:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        if split not in ("train", "val"):
            raise no_split(self.path, split, ("train", "val"))
        root = existing_folder(self.path, "a folder with Area_1 to Area_6")
        areas = s3dis_areas(root, split, self.val_area)
        there = [area for area in areas if (root / f"Area_{area}").is_dir()]
        rooms = [
            folder
            for area in there
            for folder in sorted((root / f"Area_{area}").iterdir())
            if (folder / "Annotations").is_dir()
        ]
        if not rooms:
            raise DatasetError(
                f"{root}: no room in {', '.join(f'Area_{area}' for area in areas)}, expected "
                "Area_1/office_1/Annotations/chair_1.txt"
            )
        missing = [str(area) for area in areas if area not in there]
        note = f"; without areas {', '.join(missing)}, which are not there" if missing else ""
        return S3disScenes(rooms[:num], classes or self.classes, note)


class S3disScenes(FileScenes):
    """The rooms of some areas."""

    def __init__(self, rooms: list[Path], classes: Sequence[str], note: str) -> None:
        self._rooms, self.classes = rooms, tuple(classes)
        self.names = [f"{room.parent.name}_{room.name}" for room in rooms]
        self.notes = (f"S3DIS, boxes are bounds of objects, rooms moved to 0{note}",)
        self._last: tuple[int, list[tuple[str, Float[NDArray, "N 6"]]]] | None = None

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one room, also of walls and the like. Raises DatasetError."""
        objects = self._objects(index)
        lowest = np.min([points[:, :3].min(axis=0) for _, points in objects], axis=0)
        low = np.array([points[:, :3].min(axis=0) for _, points in objects]) - lowest
        high = np.array([points[:, :3].max(axis=0) for _, points in objects]) - lowest
        rows = np.hstack([(low + high) / 2, high - low, np.zeros((len(low), 1))])
        return scene_labels(str(self._rooms[index]), rows, [name for name, _ in objects])

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one room, what of them was a guess, and their folder."""
        table = np.concatenate([points for _, points in self._objects(index)])
        table[:, :3] -= table[:, :3].min(axis=0)
        return upright_cloud(self._rooms[index], raw_cloud(self._rooms[index], table))

    def _objects(self, index: int) -> list[tuple[str, Float[NDArray, "N 6"]]]:
        """Class and points of every object that has any.

        Those of the last room are kept, as its labels and its points are asked for in turn.
        """
        if self._last is None or self._last[0] != index:
            files = sorted((self._rooms[index] / "Annotations").glob("*.txt"))
            objects = [(our_name(path.stem.rpartition("_")[0]), _points(path)) for path in files]
            objects = [(name, points) for name, points in objects if len(points)]
            if not objects:
                raise DatasetError(f"{self._rooms[index]}: no points in Annotations/*.txt")
            self._last = (index, objects)
        return self._last[1]


def _points(path: Path) -> Float[NDArray, "N 6"]:
    try:
        rows = Rows(path.read_bytes())
        return rows.numbers(path, "x y z r g b", width=6)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except CloudFileError as error:
        is_known = path.parts[-4:] == _KNOWN_FAULT
        advice = ": of line 180389 it is known; put a space for the sign" if is_known else ""
        raise DatasetError(f"{error}{advice}") from error
