"""Rooms as torch datasets: made on the fly, or read back from pre-rendered files.

The splits use disjoint ranges of seeds, so a room of one split never appears in another.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sr3d_core.choices import ROOM_SENSORS, ROOM_SPLITS, RoomSensor, RoomSplit
from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.sample import room_sample
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

SEEDS_PER_SPLIT = 10_000_000
"""Length of each split's range of seeds."""

FORMAT = 2
"""Of what `packed` writes, 2 with ignored boxes; rooms of another one have to be made again."""

FIRST_SEED: dict[str, int] = {split: k * SEEDS_PER_SPLIT for k, split in enumerate(ROOM_SPLITS)}
"""Where each split's seeds begin."""

MANIFEST = "rooms.json"
"""File in a pre-rendered folder that says what the folder holds."""

XYZ_STEP_M = 0.0005
"""Pre-rendered coordinates are whole numbers of this step."""


class RoomsError(ValueError):
    """A request for rooms that do not exist, or a folder that holds none."""


def seed_of(split: RoomSplit, index: int) -> int:
    """The seed of a split's room number `index`."""
    if not 0 <= index < SEEDS_PER_SPLIT:
        raise RoomsError(f"room {index} of {split}: expected 0 <= index < {SEEDS_PER_SPLIT}")
    return FIRST_SEED[split] + index


def relabelled(sample: Sample, label_space: Sequence[str]) -> Sample:
    """The sample with labels as indices into `label_space`; other classes lose their boxes."""
    if tuple(label_space) == LABELS:
        return sample
    index = torch.tensor(
        [label_space.index(name) if name in label_space else -1 for name in LABELS]
    )
    return replace(sample, targets=_renumbered(sample.targets, index))


def _renumbered(targets: Targets, index: Tensor) -> Targets:
    """The targets with labels `index[label]`; those with a negative one are left out."""
    labels = index[targets.labels]
    kept = labels >= 0
    ignored = None if targets.ignored is None else _renumbered(targets.ignored, index)
    seen = None if targets.seen is None else targets.seen[kept]
    return Targets(targets.boxes[kept], labels[kept], ignored, seen)


def known_labels(label_space: Sequence[str]) -> tuple[str, ...]:
    """The label space, if rooms have some of its classes; raises `RoomsError`."""
    names = tuple(label_space)
    if not set(names) & set(LABELS):
        raise RoomsError(
            f"label space {names} has no class that rooms contain; expected some of {LABELS}"
        )
    return names


class Rooms(Dataset[Sample]):
    """`num` samples made when asked for: sample i is room i // len(sensors), seen by a sensor."""

    def __init__(
        self,
        split: RoomSplit,
        num: int,
        sensors: Sequence[RoomSensor] = ROOM_SENSORS,
        label_space: Sequence[str] = LABELS,
        supply: FurnitureSupply = OWN_FURNITURE,
    ) -> None:
        if split not in FIRST_SEED:
            raise RoomsError(f"split is {split!r}, expected one of {tuple(FIRST_SEED)}")
        if not sensors:
            raise RoomsError("no sensors given, expected 'frame', 'scan' or both")
        self._split: RoomSplit = split
        self._num = num
        self._sensors = tuple(sensors)
        self._supply = supply
        self.notes: tuple[str, ...] = ()
        self.classes = known_labels(label_space)

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._num:
            raise IndexError(f"sample {index} of {self._num}")
        room, sensor = divmod(index, len(self._sensors))
        sample = room_sample(seed_of(self._split, room), self._sensors[sensor], self._supply)
        return relabelled(sample, self.classes)


def packed(sample: Sample, key: int | str) -> dict[str, np.ndarray]:
    """A sample as small arrays under names that begin with `key`."""
    xyz = sample.cloud.xyz.numpy().astype(np.float64)
    middle = xyz.mean(axis=0) if len(xyz) else np.zeros(3)
    steps = np.clip(np.rint((xyz - middle) / XYZ_STEP_M), -32768, 32767)
    return {
        f"{key}_xyz": steps.astype(np.int16),
        f"{key}_middle": middle,
        f"{key}_rgb": np.rint(sample.cloud.features.numpy() * 255).astype(np.uint8),
        **_packed(sample.targets, f"{key}"),
        **_packed(sample.targets.ignored or sample.targets[:0], f"{key}_ignored"),
    }


def _packed(targets: Targets, key: str) -> dict[str, np.ndarray]:
    return {
        f"{key}_boxes": targets.boxes.array.numpy().astype(np.float32),
        f"{key}_labels": targets.labels.numpy().astype(np.uint8),
        **({} if targets.seen is None else {f"{key}_seen": targets.seen.numpy()}),
    }


