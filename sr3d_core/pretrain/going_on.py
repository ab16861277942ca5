"""What lets a pre-training begin or go on: nothing is overwritten, what decides is the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sr3d_core.data.identity import ACCEPT_DATA, unknown_scenes
from sr3d_core.plain_yaml import flat
from sr3d_core.pretrain.clouds import BEFORE_FILES
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.state import read_sealed
from sr3d_core.training.step_log import logged

_MAY_CHANGE = {"log_steps", "checkpoint_minutes", "precision"}
"""Settings of the steps that decide nothing about what is learnt, or about its rounding alone."""
_OF_CLOUDS = ("clouds", "sources")
"""Of what a state holds: see `notes_on_clouds`."""


def check_before(settings: Pretraining, out: Path, *, resume: bool) -> None:
    """Raise TrainingError where a run cannot begin or go on, before its clouds are read.

    Reading recordings may take an hour. What the clouds decide is checked by `pretrain`.
    """
    if not resume:
        trouble = what_is_there(out)
        if trouble:
            raise TrainingError(trouble)
        return
    state = state_path(out)
    before = read_sealed(state).get("settings")
    if isinstance(before, dict):
        now = deciding(asdict(settings))
        require_same(state, {key: before[key] for key in before if key in now}, now)


def state_path(out: Path) -> Path:
    """What a run goes on from."""
    return out.with_suffix(".state")


def log_path(out: Path) -> Path:
    """A line every few steps."""
    return out.with_suffix(".csv")


def what_is_there(out: Path) -> str:
    """What a new run would overwrite, in words."""
    log = log_path(out)
    if state_path(out).exists() or out.exists():
        return (
            f"{out}: there is a pre-training already; expected a new name: continue it "
            "with --resume, or choose another one"
        )
    has_text = log.exists() and log.stat().st_size > 0
    if has_text and logged(log)[0][:2] != ["step", "loss"]:
        return (
            f"{log}: is no log of a pre-training, and would be overwritten by one; "
            "expected no such file: choose another --out"
        )
    return ""


def deciding(record: dict[str, Any]) -> dict[str, Any]:
    """Of settings those that decide what is learnt, by dotted key."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in flat(record)
        if key.split(".")[-1] not in _MAY_CHANGE and not key.startswith("probe.")
    }


def require_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise TrainingError where what is in a state was begun with other settings."""
    keys = [key for key in {**before, **now} if key not in _OF_CLOUDS]
    values = {key: (before.get(key, "not set"), now.get(key, "not set")) for key in keys}
    changed = [f"{key} was {a}, is {b}" for key, (a, b) in values.items() if a != b]
    if changed:
        raise TrainingError(
            f"{path}: was begun otherwise: {'; '.join(changed)}; expected the same "
            "settings: set these back, or choose another --out"
        )


def notes_on_clouds(
    path: Path, before: dict[str, Any], now: dict[str, Any], accept_data: bool
) -> list[str]:
    """What to say of clouds that are not known to be those that a run was begun with.

    Raises TrainingError where they are others and nobody accepts them.
    """
    earlier, present = (json.loads(each["sources"]) for each in (before, now))
    notes, changed = list[str](), list[str]()
    if list(earlier.values()) == list(present.values()):  # under other names, perhaps
        earlier = present
    elif set(earlier) == set(present) and list(earlier) != list(present):
        changed.append(f"the order of {', '.join(earlier)}, which was another one")
    for source in {**earlier, **present}:
        old, new = (each.get(source, "not there") for each in (earlier, present))
        if new.partition(BEFORE_FILES)[0] == old:
            if new != old:
                notes.append(unknown_scenes(str(path), source))
        elif old != new:
            changed.append(f"{source} (digest {old}, now {new})")
    if not changed and before["clouds"] != now["clouds"]:
        changed.append("the number of clouds")
    if not changed:
        return notes
    what = f"{', '.join(changed)}; {before['clouds']} clouds in all, now {now['clouds']}"
    if not accept_data:
        raise TrainingError(
            f"{path}: was begun with other clouds: {what}; expected the same: put them back, "
            f"choose another --out, or say {ACCEPT_DATA} to go on with what is there now"
        )
    return [*notes, f"goes on with other clouds than before: {what}"]
