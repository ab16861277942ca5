"""Clouds to learn from: rooms, labelled data whose labels are not looked at, files of clouds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sr3d_core.choices import UpAxis
from sr3d_core.data.cloud_file import CloudFileError, read_noted
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.data.sources import READERS, Scenes, source_of
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

_RECORDINGS = (".bag", ".mcap", ".db3")


KEPT_POINTS = 10_000_000
"""So many points stay in memory once they are read, 320 MB; clouds beyond are read each time."""


class CloudFiles:
    """Files of clouds, each a scene without labels.

    Reading a cloud and finding its floor takes as long as learning from it, so the first ones stay
    in memory.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, paths: Sequence[Path], up: UpAxis, kept_points: int = KEPT_POINTS) -> None:
        self.paths, self._up = list(paths), up
        self._kept, self._room = dict[Path, PointCloud](), kept_points

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        cloud = self._kept[path] if path in self._kept else self._read(path)[0]
        nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
        return Sample(cloud, nothing, str(path))

    def _read(self, path: Path) -> tuple[PointCloud, str]:
        """A cloud and what of it was a guess; it is kept where there is room."""
        cloud, note = read_noted(path, self._up)
        if len(cloud) <= self._room:
            self._kept[path] = cloud
            self._room -= len(cloud)
        return cloud, note

    def leave_out_unusable(
        self, on_read: Callable[[int, int], None]
    ) -> tuple[list[str], list[str]]:
        """Forget those that cannot be read; returns why, and what of the others was a guess.

        Reads all of them once; `on_read` is told how many of how many are done.
        """
        good, faults, notes = [], [], []
        for num_done, path in enumerate(self.paths, start=1):
            try:
                _, note = self._read(path)
            except (CloudFileError, OSError) as error:
                faults.append(str(error))
            else:
                good.append(path)
                if note:
                    notes.append(f"{path}: {note}")
            on_read(num_done, len(self.paths))
        self.paths = good
        return faults, notes


class Joined:
    """Several sources as one."""

    classes: tuple[str, ...] = ()

    def __init__(self, parts: Sequence[Scenes]) -> None:
        self._parts = list(parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, index: int) -> Sample:
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError("no cloud of this number")


def open_clouds(
    source: str, up: UpAxis, on_read: Callable[[int, int], None] = lambda num_done, num: None
) -> tuple[Scenes, str, list[str]]:
    """The clouds of one source, a digest that tells it from others, and what is worth knowing.

    A source is NAME or NAME:PATH of a reader of labelled data, whose split train is taken, or a
    cloud, or a folder with clouds in it or further down. `up` is the axis of the files that points
    up. Raises ValueError where there are none.
    """
    if source.partition(":")[0] in READERS:
        scenes = source_of(source).open("train")
        names = getattr(scenes, "names", ())
        return scenes, _digest([f"{source} {len(scenes)}", *names]), []
    path = Path(source)
    if not path.exists():
        raise ValueError(
            f"{source}: no such file, folder or reader; expected clouds ({' '.join(SUFFIXES)}), a "
            f"folder of them, or one of {', '.join(READERS)} with its path: see `sr3d data --help`"
        )
    if _is_recording(path):
        raise ValueError(
            f"{source}: is a recording, which cannot be learnt from directly; expected clouds "
            f"({' '.join(SUFFIXES)}): write those of its frames into a folder, and name that"
        )
    found = [path] if path.is_file() else _clouds_below(path)
    files = CloudFiles(found, up)
    faults, notes = files.leave_out_unusable(on_read)
    if not len(files):
        why = faults[0] if faults else f"there is no file that ends with {' '.join(SUFFIXES)}"
        raise ValueError(f"{source}: no cloud to learn from: {why}")
    left_out = [f"left out, {fault}" for fault in faults]
    contents = [f"{each.name} {_digest_of_file(each)}" for each in files.paths]
    return files, _digest(contents), [*left_out, *notes]


def _is_recording(path: Path) -> bool:
    """Whether it is a bag of ROS 1 or 2, or the folder of one."""
    files = [path] if path.is_file() else path.iterdir()
    return any(each.suffix.lower() in _RECORDINGS for each in files)


def _clouds_below(folder: Path) -> list[Path]:
    """All clouds of a folder, in an order that is always the same."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
