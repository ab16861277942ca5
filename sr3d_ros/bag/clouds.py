"""Recordings as clouds to learn from: what `sr3d pretrain` finds by the entry point `sr3d.clouds`.

The protocol is `WritesClouds` of `sr3d_core/pretrain/recordings.py`, which knows nothing of bags.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from sr3d_core.choices import UpAxis
from sr3d_core.data.keyframes import KeyframeSettings
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.keyframes import FindsNothing, Written, parameters_of, write_clouds_of
from sr3d_ros.bag.run import BagRun, open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.parameters.record import Parameters

_MAX_NOTES = 5


def write_clouds(
    recording: Path,
    folder: Path,
    settings: KeyframeSettings,
    *,
    topic: str | None,
    color: str | None,
    up: UpAxis,
    on_read: Callable[[int, int], None],
) -> list[str]:
    """Write the clouds of a recording's keyframes into a new folder; what is worth knowing.

    `up` "z": its clouds are z up as they are. Raises ValueError that says what to do.
    """
    if up not in ("auto", "z"):
        raise ValueError(
            f"--up {up} is for files of clouds, not for {recording}; expected auto or z; other "
            f"ways up: {_elsewhere(recording)}"
        )
    try:
        with open_run(
            recording,
            FindsNothing(),
            topics=Topics(topic=topic, color=color),
            up="auto" if up == "auto" else "none",
            parameters=Parameters.from_values(parameters_of(settings)),
        ) as run:
            written = write_clouds_of(
                run, folder, settings, lambda done: on_read(done, run.num_clouds)
            )
            return remarks(run, written)
    except ReplayError as error:
        raise ValueError(
            f"{error} (here --topic, --color and --up z; with all its options: "
            f"{_elsewhere(recording)})"
        ) from error


def _elsewhere(recording: Path) -> str:
    return f"`sr3d bag clouds {shlex.quote(str(recording))} --out FOLDER`, then name that folder"


def remarks(run: BagRun, written: Written) -> list[str]:
    """What there is to say about a recording whose clouds were written."""
    tally, name = written.tally, run.bag.path
    said = [
        f"{name}: {_so_many(written.num_keyframes, 'keyframe')} of "
        f"{_so_many(len(tally.time_ms), 'cloud')} of {run.topic}, "
        f"{written.num_points / 1e6:.2f} million points"
    ]
    if run.transform_errors:
        first = run.transform_errors[0]
        said.append(f"{len(run.transform_errors)} transforms left out; the first: {first}")
    for reason, count in tally.drops_by_reason.items():
        text = next(drop.text for drop in tally.dropped if drop.reason == reason)
        said.append(f"{count} of its clouds dropped, {reason}; the first: {text}")
    notes = [*tally.notes[:_MAX_NOTES], *run.bag.notes]
    said += [each for each in (*run.remarks, *notes) if each not in said]
    return [said[0], *(f"{name}: {each}" for each in said[1:])]


def _so_many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
