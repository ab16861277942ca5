"""Clouds to learn from: rooms, labelled data whose labels are not looked at, files, recordings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from sr3d_core.choices import UpAxis
from sr3d_core.data.cloud_file import CloudFileError, read_noted
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.data.identity import identity_of
from sr3d_core.data.keyframes import Listed, listed_in
from sr3d_core.data.recordings import digest_of_file, is_recording, recordings_below
from sr3d_core.data.sources import READERS, Scenes, source_of
from sr3d_core.geometry.viewpoint import Viewpoint
from sr3d_core.pretrain.recordings import Recordings
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

BEFORE_FILES = "-"
"""In the digest of labelled data: what follows changes with what is in its files."""
KEPT_POINTS = 10_000_000
"""So many points stay in memory once they are read, 320 MB; clouds beyond are read each time."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrom(Sample):
    """A cloud of a recording that says from where it was seen."""

    viewpoint: Viewpoint = field(kw_only=True)


class CloudFiles:
    """Files of clouds, each a scene without labels.

    Reading a cloud and finding its floor takes as long as learning from it, so the first ones stay
    in memory. Clouds that `sr3d bag clouds` wrote are z up, whatever `up` says.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, paths: Sequence[Path], up: UpAxis, kept_points: int = KEPT_POINTS) -> None:
        self.paths, self._up = list(paths), up
        folders = {folder: listed_in(folder) for folder in dict.fromkeys(p.parent for p in paths)}
        self._listed: dict[Path, Listed] = {
            path: folders[path.parent][path.name]
            for path in paths
            if path.name in folders[path.parent]
        }
        self._kept, self._room = dict[Path, PointCloud](), kept_points

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        cloud = self._kept[path] if path in self._kept else self._read(path)[0]
        nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
        listed = self._listed.get(path)
        viewpoint = None if listed is None else listed.viewpoint
        if viewpoint is None:
            return Sample(cloud, nothing, str(path))
        return SeenFrom(cloud, nothing, str(path), viewpoint=viewpoint)

    @property
    def places(self) -> list[str]:
        """What each of them shows: those of one place are much alike."""
        listed = [self._listed.get(path) for path in self.paths]
        return [
            f"{path.parent} {each.place}" if each is not None and each.place else str(path)
            for path, each in zip(self.paths, listed, strict=True)
        ]

    @property
    def contents(self) -> list[str]:
        """A line of each, which changes with what is learnt from it."""
        lines = []
        for path in self.paths:
            listed = self._listed.get(path)
            known = "" if listed is None else f" {json.dumps(asdict(listed))}"
            lines.append(f"{path.name} {digest_of_file(path)}{known}")
        return lines

    def _read(self, path: Path) -> tuple[PointCloud, str]:
        """A cloud and what of it was a guess; it is kept where there is room."""
        cloud, note = read_noted(path, "z" if path in self._listed else self._up)
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

    @property
    def places(self) -> list[str]:
        """What each cloud shows: those of one place are much alike, others have nothing to do
        with each other."""
        return [place for part in self._parts for place in _places(part)]


def _places(part: Scenes) -> list[str]:
    known = getattr(part, "places", None)
    return [f"{id(part)} {index}" for index in range(len(part))] if known is None else known


def open_sources(
    sources: Sequence[str],
    up: UpAxis,
    recordings: Recordings,
    on_read: Callable[[str, int, int], None] = lambda what, num_done, num: None,
) -> tuple[Joined, dict[str, str], list[str]]:
    """The clouds of all sources, the digest of each, and what is worth knowing; as `open_clouds`.

    `on_read` is told of what how many of how many are done.
    """
    if (recordings.topic or recordings.color) and not any(
        Path(source).exists() and is_recording(Path(source)) for source in sources
    ):
        raise ValueError(
            "--topic and --color choose among the topics of recordings, and none of "
            f"{', '.join(sources)} is one; leave them out"
        )
    parts, digests, said = list[Scenes](), dict[str, str](), list[str]()
    known = dict[str, str]()
    for source in sources:
        path = Path(source)
        where = str(path.resolve()) if path.exists() else source
        if where in known:
            said.append(f"{source}: is named before, as {known[where]}, and used once")
            continue
        known[where] = source
        clouds, digests[source], notes = open_clouds(source, up, recordings, on_read)
        parts.append(clouds)
        said += notes
    return Joined(parts), digests, said


def open_clouds(
    source: str,
    up: UpAxis,
    recordings: Recordings,
    on_read: Callable[[str, int, int], None] = lambda what, num_done, num: None,
) -> tuple[Scenes, str, list[str]]:
    """The clouds of one source, a digest that tells it from others, and what is worth knowing.

    A source is NAME or NAME:PATH of a reader of labelled data, whose split train is taken, or a
    cloud, or a folder with clouds in it or further down, or a recording, whose clouds are those
    that `recordings` writes. `up` is the axis of the files that points up. Raises ValueError where
    there are none.
    """
    if source.partition(":")[0] in READERS:
        scenes = source_of(source).open("train")
        names = getattr(scenes, "names", ())
        digest = _digest([f"{source} {len(scenes)}", *names])
        of_files = identity_of(scenes).files[:16]
        return scenes, f"{digest}{BEFORE_FILES}{of_files}" if of_files else digest, []
    path = Path(source)
    if not path.exists():
        raise ValueError(
            f"{source}: no such file, folder or reader; expected clouds ({' '.join(SUFFIXES)}), a "
            f"folder of them, a recording, or one of {', '.join(READERS)} with its path: see "
            "`sr3d data --help`"
        )
    said = list[str]()
    if is_recording(path):
        beside = _clouds_below(path, recordings) if path.is_dir() else []
        path, said = recordings.clouds_of(path, up, on_read)
        if beside:
            said.append(
                f"{source}: is a recording; {len(beside)} files of clouds in its folder are not "
                f"used, {beside[0]} is one: name them as a source of their own"
            )
    found = [path] if path.is_file() else _clouds_below(path, recordings)
    files = CloudFiles(found, up)
    faults, notes = files.leave_out_unusable(partial(on_read, "clouds read"))
    faults += _recordings_not_named(path)
    if not len(files):
        why = faults[0] if faults else f"there is no file that ends with {' '.join(SUFFIXES)}"
        raise ValueError(f"{source}: no cloud to learn from: {why}")
    left_out = [f"left out, {fault}" for fault in faults]
    return files, _digest(files.contents), [*said, *left_out, *notes]


def _recordings_not_named(path: Path) -> list[str]:
    """What to say of recordings further down in a folder of clouds."""
    below = recordings_below(path) if path.is_dir() else []
    if not below:
        return []
    first = ", ".join(str(each) for each in below[:3]) + ", ..." * (len(below) > 3)
    return [f"{len(below)} recordings below {path}: name each of them as a source: {first}"]


def _clouds_below(folder: Path, recordings: Recordings) -> list[Path]:
    """All clouds of a folder, in an order that is always the same.

    Not what the pre-training itself writes, where that is in the folder: or it would find other
    clouds when it goes on than at the start.
    """
    kept = recordings.folder.resolve()
    own = () if folder.resolve().is_relative_to(kept) else (kept, kept.with_suffix(".csv"))
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not _is_within(p, own))


def _is_within(path: Path, places: Sequence[Path]) -> bool:
    whole = path.parent.resolve() / path.name
    return any(whole.is_relative_to(place) for place in places)


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
