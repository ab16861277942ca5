"""Which files a recording consists of: those that metadata.yaml lists, else those that are there.

Nothing else of metadata.yaml is needed, so every version of it is read, from before Humble on:
topics and times are in the files, and compression shows in their first bytes.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.storage.compressed import decompress_file
from sr3d_ros.bag.storage.file import ENDINGS, Kind, StorageFile, kind_of_file
from sr3d_ros.bag.storage.scan_sqlite import left_behind, recovered

_EXPECTED = "expected a rosbag2 folder, .mcap, .db3 or ROS 1 .bag file"
_BAG_NAME = re.compile(r"(.+?)(?:_\d+)?((?:\.(?:mcap|db3|bag|active))+)(?:\.zstd|\.zst)?")


def open_files(path: Path, stack: ExitStack, notes: list[str]) -> list[StorageFile]:
    """The files of a recording in their order, open until the stack is left.

    `notes` are told what is missing or damaged. Raises `ReplayError` where nothing can be read.
    """
    if not path.exists():
        raise ReplayError(f"{path}: no such file or folder, expected a bag")
    if not (path.is_file() or path.is_dir()):
        raise ReplayError(f"{path}: a pipe or a device; {_EXPECTED}, which is read back and forth")
    opened, errors = list[StorageFile](), list[str]()
    for file in files_of(path, notes):
        try:
            storage = _opened(file, stack, notes)
        except ReplayError as error:
            errors.append(str(error))
        else:
            stack.callback(storage.close)
            opened.append(storage)
    if not opened:
        raise ReplayError(errors[0] if errors else f"{path}: bag cannot be opened; {_EXPECTED}")
    notes += [f"{error}; the other files of the recording are used" for error in errors]
    return sorted(opened, key=lambda storage: storage.start_ns)


def files_of(path: Path, notes: list[str]) -> list[Path]:
    """The files of a recording that are there; `notes` are told of those that are not."""
    if path.is_file():
        return [path]
    present = sorted(file for file in path.iterdir() if _BAG_NAME.fullmatch(file.name))
    listed = _listed(path, notes)
    if listed is None:
        stems = sorted({_BAG_NAME.sub(r"\1", file.name) for file in present})
        if len(stems) > 1:
            raise ReplayError(
                f"{path}: no metadata.yaml, and the files of {len(stems)} recordings: "
                f"{', '.join(file.name for file in present)}; name one of them"
            )
        found = present
    else:
        found = [path / name for name in listed if (path / name).exists()]
        missing = [name for name in listed if not (path / name).exists()]
        if missing and (found or not present):
            notes.append(
                f"{path}: {len(missing)} of its {len(listed)} files are missing: "
                f"{', '.join(missing)}; their messages are not there"
            )
        # A recording whose files were renamed or unpacked.
        found = found or present
    if not found:
        raise ReplayError(
            f"{path}: no metadata.yaml, or none of the files that it lists, and no .mcap, .db3 or "
            f".bag file; {_EXPECTED}"
        )
    return found


def _listed(path: Path, notes: list[str]) -> list[str] | None:
    """The names of files in metadata.yaml; None where it is not there or not sound."""
    metadata = path / "metadata.yaml"
    if not metadata.exists():
        return None
    try:
        tree = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        names = tree["rosbag2_bagfile_information"]["relative_file_paths"]
        return [PurePosixPath(name).name for name in names]
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, TypeError) as error:
        notes.append(f"{metadata}: damaged ({type(error).__name__}); the files beside it are read")
        return None


def _opened(path: Path, stack: ExitStack, notes: list[str]) -> StorageFile:
    """A file as it can be read: unpacked, recovered, with the ending of what it is."""
    file, kind = path, kind_of_file(path)
    if kind == "zstd":
        unpacked = _scratch(stack) / "unpacked"
        fault = decompress_file(path, unpacked)
        if fault:
            notes.append(f"{path}: cut or damaged ({fault}); what comes before is used")
        file, kind = unpacked, kind_of_file(unpacked)
    if kind == "sqlite3" and left_behind(file):
        try:
            file = recovered(file, _scratch(stack))
            notes.append(f"{path}: its recorder was killed; a copy was recovered by its journal")
        except sqlite3.Error as error:
            notes.append(f"{path}: its journal cannot be used ({error}); the file alone is read")
    return StorageFile(_named(file, kind, stack), kind, path, notes)


def _named(path: Path, kind: Kind, stack: ExitStack) -> Path:
    """The file under a name with the ending by which rosbags chooses."""
    ending = ENDINGS[kind]
    if path.suffix == ending:
        return path
    link = _scratch(stack) / f"file{ending}"
    link.symlink_to(path.absolute())
    return link


def _scratch(stack: ExitStack) -> Path:
    """A new folder that goes with the recording."""
    return Path(stack.enter_context(TemporaryDirectory(prefix="sr3d_bag_")))
