"""A recording as a source of scenes: frames of color images, and boxes that a teacher found.

    PATH/frames.json, 000000.npz ...   frames, see `image_frames`
    PATH/boxes-TEACHER.json            what `sr3d distill --bag` took of a teacher as true

The last fifth of the recording, by time, is the split val, so that no moment is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.image_frames import ListedFrame, frames_in, read_frame
from sr3d_core.records import LabelRecord, Record, RecordError, read_records, targets_of
from sr3d_core.structures import Sample

VAL_SHARE = 0.2
"""Share of a recording, by time, that is held out."""
_BOXES = "boxes-*.json"


class TaughtBoxes(Record):
    """What boxes-TEACHER.json holds."""

    teacher: str
    classes: tuple[str, ...]
    front_classes: tuple[str, ...]
    scenes: dict[str, list[LabelRecord]]
    """Boxes by the frame's file; what was not steady is ignored."""


@dataclass(frozen=True, kw_only=True)
class RecordingSource:
    """Frames of a recording that `sr3d distill --bag` has looked through."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["recording"] = "recording"
    path: Path = Path("recording")
    """Folder with frames.json, beside the run that it was made for."""
    boxes: str = ""
    """Which boxes, a file in the folder; "": the only ones that there are."""
    images: bool = True
    """Whether scenes have their color image beside the cloud."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the teacher. Raises DatasetError."""
        return self._taught.classes

    @property
    def front_classes(self) -> tuple[str, ...]:
        """Those whose boxes have a yaw that points out of their front."""
        return self._taught.front_classes

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> RecordedScenes:
        """The frames of one split; labels index `classes`. Raises DatasetError."""
        if split not in ("train", "val"):
            raise DatasetError(f"{self.path}: split {split!r}, expected train or val")
        taught = self._taught
        try:
            listed = frames_in(self.path).frames
        except ValueError as error:
            raise DatasetError(str(error)) from error
        chosen = _split(listed)[split == "val"]
        known = [each for each in chosen if each.file in taught.scenes][:num]
        return RecordedScenes(self, known, taught, classes or taught.classes, self._file())

    @property
    def _taught(self) -> TaughtBoxes:
        return _read_boxes(self._file())

    def _file(self) -> Path:
        if self.boxes:
            return self.path / self.boxes
        found = sorted(self.path.glob(_BOXES))
        if len(found) != 1:
            raise DatasetError(
                f"{self.path}: {len(found)} files {_BOXES}, expected one, as `sr3d distill --bag` "
                f"writes them; name one of several: recording:{self.path},boxes=FILE"
            )
        return found[0]


class RecordedScenes:
    """The frames of one split, read when asked for."""

    def __init__(
        self,
        source: RecordingSource,
        listed: Sequence[ListedFrame],
        taught: TaughtBoxes,
        classes: Sequence[str],
        boxes: Path,
    ) -> None:
        self._source, self._taught, self._boxes = source, taught, boxes
        self.classes = tuple(classes)
        self.names = [each.file for each in listed]

    @property
    def files(self) -> list[Path]:
        """The boxes, and every frame."""
        return [self._boxes, *(self._source.path / name for name in self.names)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        try:
            images, cloud = read_frame(self._source.path / name)
        except ValueError as error:
            raise DatasetError(str(error)) from error
        targets = targets_of(self._taught.scenes[name], self.classes)
        seen = images if self._source.images else None
        return Sample(cloud, targets, str(self._source.path / name), seen)

    def labels_of(self, index: int) -> list[int]:
        """The labels of one scene, without its ignored boxes; index `classes`."""
        return targets_of(self._taught.scenes[self.names[index]], self.classes).labels.tolist()


@lru_cache(maxsize=4)
def _parsed(path: Path, changed_ns: int) -> TaughtBoxes:
    return read_records(path, TaughtBoxes)


def _read_boxes(path: Path) -> TaughtBoxes:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, RecordError) as error:
        raise DatasetError(
            f"{path}: cannot be used ({error}); run `sr3d distill --bag`"
        ) from error


def _split(listed: Sequence[ListedFrame]) -> tuple[list[ListedFrame], list[ListedFrame]]:
    """What is learnt from, and what is held out: the end of the recording."""
    if not listed:
        return [], []
    stamps = [each.stamp_ns for each in listed]
    limit = max(stamps) - VAL_SHARE * (max(stamps) - min(stamps))
    return (
        [each for each in listed if each.stamp_ns < limit],
        [each for each in listed if each.stamp_ns >= limit],
    )
