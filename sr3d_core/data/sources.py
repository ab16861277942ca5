"""The list of what labelled scenes are read from; nothing else knows the readers.

A new reader is its file, with a frozen dataclass that is a `SceneSource`, and one entry in
`AnySource`: configurations (`data: {name: ...}`) and commands (`--data`) follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Protocol, get_args

from pydantic import TypeAdapter, ValidationError

from sr3d_core.data.folder import FolderSource
from sr3d_core.data.readers.infos import InfosSource
from sr3d_core.data.readers.labelcloud import LabelCloudSource
from sr3d_core.data.readers.s3dis import S3disSource
from sr3d_core.data.readers.scannet import ScanNetSource
from sr3d_core.data.readers.sunrgbd import SunRgbdSource
from sr3d_core.data.readers.sunrgbd_trainval import SunRgbdTrainvalSource
from sr3d_core.data.readers.sustechpoints import SustechPointsSource
from sr3d_core.data.readers.votenet import VoteNetSource
from sr3d_core.data.recorded import RecordingSource
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


AnySource = (
    RoomsSource
    | FolderSource
    | InfosSource
    | VoteNetSource
    | ScanNetSource
    | SunRgbdSource
    | SunRgbdTrainvalSource
    | S3disSource
    | LabelCloudSource
    | SustechPointsSource
    | RecordingSource
)
"""All readers; the field `name` tells them apart."""


READERS: dict[str, type[AnySource]] = {reader.name: reader for reader in get_args(AnySource)}
"""The same by name."""

_SETTINGS = re.compile(r"((?:,\w+=[^,]*)*)$")


def source_of(data: str) -> AnySource:
    """The source that `--data` means: NAME, NAME:PATH, or the path of a user's own folder.

    A path may be followed by settings of the reader, `infos:PATH,yaw=clockwise,dataset=sunrgbd`;
    several values of one setting are joined by `+`. Raises ValueError for a path or a setting that
    the reader does not take, and where NAME alone is that of a prepared folder as well.
    """
    name, colon, rest = data.partition(":")
    reader = READERS.get(name)
    if reader is None:
        return FolderSource(path=Path(data))
    if not colon and (Path(data) / "classes.txt").is_file():
        raise ValueError(
            f"--data {data}: there is a folder of this name, and {data} is a reader; expected "
            f"folder:{data}, or {data}: for the reader"
        )
    settings = _SETTINGS.search(rest)
    assert settings is not None  # it matches nothing, too
    path = rest[: settings.start()]
    given = dict(part.split("=", 1) for part in settings[1].split(",") if part)
    if path:
        given["path"] = path
    return _made(reader, given, data)


def with_images(source: AnySource) -> AnySource:
    """The same source, its scenes with color images; ValueError where it has none."""
    if not hasattr(source, "images"):
        known = sorted(name for name, reader in READERS.items() if hasattr(reader, "images"))
        raise ValueError(
            f"{data_argument(source)}: the reader {source.name} has no color images beside its "
            f"clouds, expected one of {', '.join(known)}; photos alone teach no depth, but "
            "`sr3d detect` looks at them"
        )
    having: Any = source
    changed: AnySource = replace(having, images=True)
    return changed


def data_argument(source: AnySource) -> str:
    """What `--data` calls a source: the other way round than `source_of`."""
    settings = [
        f",{each.name}={_written(getattr(source, each.name))}"
        for each in fields(source)
        if each.name not in ("name", "path") and getattr(source, each.name) != each.default
    ]
    path = getattr(source, "path", "")
    is_plain = isinstance(source, FolderSource) and str(path).partition(":")[0] not in READERS
    if is_plain and not settings:
        return str(path)
    return f"{source.name}:{path}{''.join(settings)}" if path or settings else source.name


def _written(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _made(reader: type[AnySource], given: dict[str, str], data: str) -> AnySource:
    """A reader with settings that were given as text."""
    known = {each.name: each for each in fields(reader) if each.name != "name"}
    if "path" in given and "path" not in known:
        raise ValueError(
            f"--data {data}: {reader.name} are read from no path, expected {reader.name} alone"
        )
    unknown = next((key for key in given if key not in known), None)
    if unknown is not None:
        raise ValueError(
            f"--data {data}: {reader.name} has no setting {unknown!r}, expected one of "
            f"{', '.join(known)}"
        )
    values: dict[str, Any] = {
        key: tuple(value.split("+")) if _is_tuple(known[key].default) else value
        for key, value in given.items()
    }
    try:
        return TypeAdapter(reader).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][:1])
        cause = first.get("ctx", {}).get("error")  # raised by the reader, which names its key
        why = str(cause) if cause else f"{key}={first['input']}: {first['msg']}"
        raise ValueError(f"--data {data}: {why}") from error


def _is_tuple(default: Any) -> bool:
    return default is not MISSING and isinstance(default, tuple)
