"""The foreign world: rooms of foreign furniture, half of them suites, seen by other sensors.

Room k of a seed is always the same; even ones are laid out as our own, odd ones are suites. Each
gives a level RGB-D frame and a fused scan. Rendered rooms are kept in a folder, a file appears
when it is whole, and what is there is not rendered again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from foreign.archive import archives_in
from foreign.suites import SUITES
from foreign.supply import ForeignFurniture
from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.dataset import FORMAT, packed, unpacked
from sr3d_core.data.rooms.sample import frame_of, scan_of
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES
from sr3d_core.data.rooms.scene.room import build_room
from sr3d_core.structures import Sample
from sr3d_core.whole_files import write_whole

FRAME = SensorHabits(
    pitch_rad=(float(np.deg2rad(-12)), 0.0),
    noise_m=(0.012, 0.015),
)
"""A level depth camera on a robot: a floor 12 to 15 mm thick."""

SCAN = SensorHabits(noise_m=(0.012, 0.015), warp_m=(0.010, 0.015))
"""The same fused, with poses that are off by a centimetre here and there."""

SENSORS = ("frame", "scan")
LAYOUTS = ("room", "suite")
MANIFEST = "foreign_rooms.json"
_STREAM = 77_000_000  # apart from the seeds of our own rooms


class WorldError(ValueError):
    """A folder that holds another world."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A sample and where it comes from."""

    sample: Sample
    sensor: str
    layout: str


def identity_of(archives: Sequence[Path], table: Path) -> str:
    """Changes with the furniture that rooms are made of."""
    digest = hashlib.sha256(table.read_bytes())
    for path in archives_in(archives):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_room(furniture: ForeignFurniture, seed: int, number: int) -> list[Sample]:
    """The frame and the scan of a room."""
    stream = (_STREAM, seed, number)
    programmes = SUITES if LAYOUTS[number % 2] == "suite" else PROGRAMMES
    room = build_room(np.random.default_rng(stream), furniture, programmes)
    return [
        frame_of(room, np.random.default_rng((*stream, 1)), f"foreign {number} frame", FRAME),
        scan_of(room, np.random.default_rng((*stream, 2)), f"foreign {number} scan", SCAN),
    ]


def render(
    furniture: ForeignFurniture,
    folder: Path,
    num: int,
    *,
    seed: int = 0,
    workers: int = 0,
    identity: str = "",
    tell: Callable[[int], object] | None = None,
) -> None:
    """Render rooms 0..num-1 into a folder; `identity` names what else they depend on.

    Raises `WorldError` where the folder holds rooms of another seed or identity.
    """
    _claim(folder, {"format": FORMAT, "seed": seed, "identity": identity})
    waiting = [number for number in range(num) if not _path(folder, number).exists()]
    done = num - len(waiting)
    for _ in _run(partial(_render, furniture, folder, seed), waiting, workers):
        done += 1
        if tell is not None:
            tell(done)


def scenes(folder: Path, num: int) -> Iterator[Scene]:
    """Frames and scans of the first rooms in a folder; labels index `classes.LABELS`."""
    for number in range(num):
        yield from scenes_of_room(folder, number)


def scenes_of_room(folder: Path, number: int) -> list[Scene]:
    """Frame and scan of one room."""
    with np.load(_path(folder, number), allow_pickle=False) as arrays:
        return [
            Scene(unpacked(arrays, key, f"foreign {number} {sensor}"), sensor, LAYOUTS[number % 2])
            for key, sensor in enumerate(SENSORS)
        ]


def _run(task: Callable[[int], None], numbers: list[int], workers: int) -> Iterator[None]:
    if workers < 2 or not numbers:
        yield from map(task, numbers)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(
            task, numbers, chunksize=8
        )  # the furniture travels with each


def _render(furniture: ForeignFurniture, folder: Path, seed: int, number: int) -> None:
    arrays: dict[str, np.ndarray] = {}
    for key, sample in enumerate(make_room(furniture, seed, number)):
        arrays.update(packed(sample, key))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole({_path(folder, number): content.getvalue()})


def _path(folder: Path, number: int) -> Path:
    return folder / f"room_{number:05d}.npz"


def _claim(folder: Path, wanted: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    if not path.exists():
        path.write_text(json.dumps(wanted), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != wanted:
        raise WorldError(
            f"{path}: holds {found}, expected {wanted}; choose another --cache or remove this one"
        )
