"""Boxes of SUSTechPOINTS (IV 2020): one JSON file for each frame of a scene.

    PATH/SCENE/lidar/FRAME.pcd     or pcd/, and another ending
    PATH/SCENE/label/FRAME.json    [{"obj_type", "psr": {"position", "scale", "rotation"}}]
    PATH/train.txt, val.txt        one SCENE/FRAME a line; without them, all labelled are train

PATH may be the folder of one scene; names are then those of its frames. Position is the centre,
scale the full size with x along the heading, rotation in radians, counter-clockwise, z upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

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

_AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class SustechPointsSource:
    """Frames that were labelled with SUSTechPOINTS."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["sustechpoints"] = "sustechpoints"
    path: Path = Path("data")
    """Folder of scenes, or of one scene, with label/ and lidar/."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes that occur, in alphabetical order. Raises DatasetError."""
        boxes = (box for path in self._files().values() for box in _parse(path))
        return tuple(sorted({our_name(box.name) for box in boxes}))

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> AnnotatedClouds:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        files = self._files()
        scenes = [
            Annotated(name, files[name], _cloud(files[name]))
            for name in in_split(list(files), self.path, split)[:num]
        ]
        return AnnotatedClouds(scenes, classes or self.classes, _parse, ())

    def labelled(self) -> list[str]:
        """The names of all scenes with labels, whether they are in a list or not."""
        return list(self._files())

    def _files(self) -> dict[str, Path]:
        """The label file of every scene, by name."""
        root = existing_folder(self.path, "a folder of SUSTechPOINTS with label/ and lidar/")
        if (root / "label").is_dir():
            found = {path.stem: path for path in sorted((root / "label").glob("*.json"))}
        else:
            paths = sorted(root.glob("*/label/*.json"))
            found = {f"{path.parent.parent.name}/{path.stem}": path for path in paths}
        if not found:
            raise DatasetError(f"{root}: no label/FRAME.json, there or in a scene below it")
        return found


def _cloud(labels: Path) -> Path:
    scene = labels.parent.parent
    return cloud_of([scene / "lidar", scene / "pcd"], labels.stem)


def _parse(path: Path) -> list[ToolBox]:
    tree = read_json(path)
    entries = tree.get("objs") if isinstance(tree, dict) else tree
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: no list of boxes, expected a file of SUSTechPOINTS")
    return [_box(entry, f"{path}: [{index}]") for index, entry in enumerate(entries)]


def _box(entry: Any, where: str) -> ToolBox:
    name = text(entry, "obj_type", where)
    psr = entry.get("psr")
    parts = [
        numbers(psr.get(key) if isinstance(psr, dict) else None, _AXES, f"{where}.psr.{key}")
        for key in ("position", "scale", "rotation")
    ]
    return ToolBox(name, *parts)
