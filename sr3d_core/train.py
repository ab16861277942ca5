"""The training loop: one process or many, checkpoints, exact resume.

What step n sees depends on the seed and n alone, so a resumed run is the run that was not
interrupted; several processes share the scenes of a step and learn what one would. Ctrl-C
finishes the step, saves and stops.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr3d_core.config import Config
from sr3d_core.data.folder import DatasetError
from sr3d_core.data.inspection import inspect_before_training
from sr3d_core.structures import Batch, Losses
from sr3d_core.training.batches import batches
from sr3d_core.training.errors import (
    NotFiniteError,
    ProcessLostError,
    TrainingError,
    in_one_line,
)
from sr3d_core.training.folder import (
    BEST,
    STATE,
    WEIGHTS,
    Progress,
    RunFolder,
)
from sr3d_core.training.interrupt import stop_on_interrupt
from sr3d_core.training.learner import Learner
from sr3d_core.training.memory_use import peak_memory_gb
from sr3d_core.training.run import Joined, SharedRun, join
from sr3d_core.training.state import (
    ALIKE_IN_ALL_PROCESSES,
    MAY_CHANGE,
    check_fits,
    differences,
    read_state,
    settings_of,
    state_content,
)
from sr3d_core.training.validation import Validated, Validation

if TYPE_CHECKING:
    from sr3d_core.training.events import Events

__all__ = ["BEST", "STATE", "WEIGHTS", "Progress", "TrainingError", "Validated", "train"]

_log = logging.getLogger(__name__)


def train(
    config: Config,
    out_dir: Path,
    *,
    resume: bool = False,
    accept_data: bool = False,
    learner: type[Learner] = Learner,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_inspected: Callable[[int, int], None] = lambda num_done, num: None,
    on_scored: Callable[[int, int], None] = lambda num_done, num: None,
    on_validated: Callable[[Validated], None] = lambda validated: None,
    on_stopped: Callable[[int, int], None] = lambda step, num_steps: None,
) -> Path:
    """Train a network and return the path of its weights.

    `learner` is what learns by such a configuration. With `resume` the run in `out_dir` goes on
    where it stopped, with other scenes than it has begun with only where `accept_data` says so;
    without, `out_dir` must not hold a run. Several processes, started with torchrun, share the
    scenes of a step. Scenes of the user's own are inspected first; `on_inspected` is told how many
    of how many are done, and DatasetError is raised where some cannot be trained on. Where the
    schedule asks for
    validations, `on_scored` is told how many of how many scenes of one are done, `on_validated`
    what it found; best.safetensors beside the weights is the best. `on_stopped` is told after
    which of how many steps the user stopped it, where something is left to do: a step, or the
    validation of the last one. Raises TrainingError where it cannot start, as in a folder that
    another training writes into, where a scene cannot be read, where the loss is no longer finite,
    or where the disk is full: then it says what is saved.
    """
    joined = join(config.schedule.batch_size)
    run = _Run(config, RunFolder(out_dir), joined, learner, on_scored, on_validated)
    with run.alone(run.folder.alone()):
        run.start(resume, accept_data)
        run.inspect(on_inspected)
        with stop_on_interrupt(is_launched=joined.processes.num > 1) as is_stopped:
            run.loop(on_step, is_stopped)
    if run.processes.is_main and not run.is_done:
        on_stopped(run.step, run.config.schedule.num_steps)
    return run.folder.weights


class _Run(SharedRun):
    """One training: what it sees, what learns, and how that is saved."""

    rate_key = "schedule.learning_rate"

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        joined: Joined,
        learner: type[Learner],
        on_scored: Callable[[int, int], None],
        on_validated: Callable[[Validated], None],
    ) -> None:
        self.classes = tuple(config.data.classes)
        self.scenes = config.scenes()
        if len(self.scenes) == 0:
            raise TrainingError("the training split has no scenes; expected at least one")
        config = replace(config, schedule=config.schedule.for_scenes(len(self.scenes)))
        self.config, self.folder, self.place = config, folder, folder.path
        self.settings = settings_of(config, self.scenes)
        self.processes, self.share = joined.processes, joined.share
        self.validation = Validation(config)
        self.on_scored, self.on_validated = on_scored, on_validated
        self.learner: Learner = learner(config, self.classes, joined.accelerator, self.processes)
        self.events: Events | None = None
        if config.schedule.tensorboard:  # where it is missing, all processes say so now
            importlib.import_module("sr3d_core.training.events")

    @property
    def is_done(self) -> bool:
        """Whether no step and no validation is left to do."""
        num_steps = self.config.schedule.num_steps
        is_at_end = self.step >= num_steps and not self.validation.is_due(self.step, num_steps)
        return is_at_end or self.validation.has_no_gain

    def start(self, resume: bool, accept_data: bool) -> None:
        """Begin, or take up the run that is in the folder; nothing is written yet."""
        average: dict[str, Any] | None = None
        if resume:
            average = self._take_up(accept_data)
        else:
            self.folder.require_fit(to_resume=False)
            taken = self.learner.start()
            if self.processes.is_main and taken:
                _log.warning("%s", taken)
        self._check_alike()
        self.learner.begin(average)

    def inspect(self, on_inspected: Callable[[int, int], None]) -> None:
        """Look at the user's own scenes, in one process for all; all raise what it finds."""
        trouble = ""
        if self.processes.is_main:
            try:
                for warning in inspect_before_training(self.config.data, on_inspected):
                    _log.warning("%s", warning)
            except DatasetError as error:
                trouble = str(error)
        trouble = self.processes.main_says(trouble)
        if trouble:
            raise DatasetError(trouble)

    def loop(self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> None:
        """Step until the schedule is done or the user stops it; save whatever ends it."""
        seen = batches(self.config, self.scenes, self.step, self.share, self.processes)
        self._on_main(self._prepare)
        if self.config.schedule.tensorboard and self.processes.is_main:
            from sr3d_core.training.events import Events

            self.events = Events(self.folder.path / "tensorboard", self.step)
        try:
            self._step_on(seen, on_step, is_stopped)
        except ProcessLostError as error:  # others cannot be asked
            raise TrainingError(f"step {self.step}: {error}; {self._saved_alone()}") from error
        except TrainingError:  # says what is saved
            raise
        except Exception:  # others may not know
            if self.processes.is_main:
                _log.error("step %d fails; %s", self.step, self._saved_alone())
            raise
        finally:
            if self.events is not None:
                self.events.close()

    def _step_on(
        self,
        seen: Iterator[Batch],
        on_step: Callable[[Progress], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        schedule = self.config.schedule
        self._saved_at = started = time.monotonic()
        while True:
            if self.validation.is_due(self.step, schedule.num_steps):
                if not self._validate(is_stopped):
                    break
                started = time.monotonic()
            if self.step >= schedule.num_steps or self.validation.has_no_gain:
                break
            losses = self._learn(self._next(seen))
            rate = self.config.rate_at(self.step)
            self.step += 1
            now = time.monotonic()
            speed = schedule.batch_size / (now - started)
            started = now
            trouble = ""
            if self.processes.is_main:
                memory = peak_memory_gb(self.processes.device)
                progress = Progress(self.step, schedule.num_steps, rate, losses, speed, memory)
                trouble = self.folder.note(progress)
                if self.events is not None:
                    self.events.note(progress)
                on_step(progress)
            if self._is_over(trouble, schedule.checkpoint_minutes, is_stopped):
                break
        self._save()

    def _validate(self, is_stopped: Callable[[], bool]) -> bool:
        """Score the weights of this step and save; False where the user stops it before its end.

        The main process does it, the others wait.
        """
        trouble, report, cause = "", None, None
        if self.processes.is_main:
            try:
                detector = self.learner.detector(self.step)
                report = self.validation.score(detector, is_stopped, self.on_scored)
            except Exception as error:  # whatever a reader raises: what is learnt must not be lost
                trouble, cause = f"validation: {in_one_line(error)}", error
        failed, report = self.processes.all_of((bool(trouble), report))[0]
        if failed:
            raise self._failure(trouble) from cause
        if report is None:
            return False
        trouble = self.folder.note_scores(self.step, report) if self.processes.is_main else ""
        if any(self.processes.any(bool(trouble))):
            raise self._failure(trouble)
        validated = self.validation.take(self.step, report)
        self.has_news = True
        self._save()
        if self.processes.is_main:
            if self.events is not None:
                self.events.validated(self.step, report)
            self.on_validated(validated)
        return True

    def _learn(self, batch: Batch) -> Losses:
        """One optimiser step; saves and raises where loss or gradient are not finite."""
        try:
            return self.learner.learn(batch, self.step)
        except NotFiniteError as error:
            raise self._failure(str(error)) from error

    def _prepare(self) -> str:
        """Write what a run's folder holds before its next step; returns what went wrong."""
        trouble = self.folder.prepare(self.config, self.step, self.validation.last_step)
        return trouble if trouble or self.step == 0 else self._write()

    def _store(self) -> str:
        """Write state and weights, both or neither; returns what went wrong."""
        weights, state = self.learner.contents(self.step, self.settings)
        validation = self.validation.saved_with(self.step, state.weights_sha256)
        state = replace(state, validation=validation)
        is_best = self.validation.is_best(self.step)
        return self.folder.save(state_content(state), weights, is_best)

    def _draw(self) -> str:
        """Draw the curves; returns what went wrong."""
        return self.folder.draw()

    def _take_up(self, accept_data: bool) -> dict[str, Any] | None:
        """Go on from the folder's state, if it is sound and of this training; its average."""
        path, num_steps = self.folder.state, self.config.schedule.num_steps
        state = read_state(path)
        kind = type(self.config)
        notes = check_fits(
            *(path, state, self.settings, num_steps), kind=kind, accept_data=accept_data
        )
        for note in notes if self.processes.is_main else ():
            _log.warning("%s", note)
        try:
            self.learner.load(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{path}: does not fit this network ({in_one_line(error)}); expected the state "
                "of this version of SR3D: start in another folder"
            ) from error
        self.step = self.saved = state.step
        self._say_rate(state.settings)
        for text in self.validation.take_up(state.validation, self.folder.has_best):
            if self.processes.is_main:
                _log.warning("%s", text)
        if self.processes.is_main and not self.folder.has_weights(state.weights_sha256):
            _log.warning("%s is not of step %d: it is written again", WEIGHTS, self.step)
            self.has_news = True
        return state.average

    def _say_rate(self, before: dict[str, Any]) -> None:
        """Say where the learning rate goes on, where another number of steps changes it."""
        schedule = self.config.schedule
        earlier = replace(schedule, num_steps=before["schedule.num_steps"])
        rates = [
            replace(self.config, schedule=each).rate_at(self.step) for each in (earlier, schedule)
        ]
        if self.processes.is_main and rates[0] != rates[1]:
            _log.warning(
                "learning rate of step %d: %.3g, as in %d steps from the start; %.3g of %d steps",
                *(self.step, rates[1], schedule.num_steps, rates[0], earlier.num_steps),
            )

    def _check_alike(self) -> None:
        """Refuse processes, maybe on several machines, that are not about to do the same."""
        of_machine = MAY_CHANGE - ALIKE_IN_ALL_PROCESSES
        own = {key: value for key, value in self.settings.items() if key not in of_machine}
        all_settings = self.processes.all_of({"steps done": self.step, **own})
        for rank, settings in enumerate(all_settings):
            changed = differences(all_settings[0], settings)
            if changed:
                raise TrainingError(
                    f"process 0 and process {rank} are not about to train the same: "
                    f"{'; '.join(changed.values())}; expected equal: give both the same files"
                )
