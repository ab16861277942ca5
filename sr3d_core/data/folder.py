"""A user's own labelled scenes, in a folder of plain files.

    classes.txt          one class name a line; its order is the order of the labels
    train.txt, val.txt   one scene name a line
    clouds/NAME.ply      or .pcd .npz .npy .txt .xyz .csv: points in metres, z up
    labels/NAME.json     {"boxes": [{"class": "chair", "center": [x, y, z],
                                     "size": [dx, dy, dz], "yaw": 0.3}]}

Centre is the geometric centre, size the full extents, yaw counter-clockwise about z (0 if left
out), as `sr3d_core.records` reads it. A scene without objects has an empty list of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.data.cloud_file import CloudFileError, read_cloud
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.records import BoxRecord, Record, RecordError, read_records, targets_of
from sr3d_core.structures import Sample, Targets


class DatasetError(ValueError):
    """A data set cannot be read; the text says which file, what is wrong, and what to do."""


class _LabelFile(Record):
    boxes: list[BoxRecord]


class FolderDataset:
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
        self.names = _lines(self.root / f"{split}.txt", "one scene name a line")[:num]
        self._clouds = {name: _find_cloud(self.root, name) for name in self.names}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        try:
            cloud = read_cloud(self._clouds[name], up="z")
        except CloudFileError as error:
            raise DatasetError(str(error)) from error
        return Sample(cloud, self._targets(self.root / "labels" / f"{name}.json"), name)

    def _targets(self, path: Path) -> Targets:
        records = _read_boxes(path)
        for index, record in enumerate(records):
            if record.class_name not in self.own_classes:
                raise DatasetError(
                    f"{path}: boxes[{index}].class: {record.class_name!r} is not in classes.txt, "
                    f"expected one of {', '.join(self.own_classes)}; correct the name or add it "
                    "there"
                )
        return targets_of(records, self.classes)


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder of the user's own labelled clouds, as a source of scenes."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["folder"] = "folder"
    path: Path = Path("data")
    """Folder with clouds/, labels/, classes.txt, train.txt and val.txt."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in classes.txt."""
        return read_classes(self.path)

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> FolderDataset:
        """The scenes of one split, at most `num`; labels index `classes`. Raises DatasetError."""
        return FolderDataset(self.path, split, classes, num)


def read_classes(root: Path) -> tuple[str, ...]:
    """The class names of a folder; raises DatasetError."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; check the path")
    return tuple(_lines(root / "classes.txt", "one class name a line"))


def _lines(path: Path, expected: str) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read, expected {expected}; write it") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(set(lines)) < len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise DatasetError(f"{path}: {twice!r} comes twice, expected {expected}; remove one")
    if not lines:
        raise DatasetError(f"{path}: empty, expected {expected}")
    return lines


def _find_cloud(root: Path, name: str) -> Path:
    for suffix in SUFFIXES:
        path = root / "clouds" / f"{name}{suffix}"
        if path.is_file():
            return path
    raise DatasetError(
        f"{root / 'clouds'}: no cloud of scene {name!r}, expected {name} with one of the endings "
        f"{' '.join(SUFFIXES)}; add it or take the scene off the list"
    )


def _read_boxes(path: Path) -> list[BoxRecord]:
    try:
        return read_records(path, _LabelFile).boxes
    except RecordError as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}), expected labels; a scene without objects "
            'needs {"boxes": []}'
        ) from error
