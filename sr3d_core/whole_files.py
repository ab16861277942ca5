"""Files that appear whole or not at all, and files that belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together; raises OSError and leaves what was there before.

    All of them are on the disk under another name before the first takes its place, so that a
    full disk changes none. They take their places in the order given.
    """
    try:
        for path, content in contents.items():
            with _part_of(path).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            _part_of(path).replace(path)
    except BaseException:
        remove_parts(contents)
        raise
    for folder in {path.parent for path in contents}:
        _sync_folder(folder)


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove what an interrupted `write_whole` of these paths left, which takes room."""
    for path in paths:
        _part_of(path).unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _sync_folder(folder: Path) -> None:
    """Make renames outlive a power cut, where the system lets a folder be opened for that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
