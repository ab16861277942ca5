"""Where Triton keeps its kernels: it cannot run them without a folder that takes them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sr3d_core.sparse.backends.code_folder import fault_in_writing, fault_of, parents

_log = logging.getLogger(__name__)
_CHOICE = "TRITON_CACHE_DIR"


def find_room_for_kernels() -> None:
    """Give Triton another folder where its own cannot be written, as on a full disk.

    Where there is none, Triton itself says so when it compiles.
    """
    own = _own_folder()
    if not (fault := fault_in_writing(own)):
        return
    _log.warning("Triton's kernels cannot be kept in %s (%s)", own, fault)
    for folder in (parent / "triton" for parent in parents()):
        if fault := fault_of(folder):
            _log.warning("nor in %s (%s)", folder, fault)
        else:
            os.environ[_CHOICE] = str(folder)  # Triton reads it when it compiles
            _log.warning("Triton's kernels are kept in %s", folder)
            return
    _log.warning("free some space, or set %s to a folder of yours that can be written", _CHOICE)


def _own_folder() -> Path:
    """The folder that Triton takes by itself."""
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    return Path(os.environ.get(_CHOICE) or Path(home, ".triton", "cache"))
