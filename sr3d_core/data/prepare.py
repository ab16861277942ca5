"""Labelled scenes of any reader as a folder of plain files, which is fast to read.

What was made of which source stands in prepared.yaml, so that a stopped run goes on where it was,
and scenes that were read in two different ways never lie in one folder.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    about_other_classes,
    is_plain_name,
)
from sr3d_core.data.sources import AnySource, Scenes, data_argument
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.records import LabelRecord, label_records
from sr3d_core.structures import PointCloud
from sr3d_core.whole_files import write_whole

PREPARED = "prepared.yaml"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of one split."""

    num_new: int
    num_there: int
    notes: tuple[str, ...]
    """How the files were understood."""
    left_out: list[str]
    """Boxes that cannot be used, and those that came twice."""


def prepare(
    source: AnySource,
    out: Path,
    split: str,
    num: int | None = None,
    on_scene: Callable[[int, int], None] = lambda num_done, num: None,
) -> Prepared:
    """Write the scenes of one split into a folder that `FolderSource` reads.

    Scenes that are there are left as they are. Raises DatasetError where the folder holds
    something else, or a scene cannot be read.
    """
    classes = tuple(source.classes)
    scenes = source.open(split, classes, num)
    return write_scenes(scenes, classes, data_argument(source), out, split, on_scene)


def write_scenes(
    scenes: Scenes,
    classes: Sequence[str],
    made_of: str,
    out: Path,
    split: str,
    on_scene: Callable[[int, int], None] = lambda num_done, num: None,
) -> Prepared:
    """The same for scenes that are open, with labels that index `classes`.

    `made_of` says in one line what they depend on; a folder that was made of something else is
    refused. Raises DatasetError.
    """
    _claim(out, made_of, classes)
    num_there, names, left_out, others = 0, list[str](), list[str](), Counter[str]()
    for index in range(len(scenes)):
        written = _write(out, scenes, index, classes)
        names.append(written.name)
        num_there += not written.is_new
        left_out += written.left_out
        others.update(written.others)
        on_scene(index + 1, len(scenes))
    write_whole({out / f"{split}.txt": "".join(f"{name}\n" for name in names).encode()})
    notes: tuple[str, ...] = getattr(scenes, "notes", ())
    notes += (about_other_classes(others),) if others else ()
    return Prepared(len(names) - num_there, num_there, notes, left_out)


def _claim(out: Path, made_of: str, classes: Sequence[str]) -> None:
    """Make the folder, or see that it was made of the same."""
    said = {"data": made_of, "classes": list(classes)}
    path = out / PREPARED
    if path.is_file():
        try:
            there = read_yaml(path, "what `sr3d data prepare` wrote")
        except YamlError as error:
            raise DatasetError(str(error)) from error
        if there != said:
            before = there.get("data") if isinstance(there, dict) else there
            raise DatasetError(
                f"{out}: made of {before}, expected {said['data']} with the same classes; choose "
                "another folder"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise DatasetError(f"{out}: not empty, expected a new folder; choose another one")
    for folder in (out / "clouds", out / "labels"):
        folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    lines = "".join(f"{name}\n" for name in classes)
    write_whole({out / "classes.txt": lines.encode(), path: text.encode()})


@dataclass(frozen=True, slots=True)
class _Written:
    """What came of one scene."""

    name: str
    is_new: bool
    left_out: list[str]
    others: list[str]  # the class of each box of a class that nobody asked for


def _write(out: Path, scenes: Scenes, index: int, classes: Sequence[str]) -> _Written:
    """Write one scene, where it is not there yet."""
    if isinstance(scenes, FileScenes) and _is_there(out, scenes.names[index]):
        return _Written(scenes.names[index], False, [], [])
    sample = scenes[index]
    if _is_there(out, sample.name):
        return _Written(sample.name, False, [], [])
    records = label_records(sample.targets, classes)
    once = list(dict.fromkeys(records))
    cloud, labels = _files(out, sample.name)
    for path in (cloud, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({cloud: _npz(sample.cloud), labels: _json(once)})
    unused, others = list[str](), list[str]()
    if isinstance(scenes, FileScenes):
        found = scenes.labels(index)
        unused += found.left_out
        others += [each.class_name for each in found.records if each.class_name not in classes]
    if len(once) < len(records):
        unused.append(f"{sample.name}: {len(records) - len(once)} boxes that came twice")
    return _Written(sample.name, True, unused, others)


def _files(out: Path, name: str) -> tuple[Path, Path]:
    if not is_plain_name(name):  # it is the foreign data's, and must not lead out of the folder
        raise DatasetError(f"{out}: scene {name!r}, expected a name without . or .. in it")
    return out / "clouds" / f"{name}.npz", out / "labels" / f"{name}.json"


def _is_there(out: Path, name: str) -> bool:
    return all(path.is_file() for path in _files(out, name))


def _npz(cloud: PointCloud) -> bytes:
    """Points in single precision, colors as bytes where they are known."""
    data, xyz, rgb = io.BytesIO(), cloud.xyz.numpy(), cloud.features.numpy()
    if np.isnan(rgb).all():
        np.savez(data, xyz=xyz)
    else:
        octets = np.rint(np.nan_to_num(rgb).clip(0, 1) * 255).astype(np.uint8)
        np.savez(data, xyz=xyz, rgb=octets)
    return data.getvalue()


def _json(records: Sequence[LabelRecord]) -> bytes:
    boxes = [
        record.model_dump(by_alias=True, exclude_defaults=True, mode="json") for record in records
    ]
    return json.dumps({"boxes": boxes}, indent=1).encode()
