"""The loop of a pre-training: steps, checkpoints, exact resume, a log that tells of a collapse.

What step n sees depends on the seed and n alone, so a resumed run is the run that was not
interrupted, and several processes that share the clouds of a step learn what one would.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch.utils.data import DataLoader

from sr3d_core.checkpoint import backbone_content
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.sources import Scenes
from sr3d_core.pretrain.encoder import cell_stride
from sr3d_core.pretrain.learner import DrawViews, Losses, Pretrainer, alarms
from sr3d_core.pretrain.masks import grid_cells
from sr3d_core.pretrain.method import Drawn
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.errors import NotFiniteError, TrainingError, in_one_line
from sr3d_core.training.interrupt import stop_on_interrupt
from sr3d_core.training.memory_use import peak_memory_gb
from sr3d_core.training.processes import (
    Processes,
    launched_processes,
    leave_at_exit,
    scenes_per_process,
)
from sr3d_core.training.state import read_sealed, sealed
from sr3d_core.whole_files import write_whole

__all__ = ["Progress", "pretrain"]

_log = logging.getLogger(__name__)
_LONGEST_WAIT = timedelta(hours=12)
_MAY_CHANGE = {"log_steps", "checkpoint_minutes"}
"""Settings of the steps that decide nothing about what is learnt."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pre-training stands."""

    step: int  # steps done
    num_steps: int
    losses: Losses
    health: dict[str, float] | None  # every few steps: `Pretrainer.health`
    clouds_per_s: float
    memory_gb: float  # the most so far, NaN where unknown


