"""Compiling for this host once, and keeping the machine code on disk for every later start.

Code lies in one folder per state of these sources and kind of vectors; numba itself compiles anew
when the CPU or numba's version has changed, and replaces files in one step, so that processes may
start at the same time.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import inspect
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding

_config: Any = numba.config
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def vector_lanes() -> int:
    """Floats per vector: 16 with AVX-512, 8 with AVX2, else 4 (NEON, SSE)."""
    features = _cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


@lru_cache(maxsize=1)
def vector_registers() -> int:
    """How many vector registers the host has: 32 with AVX-512 and on ARM, else 16."""
    is_arm = binding.get_process_triple().startswith(("aarch64", "arm64"))
    return 32 if is_arm or _cpu_features().get("avx512f") else 16


@lru_cache(maxsize=1)
def has_byte_products() -> bool:
    """Whether one instruction sums products of bytes in whole vectors (x86's VNNI)."""
    return bool(_cpu_features().get({16: "avx512vnni", 8: "avxvnni"}.get(vector_lanes(), "")))


def _cpu_features() -> dict[str, bool]:
    """What the CPU that numba compiles for can do."""
    listed = _config.CPU_FEATURES
    if listed is None:
        return dict(binding.get_host_cpu_features())
    return {name[1:]: name.startswith("+") for name in listed.split(",") if name}


def inner(function: Callable[..., Any]) -> Any:
    """A function that compiled functions call; it becomes part of them."""
    return numba.njit(nogil=True)(inspect.unwrap(function))


def compiled(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for these argument types now, or load it where it was compiled before.

    The machine code runs without Python's lock.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        folder, before = _folder(), _config.CACHE_DIR
        _config.CACHE_DIR = str(folder)  # read when the dispatcher is made
        try:
            make = numba.njit(signature, nogil=True, cache=True, error_model="numpy")
            return make(inspect.unwrap(function))  # tests wrap functions to check types
        finally:
            _config.CACHE_DIR = before

    return decorate


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Where this state of the sources keeps its machine code; says so when it is new."""
    digest = hashlib.sha256(f"{vector_lanes()} {vector_registers()}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for parent in _parents():
        folder = parent / f"numba-{digest.hexdigest()[:16]}"
        if _is_usable(folder):
            break
    else:
        folder = Path(tempfile.mkdtemp(prefix="sr3d-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if not any(folder.iterdir()):
        _log.warning("compiling the CPU engine for this machine, once (10 to 20 s): %s", folder)
    return folder


def _parents() -> list[Path]:
    """Folders to try: the one numba is told to use, the user's cache, a private temporary one."""
    if _config.CACHE_DIR:
        return [Path(_config.CACHE_DIR)]
    parents = []
    with contextlib.suppress(RuntimeError):  # there is no home
        parents.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sr3d")
    return [*parents, Path(tempfile.gettempdir()) / f"sr3d-{_user()}"]


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_usable(folder: Path) -> bool:
    """Make the folder if need be; it must be writable and, as code is loaded from it, ours."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        status = [folder.stat(), folder.parent.stat()]
    except OSError:
        return False
    is_ours = all(s.st_uid == _user() for s in status) or not hasattr(os, "getuid")
    return is_ours and not any(s.st_mode & stat.S_IWOTH for s in status)
