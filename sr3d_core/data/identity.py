"""Which scenes a run has seen: their number, their names, and what is in their files.

So that scenes that were added, rendered anew or corrected since are not taken for those of before.
Of each file it takes the name, the size, and the SHA-256 of its beginning, middle and end, 192 KB
at most: label files are read whole, an .npz ends with the checksums of all that it holds, and a
training reads all of every file once an epoch anyway. Times of change are not looked at: copying a
folder changes them. What is changed within a large file, and leaves its size, its ends and its
middle as they were, is not noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sr3d_core.data.sources import Scenes

ACCEPT_DATA = "--accept-data"
"""The option of commands that go on with other scenes than before."""
_PART = 1 << 16
NUM, NAMES, FILES = "scenes", "scene names (sha256)", "scene files (sha256)"


@dataclass(frozen=True)
class Identity:
    """Equal for the same scenes in the same order, wherever their folder lies."""

    num: int
    names: str  # digest of their names; those of a reader without names are all alike
    files: str  # digest of their files; "" where these are not known

    def to_dict(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {NUM: self.num, NAMES: self.names, FILES: self.files}


def identity_of(scenes: Scenes) -> Identity:
    """Of a reader's scenes; `files` of them, where it has that, are all that they are read from.

    Procedural rooms that are made as they are asked for have none. Raises OSError for a file that
    cannot be read.
    """
    names = "\n".join(getattr(scenes, "names", ()))
    files = getattr(scenes, "files", ())
    return Identity(len(scenes), _digest(names.encode()), digest_of_files(files) if files else "")


def digest_of_files(files: Iterable[Path]) -> str:
    """Of all these files in this order; one that is not there counts as such."""
    lines = [f"{path.name} {_of_file(path)}" for path in files]
    return _digest("\n".join(lines).encode())


def _of_file(path: Path) -> str:
    if not path.is_file():
        return "missing"
    status = path.stat()
    return _of_content(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _of_content(path: Path, size: int, changed_ns: int) -> str:
    """Read once in a process, as trainings of a study share their scenes."""
    del changed_ns
    digest = hashlib.sha256()
    with path.open("rb") as file:
        starts = (0, size // 2 - _PART // 2, size - _PART) if size > 3 * _PART else (0,)
        for start in starts:
            file.seek(start)
            digest.update(file.read(_PART if len(starts) > 1 else -1))
    return f"{size} {digest.hexdigest()}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def changed_scenes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How scenes differ from those of before, in words; nothing where they do not.

    Both as `Identity.to_dict`; what was not known before is not compared.
    """
    if before.get(NUM, now[NUM]) != now[NUM]:
        return f"were {before[NUM]}, are {now[NUM]}"
    if before.get(NAMES, now[NAMES]) != now[NAMES]:
        return (
            f"are {now[NUM]} as before, but their names or their order changed "
            f"({before[NAMES][:8]}, now {now[NAMES][:8]})"
        )
    if before.get(FILES, now[FILES]) != now[FILES]:
        return (
            f"are {now[NUM]} as before, but of other files, or of files that changed "
            f"({before[FILES][:8] or 'none'}, now {now[FILES][:8] or 'none'})"
        )
    return ""


def unknown_scenes(what: str, where: str) -> str:
    """What to say of a run of an earlier version, which does not hold what is in its files."""
    return (
        f"{what}: is of an earlier version and does not say what was in the files of {where}: "
        "whether that has changed since is not known"
    )