def pretrain(
    settings: Pretraining,
    clouds: Scenes,
    out: Path,
    *,
    sources: Mapping[str, str],
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Pre-train a backbone on clouds whose labels are not looked at, and return its file.

    `out` is a .safetensors file, the teacher's backbone, from which `sr3d train --init` starts;
    beside it lie the log (.csv) and, to go on with `resume`, the state (.state). `sources` says
    where the clouds are from, by name and digest, and travels with the weights. Raises
    TrainingError where it cannot start or go on; what was learnt before is saved.
    """
    num = launched_processes(os.environ)
    share = scenes_per_process(settings.steps.batch_size, num)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    leave_at_exit()
    processes = Processes(accelerator.process_index, accelerator.num_processes, accelerator.device)
    run = _Run(settings, clouds, out, dict(sources), processes, share)
    run.start(resume)
    with stop_on_interrupt(is_launched=num > 1) as is_stopped:
        run.loop(on_step, is_stopped)
    return out


class _Run:
    """One pre-training: what it sees, what learns, and how that is saved."""

    def __init__(
        self,
        settings: Pretraining,
        clouds: Scenes,
        out: Path,
        sources: dict[str, str],
        processes: Processes,
        share: int,
    ) -> None:
        if len(clouds) == 0:
            raise TrainingError("there are no clouds to learn from; expected at least one")
        self.settings, self.clouds, self.out, self.sources = settings, clouds, out, sources
        self.processes, self.share = processes, share
        self.step, self.saved = 0, -1
        first = next(self._batches(0))
        num_rows = processes.total(_num_visible_cells(first, settings))
        self.learner = Pretrainer(settings, num_rows, processes)
        is_counted = settings.method == "dos" and settings.targets.prototypes is None
        if processes.is_main and is_counted:
            _log.warning(
                "%d prototypes: as many as the %d cells of a step can feed (at most %d); "
                "targets.prototypes sets another number",
                *(self.learner.num_prototypes, num_rows, settings.targets.max_prototypes),
            )

    @property
    def state_path(self) -> Path:
        """What a run goes on from."""
        return self.out.with_suffix(".state")

    @property
    def log_path(self) -> Path:
        """A line every few steps."""
        return self.out.with_suffix(".csv")

    def start(self, resume: bool) -> None:
        """Begin, or go on where the files say; TrainingError where they do not fit."""
        if resume:
            self._take_up(read_sealed(self.state_path))
        elif self.state_path.exists() or self.out.exists():
            raise TrainingError(
                f"{self.out}: there is a pre-training already; expected a new name: continue it "
                "with --resume, or choose another one"
            )
        self.processes.copy_from_main(self.learner.model.state_dict())

    def _take_up(self, entries: dict[str, Any]) -> None:
        before, now = entries.get("settings"), self._record()
        if not isinstance(before, dict) or "method" not in before:
            raise TrainingError(
                f"{self.state_path}: is of no pre-training; expected one: choose another --out"
            )
        values = {
            key: (before.get(key, "not set"), now.get(key, "not set")) for key in {**before, **now}
        }
        changed = [f"{key} was {a}, is {b}" for key, (a, b) in values.items() if a != b]
        if changed:
            raise TrainingError(
                f"{self.state_path}: was begun otherwise: {'; '.join(changed)}; expected the same "
                "settings and clouds: set these back, or choose another --out"
            )
        try:
            self.learner.load(entries)
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{self.state_path}: does not fit ({in_one_line(error)}); expected the state of "
                "this version of SR3D: begin anew under another name"
            ) from error
        self.step = self.saved = int(entries["step"])

    def _record(self) -> dict[str, Any]:
        """What has to be the same for a run to go on, as plain values by dotted key."""
        flat = _flat(self.learner.settings_record())
        kept = {key: value for key, value in flat.items() if key.split(".")[-1] not in _MAY_CHANGE}
        return {**kept, "clouds": len(self.clouds), "sources": json.dumps(self.sources)}

    def _batches(self, first_step: int) -> Iterator[list[Drawn]]:
        """What this process sees of each step."""
        steps = self.settings.steps
        order = TrainingOrder(
            self.clouds,
            DrawViews(self.settings),
            seed=steps.seed,
            batch_size=self.share,
            steps=range(first_step, steps.num),
            rank=self.processes.rank,
            num_processes=self.processes.num,
        )
        return iter(DataLoader(order, batch_size=self.share, collate_fn=list))

    def loop(self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> None:
        """Step until all are done or the user stops it; save whatever ends it."""
        self._on_main(self._begin_files)
        try:
            self._step_on(on_step, is_stopped)
        except TrainingError:
            raise
        except Exception as error:  # a reader's, whatever it is: what is learnt must not be lost
            raise TrainingError(
                f"step {self.step}: {in_one_line(error)}; {self._saved_alone()}"
            ) from error

    def _step_on(
        self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]
    ) -> None:
        steps = self.settings.steps
        seen = self._batches(self.step)
        saved = started = time.monotonic()
        while self.step < steps.num:
            drawn = next(seen)
            try:
                losses = self.learner.learn(drawn, self.step)
            except NotFiniteError as error:
                raise TrainingError(f"step {self.step}: {error}; {self._saved_alone()}") from error
            self.step += 1
            now = time.monotonic()
            is_told = self.step % steps.log_steps == 0 or self.step == steps.num
            health = self.learner.health() if is_told and self.processes.is_main else None
            speed = steps.batch_size / (now - started)
            started = now
            if self.processes.is_main:
                memory = peak_memory_gb(self.processes.device)
                progress = Progress(self.step, steps.num, losses, health, speed, memory)
                self._note(progress)
                on_step(progress)
            is_due = now - saved > steps.checkpoint_minutes * 60
            is_due, is_over = self.processes.any(is_due, is_stopped())
            if is_due:
                self._on_main(self._write)
                saved = now
            if is_over:
                break
        self._on_main(self._write)

    def _note(self, at: Progress) -> None:
        """Write a line of the log, and say what is wrong."""
        if at.health is None:
            return
        row = {"step": at.step, **at.losses.row(), **at.health}
        is_first = not self.log_path.stat().st_size
        with self.log_path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_first:
                writer.writerow(row)
            writer.writerow([f"{value:.6g}" for value in row.values()])
        for text in alarms(at.health):
            _log.warning("step %d: %s", at.step, text)

    def _begin_files(self) -> str:
        """The log up to this step, which a resumed run writes on; returns what went wrong."""
        text = io.StringIO(newline="")
        if self.step and self.log_path.exists():
            with self.log_path.open(newline="") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            whole = [row for row in rows if len(row) == len(head) and int(row[0]) <= self.step]
            csv.writer(text).writerows([head, *whole] if head else [])
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            write_whole({self.log_path: text.getvalue().encode()})
        except OSError as error:
            return (
                f"{error.filename or self.log_path}: {error.strerror}; expected a place to write"
            )
        return ""

    def _saved_alone(self) -> str:
        """Save the steps done, without asking the others, and say how that went."""
        if not self.processes.is_main:
            return "the first process says what is saved"
        return self._write() or f"what was learnt before, {self.step} steps, is saved"

    def _on_main(self, action: Callable[[], str]) -> None:
        """Let the main process write; what it says went wrong stops all."""
        trouble = self.processes.main_says(action() if self.processes.is_main else "")
        if trouble:
            raise TrainingError(trouble)

    def _write(self) -> str:
        """Save state and weights, both or neither; returns what went wrong."""
        if self.saved == self.step:
            return ""
        entries = {**self.learner.entries(), "step": self.step, "settings": self._record()}
        weights = backbone_content(
            self.settings.architecture, self.learner.model.backbone(), self._provenance()
        )
        try:
            write_whole({self.state_path: sealed(entries), self.out: weights})
        except OSError as error:
            return (
                f"{self.out}: step {self.step} cannot be saved ({error.strerror}), step "
                f"{self.saved} is; make room there, then go on with --resume"
            )
        self.saved = self.step
        return ""

    def _provenance(self) -> dict[str, Any]:
        """How the weights came to be."""
        settings = self.learner.settings_record()
        return {
            "method": self.settings.method,
            "steps": self.step,
            "clouds": len(self.clouds),
            "sources": self.sources,
            "of_teacher": True,
            "settings": json.loads(json.dumps(settings)),
        }


def _num_visible_cells(drawn: list[Drawn], settings: Pretraining) -> int:
    """How many cells of these clouds the student will see, roughly."""
    total, cell_m = 0, settings.architecture.voxel_size_m * cell_stride(settings.architecture, 0)
    for each in drawn:
        for view in each.large:
            total += len(grid_cells(view.cloud.xyz, cell_m)[0])
    return round(total * (1.0 - settings.mask.ratio))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
