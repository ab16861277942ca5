"""The file of a recording's ground truth: its forms, and what is refused in it.

Boxes are upright in `frame`, metres and radians, and stand still there or have a stamp:

    {"frame": "map", "static": [{"class": "chair", "center": [x, y, z], "size": [dx, dy, dz],
                                 "yaw": 0.0}]}
    {"frame": "base_link", "frames": [{"stamp_ns": 17, "boxes": [...]}, {"stamp": 17.5, ...}]}

Read as well, because they can mean one thing only: the bare list of frames; `frame_id` for
`frame`, at the top or in each frame; a ROS `header` in a frame; boxes as rows
[x, y, z, dx, dy, dz, yaw] with `"labels"`, as many class names, beside them; several entries of
one stamp, such as one for each box.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from sr3d_core.data.label_checks import number_faults
from sr3d_core.geometry.scale import HIGHEST_M, ROOM_M
from sr3d_core.records import LabelRecord, Record, RecordError, read_records
from sr3d_ros.bag.errors import ReplayError

STAMP_TOLERANCE_NS = 1_000_000
"""Stamps written as decimal seconds are rounded; clouds come at least 10 ms apart."""

_ROW = "[x, y, z, dx, dy, dz, yaw]"


class StampedBoxes(Record):
    """All boxes at one stamp."""

    stamp_ns: int | None = Field(default=None, ge=-(2**62), le=2**62)
    stamp: float | None = Field(default=None, ge=-(2.0**32), le=2.0**32)  # seconds
    boxes: list[LabelRecord]

    @model_validator(mode="before")
    @classmethod
    def _common_forms(cls, tree: Any) -> Any:
        return _with_named_rows(tree, "boxes")

    @model_validator(mode="after")
    def _has_one_stamp(self) -> StampedBoxes:
        if (self.stamp_ns is None) == (self.stamp is None):
            raise ValueError("expected either stamp_ns or stamp (seconds)")
        return self

    @property
    def time_ns(self) -> int:
        """The stamp in nanoseconds."""
        return self.stamp_ns if self.stamp_ns is not None else round((self.stamp or 0.0) * 1e9)


class TruthFile(Record):
    """What a file says; read it with `read_truth`."""

    frame: str = Field(min_length=1)
    classes: list[str] | None = None
    static: list[LabelRecord] | None = None
    frames: list[StampedBoxes] | None = None

    @model_validator(mode="before")
    @classmethod
    def _common_forms(cls, tree: Any) -> Any:
        if isinstance(tree, list):
            tree = {"frames": tree}
        return _with_one_frame(_with_named_rows(tree, "static"))

    @model_validator(mode="after")
    def _has_one_form(self) -> TruthFile:
        if (self.static is None) == (self.frames is None):
            raise ValueError("expected either 'static' (boxes) or 'frames' (boxes by stamp)")
        return self

    def placed(self) -> dict[int | None, list[tuple[str, LabelRecord]]]:
        """Boxes, each with its place in the file, by stamp in nanoseconds; None: they stand still.

        Entries of one stamp are parts of one frame.
        """
        found: dict[int | None, list[tuple[str, LabelRecord]]] = {}
        if self.static is not None:
            found[None] = [(f"static[{index}]", box) for index, box in enumerate(self.static)]
        for number, entry in enumerate(self.frames or []):
            found.setdefault(entry.time_ns, []).extend(
                (f"frames[{number}].boxes[{index}]", box) for index, box in enumerate(entry.boxes)
            )
        return found

    def by_stamp(self) -> dict[int, list[LabelRecord]]:
        """Boxes that do not stand still by stamp in nanoseconds, rising.

        Raises ValueError where stamps nearly agree.
        """
        placed = self.placed()
        stamps = sorted(stamp_ns for stamp_ns in placed if stamp_ns is not None)
        for earlier, later in itertools.pairwise(stamps):
            if later - earlier <= 2 * STAMP_TOLERANCE_NS:  # one cloud may be meant by both
                raise ValueError(
                    f"frames of {earlier} and {later} ns are {later - earlier} ns apart, and no "
                    "two clouds are so near: give boxes of one cloud one and the same stamp"
                )
        return {stamp_ns: [box for _, box in placed[stamp_ns]] for stamp_ns in stamps}


def read_truth(path: Path, classes: Sequence[str]) -> TruthFile:
    """Read and check a file; `classes` are those of the model. Raises `ReplayError`."""
    try:
        truth = read_records(path, TruthFile)
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read ({error.strerror})") from error
    except RecordError as error:
        raise ReplayError(f"{error}; see docs/recordings.md") from error
    groups = truth.placed().values()
    boxes = [box for group in groups for box in group]
    named = {box.class_name for _, box in boxes} | set(truth.classes or [])
    unknown = sorted(named - set(classes))
    if unknown:
        raise ReplayError(
            f"{path}: classes {', '.join(unknown)} are not among those of the model: "
            f"{', '.join(classes)}; rename or remove them"
        )
    faults = [fault for place, box in boxes for fault in _size_faults(place, box)]
    faults += [fault for group in groups for fault in number_faults(group)]
    faults += [fault for group in groups for fault in _id_faults(group)]
    if faults:
        more = f" ({len(faults) - 1} more faults there)" if faults[1:] else ""
        raise ReplayError(f"{path}: {faults[0]}{more}")
    try:
        truth.by_stamp()
    except ValueError as error:
        raise ReplayError(f"{path}: {error}") from error
    return truth


def _id_faults(group: Sequence[tuple[str, LabelRecord]]) -> Iterator[str]:
    """Two boxes of one moment that are said to be the same object."""
    places: dict[str, str] = {}
    for place, box in group:
        if box.id and places.setdefault(box.id, place) != place:
            yield f"{place}.id: {box.id!r} is that of {places[box.id]} too; give each its own"


def _size_faults(place: str, box: LabelRecord) -> Iterator[str]:
    """A box that no room holds: its units are others."""
    if max(box.size) > ROOM_M or box.size[2] > HIGHEST_M:
        size = " x ".join(f"{edge:g}" for edge in box.size)
        yield (
            f"{place}.size: a {box.class_name} of {size} m, expected metres; are these "
            "millimetres or centimetres? divide centers and sizes"
        )


def _with_one_frame(tree: Any) -> Any:
    """The frame id that the top level or the frames name, once, at the top level."""
    if not isinstance(tree, Mapping):
        return tree
    if "boxes" in tree:
        raise ValueError(
            "'boxes' at the top level do not say whether they stand still: call them 'static', or "
            'write "frames": [{"stamp_ns": ..., "boxes": [...]}]'
        )
    entries = tree.get("frames")
    entries = [_without_header(entry) for entry in entries] if isinstance(entries, list) else []
    parts = [tree, *(entry for entry in entries if isinstance(entry, Mapping))]
    names = [part[key] for part in parts for key in ("frame", "frame_id") if key in part]
    different = {repr(name) for name in names}
    if len(different) > 1:
        raise ValueError(
            f"boxes in frames {' and '.join(sorted(different))}, expected one frame; write a file "
            "for each"
        )
    top_has_it = "frame" in tree or "frame_id" in tree
    if names and not top_has_it and len(names) < len(entries):
        raise ValueError(
            f"only {len(names)} of {len(entries)} frames have a frame_id; name it at the top, as "
            "'frame'"
        )
    named = {"frame": names[0]} if names else {}
    stamped = {"frames": [_without_frame(entry) for entry in entries]} if entries else {}
    return {**_without_frame(tree), **named, **stamped}


def _without_frame(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {key: value for key, value in part.items() if key not in ("frame", "frame_id")}


def _without_header(entry: Any) -> Any:
    """A frame whose std_msgs/Header is written as `stamp_ns` and `frame_id`."""
    header = entry.get("header") if isinstance(entry, Mapping) else None
    stamp = header.get("stamp") if isinstance(header, Mapping) else None
    if not (isinstance(header, Mapping) and isinstance(stamp, Mapping)):
        return entry
    seconds, nanoseconds = stamp.get("sec"), stamp.get("nanosec")
    if not (type(seconds) is int and type(nanoseconds) is int):
        return entry
    rest = {key: value for key, value in entry.items() if key != "header"}
    named = {"frame_id": header["frame_id"]} if "frame_id" in header else {}
    return {**rest, **named, "stamp_ns": seconds * 1_000_000_000 + nanoseconds}


def _with_named_rows(tree: Any, key: str) -> Any:
    """Boxes that are rows of numbers, as objects of their class; others as they are."""
    rows = tree.get(key) if isinstance(tree, Mapping) else None
    if not isinstance(rows, list) or not any(isinstance(row, list) for row in rows):
        return tree
    labels = tree.get("labels")
    if not isinstance(labels, list) or len(labels) != len(rows):
        raise ValueError(
            f"{key} are rows of numbers: expected 'labels' beside them, {len(rows)} class names"
        )
    boxes = []
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if not isinstance(row, list) or len(row) != 7:
            raise ValueError(f"{key}[{index}]: found {row!r}, expected {_ROW}")
        boxes.append({"class": label, "center": row[:3], "size": row[3:6], "yaw": row[6]})
    rest = {name: value for name, value in tree.items() if name != "labels"}
    return {**rest, key: boxes}
