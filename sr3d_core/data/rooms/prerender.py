"""Fill a folder with rendered rooms: one compressed npz per room, without pickles.

Rendering can be stopped and started again at any time: a file appears only when it is whole, and
rooms that have one are skipped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from sr3d_core.choices import FURNITURE_SHARE, RoomNoise, RoomSplit
from sr3d_core.data.rooms.dataset import FORMAT, MANIFEST, RoomsError, packed, seed_of
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.library.supply import furniture_of
from sr3d_core.data.rooms.looks.dataset import packed_image
from sr3d_core.data.rooms.looks.sample import image_samples
from sr3d_core.data.rooms.sample import room_samples


def prerender(
    out_dir: str | Path,
    split: RoomSplit,
    num_rooms: int,
    workers: int = 0,
    *,
    num_frames: int = 4,
    scan: bool = True,
    images: int = 0,
    first_room: int = 0,
    furniture: Path | None = None,
    furniture_share: float = FURNITURE_SHARE,
    noise: RoomNoise = "usual",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Render rooms `first_room` ... of a split into `out_dir`; returns how many were new.

    Each room has `num_frames` RGB-D frames, a scan if asked for, and as many color `images` for
    networks without a depth sensor. `workers` is the number of extra processes; 0 renders in this
    one. `furniture` is a library that a share of the pieces is from; `noise` is that of frames and
    scans. `progress` is called with the number of finished rooms and that of all. Raises
    `RoomsError` if the folder holds rooms that were rendered with other settings, nothing is asked
    for, or `noise` is without frames and scans; `LibraryError` for a library that cannot be used.
    """
    furniture_of(furniture, furniture_share)
    if noise != "usual" and not (num_frames or scan):
        raise RoomsError(
            f"noise {noise!r} is of frames and scans, of which there are none; expected some, or "
            "the usual noise: color images have it always"
        )
    if not (num_frames or scan or images):
        raise RoomsError(
            "neither frames nor a scan nor images of each room; expected at least one of them"
        )
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, object] = {
        "format": FORMAT,
        "split": split,
        "num_frames": num_frames,
        "scan": scan,
        "labels": list(LABELS),
    }
    if images:
        wanted["num_images"] = images
    if furniture is not None:
        digest = hashlib.sha256(furniture.read_bytes()).hexdigest()[:16]
        wanted["furniture"] = {"digest": digest, "share": furniture_share}
    if noise != "usual":
        wanted["noise"] = noise
    _claim(folder, wanted)
    rooms = range(first_room, first_room + num_rooms)
    waiting = [room for room in rooms if not _path(folder, room).exists()]
    kinds = (num_frames, scan, images)
    task = partial(_render, str(folder), split, kinds, furniture, furniture_share, noise)
    done = num_rooms - len(waiting)
    for _ in _run(task, waiting, workers):
        done += 1
        if progress is not None:
            progress(done, num_rooms)
    return len(waiting)


def _run(task: Callable[[int], int], rooms: list[int], workers: int) -> Iterator[int]:
    if workers == 0 or not rooms:
        yield from map(task, rooms)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(task, rooms, chunksize=4)


def _claim(folder: Path, wanted: dict[str, object]) -> None:
    """Write the manifest, or check that the one that is there agrees."""
    path = folder / MANIFEST
    if not path.exists():
        path.write_text(json.dumps(wanted), encoding="utf-8")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != wanted:
        keys = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        differ = ", ".join(f"{key} {found.get(key)}, not {wanted.get(key)}" for key in keys)
        raise RoomsError(
            f"{path}: these rooms were rendered otherwise: {differ}; expected the same; choose "
            "another folder or remove this one"
        )


def _path(folder: Path, room: int) -> Path:
    return folder / f"room_{room:07d}.npz"


def _render(
    folder: str,
    split: RoomSplit,
    kinds: tuple[int, bool, int],
    furniture: Path | None,
    furniture_share: float,
    noise: RoomNoise,
    room: int,
) -> int:
    """Render one room; its file is moved into place when it is complete."""
    supply = furniture_of(furniture, furniture_share)  # read once in each process
    seed = seed_of(split, room)
    num_frames, scan, images = kinds
    samples = room_samples(seed, num_frames=num_frames, scan=scan, supply=supply, noise=noise)
    arrays: dict[str, np.ndarray] = {}
    for key, sample in enumerate(samples):
        arrays.update(packed(sample, key))
    if images:
        for number, found in enumerate(image_samples(seed, images, supply)):
            arrays.update(packed_image(found, number))
    path = _path(Path(folder), room)
    partial_path = path.with_suffix(".part")
    with partial_path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    partial_path.replace(path)
    return room
