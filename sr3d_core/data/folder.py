"""A user's own labelled scenes, in a folder of plain files.

    classes.txt          one class name a line; its order is the order of the labels
    train.txt, val.txt   one scene name a line
    clouds/NAME.ply      or .pcd .npz .npy .txt .xyz .csv: points in metres, z up
    labels/NAME.json     {"boxes": [{"class": "chair", "center": [x, y, z],
                                     "size": [dx, dy, dz], "yaw": 0.3}]}

Centre is the geometric centre, size the full extents, yaw counter-clockwise about z (0 if left
out), as `sr3d_core.records` reads it. A scene without objects has an empty list of boxes. A box of
which too little is seen to tell its size may have `"ignored": true`: it is neither learnt from nor
scored, and what is found there is not wrong.
A scene that has a fault of `label_checks` is refused whenever it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.data.cloud_file import CloudFileError, clouds_named, read_noted
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    is_plain_name,
    refuse,
)
from sr3d_core.data.label_checks import box_faults
from sr3d_core.plain_text import read_text
from sr3d_core.records import LabelRecord, Record, RecordError, read_records
from sr3d_core.structures import PointCloud

__all__ = ["DatasetError", "FolderDataset", "FolderSource", "listed", "read_classes"]


_SCENE_LIST = "one scene name a line, as `sr3d data split FOLDER` writes them"


class LabelFile(Record):
    """What labels/NAME.json holds."""

    boxes: list[LabelRecord]


class FolderDataset(FileScenes):
    """The scenes of one split, read when asked for. Raises DatasetError.

    `split` names the text file that lists them; at most `num` of them are used. With `classes`,
    labels index that list and boxes of other classes are left out; without, labels index the
    folder's own classes.txt.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: Sequence[str] | None = None,
        num: int | None = None,
    ) -> None:
        self.root = Path(root)
        self.own_classes = read_classes(self.root)
        self.classes = self.own_classes if classes is None else tuple(classes)
        self.split = split
        self.names = _lines(self.root / f"{split}.txt", _SCENE_LIST)[:num]
        self._clouds = _find_clouds(self.root, self.names)

    @property
    def files(self) -> list[Path]:
        """Cloud and labels of every scene."""
        labels = self.root / "labels"
        return [
            path for name in self.names for path in (self._clouds[name], labels / f"{name}.json")
        ]

    def labels(self, index: int) -> SceneLabels:
        """The boxes of one scene as its file has them. Raises DatasetError."""
        file = f"labels/{self.names[index]}.json"
        records = _read_boxes(self.root / file)
        refuse(str(self.root / file), box_faults(records, self.own_classes))
        return SceneLabels(file, records, [])

    def cloud(self, index: int) -> tuple[PointCloud, str, Path]:
        """The points of one scene, what of them was a guess, and their file."""
        path = self._clouds[self.names[index]]
        try:
            return *read_noted(path, up="z"), path
        except CloudFileError as error:
            raise DatasetError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder of the user's own labelled clouds, as a source of scenes."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["folder"] = "folder"
    path: Path = Path("data")
    """Folder with clouds/, labels/, classes.txt, train.txt and val.txt."""
    front_classes: tuple[str, ...] = ()
    """Classes whose labels have a yaw that points out of the object's front."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in classes.txt."""
        return read_classes(self.path)

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> FolderDataset:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        return FolderDataset(self.path, split, classes, num)

    def labelled(self) -> list[str]:
        """The names of all scenes with labels, whether they are in a list or not."""
        labels = self.path / "labels"
        files = (path for path in labels.rglob("*.json") if not path.name.startswith("."))
        return sorted(path.relative_to(labels).with_suffix("").as_posix() for path in files)


def read_classes(root: Path) -> tuple[str, ...]:
    """The class names of a folder; raises DatasetError."""
    if not root.is_dir():
        place = "" if root.is_absolute() else f" in {Path.cwd()}"
        raise DatasetError(
            f"{root}: no such folder{place}, expected labelled scenes; check the path"
        )
    if not (root / "classes.txt").exists() and any(root.glob("room_*.npz")):
        raise DatasetError(
            f"{root}: holds rooms of `sr3d data rooms`, expected labelled scenes of your own; for "
            f"these rooms say rooms:,prerendered={root}"
        )
    return tuple(_lines(root / "classes.txt", "one class name a line"))


def listed(root: Path, split: str) -> list[str]:
    """The scenes of a split; none where there is no such list, or where it cannot be used."""
    try:
        return _lines(root / f"{split}.txt", _SCENE_LIST)
    except DatasetError:
        return []


def _lines(path: Path, expected: str) -> list[str]:
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read, expected {expected}; write it") from error
    at_line: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line in at_line:
            raise DatasetError(
                f"{path}: {line!r} comes twice, in lines {at_line[line]} and {number}, expected "
                f"{expected}; remove one"
            )
        if line:
            at_line[line] = number
    if not at_line:
        raise DatasetError(f"{path}: empty, expected {expected}")
    return list(at_line)


def _find_clouds(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The cloud of every scene; raises DatasetError for the first that has none, and how many."""
    clouds, faults = dict[str, Path](), list[str]()
    for name in names:
        try:
            clouds[name] = _find_cloud(root, name)
        except DatasetError as error:
            faults.append(str(error))
    if faults:
        more = f" (and {len(faults) - 1} more scenes like it)" if faults[1:] else ""
        raise DatasetError(f"{faults[0]}{more}")
    return clouds


def _find_cloud(root: Path, name: str) -> Path:
    if not is_plain_name(name):
        raise DatasetError(
            f"{root}: scene {name!r}, expected a name below clouds/ without . or .., so that no "
            "scene has two names; write it so into the list"
        )
    found = clouds_named(root / "clouds", name)
    if not found and (root / "clouds" / name).is_file():
        raise DatasetError(
            f"{root}: scene {name!r}, expected its name without the ending of the file; write "
            f"{PurePosixPath(name).with_suffix('')} into the list"
        )
    if not found:
        raise DatasetError(
            f"{root / 'clouds'}: no cloud of scene {name!r}, expected {name} with one of the "
            f"endings {' '.join(SUFFIXES)}; add it or take the scene off the list"
        )
    if found[1:]:
        raise DatasetError(
            f"{root / 'clouds'}: {len(found)} clouds of scene {name!r}, "
            f"{' and '.join(path.name for path in found)}, expected one; remove or rename one"
        )
    return found[0]


def _read_boxes(path: Path) -> list[LabelRecord]:
    try:
        return read_records(path, LabelFile).boxes
    except RecordError as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}), expected labels; a scene without objects "
            'needs {"boxes": []}'
        ) from error
