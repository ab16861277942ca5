"""Where training and validation scenes come from: the choices a configuration has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import ConfigDict

from sr3d_core.data.folder import FolderDataset
from sr3d_core.data.rooms import LABELS, PrerenderedRooms, Rooms
from sr3d_core.structures import Sample

Split = Literal["train", "val"]


class Scenes(Protocol):
    """Labelled scenes by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True, kw_only=True)
class RoomsSource:
    """Procedural rooms, made on the fly from their seeds or read from a pre-rendered folder."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["rooms"] = "rooms"
    num_train: int = 4000
    """Scenes of the training split."""
    num_val: int = 300
    """Scenes of the validation split."""
    sensors: tuple[Literal["frame", "scan"], ...] = ("frame", "scan")
    """Single RGB-D frames, fused scans, or both in turn."""
    prerendered: Path | None = None
    """Folder written by `sr3d data rooms`; its scenes replace those of the training split."""

    def __post_init__(self) -> None:
        """Refuse numbers of scenes below 1 and no sensors."""
        if min(self.num_train, self.num_val) < 1:
            raise ValueError(
                f"data: num_train {self.num_train}, num_val {self.num_val}, expected at least 1"
            )
        if not self.sensors:
            raise ValueError("data.sensors: none given, expected frame, scan or both")

    @property
    def classes(self) -> tuple[str, ...]:
        """The label space of the rooms."""
        return LABELS

    def open(self, split: Split) -> Scenes:
        """The scenes of one split."""
        if split == "train" and self.prerendered is not None:
            return PrerenderedRooms(self.prerendered)
        num = self.num_train if split == "train" else self.num_val
        return Rooms(split, num, sensors=self.sensors)


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder of the user's own labelled clouds (see `sr3d_core.data.folder`)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["folder"] = "folder"
    path: Path = Path("data")
    """Folder with clouds/, labels/, classes.txt, train.txt and val.txt."""

    @property
    def classes(self) -> Sequence[str]:
        """The names in classes.txt."""
        return self._folder("train").classes

    def open(self, split: Split) -> Scenes:
        """The scenes of one split."""
        return self._folder(split)

    def _folder(self, split: Split) -> FolderDataset:
        return FolderDataset(self.path, split)
