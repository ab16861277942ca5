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
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch.utils.data import DataLoader

from sr3d_core.checkpoint import CheckpointError, backbone_content, read_manifest
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.sources import Scenes
from sr3d_core.pretrain.encoder import cell_stride
from sr3d_core.pretrain.learner import DrawViews, Losses, Pretrainer, alarms
from sr3d_core.pretrain.masks import grid_cells
from sr3d_core.pretrain.method import Drawn
from sr3d_core.pretrain.prototypes import most_prototypes
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.errors import (
    NotFiniteError,
    ProcessLostError,
    TrainingError,
    in_one_line,
)
from sr3d_core.training.folder import FolderInUseError, locked, whole_lines
from sr3d_core.training.interrupt import stop_on_interrupt
from sr3d_core.training.memory_use import peak_memory_gb
from sr3d_core.training.processes import (
    Processes,
    launched_processes,
    leave_at_exit,
    scenes_per_process,
)
from sr3d_core.training.run import SharedRun
from sr3d_core.training.state import read_sealed, sealed
from sr3d_core.whole_files import remove_parts, write_whole

__all__ = ["Progress", "check_before", "pretrain"]

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
    with run.alone():
        run.start(resume)
        with stop_on_interrupt(is_launched=num > 1) as is_stopped:
            run.loop(on_step, is_stopped)
    return out


def check_before(settings: Pretraining, out: Path, *, resume: bool) -> None:
    """Raise TrainingError where a run cannot begin or go on, before its clouds are read.

    Reading recordings may take an hour. What the clouds decide is checked by `pretrain`.
    """
    if not resume:
        trouble = _what_is_there(out)
        if trouble:
            raise TrainingError(trouble)
        return
    state = _state_path(out)
    before = read_sealed(state).get("settings")
    if isinstance(before, dict):
        now = _deciding(asdict(settings))
        _require_same(state, {key: before[key] for key in before if key in now}, now)


