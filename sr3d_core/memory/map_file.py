"""A map of objects as JSON, to be read by people, by other programs, and by the next start.

    {"format": "sr3d object map", "version": 2, "digest": "...", "frame": "map",
     "classes": ["bed", "chair"], "stamp_ns": 17, "next_id": 5,
     "objects": [{"id": "4", "state": "confirmed", "class": "chair", "score": 0.9,
                  "center": [x, y, z], "size": [dx, dy, dz], "yaw": 0.3, ...}]}

Boxes are as in all our files (`sr3d_core.records`), in the static frame that `frame` names, not
rounded. The digest is of all the rest: a file that was cut short or changed by hand is
refused and never half believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sr3d_core.memory.fused_box import BoxView
from sr3d_core.memory.known_object import KnownObject
from sr3d_core.records import BoxRecord, Record, RecordError, read_records
from sr3d_core.whole_files import write_whole

if TYPE_CHECKING:
    from sr3d_core.memory.object_map import MapObject

FORMAT = "sr3d object map"
VERSION = 2
"""Raised whenever an older program would misread the file."""

_Count = Annotated[int, Field(strict=True, ge=0)]
_Stamp = Annotated[int, Field(strict=True)]
_Point = tuple[float, float, float]


class MapFileError(ValueError):
    """A map cannot be used; the text says which file, what was found, what was expected."""


class ViewRecord(Record):
    """The box of one view."""

    center: _Point
    size: _Point
    yaw: float
    weight: Annotated[float, Field(gt=0.0)]
    sensor: _Point | None = None
    looks: Annotated[int, Field(strict=True, ge=1)]
    facing: tuple[float, float]


class ObjectRecord(BoxRecord):
    """One object; class, score, state and probabilities follow from the rest, for readers."""

    identity: str = Field(alias="id", pattern=r"^[1-9][0-9]*$")
    state: Literal["tentative", "confirmed", "gone"]
    probabilities: dict[str, float]
    evidence: dict[str, float] = Field(min_length=1)
    first_seen_ns: _Stamp
    last_seen_ns: _Stamp
    gone_ns: _Stamp | None = None
    times_seen: _Count
    times_missed: _Count
    misses: _Count
    places_seen: _Count
    places_overlooked: _Count
    looked_from: _Point | None = None
    found_there: bool
    views: tuple[ViewRecord, ...] = Field(min_length=1)


class MapRecord(Record):
    """The whole file."""

    format: Literal["sr3d object map"]
    version: int
    digest: str
    frame: str
    classes: tuple[str, ...]
    stamp_ns: _Stamp | None
    next_id: Annotated[int, Field(strict=True, ge=1)]
    objects: tuple[ObjectRecord, ...]


class _HeadRecord(Record, extra="ignore"):
    """What every version has."""

    format: str
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class SavedMap:
    """What a map is made of, but for its classes and settings."""

    objects: list[KnownObject]
    next_number: int
    stamp_ns: int | None


def map_tree(
    saved: SavedMap, classes: Sequence[str], frame: str, shown: Sequence[MapObject]
) -> dict[str, Any]:
    """A map as plain JSON values; `shown` is what is to be read of its objects."""
    by_identity = {each.identity: each for each in shown}
    tree: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "frame": frame,
        "classes": list(classes),
        "stamp_ns": saved.stamp_ns,
        "next_id": saved.next_number,
        "objects": [
            _object_tree(known, by_identity[known.identity], classes) for known in saved.objects
        ],
    }
    return {**tree, "digest": _digest(tree)}


def write_map(
    path: Path, saved: SavedMap, classes: Sequence[str], frame: str, shown: Sequence[MapObject]
) -> None:
    """Write a map, whole or not at all; raises OSError."""
    tree = map_tree(saved, classes, frame, shown)
    write_whole({path: (json.dumps(tree, indent=1) + "\n").encode()})


def read_map(path: Path, classes: tuple[str, ...], frame: str | None) -> SavedMap:
    """A map of these classes, and of this frame where one is given.

    Raises `MapFileError`, and OSError where the file cannot be opened.
    """
    try:
        head = read_records(path, _HeadRecord)
        if head.format == FORMAT and head.version != VERSION:
            raise MapFileError(
                f"{path}: version {head.version} of the format, expected {VERSION}; map the place "
                "again, or load it with the release that saved it"
            )
        record = read_records(path, MapRecord)
    except RecordError as error:
        raise MapFileError(f"{error}; expected a map that `ObjectMap.save` wrote") from error
    tree = json.loads(path.read_text(encoding="utf-8"))
    if tree.pop("digest") != _digest(tree):
        raise MapFileError(f"{path}: its digest is of another content: changed since it was saved")
    if record.classes != classes:
        odd = sorted(set(record.classes) ^ set(classes)) or ["in another order"]
        raise MapFileError(
            f"{path}: a map of {len(record.classes)} classes, the weights know {len(classes)}; "
            f"different: {', '.join(odd[:5])}; use the weights that it was made with"
        )
    if frame is not None and record.frame != frame:
        raise MapFileError(
            f"{path}: a map in the frame '{record.frame}', expected '{frame}'; set map.frame"
        )
    try:
        objects = [_known(each, classes) for each in record.objects]
    except ValueError as error:
        raise MapFileError(f"{path}: {error}") from error
    return SavedMap(objects, record.next_id, record.stamp_ns)


def frame_of_map(path: Path) -> str:
    """The static frame that a map says its boxes are in; raises as `read_map`."""
    try:
        return read_records(path, MapRecord).frame
    except RecordError as error:
        raise MapFileError(str(error)) from error


def _digest(tree: dict[str, Any]) -> str:
    plain = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def _box(row: np.ndarray) -> dict[str, Any]:
    x, y, z, dx, dy, dz, yaw = row.tolist()
    return {"center": [x, y, z], "size": [dx, dy, dz], "yaw": yaw}


def _object_tree(known: KnownObject, shown: MapObject, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "id": known.identity,
        "state": shown.state,
        "class": shown.class_name,
        "score": shown.probability,
        **_box(known.box),
        "probabilities": shown.probabilities,
        "evidence": {classes[label]: score for label, score in known.evidence.items()},
        "first_seen_ns": known.first_ns,
        "last_seen_ns": known.last_ns,
        "gone_ns": known.gone_ns,
        "times_seen": known.times_seen,
        "times_missed": known.times_missed,
        "misses": known.misses,
        "places_seen": known.places_seen,
        "places_overlooked": known.places_overlooked,
        "looked_from": None if known.looked_from is None else list(known.looked_from),
        "found_there": known.found_there,
        "views": [
            {
                **_box(view.box),
                "weight": view.weight,
                "sensor": None if view.sensor is None else list(view.sensor),
                "looks": view.looks,
                "facing": [view.direction.real, view.direction.imag],
            }
            for view in known.views
        ],
    }


def _known(record: ObjectRecord, classes: Sequence[str]) -> KnownObject:
    index = {name: label for label, name in enumerate(classes)}
    unknown = sorted(record.evidence.keys() - index.keys())
    if unknown:
        raise ValueError(f"object {record.identity}: evidence of '{unknown[0]}', no class of it")
    return KnownObject(
        identity=record.identity,
        first_ns=record.first_seen_ns,
        last_ns=record.last_seen_ns,
        evidence={index[name]: score for name, score in record.evidence.items()},
        views=[
            BoxView(
                np.array([*v.center, *v.size, v.yaw]),
                v.weight,
                v.sensor,
                v.looks,
                complex(*v.facing),
            )
            for v in record.views
        ],
        box=np.array([*record.center, *record.size, record.yaw]),
        times_seen=record.times_seen,
        times_missed=record.times_missed,
        misses=record.misses,
        places_seen=record.places_seen,
        places_overlooked=record.places_overlooked,
        looked_from=record.looked_from,
        found_there=record.found_there,
        gone_ns=record.gone_ns,
    )
