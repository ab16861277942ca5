"""The JSON of a box, for everything that writes or reads one.

    {"class": "chair", "score": 0.9, "center": [x, y, z], "size": [dx, dy, dz], "yaw": 0.3}

Metres and radians, z up: geometric centre, full extents, yaw counter-clockwise about z (0 where it
is left out). Detections have a score, labels need none. A label with `"ignored": true` is of an
object that is there but not asked for, as too little of it is seen to tell its size. `"seen"` is
the share of it that is seen, by which `sr3d eval` tells figures apart. An `"id"` says which object
it is, in labels of several moments. `"depth_std_m"` is how far off along the
line of sight a box of a color image may be, one standard deviation in metres, null where unknown.
Numbers are never rounded: what is read back is what was found, to the last bit. Whoever shows
numbers to people rounds them there.
Imports torch only where tensors are made.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sr3d_core.plain_text import read_text

if TYPE_CHECKING:
    import torch

    from sr3d_core.structures import Boxes3D, Detections, Targets

DetectionRecord = dict[str, Any]
"""`class`, `score`, `center`, `size`, `yaw` as plain JSON values."""

_EXPECTED = {
    "class": "the name of a class",
    "score": "a number in 0..1",
    "center": "three finite numbers [x, y, z], metres",
    "size": "three lengths above 0 [dx, dy, dz], metres",
    "yaw": "a finite number, radians",
    "ignored": "true or false",
    "seen": "a number in 0..1, the share of the object that is seen",
}
_BOX = 'a box {"class", "center": [x, y, z], "size": [dx, dy, dz], "yaw"}'


_MEANT = {
    **dict.fromkeys(("rotation", "rot", "heading", "angle", "theta", "orientation"), "yaw"),
    **dict.fromkeys(("name", "label", "category", "type"), "class"),
    **dict.fromkeys(("position", "location", "centroid", "centre"), "center"),
    **dict.fromkeys(("dimensions", "dims", "extent", "extents", "sizes", "lwh"), "size"),
    **dict.fromkeys(("ignore", "iscrowd", "difficult", "dontcare"), "ignored"),
}
"""What other programs call the keys of a box, by the first word."""

_short = reprlib.Repr()
_short.maxlong = _short.maxstring = _short.maxother = 80


class RecordError(ValueError):
    """A file of boxes cannot be read; the text says which file, which key, what was expected."""


class Record(BaseModel):
    """A part of a JSON file: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


_Row = tuple[float, float, float]
_Number = Annotated[float, Field(strict=True)]  # neither "1.5" nor true
_Length = Annotated[float, Field(strict=True, gt=0.0)]


class BoxRecord(Record):
    """One box of a file."""

    class_name: str = Field(alias="class", min_length=1)
    score: _Number | None = Field(default=None, ge=0.0, le=1.0)
    center: tuple[_Number, _Number, _Number]
    size: tuple[_Length, _Length, _Length]
    yaw: _Number = 0.0
    depth_std_m: _Number | None = Field(default=None, ge=0.0)


class LabelRecord(BoxRecord):
    """One box of a ground truth."""

    ignored: Annotated[bool, Field(strict=True)] = False
    seen: _Number | None = Field(default=None, ge=0.0, le=1.0)
    id: str = ""  # of the object; only sequences use it


class FileRecord(Record):
    """What `sr3d detect --json` writes about one file."""

    file: str
    frame: Literal["file", "levelled"]
    model: str
    classes: tuple[str, ...]
    time_ms: dict[str, float]
    detections: tuple[BoxRecord, ...]
    levelled_from_file: tuple[_Row, _Row, _Row] | None = None


_File = TypeVar("_File", bound=Record)