class _Run(SharedRun):
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
        self.step = 0
        self.saved: int | None = None  # the step that is on the disk
        self.has_news = False  # whether the weights of that step are not
        first = self._next(self._batches(0))
        num_rows = processes.total(_num_visible_cells(first, settings))
        if num_rows == 0:
            names = ", ".join(each.name for each in first)
            raise TrainingError(
                f"the clouds of the first step hold no points ({names}); expected some: leave "
                "out clouds without points"
            )
        self.learner = Pretrainer(settings, num_rows, processes)
        if processes.is_main and settings.method == "dos":
            self._say_prototypes(num_rows)

    def _say_prototypes(self, num_rows: int) -> None:
        targets, num = self.settings.targets, self.learner.num_prototypes
        most = most_prototypes(num_rows, targets.alpha, targets.max_prototypes)
        if targets.prototypes is None:
            _log.warning(
                "%d prototypes: as many as the %d cells of a step can feed (at most %d); "
                "targets.prototypes sets another number",
                *(num, num_rows, targets.max_prototypes),
            )
        elif num > most:
            _log.warning(
                "targets.prototypes is %d, but the %d cells of a step feed only %d: the last ones "
                "get less than a cell and learn noise; expected at most %d, or more clouds a step",
                *(num, num_rows, most, most),
            )

    @property
    def state_path(self) -> Path:
        """What a run goes on from."""
        return _state_path(self.out)

    @property
    def log_path(self) -> Path:
        """A line every few steps."""
        return _log_path(self.out)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, no other pre-training writes these files; TrainingError where one does."""
        path = self.out.with_suffix(".lock")
        with ExitStack() as stack:

            def claim() -> str:
                try:
                    self.out.parent.mkdir(parents=True, exist_ok=True)
                    lock = locked(path, f"{self.out}: another pre-training is writing this")
                except FolderInUseError as error:
                    return str(error)
                except OSError:  # what is written next says why nothing can be
                    return ""
                if lock is not None:
                    stack.callback(lock.close)
                    stack.callback(path.unlink, missing_ok=True)
                return ""

            self._on_main(claim)
            yield

    def start(self, resume: bool) -> None:
        """Begin, or go on where the files say; TrainingError where they do not fit."""
        if resume:
            self._take_up(read_sealed(self.state_path))
        else:
            self._on_main(partial(_what_is_there, self.out))
        self.processes.copy_from_main(self.learner.model.state_dict())

    def _take_up(self, entries: dict[str, Any]) -> None:
        before, now = entries.get("settings"), self._record()
        if not isinstance(before, dict) or "method" not in before:
            raise TrainingError(
                f"{self.state_path}: is of no pre-training; expected one: choose another --out"
            )
        _require_same(self.state_path, before, now)
        try:
            self.learner.load(entries)
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{self.state_path}: does not fit ({in_one_line(error)}); expected the state of "
                "this version of SR3D: begin anew under another name"
            ) from error
        self.step = self.saved = int(entries["step"])
        if self.processes.is_main and not _is_of_step(self.out, self.step):
            _log.warning("%s is not of step %d: it is written again", self.out, self.step)
            self.has_news = True

    def _record(self) -> dict[str, Any]:
        """What has to be the same for a run to go on, as plain values by dotted key."""
        kept = _deciding(self.learner.settings_record())
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
            alike=getattr(self.clouds, "places", None),
        )
        return iter(DataLoader(order, batch_size=self.share, collate_fn=list))

    def loop(self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> None:
        """Step until all are done or the user stops it; save whatever ends it."""
        self._on_main(self._begin_files)
        try:
            self._step_on(on_step, is_stopped)
        except ProcessLostError as error:  # others cannot be asked
            raise TrainingError(f"step {self.step}: {error}; {self._saved_alone()}") from error
        except TrainingError:  # says what is saved
            raise
        except Exception as error:  # others may not know: what is learnt must not be lost
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
            losses = self._learn(self._next(seen))
            self.step += 1
            now = time.monotonic()
            is_told = self.step % steps.log_steps == 0 or self.step == steps.num
            health = self.learner.health() if is_told and self.processes.is_main else None
            speed = steps.batch_size / (now - started)
            started = now
            trouble = ""
            if self.processes.is_main:
                memory = peak_memory_gb(self.processes.device)
                progress = Progress(self.step, steps.num, losses, health, speed, memory)
                trouble = self._note(progress)
                on_step(progress)
            is_due = now - saved > steps.checkpoint_minutes * 60
            has_trouble, is_due, is_over = self.processes.any(bool(trouble), is_due, is_stopped())
            if has_trouble:
                raise self._failure(trouble)
            if is_due:
                self._on_main(self._write)
                saved = now
            if is_over:
                break
        self._on_main(self._write)

    def _learn(self, drawn: list[Drawn]) -> Losses:
        """One optimiser step; saves and raises where loss or gradient are not finite."""
        try:
            return self.learner.learn(drawn, self.step)
        except NotFiniteError as error:
            raise self._failure(str(error)) from error
        except ValueError as error:  # a cloud that makes no voxels, say
            names = ", ".join(each.name for each in drawn)
            raise ValueError(f"clouds {names}: {error}") from error

    def _note(self, at: Progress) -> str:
        """Write a line of the log, and say what is wrong with what is learnt.

        Returns why the line could not be written, nothing where it could.
        """
        if at.health is None:
            return ""
        row = {"step": at.step, **at.losses.row(), **at.health}
        try:
            with self.log_path.open("a", newline="") as file:
                writer = csv.writer(file)
                if not file.tell():
                    writer.writerow(row)
                writer.writerow([f"{value:.6g}" for value in row.values()])
        except OSError as error:
            return f"{self.log_path}: cannot be written ({error.strerror}); make room"
        for text in alarms(at.health):
            _log.warning("step %d: %s", at.step, text)
        return ""

    def _begin_files(self) -> str:
        """The log up to this step, which a resumed run writes on; returns what went wrong."""
        text = io.StringIO(newline="")
        if self.step:
            csv.writer(text).writerows(_steps_of(self.log_path, self.step))
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            remove_parts([self.state_path, self.out, self.log_path])
            write_whole({self.log_path: text.getvalue().encode()})
        except OSError as error:
            return (
                f"{error.filename or self.log_path}: {error.strerror}; expected a place to write"
            )
        return ""

    def _write(self) -> str:
        """Save state and weights, both or neither; returns what went wrong."""
        if self.saved == self.step and not self.has_news:
            return ""
        last = "no step" if self.saved is None else f"step {self.saved}"
        if not self.learner.is_between_steps:
            return f"step {self.step + 1} was cut off midway and cannot be saved; {last} is"
        if not self.learner.is_finite:
            return (
                f"the network is no longer finite after step {self.step} and is not saved; {last} "
                "is: lower steps.learning_rate"
            )
        entries = {**self.learner.entries(), "step": self.step, "settings": self._record()}
        weights = backbone_content(
            self.settings.architecture, self.learner.model.backbone(), self._provenance()
        )
        again = "start again" if self.saved is None else "go on with --resume"
        try:
            write_whole({self.state_path: sealed(entries), self.out: weights})
        except OSError as error:
            return (
                f"{self.out}: step {self.step} cannot be saved ({error.strerror}), {last} is; "
                f"make room there, then {again}"
            )
        self.saved, self.has_news = self.step, False
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


def _state_path(out: Path) -> Path:
    return out.with_suffix(".state")


def _log_path(out: Path) -> Path:
    return out.with_suffix(".csv")


def _what_is_there(out: Path) -> str:
    """What a new run would overwrite, in words."""
    log = _log_path(out)
    if _state_path(out).exists() or out.exists():
        return (
            f"{out}: there is a pre-training already; expected a new name: continue it "
            "with --resume, or choose another one"
        )
    has_text = log.exists() and log.stat().st_size > 0
    if has_text and not _steps_of(log):
        return (
            f"{log}: is no log of a pre-training, and would be overwritten by one; "
            "expected no such file: choose another --out"
        )
    return ""


def _deciding(record: dict[str, Any]) -> dict[str, Any]:
    """Of settings those that decide what is learnt, by dotted key."""
    flat = _flat(record)
    return {key: value for key, value in flat.items() if key.split(".")[-1] not in _MAY_CHANGE}


def _require_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise TrainingError where what is in a state was begun otherwise."""
    values = {
        key: (before.get(key, "not set"), now.get(key, "not set")) for key in {**before, **now}
    }
    changed = [f"{key} was {a}, is {b}" for key, (a, b) in values.items() if a != b]
    if changed:
        raise TrainingError(
            f"{path}: was begun otherwise: {'; '.join(changed)}; expected the same "
            "settings and clouds: set these back, or choose another --out"
        )


def _steps_of(path: Path, last_step: int = sys.maxsize) -> list[list[str]]:
    """The head of a log and its whole rows up to a step; [] where it is no log."""
    head, *rows = list(csv.reader(whole_lines(path))) or [[]]
    if head[:2] != ["step", "loss"]:
        return []
    whole = [row for row in rows if len(row) == len(head) and row[0].isdigit()]
    return [head, *(row for row in whole if int(row[0]) <= last_step)]


def _is_of_step(path: Path, step: int) -> bool:
    """Whether a weights file is that of a pre-training of so many steps."""
    with suppress(CheckpointError):
        origin = read_manifest(path).pretraining
        return origin is not None and origin.get("steps") == step
    return False


def _num_visible_cells(drawn: list[Drawn], settings: Pretraining) -> int:
    """How many cells of these clouds the student will see, roughly."""
    total, cell_m = 0, settings.architecture.voxel_size_m * cell_stride(settings.architecture, 0)
    for each in drawn:
        for view in each.large:
            xyz = view.cloud.xyz if view.seen is None else view.cloud.xyz[view.seen]
            total += len(grid_cells(xyz, cell_m)[0])
    is_known = settings.mask.kind == "frame"
    return total if is_known else round(total * (1.0 - settings.mask.ratio))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
