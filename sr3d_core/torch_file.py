"""Files that torch.save wrote, read without running anything that is in them.

Such a file is a pickle, and a pickle may name any function to be called while it is read. Here
torch's own reader for weights alone reads it: it knows tensors and plain values. Objects of the
training programs that are known (a log, a number of numpy's) become `Unread`, which holds nothing
and does nothing. A file that names anything else is refused before it is read.
"""

from __future__ import annotations

import pickle
import pickletools
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch


class TorchFileError(ValueError):
    """A file that cannot be read, or must not be; the text says which, why, and what to do."""


class Unread:
    """Stands for an object of another program, of which nothing was read."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Take no notice of what the object held."""


_TOLERATED = (
    *("torch", "numpy", "collections", "datetime", "pathlib", "argparse"),
    *("mmcv", "mmengine", "mmdet", "mmdet3d"),
)
"""Packages whose objects stand in published checkpoints, beside the weights."""

_TOLERATED_NAMES = {
    "_codecs.encode",
    *(f"builtins.{name}" for name in ("set", "frozenset", "bytearray", "complex", "slice")),
}
_NUM_LEGACY_PICKLES = 5  # number, version, machine, content, names of the tensors' storages


def read_torch_file(path: Path) -> Any:
    """What a file of torch.save holds, on the CPU: zip files and those from before torch 1.6.

    Raises TorchFileError for files that are damaged, of another kind, or name what could run.
    """
    if not path.is_file():
        raise TorchFileError(f"{path}: no such file; expected a checkpoint that torch.save wrote")
    names = _global_names(path)
    for name in sorted(names):
        if not _is_tolerated(name):
            raise TorchFileError(
                f"{path}: it asks for {name}, which weights have no use for and which could run "
                "commands; expected tensors, plain values and objects of "
                f"{', '.join(_TOLERATED)}: nothing of it was run, do not open it elsewhere"
            )
    stand_ins: list[Any] = [(type("Unread", (Unread,), {}), name) for name in names]
    try:
        with torch.serialization.safe_globals(stand_ins):  # what torch knows itself comes first
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file leads to
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> TorchFileError:
    return TorchFileError(
        f"{path}: torch does not read it as weights ({' '.join(why.split())[:200]}); expected a "
        "checkpoint that torch.save wrote with its default protocol: it may be damaged, cut short "
        "or of another kind, get it again"
    )


def _is_tolerated(name: str) -> bool:
    return name in _TOLERATED_NAMES or name.partition(".")[0] in _TOLERATED


def _global_names(path: Path) -> set[str]:
    """Dotted names of all functions and classes that the file asks for; nothing is loaded."""
    try:
        if zipfile.is_zipfile(path):
            return set(_names_in_zip(path))
        if tarfile.is_tarfile(path):
            raise _unreadable(path, "an archive of torch before 0.2, or no checkpoint at all")
        with path.open("rb") as file:
            return {
                name for _ in range(_NUM_LEGACY_PICKLES) for name in _names_in_pickle(file, path)
            }
    except TorchFileError:
        raise
    except (ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error)) from error


def _names_in_zip(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(inside) != 1 or any("/code/" in name for name in archive.namelist()):
            raise _unreadable(path, f"{len(inside)} data.pkl in it, or code of TorchScript")
        with archive.open(inside[0]) as file:
            yield from _names_in_pickle(file, path)


def _names_in_pickle(file: IO[bytes], path: Path) -> Iterator[str]:
    """Names in one pickle of a file, spelled as Python 3 does; the file is left behind it."""
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise _unreadable(path, f"it names things by {code.name}, which torch.save does not")
        if code.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            module, name = NAME_MAPPING.get((module, name), (module, name))
            yield f"{IMPORT_MAPPING.get(module, module)}.{name}"
