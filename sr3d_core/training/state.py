"""The state of a training on disk: all that a resumed run needs, with a digest; and what must fit.

state.pt is what torch writes, followed by one line with the sha256 of all before it. It is read
without running code, and not at all where the digest differs.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sr3d_core.config import Config, flat_config
from sr3d_core.data.identity import (
    ACCEPT_DATA,
    FILES,
    NAMES,
    NUM,
    changed_scenes,
    identity_of,
    unknown_scenes,
)
from sr3d_core.data.sources import Scenes
from sr3d_core.model.network import Architecture
from sr3d_core.training.errors import TrainingError

_PLACES = ("data.prerendered", "data.path")
_LAST_LINE = re.compile(rb"\nsha256 ([0-9a-f]{64})\n\Z")
_LAST_LINE_LENGTH = len(b"\nsha256 \n") + 64
MAY_CHANGE = {
    "schedule.num_steps",
    "schedule.epochs",
    "evaluation.nms",
    "evaluation.max_points",
    "schedule.num_workers",
    "schedule.checkpoint_minutes",
    "schedule.precision",
    "schedule.validate_steps",
    "schedule.validate_scenes",
    "schedule.best_by",
    "schedule.patience",
    "schedule.tensorboard",
    "data.path",
    "data.prerendered",
    "unlabelled.path",
    "unlabelled.prerendered",
    "network.backend",
    "network.rivalry",
    "network.weights",
    "network.fresh_head",
}
"""Settings that a resumed run may have otherwise: length, speed, where files lie, what is rounding
alone, and what changes no weights, such as how they are scored."""
ALIKE_IN_ALL_PROCESSES = {
    "schedule.num_steps",
    "schedule.precision",
    "schedule.validate_steps",
    "schedule.patience",
}
"""Those of them that several processes must agree on: when they stop and wait for each other, and
what their shares of one gradient are rounded to."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A training after some step."""

    step: int  # steps done
    network: dict[str, Any]
    optimizer: dict[str, Any]
    settings: dict[str, Any]  # as `settings_of` gives them
    weights_sha256: str  # of the weights file that belongs to it
    average: dict[str, Any] | None = None  # moving average of the weights, where there is one
    validation: dict[str, Any] | None = None  # what validations have found, where there are any


