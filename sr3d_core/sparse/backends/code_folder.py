"""Folders in which compiled code is kept for the next start, and what may be wrong with them.

Code is loaded from there, so nobody else may write into them.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

_PROBE_BYTES = 4096  # a full disk still makes empty files


def parents() -> list[Path]:
    """Where folders of ours may lie, the best first: the user's cache, then a temporary one."""
    found = []
    with contextlib.suppress(RuntimeError):  # there is no home
        found.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sr3d")
    with contextlib.suppress(OSError):  # no temporary folder can be written
        found.append(Path(tempfile.gettempdir()) / f"sr3d-{_user()}")
    return found


def fault_of(folder: Path) -> str:
    """Make the folder if need be; it and the one above must be ours, and it must take data.

    Comes back with what is wrong, "" = nothing.
    """
    if fault := fault_in_writing(folder):
        return fault
    status = [folder.stat(), folder.parent.stat()]
    if hasattr(os, "getuid") and any(s.st_uid != _user() for s in status):
        return "it belongs to another user"
    return "others may write there" if any(s.st_mode & stat.S_IWOTH for s in status) else ""


def fault_in_writing(folder: Path) -> str:
    """Make the folder if need be; what is wrong with writing into it, "" = nothing."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
