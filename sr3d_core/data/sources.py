"""The list of what labelled scenes are read from; nothing else knows the readers.

A new reader is its file, with a frozen dataclass that is a `SceneSource`, and one entry in
`AnySource`: configurations (`data: {name: ...}`) and commands (`--data`) follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Protocol, get_args

from sr3d_core.data.folder import FolderSource
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.structures import Sample


class Scenes(Protocol):
    """Labelled scenes by index."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class SceneSource(Protocol):
    """Where scenes come from, and how: what a configuration says about a reader."""

    @property
    def name(self) -> str:
        """What it is called in configurations and on the command line."""

    @property
    def classes(self) -> Sequence[str]:
        """The classes that its scenes are labelled with."""

    @property
    def front_classes(self) -> Sequence[str]:
        """Those of them whose labels have a yaw that points out of the front."""

    def open(self, split: str, classes: Sequence[str] = ..., num: int | None = None) -> Scenes:
        """The scenes of one split, at most `num`; ValueError where there is no such split.

        Labels index `classes`, the source's own where none are given; boxes of other classes are
        left out.
        """


AnySource = RoomsSource | FolderSource
"""All readers; the field `name` tells them apart."""


READERS: dict[str, type[AnySource]] = {reader.name: reader for reader in get_args(AnySource)}
"""The same by name."""


def source_of(data: str) -> AnySource:
    """The source that `--data` means: NAME, NAME:PATH, or the path of a user's own folder.

    Raises ValueError for a path that the reader does not take.
    """
    name, _, path = data.partition(":")
    reader = READERS.get(name)
    if reader is None:
        return FolderSource(path=Path(data))
    if not path:
        return reader()
    if "path" not in {each.name for each in fields(reader)}:
        raise ValueError(f"--data {data}: {name} are read from no path, expected {name} alone")
    return reader(path=Path(path))  # type: ignore[call-arg]
