"""Look through labelled scenes: all faults at once, and what makes a folder suspicious.

`sr3d data inspect` and trainings go through here. Labels come first, as they are read in no time;
clouds only where no label is faulty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sr3d_core.choices import alike
from sr3d_core.data.file_scenes import (
    DatasetError,
    FileScenes,
    SceneLabels,
    about_other_classes,
)
from sr3d_core.data.folder import FolderDataset, FolderSource, listed
from sr3d_core.data.label_checks import Suspicions
from sr3d_core.data.readers.class_names import known_as
from sr3d_core.data.recorded import RecordingSource
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.sources import AnySource, Scenes, data_argument
from sr3d_core.data.split import how_to_split, scan_of
from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.records import label_records
from sr3d_core.structures import Sample

_MAX_FAULTS = 20  # scenes with faults, after which no further one is read
_POINTS_AT_ONCE = 100_000
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in labelled scenes, one line each with its place and what to do."""

    faults: list[str]
    """What makes scenes unusable."""
    warnings: list[str]
    """What is probably wrong."""
    num_unread: int
    """Scenes that were not looked at, after so many with faults."""
    notes: tuple[str, ...] = ()
    """How the files were understood, where they could be understood in more than one way."""


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """One scene without faults."""

    sample: Sample
    num_inside: list[int]  # points in each box that is not ignored
    place: list[int]  # where each of them stands in its file


def inspect_scenes(
    scenes: Scenes,
    on_scene: Callable[[int, Inspected | None], None] = lambda num_done, scene: None,
) -> Inspection:
    """Look through scenes; `on_scene` is told how many are done, and of each one without faults.

    `scenes` have all classes that they are labelled with.
    """
    faults, warnings = list[str](), list[str]()
    if isinstance(scenes, FolderDataset):
        faults = _faults(scenes.records, len(scenes))
        warnings = [
            *_about_shared_scenes(scenes),
            *_about_shared_rooms(scenes),
            *(_about_unlisted_labels(scenes.root) or _about_no_val(scenes)),
            *_about_other_splits(scenes),
            *_about_unlearnt_classes(scenes),
            *_about_classes(scenes.own_classes),
        ]
    suspicions, guesses, left_out = Suspicions(), dict[str, str](), list[str]()
    others = Counter[str]()
    num_unread = 0
    for index in () if faults else range(len(scenes)):
        try:
            sample, guess, labels = _read(scenes, index)
        except DatasetError as error:
            faults.append(str(error))
            if len(faults) == _MAX_FAULTS:
                num_unread = len(scenes) - index - 1
                break
            on_scene(index + 1, None)
            continue
        if guess:
            guesses[sample.name] = guess
        left_out += labels.left_out
        names = [record.class_name for record in labels.records]
        others.update(name for name in names if name not in scenes.classes)
        place = _place(labels, scenes.classes)
        scene = Inspected(sample, points_inside(sample), place)
        suspicions.add(sample, scene.num_inside, place)
        on_scene(index + 1, scene)
    told = [*warnings, *_about_guesses(guesses), *_about_unused(left_out)]
    notes: tuple[str, ...] = getattr(scenes, "notes", ())
    notes += (about_other_classes(others),) if others else ()
    return Inspection(faults, [*told, *suspicions.warnings()], num_unread, notes)


def inspect_before_training(
    source: AnySource, on_scene: Callable[[int, int], None] = lambda num_done, num: None
) -> list[str]:
    """Warnings about scenes in files that a training is about to see, and how they are read.

    Procedural rooms are labelled by their maker, recordings by a teacher: nothing is read. Raises
    DatasetError for faults.
    """
    if isinstance(source, RoomsSource | RecordingSource):
        return []
    scenes = source.open("train")
    found = inspect_scenes(scenes, lambda done, scene: on_scene(done, len(scenes)))
    if found.faults:
        unread = f" ({found.num_unread} more were not read)" if found.num_unread else ""
        raise DatasetError(
            f"{source.path}: {len(found.faults)} scenes cannot be trained on{unread}, the first "
            f"{found.faults[0]}; `sr3d data inspect {data_argument(source)}` tells all"
        )
    return [*found.notes, *found.warnings]


def _read(scenes: Scenes, index: int) -> tuple[Sample, str, SceneLabels]:
    """One scene, what of its cloud was a guess, and its boxes as its file has them."""
    if not isinstance(scenes, FileScenes):
        sample = scenes[index]
        records = label_records(sample.targets, scenes.classes)
        return sample, "", SceneLabels(sample.name, records, [])
    sample, note = scenes.read(index)
    return sample, note, scenes.labels(index)


def _place(labels: SceneLabels, classes: Sequence[str]) -> list[int]:
    """Where each target stands in its file."""
    return [
        row
        for row, record in enumerate(labels.records)
        if record.class_name in classes and not record.ignored
    ]


def _about_unused(left_out: Sequence[str]) -> list[str]:
    return [f"{len(left_out)} boxes are left out, the first {left_out[0]}"] if left_out else []


