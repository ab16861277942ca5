"""Procedural rooms as a source of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.choices import (
    FURNITURE_SHARE,
    ROOM_SENSORS,
    ROOM_SPLITS,
    RoomSensor,
    RoomSplit,
    one_of,
)
from sr3d_core.data.rooms.dataset import PrerenderedRooms, Rooms
from sr3d_core.data.rooms.furniture.classes import LABELS, WITH_FRONT
from sr3d_core.data.rooms.furniture.library.supply import furniture_of
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.looks.dataset import PrerenderedImages, RoomImages


@dataclass(frozen=True, kw_only=True)
class RoomsSource:
    """Procedural rooms, made on the fly from their seeds or read from a pre-rendered folder."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["rooms"] = "rooms"
    num_train: int = 4000
    """Scenes of the training split."""
    num_val: int = 300
    """Scenes of the validation split."""
    sensors: tuple[RoomSensor, ...] = ROOM_SENSORS
    """Single RGB-D frames, fused scans, or both in turn."""
    images: bool = False
    """Frames of a color camera with the image, its depth and the cloud of a depth camera beside
    it, in place of `sensors`."""
    prerendered: Path | None = None
    """Folder written by `sr3d data rooms`; its scenes replace those of the training split."""
    num_rooms: int | None = None
    """So many rooms of that folder, all views of each, as a study of few labels has them: those
    of more rooms hold those of fewer. None: all of them."""
    draw: int = 0
    """Which of its rooms these are: another number, another choice at random."""
    furniture: Path | None = None
    """Library of `sr3d data furniture`; only the training split takes furniture from it."""
    furniture_share: float = FURNITURE_SHARE
    """Share 0..1 of the furniture that is from the library, where it has the class."""

    def __post_init__(self) -> None:
        """Refuse numbers of scenes below 1, no sensors, and furniture that would not be used."""
        if min(self.num_train, self.num_val) < 1:
            raise ValueError(
                f"data: num_train {self.num_train}, num_val {self.num_val}, expected at least 1"
            )
        if not self.sensors:
            raise ValueError("data.sensors: none given, expected frame, scan or both")
        is_number = self.num_rooms is None or self.num_rooms >= 1
        if not is_number or (self.num_rooms is not None and self.prerendered is None):
            raise ValueError(
                f"data.num_rooms is {self.num_rooms}, expected at least 1, and the folder in "
                "data.prerendered that they are chosen from"
            )
        if self.draw < 0:
            raise ValueError(f"data.draw is {self.draw}, expected at least 0")
        if not 0 <= self.furniture_share <= 1:
            raise ValueError(f"data.furniture_share is {self.furniture_share}, expected 0 to 1")
        if self.furniture is not None and self.prerendered is not None:
            raise ValueError(
                "data.furniture: rooms in the folder data.prerendered have theirs already; give "
                "one of the two, and the library to `sr3d data rooms --furniture`"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The label space of the rooms."""
        return LABELS

    @property
    def front_classes(self) -> tuple[str, ...]:
        """The classes that are used by one side."""
        return WITH_FRONT

    def open(
        self, split: str, classes: Sequence[str] = LABELS, num: int | None = None
    ) -> Rooms | PrerenderedRooms | RoomImages | PrerenderedImages:
        """The scenes of one split; labels index `classes`. Raises ValueError."""
        if split == "train" and self.prerendered is not None:
            stored = PrerenderedImages if self.images else PrerenderedRooms
            return stored(self.prerendered, classes, self.num_rooms, self.draw, num)
        chosen, num, supply = self._made(split, num)
        made: Rooms | RoomImages
        if self.images:
            made = RoomImages(chosen, num, classes, supply)
        else:
            made = Rooms(chosen, num, self.sensors, classes, supply)
        if self.prerendered is not None:
            made.notes = (
                f"other rooms than those in {self.prerendered}, rendered as they are asked for: a "
                f"folder of rooms is the split train, and {split} is asked for",
            )
        return made

    def _made(self, split: str, num: int | None) -> tuple[RoomSplit, int, FurnitureSupply]:
        """Split, number and furniture of rooms that are made as they are asked for."""
        chosen = one_of("split of the rooms", split, ROOM_SPLITS)
        num = num or (self.num_train if chosen == "train" else self.num_val)
        library = self.furniture if chosen == "train" else None
        return chosen, num, furniture_of(library, self.furniture_share)
