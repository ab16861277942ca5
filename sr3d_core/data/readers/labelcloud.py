"""Boxes of labelCloud (VISAPP 2022), in its formats centroid_rel, centroid_abs and vertices.

    PATH/pointclouds/NAME.ply      or another ending
    PATH/labels/NAME.json          {"objects": [{"name", "centroid", "dimensions", "rotations"}]}
                                   or {"objects": [{"name", "vertices": 8 times [x, y, z]}]}
    PATH/labels/_classes.json      of newer versions: which format
    PATH/train.txt, val.txt        one scene name a line; without them, all labelled ones are train

Rotations are counter-clockwise: of centroid_abs in degrees 0..360, of centroid_rel in radians
-pi..pi. The files look the same: the format in _classes.json tells, or else the numbers of all
files together. Vertices go round the bottom, then the top; from the first to the fourth is the
length.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.readers.annotations import (
    Annotated,
    AnnotatedClouds,
    ToolBox,
    cloud_of,
    in_split,
    numbers,
    read_json,
    text,
)
from sr3d_core.data.readers.class_names import our_name
from sr3d_core.data.readers.lists import existing_folder

Angles = Literal["auto", "degrees", "radians"]
_CORNERS = np.array(
    [(x, y, z) for z in (-1, 1) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))], dtype=float
)


@dataclass(frozen=True, kw_only=True)
class LabelCloudSource:
    """Clouds that were labelled with labelCloud."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["labelcloud"] = "labelcloud"
    path: Path = Path("data")
    """Folder with pointclouds/ and labels/."""
    pointclouds: str = "pointclouds"
    """The folder of clouds in it."""
    labels: str = "labels"
    """The folder of labels in it."""
    angles: Angles = "auto"
    """The unit of rotations; auto finds out and says so, or refuses."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes that occur, in the order of _classes.json where there is one."""
        names = {
            our_name(text(entry, "name", str(path)))
            for path in self._files()
            for entry in _objects(path)
        }
        known = [our_name(name) for name in self._definition()[0]]
        return tuple([name for name in known if name in names] + sorted(names - set(known)))

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> AnnotatedClouds:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        files = {path.stem: path for path in self._files()}
        folder = self.path / self.pointclouds
        factor, note = self._unit(list(files.values()))
        scenes = [
            Annotated(name, files[name], cloud_of([folder], name))
            for name in in_split(list(files), self.path, split)[:num]
        ]

        return AnnotatedClouds(scenes, classes or self.classes, partial(_parsed, factor), (note,))

    def labelled(self) -> list[str]:
        """The names of all scenes with labels, whether they are in a list or not."""
        return [path.stem for path in self._files()]

    def _files(self) -> list[Path]:
        folder = existing_folder(self.path / self.labels, "the labels of labelCloud")
        files = [path for path in sorted(folder.glob("*.json")) if path.stem[0] not in "._"]
        if not files:
            raise DatasetError(f"{folder}: no .json, expected one for each labelled cloud")
        return files

    def _definition(self) -> tuple[list[str], str]:
        """The classes and the format that _classes.json names; none where there is no such."""
        path = self.path / self.labels / "_classes.json"
        tree = read_json(path) if path.is_file() else {}
        entries = tree.get("classes") if isinstance(tree, dict) else None
        names = [text(entry, "name", str(path)) for entry in entries or []]
        return names, str(tree.get("format", "")) if isinstance(tree, dict) else ""

    def _unit(self, files: Sequence[Path]) -> tuple[float, str]:
        """What rotations are multiplied with to be radians, and how that is known."""
        angles = [
            angle
            for path in files
            for entry in _objects(path)
            if "rotations" in entry
            for angle in numbers(entry["rotations"], ("x", "y", "z"), str(path))
        ]
        degrees, radians = math.radians(1.0), 1.0
        if self.angles != "auto":
            return (
                degrees if self.angles == "degrees" else radians,
                f"rotations in {self.angles}, as it was asked for",
            )
        if not any(angles):
            return radians, "no box is turned, or boxes are given by their vertices"
        form = self._definition()[1]
        is_large = max(abs(angle) for angle in angles) > 2 * math.pi
        if form == "centroid_abs" and min(angles) < 0 and not is_large:
            raise DatasetError(
                f"{self.path}: _classes.json says centroid_abs, degrees from 0 to 360, but "
                f"rotations span {min(angles):g}..{max(angles):g}, as radians do; say "
                "angles=degrees or angles=radians"
            )
        if form == "centroid_abs" or (not form and is_large):
            return degrees, "rotations in degrees (centroid_abs)"
        if is_large:
            raise DatasetError(
                f"{self.path}: _classes.json says {form}, but rotations reach "
                f"{max(map(abs, angles)):g}, expected radians; say angles=degrees or "
                "angles=radians"
            )
        if form == "centroid_rel" or min(angles) < 0:
            return radians, "rotations in radians (centroid_rel)"
        raise DatasetError(
            f"{self.path}: rotations span 0..{max(angles):g}, which may be radians or degrees; "
            "say it, such as --data labelcloud:PATH,angles=degrees or angles=radians"
        )


def _objects(path: Path) -> list[dict[str, Any]]:
    tree = read_json(path)
    found = tree.get("objects") if isinstance(tree, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DatasetError(f"{path}: no list objects, expected a file of labelCloud")
    return found


def _parsed(factor: float, path: Path) -> list[ToolBox]:
    return [
        _box(entry, factor, f"{path}: objects[{index}]")
        for index, entry in enumerate(_objects(path))
    ]


def _box(entry: dict[str, Any], factor: float, where: str) -> ToolBox:
    name = text(entry, "name", where)
    if "vertices" in entry:
        return _of_vertices(name, entry["vertices"], where)
    angles = numbers(entry.get("rotations"), ("x", "y", "z"), f"{where}.rotations")
    return ToolBox(
        name,
        numbers(entry.get("centroid"), ("x", "y", "z"), f"{where}.centroid"),
        numbers(entry.get("dimensions"), ("length", "width", "height"), f"{where}.dimensions"),
        [angle * factor for angle in angles],
    )


def _of_vertices(name: str, vertices: Any, where: str) -> ToolBox:
    """The box of eight corners in the order of labelCloud."""
    try:
        corners = np.array(vertices, dtype=np.float64)
    except (TypeError, ValueError):
        corners = np.zeros(0)
    if corners.shape != (8, 3) or not np.isfinite(corners).all():
        raise DatasetError(
            f"{where}.vertices: {reprlib.repr(vertices)}, expected 8 times [x, y, z]"
        )
    center = corners.mean(axis=0)
    # Along each axis from the four corners of one side to those of the other.
    axes = np.array([corners[sign > 0].mean(0) - corners[sign < 0].mean(0) for sign in _CORNERS.T])
    size = np.linalg.norm(axes, axis=1)
    gap = np.linalg.norm(center + _CORNERS @ axes / 2 - corners, axis=1).max()
    unit = axes / np.maximum(size, 1e-9)[:, None]
    is_square = np.abs(unit @ unit.T - np.eye(3)).max() < 0.02
    if gap > 0.02 * size.max() or not (is_square or size.min() == 0):
        raise DatasetError(
            f"{where}.vertices: no box in the order of labelCloud, expected the bottom "
            "(left back, left front, right front, right back), then the top"
        )
    ahead = axes[0]
    tilt = [
        math.atan2(axes[2][1], axes[2][2]),
        math.atan2(ahead[2], float(np.hypot(ahead[0], ahead[1]))),
    ]
    return ToolBox(name, center.tolist(), size.tolist(), [*tilt, math.atan2(ahead[1], ahead[0])])
