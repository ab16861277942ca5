"""What is made of recordings once and kept: which path is one, who reads it, where it lies.

Recordings are read by other packages, which offer that under entry points of a group; the core
knows nothing of their formats. Reading one takes longer than learning from it, so what is made
of it is kept in a folder that is named after the recording and after all that decides about it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

_ENDING = re.compile(r".+\.(bag|mcap|db3)(\.(active|zst|zstd))?", re.IGNORECASE)
_PART = re.compile(rf"{_ENDING.pattern}(-wal|-journal)?", re.IGNORECASE)  # of SQLite


def is_recording(path: Path) -> bool:
    """Whether it is a bag of ROS 1 or 2, or the folder of one."""
    files = [path] if path.is_file() else path.iterdir()
    return any(_ENDING.fullmatch(each.name) for each in files)


def is_part(path: Path) -> bool:
    """Whether a file is one of those that a recording is made of."""
    return path.name == "metadata.yaml" or _PART.fullmatch(path.name) is not None


def recordings_below(folder: Path) -> list[Path]:
    """The recordings further down in a folder that is none."""
    files = (path for path in folder.rglob("*") if _ENDING.fullmatch(path.name))
    return sorted({path.parent if path.parent != folder else path for path in files})


def digest_of_file(path: Path, on_read: Callable[[int], None] = lambda num_bytes: None) -> str:
    """SHA-256 of its content; `on_read` is told how many bytes are done, at times."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 24):
            digest.update(part)
            on_read(file.tell())
    return digest.hexdigest()


def key_of(recording: Path, made_by: list[Any], on_read: Callable[[int, int], None]) -> str:
    """What changes with the recording and with `made_by`: all else that decides what is made.

    `on_read` is told how many MB of how many are compared.
    """
    inside = [recording] if recording.is_file() else sorted(recording.iterdir())
    # Nothing else that lies beside them: it may be what a training writes.
    files = [path for path in inside if path.is_file() and is_part(path)]
    sizes = [path.stat().st_size for path in files]
    digests = []
    for number, path in enumerate(files):
        before, total = sum(sizes[:number]), sum(sizes)

        def tell(done: int, before: int = before, total: int = total) -> None:
            on_read((before + done) >> 20, max(total >> 20, 1))

        digests.append((path.name, digest_of_file(path, tell)))
    return hashlib.sha256(json.dumps([digests, *made_by]).encode()).hexdigest()[:12]


def reader_of(recording: Path, group: str) -> Any:
    """What the entry point of a group loads; raises ValueError where none does, or it breaks."""
    for entry in entry_points(group=group):
        try:
            return entry.load()
        except ModuleNotFoundError:  # of an extra, which the command names
            raise
        except Exception as error:  # whatever another package does wrong
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ValueError(
                f"{recording}: is a recording, and {entry.value}, which reads them, does not "
                f"load: {why}; install the package that brings it again"
            ) from error
    raise ValueError(
        f"{recording}: is a recording, and nothing that is installed reads these; expected an "
        f"entry point of the group {group}: install SR3D again, pip install '.[bag]'"
    )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """As `alone`, for a folder within one that is there for such folders, which goes where it is
    empty."""
    try:
        with alone(folder):
            yield
    finally:
        with suppress(OSError):  # not empty
            folder.parent.rmdir()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, no other process writes this folder: what two write would be mixed.

    The others wait, and find it written. Where the system or the disk knows no locks there is
    none.
    """
    lock = beside(folder, ".lock")
    file = _locked(lock)
    if file is None:
        yield
        return
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def beside(folder: Path, ending: str) -> Path:
    """A path beside a folder, which may be `.` or a link."""
    whole = folder.resolve()
    return whole.with_name(whole.name + ending)


def _locked(path: Path) -> IO[bytes] | None:
    """A file that is open and locked, once nobody else has it; None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        path.parent.mkdir(parents=True, exist_ok=True)
        return None
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            file.close()
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                raise
            return None  # a disk without locks
        except BaseException:  # Ctrl-C while it waits
            file.close()
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # the one before has removed it: a third may have made and locked another
