"""Compiling for this host once, and keeping the machine code on disk for every later start.

Code lies in one folder per state of these sources and kind of vectors; numba itself compiles anew
when the CPU or numba's version has changed, and replaces files in one step, so that processes may
start at the same time.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding

from sr3d_core.sparse.backends.code_folder import fault_of, parents

_config: Any = numba.config
_log = logging.getLogger(__name__)

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


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


@lru_cache(maxsize=1)
def has_short_products() -> bool:
    """Whether one instruction sums products of bfloat16 in whole vectors (AVX-512 BF16)."""
    return vector_lanes() == 16 and bool(_cpu_features().get("avx512bf16"))


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

    The machine code runs without Python's lock. A folder that cannot be used, such as one on a
    full disk, is left for the next; without any, code is compiled in memory.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        plain = inspect.unwrap(function)  # tests wrap functions to check types
        while (folder := _folders.current()) is not None:
            try:
                return _compiled_in(folder, signature, plain)
            except Exception as error:  # of the folder, or, without one, again
                _folders.leave(folder, f"{type(error).__name__}: {error}")
        return numba.njit(signature, **_OPTIONS)(plain)

    return decorate


def _compiled_in(folder: Path, signature: str, function: Callable[..., Any]) -> Any:
    """A function whose machine code is kept in a folder."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(folder)  # read when the dispatcher is made
    try:
        return numba.njit(signature, cache=True, **_OPTIONS)(function)
    finally:
        _config.CACHE_DIR = before


class _Folders:
    """Where this state of the sources keeps its machine code: the first folder that can be used.

    Tried are the one numba is told to use, the user's cache, and a private temporary one. What is
    wrong with them is said once.
    """

    def __init__(self) -> None:
        self._untried: list[Path] | None = None
        self._current: Path | None = None

    def current(self) -> Path | None:
        """The folder to use; None where there is none."""
        if self._untried is None:
            name = f"numba-{_digest()}"
            self._untried = [parent / name for parent in _parents()]
            self._take_next()
        return self._current

    def leave(self, folder: Path, why: str) -> None:
        """A folder cannot be used."""
        _tell_fault(folder, why)
        self._take_next()

    def _take_next(self) -> None:
        self._current = None
        while self._untried:
            folder = self._untried.pop(0)
            why = fault_of(folder)
            if not why:
                self._current = folder
                break
            _tell_fault(folder, why)
        if self._current is None:
            _log.warning(
                "compiling the CPU engine in memory, at every start (10 to 20 s): free some "
                "space, or set NUMBA_CACHE_DIR to a folder of yours that can be written"
            )
        elif not any(self._current.iterdir()):
            _log.warning(
                "compiling the CPU engine for this machine, once (10 to 20 s): %s", self._current
            )


def _tell_fault(folder: Path, why: str) -> None:
    _log.warning("the CPU engine's machine code cannot be kept in %s (%s)", folder, why)


_folders = _Folders()


def _digest() -> str:
    """Of the sources and the kind of vectors."""
    digest = hashlib.sha256(f"{vector_lanes()} {vector_registers()}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _parents() -> list[Path]:
    """Folders to try, the best first."""
    chosen = [Path(_config.CACHE_DIR)] if _config.CACHE_DIR else []
    return [*chosen, *parents()]
