"""Zstandard and LZ4, as recordings use them."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""How every Zstandard frame begins (RFC 8878, 3.1.1); no CDR message does."""


def zstd() -> Any:
    """The module of Python 3.14, or what stands for it in older ones."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def decompressed(data: bytes, name: str) -> bytes:
    """Bytes that were compressed; `name` as MCAP and ROS 1 call it. Raises ValueError."""
    if name in ("", "none"):
        return data
    try:
        if name == "zstd":
            return bytes(zstd().decompress(data))
        if name == "lz4":
            return bytes(import_module("lz4.frame").decompress(data))
        if name == "bz2":
            return bytes(import_module("bz2").decompress(data))
    except Exception as error:  # of zlib's kin, each with errors of its own
        raise ValueError(f"a part that is compressed ({name}) is damaged: {error}") from error
    raise ValueError(f"compression '{name}', expected zstd, lz4 or bz2")


def beginning(data: bytes, name: str) -> bytes:
    """What can be had of compressed bytes whose end is missing; raises ValueError."""
    if name in ("", "none"):
        return data
    try:
        if name == "zstd":
            return bytes(zstd().ZstdDecompressor().decompress(data))
        if name == "lz4":
            return bytes(import_module("lz4.frame").LZ4FrameDecompressor().decompress(data))
    except Exception as error:
        raise ValueError(f"a part that is compressed ({name}) is damaged: {error}") from error
    raise ValueError(f"compression '{name}', expected zstd or lz4")


def decompress_file(path: Path, target: Path) -> str:
    """Write a Zstandard file out; what is wrong with it where only its beginning could be read."""
    with path.open("rb") as raw, target.open("wb") as out:
        try:
            with zstd().open(raw, "rb") as source:
                shutil.copyfileobj(source, out)
        except OSError as error:
            if error.errno is not None:  # the disk is full
                raise
            return str(error)
        except (EOFError, ValueError, zstd().ZstdError) as error:
            return str(error)
    return ""