def settings_of(config: Config, scenes: Scenes) -> dict[str, Any]:
    """Everything that decides what a step does, and what else was configured, by dotted key.

    Of the scenes it holds their identity: number, names, files.
    """
    architecture = config.architecture(len(config.data.classes))
    flat = flat_config(config)
    for key in [key for key in flat if key.startswith(("network.preset", "network.changes"))]:
        del flat[key]  # two ways to say the same architecture
    flat |= {
        f"network.{f.name}": _plain(getattr(architecture, f.name)) for f in fields(architecture)
    }
    classes = list(config.data.classes)
    known = {**identity_of(scenes).to_dict(), **config.digests}
    return {**flat, "classes": classes, **known}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What is set otherwise now, by key: the values before and now, in words.

    A setting that was not known before was at its default, which is what was done without it.
    """
    known = defaults or {}
    before = {**{key: known[key] for key in now if key in known}, **before}
    absent = "not set"
    keys = [*now, *(key for key in before if key not in now)]
    pairs = {key: (before.get(key, absent), now.get(key, absent)) for key in keys}
    return {key: f"{key} was {a}, is {b}" for key, (a, b) in pairs.items() if a != b}


def default_settings(kind: type[Config]) -> Mapping[str, Any]:
    """What was done without a setting, for all that have a default whatever else is set."""
    own = [each for each in fields(Architecture) if each.default is not MISSING]
    architecture = {f"network.{each.name}": _plain(each.default) for each in own}
    return {**flat_config(kind()), **architecture, **kind.before}


def state_content(state: State) -> bytes:
    """The file of a state."""
    return sealed({field.name: getattr(state, field.name) for field in fields(State)})


def sealed(entries: dict[str, Any]) -> bytes:
    """A file of tensors and plain values that ends with its own digest."""
    buffer = io.BytesIO()
    torch.save(entries, buffer)
    content = buffer.getvalue()
    return content + f"\nsha256 {hashlib.sha256(content).hexdigest()}\n".encode()


def read_state(path: Path) -> State:
    """The state in a file; raises TrainingError where it is not as it was written."""
    entries = read_sealed(path)
    try:
        return State(**entries)
    except TypeError as error:  # its digest is right: another version wrote it
        raise _unreadable(path, str(error)) from error


def read_sealed(path: Path) -> dict[str, Any]:
    """What `sealed` wrote; raises TrainingError where it is not as it was written."""
    if not path.is_file():
        raise TrainingError(
            f"{path}: no such file; expected the state of an earlier run: start without --resume"
        )
    whole = path.read_bytes()
    content, last_line = whole[:-_LAST_LINE_LENGTH], _LAST_LINE.search(whole)
    if last_line is None:
        raise _unreadable(
            path,
            f"its {len(whole)} bytes do not end with a sha256: cut short, or of an older version",
        )
    found, expected = hashlib.sha256(content).hexdigest(), last_line[1].decode()
    if found != expected:
        raise _unreadable(
            path, f"sha256 {found[:12]}..., expected {expected[:12]}...: it was changed or damaged"
        )
    try:
        entries: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return entries
    except Exception as error:  # its digest is right: another program or version wrote it
        raise _unreadable(path, str(error).partition("\n")[0]) from error


def _unreadable(path: Path, why: str) -> TrainingError:
    return TrainingError(
        f"{path}: cannot be read ({why}); expected the state of an earlier run: start in another "
        "folder, from the weights of this one (network.weights) where they are worth it"
    )


def check_fits(
    path: Path,
    state: State,
    settings: Mapping[str, Any],
    num_steps: int,
    *,
    kind: type[Config] = Config,
    accept_data: bool = False,
) -> list[str]:
    """What is otherwise than in the run of a state, harmless; raises TrainingError if not.

    `kind` of configuration says what those settings were that the state does not know.

    Other scenes than before are harmless where the user accepts them.
    """
    # Earlier versions kept no digest: which file it was nobody knows.
    digests = {key: value for key, value in settings.items() if key.endswith(".sha256")}
    before = {**default_settings(kind), **digests}
    changed = differences(state.settings, settings, before)
    notes = _about_scenes(path, state.settings, settings, accept_data)
    for key in (NUM, NAMES, FILES):
        changed.pop(key, None)
    fatal = [text for key, text in changed.items() if key not in MAY_CHANGE]
    if fatal:
        raise TrainingError(
            f"{path}: was made with another configuration: {'; '.join(fatal)}; expected that of "
            f"{path.parent / 'config.yaml'}, of which only {', '.join(sorted(MAY_CHANGE))} may "
            "differ: set these back, or start in another folder"
        )
    if num_steps < state.step:
        raise TrainingError(
            f"{path}: {state.step} steps are done, schedule.num_steps is {num_steps}; expected "
            f"at least {state.step}: raise it to go on"
        )
    return [*(f"goes on with another setting: {text}" for text in changed.values()), *notes]


def _about_scenes(
    path: Path, before: Mapping[str, Any], now: Mapping[str, Any], accept_data: bool
) -> list[str]:
    """What to say of scenes that are not known to be those of before; may raise TrainingError."""
    where = data_named(now)
    change = changed_scenes(before, now)
    if change and not accept_data:
        raise TrainingError(
            f"{path}: the scenes of {where} {change}; expected those that the run has begun with: "
            "name them as then (--data), put them back, start in another folder, or say "
            f"{ACCEPT_DATA} to go on with what is there now"
        )
    if change:
        return [f"goes on with other scenes of {where}, which {change}"]
    if FILES not in before and now[FILES]:
        return [unknown_scenes(str(path), where)]
    return []


def data_named(settings: Mapping[str, Any]) -> str:
    """What to call the scenes of flat settings: their reader, and where they lie."""
    place = next((settings[key] for key in _PLACES if settings.get(key) is not None), "")
    return f"{settings['data.name']}:{place}".removesuffix(":")
