"""One training of a study: in a folder and a process of its own, done once and not again.

Beside the folder lie its configuration, what it printed, which weights it started from, and which
scenes it has seen; where these are others than the study means now, it is not gone on with.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sr3d_core.config import flat_config
from sr3d_core.data.identity import ACCEPT_DATA, changed_scenes, identity_of
from sr3d_core.plain_yaml import read_yaml
from sr3d_core.study.kinds import KINDS, Trains, digest
from sr3d_core.study.processes import Start, StudyError, run_apart
from sr3d_core.training.folder import CONFIG, STATE, WEIGHTS
from sr3d_core.training.state import data_named
from sr3d_core.whole_files import write_whole

TRAINED = "trained.txt"
"""In the folder of a training that is done: the digest of its weights."""
_NOT_LEARNT_FROM = ("evaluation.", "schedule.num_workers", "schedule.checkpoint_minutes")


def settings_path(folder: Path) -> Path:
    """The configuration that a study writes for a training, beside its folder."""
    return folder.with_name(f"{folder.name}.yaml")


def start_path(folder: Path) -> Path:
    """What tells the weights that a training started from, beside its folder."""
    return folder.with_name(f"{folder.name}.start.txt")


def scenes_path(folder: Path) -> Path:
    """What tells the scenes that a training was begun with, beside its folder."""
    return folder.with_name(f"{folder.name}.scenes.json")


def _scenes_of(tree: dict[str, Any], trains: Trains) -> dict[str, Any]:
    """The identity of the scenes that a training learns from."""
    return identity_of(KINDS[trains].parse(tree, "").scenes()).to_dict()


def check_same_scenes(folder: Path, tree: dict[str, Any], trains: Trains = "train") -> bool:
    """Raise StudyError where a training was begun with other scenes than it would see now.

    Returns whether that is known: an earlier version kept nothing to tell it by.
    """
    if not _is_begun(folder):
        return True
    path = scenes_path(folder)
    if not path.is_file():
        return False
    change = changed_scenes(json.loads(path.read_text(encoding="utf-8")), _scenes_of(tree, trains))
    if change:
        where = data_named(flat_config(KINDS[trains].parse(tree, "")))
        raise StudyError(
            f"{folder}: the scenes of {where} that it has learnt from {change}; expected the "
            f"same: put them back, choose another --out, or say {ACCEPT_DATA} to take it as it is"
        )
    return True


def _is_begun(folder: Path) -> bool:
    return (folder / STATE).exists() or (folder / TRAINED).exists()


def check_same(folder: Path, tree: dict[str, Any], trains: Trains = "train") -> None:
    """Raise StudyError where a training that was begun has other settings, or other weights to
    start from."""
    kind, path = KINDS[trains], settings_path(folder)
    if not _is_begun(folder) or not path.exists():
        return
    mark, start = start_path(folder), kind.start_of(tree)
    if start and mark.is_file() and mark.read_text() != start:
        raise StudyError(
            f"{folder}: was trained from other weights than {kind.starts_in_words(tree)} are now; "
            "expected the same: choose another --out, or remove this folder to train it again"
        )
    whole = folder / CONFIG  # with all that was default then; what the study wrote names a part
    used = read_yaml(whole if whole.is_file() else path, "a configuration in YAML")
    before, now = (flat_config(kind.parse(each, str(path))) for each in (used, tree))
    idle: tuple[str, ...] = _NOT_LEARNT_FROM
    if now.get("schedule.epochs") is not None:  # which say the number of steps
        idle = (*idle, "schedule.num_steps")
    keys = [
        key
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not key.startswith(idle)
    ]
    if keys:
        key = keys[0]
        raise StudyError(
            f"{folder}: was trained with other settings: {', '.join(keys)} ({key} was "
            f"{before.get(key)!r}, is {now.get(key)!r}); expected the same: choose another --out, "
            "or remove this folder to train it again"
        )


def train(
    folder: Path,
    tree: dict[str, Any],
    trains: Trains,
    environment: Mapping[str, str],
    start: Start,
    accept_data: bool,
) -> None:
    """A training in a process of its own, unless it is done."""
    check_same(folder, tree, trains)
    if not accept_data:
        check_same_scenes(folder, tree, trains)
    if not is_trained(folder):
        train_apart(
            *(folder, tree),
            trains=trains,
            environment=environment,
            start=start,
            accept_data=accept_data,
        )


def is_trained(folder: Path) -> bool:
    """Whether the training in a folder was done to its end, with the weights that lie there."""
    mark, weights = folder / TRAINED, folder / WEIGHTS
    return mark.is_file() and weights.is_file() and mark.read_text().strip() == digest(weights)


def train_apart(
    folder: Path,
    tree: dict[str, Any],
    *,
    trains: Trains = "train",
    num_processes: int = 1,
    environment: Mapping[str, str] | None = None,
    start: Start = subprocess.Popen,
    accept_data: bool = False,
) -> None:
    """Run `sr3d train`, or what `trains` names, in one process or several that share each step.

    Goes on with what is in the folder. What it prints goes to a file beside the folder. Raises
    StudyError where it fails or is stopped; `environment` is for what is not set already, `start`
    starts the process. With `accept_data` it goes on with other scenes than before.
    """
    check_same(folder, tree, trains)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path, log = settings_path(folder), folder.with_name(f"{folder.name}.log")
    resume = ["--resume"] if (folder / STATE).exists() else []
    accept = [ACCEPT_DATA] if resume and accept_data else []
    files = {path: yaml.safe_dump(tree).encode()}
    start_of = KINDS[trains].start_of(tree)
    if not resume:
        files[scenes_path(folder)] = json.dumps(_scenes_of(tree, trains)).encode()
    if start_of and not resume:
        files[start_path(folder)] = start_of.encode()
    write_whole(files)
    command = [trains, str(path), "--out", str(folder), *resume, *accept]
    run_apart(
        *(folder.name, command, log),
        num_processes=num_processes,
        environment=environment,
        start=start,
    )
    write_whole({folder / TRAINED: digest(folder / WEIGHTS).encode()})
