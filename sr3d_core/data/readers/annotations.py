"""What labelling tools have in common: a cloud file and a JSON file of boxes for each scene."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d_core.data.cloud_file import CloudFileError, clouds_named, read_noted
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.data.file_scenes import DatasetError, FileScenes, SceneLabels, scene_labels
from sr3d_core.data.readers.class_names import our_name
from sr3d_core.data.readers.lists import no_split, read_lines, unique
from sr3d_core.plain_text import read_text
from sr3d_core.structures import PointCloud

_MAX_TILT_RAD = math.radians(10.0)


@dataclass(frozen=True, slots=True)
class ToolBox:
    """A box as a tool has it, in metres and radians."""

    name: str
    center: Sequence[float]
    size: Sequence[float]
    angles: Sequence[float]  # about x, y and z

    @property
    def tilt_rad(self) -> float:
        """By how much it leans."""
        return max(abs(math.remainder(angle, 2 * math.pi)) for angle in self.angles[:2])


@dataclass(frozen=True, slots=True)
class Annotated:
    """One scene."""

    name: str
    labels: Path
    cloud: Path


class AnnotatedClouds(FileScenes):
    """Clouds and boxes of a labelling tool; `parse` reads a file of boxes.

    Boxes that lean by more than 10 degrees are left out: boxes here stand upright.
    """

    def __init__(
        self,
        scenes: Sequence[Annotated],
        classes: Sequence[str],
        parse: Callable[[Path], list[ToolBox]],
        notes: tuple[str, ...],
    ) -> None:
        self._scenes, self.classes, self._parse = scenes, tuple(classes), parse
        self.names = [scene.name for scene in scenes]
        self.notes = notes

    @property
    def files(self) -> list[Path]:
        """Cloud and labels of every scene."""
        return [path for scene in self._scenes for path in (scene.cloud, scene.labels)]

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scene. Raises DatasetError."""
        path = self._scenes[index].labels
        boxes = self._parse(path)
        is_upright = [box.tilt_rad <= _MAX_TILT_RAD for box in boxes]
        left_out = [
            f"{path}: box {number} ({box.name}) leans by {math.degrees(box.tilt_rad):.0f} degrees"
            for number, (box, upright) in enumerate(zip(boxes, is_upright, strict=True))
            if not upright
        ]
        upright = [box for box, is_used in zip(boxes, is_upright, strict=True) if is_used]
        rows = [
            [*box.center, *box.size, math.remainder(box.angles[2], 2 * math.pi)] for box in upright
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 7)
        found = scene_labels(str(path), table, [our_name(box.name) for box in upright])
        return SceneLabels(found.where, found.records, left_out + found.left_out)

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scene, what of them was a guess, and their file."""
        path = self._scenes[index].cloud
        try:
            return *read_noted(path, up="z"), path
        except CloudFileError as error:
            raise DatasetError(str(error)) from error


def cloud_of(folders: Sequence[Path], name: str) -> Path:
    """The cloud file of a scene; raises DatasetError where there is none."""
    found = next((path for folder in folders for path in clouds_named(folder, name)), None)
    if found is None:
        raise DatasetError(
            f"{' or '.join(map(str, folders))}: no cloud {name}, expected one with an ending of "
            f"{' '.join(SUFFIXES)}"
        )
    return found


def in_split(names: Sequence[str], root: Path, split: str) -> list[str]:
    """The scenes of a split: those of the list root/SPLIT.txt; without one, all are train."""
    path = root / f"{split}.txt"
    if path.is_file():
        listed = unique(read_lines(path), path)
        missing = [name for name in listed if name not in set(names)]
        if missing:
            raise DatasetError(
                f"{path}: {missing[0]!r} has no labels, expected a labelled scene on each line; "
                "label it or take it off the list"
            )
        return listed
    if split != "train" or (root / "val.txt").is_file():
        expected = (
            f"train, or a list {path.name} with one scene name a line in the folder; `sr3d data "
            "split READER:PATH` writes both"
        )
        raise no_split(root, split, (expected,))
    return unique(names, root)


def read_json(path: Path) -> Any:
    """A JSON file. Raises DatasetError."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file, expected boxes as JSON") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: no whole JSON, expected boxes; save it again") from error


def numbers(entry: Any, keys: Sequence[str], where: str) -> list[float]:
    """The numbers of an object under these keys, in this order. Raises DatasetError."""
    found: list[Any] = [entry.get(key) if isinstance(entry, dict) else None for key in keys]
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in found):
        raise DatasetError(f"{where}: {reprlib.repr(entry)}, expected numbers {', '.join(keys)}")
    return [float(each) for each in found]


def text(entry: Any, key: str, where: str) -> str:
    """A text of an object that is not empty. Raises DatasetError."""
    found = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(found, str) or not found.strip():
        raise DatasetError(f"{where}: {key} is {reprlib.repr(found)}, expected a class")
    return found
