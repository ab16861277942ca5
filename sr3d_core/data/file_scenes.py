"""Labelled scenes in files: what every reader of them shares.

A reader says which scenes there are, how their labels were written, and gives labels and points of
one scene; what a `Sample` is made of them, and which are refused, is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sr3d_core.data.cloud_file import CloudFileError, noted_cloud
from sr3d_core.data.cloud_formats.raw import RawCloud
from sr3d_core.data.label_checks import scene_faults
from sr3d_core.records import LabelRecord, boxes_of, targets_of
from sr3d_core.structures import PointCloud, Sample

_MOST_NAMED = 5  # classes


class DatasetError(ValueError):
    """A data set cannot be read; the text says which file, what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class SceneLabels:
    """The boxes of one scene."""

    where: str
    """The file or folder that they are from."""
    records: list[LabelRecord]
    left_out: list[str]
    """Boxes of the file that cannot be used, and why; not those of classes nobody asked for."""


class FileScenes(ABC):
    """The scenes of one split, read when asked for.

    Labels index `classes`; boxes of other classes are left out.
    """

    names: list[str]
    """One name a scene, unique, without . or .. between slashes."""
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """How the files were understood, where they could be understood in more than one way."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Sample, str]:
        """One scene, and what of its cloud was a guess. Raises DatasetError."""
        labels = self.labels(index)
        cloud, note, path = self.cloud(index)
        # All boxes, so that their numbers are those of the file.
        refuse(f"{path} with {labels.where}", scene_faults(cloud, boxes_of(labels.records)))
        return Sample(cloud, targets_of(labels.records, self.classes), self.names[index]), note

    def records(self, index: int) -> list[LabelRecord]:
        """The boxes of one scene as its file has them. Raises DatasetError."""
        return self.labels(index).records

    def labels_of(self, index: int) -> list[int]:
        """The labels of one scene, without its ignored boxes; index `classes`."""
        return targets_of(self.records(index), self.classes).labels.tolist()

    @abstractmethod
    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scene. Raises DatasetError."""

    @abstractmethod
    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scene, what of them was a guess, and their file."""


def about_other_classes(num_boxes: Mapping[str, int]) -> str:
    """What to say of boxes whose classes nobody asked for, by class; nothing where there are none.

    The most frequent classes are named.
    """
    if not num_boxes:
        return ""
    by_number = sorted(num_boxes, key=lambda name: (-num_boxes[name], name))
    named = ", ".join(f"{name} {num_boxes[name]}" for name in by_number[:_MOST_NAMED])
    more = f" and {len(by_number) - _MOST_NAMED} more" if by_number[_MOST_NAMED:] else ""
    return f"{sum(num_boxes.values())} boxes of other classes are left out ({named}{more})"


def is_plain_name(name: str) -> bool:
    """Whether a scene's name is a path below a folder, spelled in the one way there is."""
    path = PurePosixPath(name)
    return path.as_posix() == name and not path.is_absolute() and ".." not in path.parts


def upright_cloud(path: Path, raw: RawCloud) -> tuple[PointCloud, str, Path]:
    """Points that were read from `path`, z up; raises DatasetError where none is usable."""
    try:
        cloud, note = noted_cloud(path, raw)
    except CloudFileError as error:
        raise DatasetError(str(error)) from error
    return cloud, note, path


def refuse(where: str, faults: Sequence[str]) -> None:
    """Raise what is wrong with a scene: the first fault, and how many there are."""
    if faults:
        more = f" ({len(faults) - 1} more faults there)" if faults[1:] else ""
        raise DatasetError(f"{where}: {faults[0]}{more}")


def scene_labels(
    where: str, rows: Float[NDArray, "M 7"], class_names: Sequence[str]
) -> SceneLabels:
    """Labels of rows `x y z dx dy dz yaw` in our convention, with the class of each.

    A box without any volume is left out, as nothing can overlap it. Raises DatasetError where a
    number is not finite or a size below 0.
    """
    is_odd = ~np.isfinite(rows).all(axis=1) | (rows[:, 3:6] < 0).any(axis=1)
    if is_odd.any():
        index = int(is_odd.argmax())
        raise DatasetError(
            f"{where}: boxes[{index}] is {rows[index].tolist()}, expected finite numbers x y z dx "
            "dy dz yaw, sizes of at least 0; the file is damaged or of another version"
        )
    records, left_out = list[LabelRecord](), list[str]()
    for index, (row, name) in enumerate(zip(rows.tolist(), class_names, strict=True)):
        if min(row[3:6]) == 0:
            size = ", ".join(f"{side:g}" for side in row[3:6])
            left_out.append(f"{where}: boxes[{index}] ({name}) has no volume, size [{size}]")
            continue
        tree = {"class": name, "center": row[:3], "size": row[3:6], "yaw": row[6]}
        records.append(LabelRecord.model_validate(tree))
    return SceneLabels(where, records, left_out)