def unpacked(arrays: np.lib.npyio.NpzFile, key: int | str, name: str) -> Sample:
    """What `packed` stored under `key`."""
    xyz = arrays[f"{key}_xyz"].astype(np.float64) * XYZ_STEP_M + arrays[f"{key}_middle"]
    rgb = arrays[f"{key}_rgb"].astype(np.float32) / 255
    cloud = PointCloud.single(torch.from_numpy(xyz.astype(np.float32)), torch.from_numpy(rgb))
    targets = _unpacked(arrays, f"{key}", _unpacked(arrays, f"{key}_ignored", None))
    return Sample(cloud, targets, name)


def _unpacked(arrays: np.lib.npyio.NpzFile, key: str, ignored: Targets | None) -> Targets:
    boxes = Boxes3D.from_array(torch.from_numpy(arrays[f"{key}_boxes"]))
    labels = torch.from_numpy(arrays[f"{key}_labels"].astype(np.int64))
    name = f"{key}_seen"  # earlier versions rendered without
    seen = torch.from_numpy(arrays[name]) if name in arrays.files else None
    return Targets(boxes, labels, ignored, seen)


def room_files(
    folder: str | Path, num_rooms: int | None = None, draw: int = 0
) -> tuple[dict[str, Any], list[Path]]:
    """The manifest of a folder that `prerender` filled, and the files that are there.

    Of `num_rooms`, those are the first ones of the permutation that `draw` gives, so that the
    rooms of a smaller number are among those of a larger one. Raises `RoomsError` where there is
    none, or one that this version does not read.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise RoomsError(
            f"{path} does not exist; expected rooms: make them with `sr3d data rooms`"
        )
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise RoomsError(
            f"{path}: rooms of format {manifest.get('format', 1)}, expected {FORMAT}, which "
            "this version makes; render again into an empty folder with `sr3d data rooms`"
        )
    if tuple(manifest["labels"]) != LABELS:
        raise RoomsError(
            f"{path}: rendered for the classes {manifest['labels']}, expected {LABELS}; "
            "render again into an empty folder"
        )
    files = sorted(Path(folder).glob("room_*.npz"))
    if num_rooms is None:
        return manifest, files
    if num_rooms > len(files):
        raise RoomsError(
            f"{folder}: {len(files)} rooms, expected at least the {num_rooms} that are asked for: "
            "render more with `sr3d data rooms`"
        )
    order = np.random.default_rng(draw).permutation(len(files))
    return manifest, sorted(files[room] for room in order[:num_rooms])


class Prerendered(Dataset[Sample], ABC):
    """What lies in a folder that `prerender` filled, also while it is still filling it.

    Of all rooms, or of `num_rooms` of them, see `room_files`; at most `num` samples.
    """

    def __init__(
        self,
        folder: str | Path,
        label_space: Sequence[str] = LABELS,
        num_rooms: int | None = None,
        draw: int = 0,
        num: int | None = None,
    ) -> None:
        self._manifest = Path(folder) / MANIFEST
        manifest, self._files = room_files(folder, num_rooms, draw)
        self._per_room = self._num_of_each(manifest)
        if self._per_room == 0:
            raise RoomsError(f"{folder}: {self._advice}")
        self._num = num
        self.classes = known_labels(label_space)

    _advice: ClassVar[str]
    """What is in a folder that has none, and what to do."""

    @abstractmethod
    def _num_of_each(self, manifest: dict[str, Any]) -> int:
        """How many samples each room has."""

    @abstractmethod
    def _stored(self, arrays: np.lib.npyio.NpzFile, number: int, room: str) -> Sample:
        """One of them."""

    @property
    def files(self) -> list[Path]:
        """All files that these samples are read from."""
        num_rooms = -(-len(self) // self._per_room)
        return [self._manifest, *self._files[:num_rooms]]

    def __len__(self) -> int:
        there = len(self._files) * self._per_room
        return there if self._num is None else min(self._num, there)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        room, number = divmod(index, self._per_room)
        path = self._files[room]
        with np.load(path, allow_pickle=False) as arrays:
            return relabelled(self._stored(arrays, number, path.stem), self.classes)


class PrerenderedRooms(Prerendered):
    """Frames and scans of such a folder."""

    _advice = (
        "color images alone, without frames or scans; make those into another folder with "
        "`sr3d data rooms`"
    )

    def _num_of_each(self, manifest: dict[str, Any]) -> int:
        return int(manifest["num_frames"]) + int(manifest["scan"])

    def _stored(self, arrays: np.lib.npyio.NpzFile, number: int, room: str) -> Sample:
        return unpacked(arrays, number, f"{room} sample {number}")

    def labels_of(self, index: int) -> list[int]:
        """The labels of one sample, without its points; index `classes`."""
        room, key = divmod(index, self._per_room)
        with np.load(self._files[room], allow_pickle=False) as arrays:
            names = [LABELS[label] for label in arrays[f"{key}_labels"]]
        return [self.classes.index(name) for name in names if name in self.classes]
