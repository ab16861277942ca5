"""A training as a command runs it: progress while it runs, and what came out in words."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from sr3d_core.console import (
    TellInTurn,
    one_line_errors,
    progress_in_turn,
    require_resume,
    say,
)

if TYPE_CHECKING:
    from sr3d_core.config import Config
    from sr3d_core.train import Progress, Validated
    from sr3d_core.training.learner import Learner

STOPPED_BY_USER = 130
"""Exit code of a training that Ctrl-C stopped: it is saved, but not done."""


def run_and_tell(
    config: Config, folder: Path, learner: type[Learner], *, resume: bool, accept_data: bool
) -> None:
    """Train, with progress, and say what came out; raises typer.Exit where the user stopped it."""
    from sr3d_core.train import TrainingError
    from sr3d_core.train import train as run
    from sr3d_core.training.processes import is_main_process

    with one_line_errors(TrainingError):
        require_resume(resume, accept_data)
        is_main = is_main_process(os.environ)
    with (
        one_line_errors(TrainingError),
        progress_in_turn() if is_main else nullcontext() as tell,
        told_if_stopped_early(seen := _Seen(tell)),
    ):
        weights = run(
            config,
            folder,
            resume=resume,
            accept_data=accept_data,
            learner=learner,
            on_step=seen.on_step,
            on_inspected=seen.on_inspected,
            on_scored=seen.on_scored,
            on_validated=seen.on_validated,
            on_stopped=seen.on_stopped,
        )
    if is_main:
        if resume and seen.num_steps == 0:
            say("the run was at its end already; nothing was learnt now")
        say(f"weights: {weights}")
        weights = _best(weights, config, seen)
    if seen.is_stopped:
        say(
            f"stopped at step {seen.step} of {seen.num_steps}; everything is saved: the same "
            "command with --resume goes on"
        )
        raise typer.Exit(STOPPED_BY_USER)
    if is_main:
        _say_next(weights, config, seen)


class Steps(Protocol):
    """What counts the steps of a training."""

    step: int


@contextmanager
def told_if_stopped_early(seen: Steps) -> Iterator[None]:
    """Within, Ctrl-C before the first step says that there is nothing to go on from."""
    try:
        yield
    except KeyboardInterrupt:
        if seen.step == 0:
            say("no step was done yet, so nothing new was saved: start it again as before")
        raise


class _Seen:
    """What a training has told so far; what is of the moment is shown as its progress."""

    def __init__(self, tell: TellInTurn | None) -> None:
        self._tell = tell if tell is not None else lambda *_: None
        self.step = self.num_steps = 0
        self.is_stopped = False
        self.validated: Validated | None = None

    def on_inspected(self, num_done: int, num: int) -> None:
        self._tell("scenes inspected", num_done, num)

    def on_step(self, at: Progress) -> None:
        self.step, self.num_steps = at.step, at.num_steps
        self._tell("steps", at.step, at.num_steps, _note(at))

    def on_scored(self, num_done: int, num: int) -> None:
        if self.step > 0:
            note = f"validation: scene {num_done} of {num}"
            self._tell("steps", self.step, self.num_steps, note)

    def on_validated(self, found: Validated) -> None:
        self.validated = found
        say(_note_of(found))

    def on_stopped(self, step: int, num_steps: int) -> None:
        self.step, self.num_steps, self.is_stopped = step, num_steps, True


def _best(weights: Path, config: Config, seen: _Seen) -> Path:
    """The weights to go on with: the best on val where there are some, which is said."""
    from sr3d_core.train import BEST

    best = weights.with_name(BEST)
    if seen.validated is not None:
        say(f"the best on val: {best}, of step {seen.validated.best_step}")
        return best
    if config.schedule.validate_steps > 0 and best.is_file():  # of a session before
        say(f"the best on val: {best}")
        return best
    return weights


def _say_next(weights: Path, config: Config, seen: _Seen) -> None:
    """Why it has ended early, if it has, and what to do with its weights."""
    from sr3d_core.data.sources import data_argument

    validated = seen.validated
    if seen.step < seen.num_steps and validated is not None and validated.is_last:
        say(
            f"ended at step {seen.step} of {seen.num_steps}: {validated.without_gain} validations "
            "brought no gain (schedule.patience)"
        )
    if config.data.name == "recording":  # nobody has labelled it: a chance of being right in what?
        return
    scenes = data_argument(config.data)
    say(f"make its scores chances: sr3d model calibrate {weights} --data {scenes}")


_MORE_TERMS = {
    "depth": ("depth",),
    "objects": ("cell_objects",),
    "teacher": ("features", "relations", "response"),
}
"""What a camera student learns beside scores and boxes, by the word for it."""


def _note(at: Progress) -> str:
    classification, box = (float(t.detach()) for t in (at.losses.classification, at.losses.box))
    terms, more = at.losses.terms, ""
    for name, parts in _MORE_TERMS.items():
        if found := [float(terms[part].detach()) for part in parts if part in terms]:
            more += f" + {name} {sum(found):.3f}"
    memory = "" if math.isnan(at.memory_gb) else f"  {at.memory_gb:.1f} GB"
    return (
        f"loss {classification:.3f} + box {box:.3f}{more}  rate {at.learning_rate:.2g}  "
        f"{at.scenes_per_s:.1f} scenes/s{memory}"
    )


def _note_of(found: Validated) -> str:
    ap25, ap50 = (100 * found.report[name] for name in ("map25", "map50"))
    rank = "the best so far" if found.is_best else f"the best is step {found.best_step}"
    aic = found.report["aic"]
    apart = "" if aic is None else f", AIC {aic:.3f}"
    return f"step {found.step} on val: AP25 {ap25:.1f}, AP50 {ap50:.1f}{apart} ({rank})"
