"""Which labelled scenes are held back: train.txt and val.txt, drawn by a fixed rule.

Scenes of one room look alike, so that a score on one says little where a training has seen
another: those of one folder (`kitchen/0001`), where there are several, scans of ScanNet with one
number (`scene0000_00`) and views of one procedural room stay together. Rooms are taken in the
order of the sha256 of their names until enough scenes are held back: the same names always give
the same lists. Lists that are there are kept; what is in none is added to them.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sr3d_core.choices import VAL_SHARE
from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.folder import FolderSource
from sr3d_core.data.readers.labelcloud import LabelCloudSource
from sr3d_core.data.readers.lists import read_lines, unique
from sr3d_core.data.readers.sustechpoints import SustechPointsSource
from sr3d_core.data.sources import AnySource, data_argument
from sr3d_core.whole_files import write_whole

_Listed = FolderSource | LabelCloudSource | SustechPointsSource
"""Sources whose splits are lists that the user writes."""
_SCAN = re.compile(r"(?:.*/)?(scene\d{4})_\d{2}")
_VIEW = re.compile(r"(room[ _]\d+) (?:scan|(?:frame|image|sample) \d+)")
"""Views of procedural rooms, of those made when asked for and of those in a folder."""


@dataclass(frozen=True, slots=True)
class Split:
    """The scenes of each list."""

    train: list[str]
    val: list[str]
    num_new: int
    """Those that were in no list before; all where val.txt listed none."""


def scan_of(name: str) -> str:
    """The room that a scan of ScanNet is of, by its name; empty where it is none."""
    scan = _SCAN.fullmatch(name)
    return scan[1] if scan else ""


def rooms_of(names: Sequence[str]) -> list[str]:
    """The room that each of these scenes shows, as far as their names say it."""
    has_folders = len({_folder(name) for name in names}) > 1

    def room_of(name: str) -> str:
        view = _VIEW.fullmatch(name)
        shown = view[1] if view else scan_of(name)
        return shown or (has_folders and _folder(name)) or name

    return [room_of(name) for name in names]


def how_to_split(source: AnySource) -> str:
    """The command that makes a list val.txt for a source; empty where its splits are fixed."""
    if not isinstance(source, _Listed):
        return ""
    return f"`sr3d data split {shlex.quote(data_argument(source))}`"


def split_scenes(source: AnySource, val_share: float = VAL_SHARE) -> Split:
    """Write train.txt and val.txt of a source with all its labelled scenes.

    Where val.txt lists scenes already, both lists only grow; where it does not, scenes are taken
    from train.txt for it. Scenes of test.txt are in neither. Raises DatasetError where the source
    has no such lists, or too few rooms to hold one back.
    """
    if not isinstance(source, _Listed):
        raise DatasetError(
            f"{data_argument(source)}: its splits are those of the data set, expected a folder of "
            "your own, labelcloud:PATH or sustechpoints:PATH"
        )
    root, labelled = source.path, source.labelled()
    train, val, test = (_list(root, name) for name in ("train", "val", "test"))
    if not val:
        train = [name for name in train if name not in set(labelled)]
    known = {*train, *val, *test}
    new = [name for name in labelled if name not in known]
    held_back = _held_back(new, train, val, val_share)
    train += [name for name in new if name not in held_back]
    val += [name for name in new if name in held_back]
    if not train or not val:
        found = f"{len(train) + len(val)} scenes of one room" if train or val else "none"
        raise DatasetError(
            f"{root}: labelled is {found}, expected scenes of two rooms or more; label more, or "
            "write train.txt and val.txt yourself"
        )
    files = {"train": train, "val": val}
    write_whole({root / f"{name}.txt": _text(names) for name, names in files.items()})
    return Split(train, val, len(new))


def _list(root: Path, split: str) -> list[str]:
    """The scenes of a list, none where there is no such; DatasetError where it cannot be used."""
    path = root / f"{split}.txt"
    names = read_lines(path) if path.is_file() else []
    return unique(names, path) if names else []


def _held_back(
    new: Sequence[str], train: Sequence[str], val: Sequence[str], share: float
) -> set[str]:
    """Which of the new scenes go to val."""
    every = (*new, *train, *val)
    room_of = dict(zip(every, rooms_of(every), strict=True))
    rooms: dict[str, list[str]] = {}
    for name in new:
        rooms.setdefault(room_of[name], []).append(name)
    in_train, in_val = ({room_of[name] for name in names} for names in (train, val))
    held_back = [name for room in rooms if room in in_val for name in rooms[room]]
    free = sorted(rooms.keys() - in_train - in_val, key=_order)
    if not train:
        free = free[:-1]  # one is to be learnt from
    enough = max(1, round(share * (len(new) + len(train) + len(val))))
    for room in free:
        if len(val) + len(held_back) >= enough:
            break
        held_back += rooms[room]
    return set(held_back)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _order(room: str) -> str:
    return hashlib.sha256(room.encode()).hexdigest()


def _text(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()