def read_records(path: Path, form: type[_File]) -> _File:
    """A JSON file of this form; raises RecordError, and OSError where it cannot be opened."""
    try:
        tree = json.loads(read_text(path), object_pairs_hook=_without_repeated_keys)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not JSON ({error})") from error
    try:
        return form.model_validate(tree)
    except ValidationError as error:
        raise RecordError(f"{path}: {_sentence(error)}") from error


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; the second of two keys would silently win."""
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecordError(f"{twice}: stands twice in {_short.repr(tree)}; remove one")
    return tree


def targets_of(
    records: Sequence[LabelRecord], classes: Sequence[str], dtype: torch.dtype | None = None
) -> Targets:
    """Boxes and labels, which index `classes`; boxes of other classes are left out.

    How much of them is seen is known where each box says it.
    `dtype` is that of the boxes, None = float32 as the network learns from; in map coordinates
    they need float64.
    """
    import torch

    from sr3d_core.structures import Targets

    index = {name: label for label, name in enumerate(classes)}

    def among(chosen: list[LabelRecord], ignored: Targets | None) -> Targets:
        labels = torch.tensor([index[record.class_name] for record in chosen], dtype=torch.int64)
        shares = [record.seen for record in chosen if record.seen is not None]
        seen = torch.tensor(shares) if len(shares) == len(chosen) > 0 else None
        return Targets(boxes_of(chosen, dtype), labels, ignored, seen)

    known = [record for record in records if record.class_name in index]
    ignored = [record for record in known if record.ignored]
    asked_for = [record for record in known if not record.ignored]
    return among(asked_for, among(ignored, None) if ignored else None)


def boxes_of(records: Sequence[BoxRecord], dtype: torch.dtype | None = None) -> Boxes3D:
    """The boxes in order, whatever their classes."""
    import torch

    from sr3d_core.structures import Boxes3D

    rows = [[*record.center, *record.size, record.yaw] for record in records]
    return Boxes3D.from_array(torch.tensor(rows, dtype=dtype or torch.float32).reshape(-1, 7))


def label_records(targets: Targets, classes: Sequence[str]) -> list[LabelRecord]:
    """The other way round than `targets_of`: the boxes, then those that are ignored."""
    parts = [targets] if targets.ignored is None else [targets, targets.ignored]
    return [
        LabelRecord.model_validate(
            {
                "class": classes[label],
                "center": row[0:3],
                "size": row[3:6],
                "yaw": row[6],
                "ignored": part is not targets,
                "seen": seen,
            }
        )
        for part in parts
        for row, label, seen in zip(
            part.boxes.array.tolist(),
            part.labels.tolist(),
            [None] * len(part) if part.seen is None else part.seen.tolist(),
            strict=True,
        )
    ]


def detections_of(records: Sequence[BoxRecord]) -> tuple[Detections, tuple[str, ...]]:
    """Detections in order, boxes in float64, and the class names that labels index.

    A box without a score counts as certain.
    """
    import torch

    from sr3d_core.structures import Detections

    classes = tuple(dict.fromkeys(record.class_name for record in records))
    boxes = boxes_of(records, torch.float64)
    scores = torch.tensor([1.0 if record.score is None else record.score for record in records])
    labels = [classes.index(record.class_name) for record in records]
    return Detections(boxes, scores, torch.tensor(labels, dtype=torch.int64)), classes


def detection_records(found: Detections, classes: Sequence[str]) -> list[DetectionRecord]:
    """Detections as plain JSON values, in order; labels index `classes`."""
    rows = zip(
        found.boxes.array.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
    )
    records: list[DetectionRecord] = [
        {
            "class": classes[label],
            "score": score,
            "center": box[0:3],
            "size": box[3:6],
            "yaw": box[6],
        }
        for box, score, label in rows
    ]
    if found.depth_std_m is not None:
        for record, std_m in zip(records, found.depth_std_m.tolist(), strict=True):
            record["depth_std_m"] = None if math.isnan(std_m) else std_m
    return records


def _sentence(error: ValidationError) -> str:
    """The first mistake, where, what was found, what was expected; and how many there are."""
    mistakes = error.errors(include_url=False)
    more = f" ({len(mistakes) - 1} more mistakes there)" if mistakes[1:] else ""
    return f"{_mistake(mistakes[0])}{more}"


def _mistake(first: Any) -> str:
    kind, place = first["type"], first["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    where = where.removeprefix(".") or "top level"
    if kind == "value_error":  # raised by the form itself, which says what it expects
        return f"{where}: {first['ctx']['error']}"
    if kind == "extra_forbidden":
        known = _MEANT.get(str(place[-1]).partition("_")[0].lower())
        question = f" is it {known}, {_EXPECTED[known]}?" if known else ""
        return f"{where}: unknown key;{question} correct its name or remove it"
    key = str(next((part for part in reversed(place) if isinstance(part, str)), ""))
    expected = _EXPECTED.get(key, first["msg"])
    if kind == "missing":
        return f"{where}: missing, expected {_EXPECTED.get(key, 'this key')}"
    if kind == "model_type":  # no object at all
        boxes = (BoxRecord.__name__, LabelRecord.__name__)
        expected = _BOX if first["ctx"]["class_name"] in boxes else "an object {...}"
    return f"{where}: found {_short.repr(first['input'])}, expected {expected}"
