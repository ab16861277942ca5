"""`sr3d pretrain`."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sr3d_core.choices import UpAxis
from sr3d_core.cli.running import STOPPED_BY_USER, told_if_stopped_early
from sr3d_core.console import (
    AcceptDataOption,
    TellInTurn,
    chosen,
    one_line_errors,
    progress_in_turn,
    require_resume,
    require_writable,
    say,
)
from sr3d_core.training.allocator import give_back_large

if TYPE_CHECKING:
    from sr3d_core.pretrain.loop import Progress
    from sr3d_core.pretrain.settings import Method, Pretraining

METHODS = ("dos", "asymdsd")


def pretrain(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Clouds to learn from: a file, a folder with clouds in it, a recording, or "
            "scenes whose labels are not looked at, `rooms` or READER:PATH (see "
            "`sr3d data --help`).",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The weights, .safetensors; beside them lie the log, .csv, .state, what "
            "--resume goes on from, and .clouds, those of recordings."
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(METHODS)}; default: as in the settings, dos."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="How many steps; default: as in the settings, 3000.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="Everything else: YAML, see docs/pretraining.md.")
    ] = None,
    up: Annotated[
        UpAxis,
        typer.Option(
            help="Axis of the files that points up; auto finds the floor, in a recording what its "
            "transforms say."
        ),
    ] = "auto",
    topic: Annotated[
        str | None,
        typer.Option(help="Clouds or depth images of the recordings, where one has several."),
    ] = None,
    color: Annotated[
        str | None, typer.Option(help="Color images of the recordings, for depth images.")
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="SCENES|off",
            help="Labelled scenes that nothing is learnt from, as --data says them: every 250 "
            "steps features are asked what they know of these. off: not. Default: procedural "
            "rooms where such rooms are learnt from, else off.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    accept_data: AcceptDataOption = False,
) -> None:
    """Learn from clouds that nobody has labelled, to start a training from.

    What comes out is a backbone that has seen your rooms and your sensor: `sr3d train --init`
    starts from it. Where it pays fewer labels make as good boxes; as far as two cores could
    measure it, it did not (docs/pretraining.md has the figures). Nothing leaves this machine; but
    weights that have seen a home can tell of it, so treat them as you treat the recordings.

    Ctrl-C saves and stops. What would be a collapse is said while it happens.

    Examples:

      sr3d pretrain rooms --steps 3000 --out runs/pre.safetensors

      sr3d pretrain drive.mcap recordings/clouds --out runs/pre.safetensors

      sr3d train --preset rooms --init runs/pre.safetensors
    """
    give_back_large()
    with one_line_errors():
        if method is not None:
            chosen("--method", method, METHODS)
        if out.suffix != ".safetensors":
            raise ValueError(f"--out {out}: ending {out.suffix!r}, expected .safetensors")
        require_resume(resume, accept_data)
        require_writable(out)
        from sr3d_core.pretrain.clouds import open_sources
        from sr3d_core.pretrain.going_on import check_before
        from sr3d_core.pretrain.loop import pretrain as run
        from sr3d_core.pretrain.next_step import how_to_train
        from sr3d_core.pretrain.recordings import Recordings
        from sr3d_core.train import TrainingError
        from sr3d_core.training.processes import is_main_process

    with one_line_errors(TrainingError):
        is_main = is_main_process(os.environ)
        asked = _asked(settings, method, steps, probe)
        check_before(asked, out, resume=resume)
        bags = Recordings(
            folder=out.with_suffix(".clouds"), settings=asked.data, topic=topic, color=color
        )
        with (
            progress_in_turn() if is_main else nullcontext() as tell,
            told_if_stopped_early(seen := _Seen(tell)),
        ):
            clouds, digests, notes = open_sources(sources, up, bags, seen.on_read)
            for note in notes if is_main else ():
                say(note)
            run(
                asked,
                clouds,
                out,
                sources=digests,
                resume=resume,
                accept_data=accept_data,
                on_read=seen.on_read,
                on_step=seen.on_step,
            )
    if seen.step and seen.step < asked.steps.num:
        if is_main:
            say(
                f"stopped at step {seen.step} of {asked.steps.num}; everything is saved: the same "
                "command with --resume goes on"
            )
        raise typer.Exit(STOPPED_BY_USER)
    if is_main:
        say(f"weights: {out}; train from them: {how_to_train(asked, sources, out)}")


class _Seen:
    """What a pre-training has told so far, shown as its progress."""

    def __init__(self, tell: TellInTurn | None) -> None:
        self._tell = tell if tell is not None else lambda *_: None
        self._probed = ""
        self.step = 0

    def on_read(self, what: str, num_done: int, num: int) -> None:
        self._tell(what, num_done, num)

    def on_step(self, at: Progress) -> None:
        from sr3d_core.pretrain.regular_probe import in_words

        self.step = at.step
        if at.probed is not None:
            self._probed = f"  {in_words(at.probed)}"
        self._tell("steps", at.step, at.num_steps, _note(at) + self._probed)


def _asked(
    settings: Path | None, method: str | None, steps: int | None, probe: str | None
) -> Pretraining:
    """The settings of a file, or those that ship, as far as the options do not overrule them."""
    from sr3d_core.pretrain.settings import Pretraining, load_settings

    asked = load_settings(settings) if settings is not None else Pretraining()
    if method is not None:
        asked = replace(asked, method=cast("Method", method))
    if steps is not None:
        asked = replace(asked, steps=replace(asked.steps, num=steps))
    if probe is not None:
        asked = replace(asked, probe=replace(asked.probe, data=probe))
    return asked


def _note(at: Progress) -> str:
    memory = "" if math.isnan(at.memory_gb) else f"  {at.memory_gb:.1f} GB"
    found = at.losses
    terms = " ".join(f"{name} {value:.3f}" for name, value in found.terms.items())
    return f"loss {terms}  rate {found.learning_rate:.2g}  {at.clouds_per_s:.1f} clouds/s{memory}"
