"""Names that a user chooses from, each list once: help texts and checks follow from it.

Nothing heavy is imported here, so that help comes at once. Lists that grow with the code live
with it: engines in `sparse/engine_list.py`, endings of cloud files in `data/cloud_formats`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar, get_args

UpAxis = Literal["auto", "z", "y", "-y"]
"""Which axis of a file points away from the ground; auto looks for the floor."""

RoomSplit = Literal["train", "val", "sample"]
"""Procedural rooms for training, for validation, for the sample that ships; seeds never meet."""

RoomSensor = Literal["frame", "scan"]
"""How a procedural room is seen: one RGB-D frame, or many fused."""

RoomNoise = Literal["usual", "strong"]
"""How wrong the clouds of a room are: as most sensors' are, or as those of bad ones."""

UP_AXES: tuple[UpAxis, ...] = get_args(UpAxis)
ROOM_SPLITS: tuple[RoomSplit, ...] = get_args(RoomSplit)
ROOM_SENSORS: tuple[RoomSensor, ...] = get_args(RoomSensor)
ROOM_NOISES: tuple[RoomNoise, ...] = get_args(RoomNoise)

FURNITURE_SOURCES = ("infinigen", "folder")
"""Who makes furniture for a library."""

HIGHEST_CAMERA_M = 10.0
"""Above the floor: a camera in a room is lower; who says 90 means centimetres."""

FURNITURE_SHARE = 0.3
"""Share of a room's furniture that is from a library, where nothing else is said."""

VAL_SHARE = 0.2
"""Share of a user's own scenes that is held back, where nothing else is said."""

NUM_VIEWS = (1, 2, 4, 8)
"""In how many views a scene may be looked at: quarter turns first, then these mirrored."""

_Name = TypeVar("_Name", bound=str)


def one_of(what: str, value: str, names: Iterable[_Name]) -> _Name:
    """The name that was chosen; raises ValueError where it is none of them."""
    for name in names:
        if name == value:
            return name
    raise ValueError(f"{what}: {value!r}, expected one of {', '.join(names)}")


def alike(name: str, names: Iterable[str]) -> str | None:
    """The first of `names` that means the same but is written in another way: case, spaces,
    underscores, hyphens, plural."""
    return next((each for each in names if each != name and _plain(each) == _plain(name)), None)


def _plain(name: str) -> str:
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    for plural, singular in (("shelves", "shelf"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if letters.endswith(plural):
            return letters.removesuffix(plural) + singular
    return letters.removesuffix("s") if not letters.endswith("ss") else letters
