"""Files that appear whole or not at all, and files that belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within, what the system says without a path is said of this one, as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror is not None:
            error.filename = str(path)
        raise


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together; raises OSError and leaves what was there before.

    All of them are on the disk under another name before the first takes its place, so that a
    full disk changes none. They take their places in the order given. A pipe or a device, such as
    /dev/stdout, is written into at the end: nothing can take its place.
    """
    streams = {path: content for path, content in contents.items() if is_stream(path)}
    contents = {path: content for path, content in contents.items() if path not in streams}
    try:
        for path, content in contents.items():
            with naming(path), _part_of(path).open("wb") as file:
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
    for path, content in streams.items():
        with naming(path):
            path.write_bytes(content)


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove what an interrupted `write_whole` of these paths left, which takes room."""
    for path in paths:
        _part_of(path).unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a name stands for what is open already; behind /dev/stdout may be a file."""
    folder = path.absolute().parent
    is_special = path.exists() and not (path.is_file() or path.is_dir())
    is_below = any(folder.is_relative_to(one) for one in ("/dev/fd", "/proc"))
    return is_special or is_below or folder == Path("/dev")  # /dev/shm holds files like any other


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