def _about_guesses(notes: Mapping[str, str]) -> list[str]:
    """What was taken where clouds can be read in more than one way, by scene."""
    if not notes:
        return []
    name, note = next(iter(notes.items()))
    return [
        f"{len(notes)} clouds do not say plainly what they hold, the first {name}: {note}; if "
        "that is wrong, name the columns or save the colors as bytes"
    ]


def points_inside(sample: Sample) -> list[int]:
    """Points in each box, counted in parts: a scan may have millions of points."""
    num = torch.zeros(len(sample.targets), dtype=torch.int64)
    for xyz in sample.cloud.xyz.split(_POINTS_AT_ONCE):
        num += points_in_boxes(xyz, sample.targets.boxes).sum(dim=0)
    return num.tolist()


def _faults(read: Callable[[int], object], num: int) -> list[str]:
    faults = []
    for index in range(num):
        try:
            read(index)
        except DatasetError as error:
            faults.append(str(error))
    return faults


def _other_splits(scenes: FolderDataset) -> list[str]:
    return [split for split in _SPLITS if split != scenes.split and listed(scenes.root, split)]


def _about_shared_scenes(scenes: FolderDataset) -> list[str]:
    warnings = []
    for other in _other_splits(scenes) if scenes.split in _SPLITS else ():
        shared = sorted(set(scenes.names) & set(listed(scenes.root, other)))
        if shared:
            warnings.append(
                f"{len(shared)} scenes are in {scenes.split}.txt and in {other}.txt, the first "
                f"{shared[0]}; scores on scenes that were trained on say nothing: take them off "
                "one list"
            )
    return warnings


def _about_shared_rooms(scenes: FolderDataset) -> list[str]:
    """ScanNet's scans of one room have one number, and another number each."""
    rooms = {name: room for name in scenes.names if (room := scan_of(name))}
    warnings = []
    for other in _other_splits(scenes) if rooms and scenes.split in _SPLITS else ():
        theirs = {scan_of(name) for name in listed(scenes.root, other)}
        shared = sorted(name for name, room in rooms.items() if room in theirs)
        if shared:
            warnings.append(
                f"{len(shared)} scans of {scenes.split}.txt are of rooms that {other}.txt has "
                f"scans of, the first {shared[0]}; scores on rooms that were trained on say "
                "little: put all scans of a room into one list"
            )
    return warnings


def _about_other_splits(scenes: FolderDataset) -> list[str]:
    """Faults that labels of other splits show; they are no reason to refuse this one."""
    warnings = []
    for other in _other_splits(scenes):
        try:
            theirs = FolderDataset(scenes.root, other)
            faults = _faults(theirs.records, len(theirs))
        except DatasetError as error:
            faults = [str(error)]
        if faults:
            warnings.append(
                f"{other}.txt: {len(faults)} of its scenes cannot be used, the first {faults[0]}; "
                f"`sr3d data inspect {scenes.root} --split {other}` tells all"
            )
    return warnings


def _about_unlisted_labels(root: Path) -> list[str]:
    known = {name for path in root.glob("*.txt") for name in listed(root, path.stem)}
    unused = sorted(set(FolderSource(path=root).labelled()) - known)
    if not unused:
        return []
    return [
        f"{len(unused)} label files are of scenes in no list, the first labels/{unused[0]}.json; "
        f"{how_to_split(FolderSource(path=root))} writes them into train.txt and val.txt"
    ]


def _about_unlearnt_classes(scenes: FolderDataset) -> list[str]:
    """Classes whose few boxes are all held back."""
    if scenes.split != "train" or not listed(scenes.root, "val"):
        return []
    try:
        shown, scored = (
            {record.class_name for index in range(len(part)) for record in part.records(index)}
            for part in (scenes, FolderDataset(scenes.root, "val"))
        )
    except DatasetError:  # which is told for itself
        return []
    alone = [name for name in scenes.own_classes if name in scored - shown]
    if not alone:
        return []
    return [
        f"only scenes of val.txt have boxes of {', '.join(alone)}: scored, but never learnt; move "
        "some of them to train.txt"
    ]


def _about_no_val(scenes: FolderDataset) -> list[str]:
    if scenes.split != "train" or listed(scenes.root, "val"):
        return []
    return [
        "val.txt lists no scene, so nothing tells how good the weights are on scenes that they "
        f"have not seen; {how_to_split(FolderSource(path=scenes.root))} holds some back"
    ]


def _about_classes(classes: Sequence[str]) -> list[str]:
    pairs = [(name, alike(name, classes[:index])) for index, name in enumerate(classes)]
    known = [(name, known_as(name)) for name in classes]
    return [
        f"classes.txt: {near!r} and {name!r} are two classes; if they mean the same, keep one"
        for name, near in pairs
        if near
    ] + [
        f"classes.txt: {name!r} is called {ours!r} by the weights that ship and all readers; "
        "name it so here and in the labels, or they are two classes"
        for name, ours in known
        if ours not in (None, name)
    ]
