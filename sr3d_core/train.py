"""The training loop: one process or many, checkpoints, exact resume.

A run lives in one folder: config.yaml, log.csv, state.pt (to resume) and weights.safetensors.
What step n sees depends on the seed and n alone, so a resumed run is the run that was not
interrupted; several processes share the scenes of a step and learn what one would. Ctrl-C
finishes the step, saves and stops.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader

from sr3d_core.checkpoint import (
    CheckpointError,
    Manifest,
    checkpoint_content,
    read_manifest,
)
from sr3d_core.config import Config, dump_config
from sr3d_core.data.folder import DatasetError
from sr3d_core.data.inspection import inspect_before_training
from sr3d_core.data.order import TrainingOrder
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Batch, Losses
from sr3d_core.training.errors import ProcessLostError, TrainingError
from sr3d_core.training.processes import Processes, launched_processes, scenes_per_process
from sr3d_core.training.shared_norm import SharedNorms
from sr3d_core.training.state import (
    MAY_CHANGE,
    State,
    check_fits,
    differences,
    read_state,
    settings_of,
    state_content,
)
from sr3d_core.training.warm_start import take_weights
from sr3d_core.whole_files import remove_parts, write_whole

__all__ = ["STATE", "WEIGHTS", "Progress", "TrainingError", "train"]

_log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
_CONFIG = "config.yaml"
_LOG_FILE = "log.csv"
_LONGEST_WAIT = timedelta(hours=12)
"""How long processes wait for each other: one may inspect many large scans for all. One that ends
is noticed at once."""
_LOG_COLUMNS = ("step", "rate", "loss", "classification", "box", "positives", "scenes_per_s")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands."""

    step: int  # steps done
    num_steps: int
    learning_rate: float
    losses: Losses
    scenes_per_s: float  # over the last steps


def train(
    config: Config,
    out_dir: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_inspected: Callable[[int, int], None] = lambda num_done, num: None,
) -> Path:
    """Train a network and return the path of its weights.

    With `resume` the run in `out_dir` goes on where it stopped; without, `out_dir` must not hold
    a run. Several processes, started with torchrun, share the scenes of a step. Scenes of the
    user's own are inspected first; `on_inspected` is told how many of how many are done, and
    DatasetError is raised where some cannot be trained on. Raises TrainingError where it cannot
    start, where a scene cannot be read, where the loss is no longer finite, or where the disk is
    full: then it says what is saved.
    """
    num_processes = launched_processes(os.environ)
    share = scenes_per_process(config.schedule.batch_size, num_processes)
    accelerator = Accelerator(
        mixed_precision="bf16" if config.schedule.precision == "bfloat16" else "no",
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    if accelerator.num_processes != num_processes:
        raise TrainingError(
            f"{num_processes} processes were started, this training sees "
            f"{accelerator.num_processes}; expected as many: start them with torchrun"
        )
    run = _Run(config, out_dir, accelerator, share)
    run.start(resume)
    run.inspect(on_inspected)
    with _stop_on_interrupt(is_launched=num_processes > 1) as is_stopped:
        run.loop(on_step, is_stopped)
    return out_dir / WEIGHTS


class _Run:
    """The objects of one training and how they are saved."""

    def __init__(
        self, config: Config, out_dir: Path, accelerator: Accelerator, share: int
    ) -> None:
        self.config, self.out_dir, self.accelerator = config, out_dir, accelerator
        self.classes = tuple(config.data.classes)
        self.scenes = config.data.open("train")
        if len(self.scenes) == 0:
            raise TrainingError("the training split has no scenes; expected at least one")
        self.settings = settings_of(config, self.scenes)
        self.processes = Processes(
            accelerator.process_index, accelerator.num_processes, accelerator.device
        )
        torch.manual_seed(config.schedule.seed)
        network = SR3D(config.network.architecture(len(self.classes)))
        network.backend = config.network.backend
        self.norms = SharedNorms(network) if self.processes.num > 1 else None
        optimizer = AdamW(
            network.parameters(),
            lr=config.schedule.learning_rate,
            weight_decay=config.schedule.weight_decay,
        )
        # In evaluation mode nothing is wrapped around it: gradients are summed here.
        self.network: nn.Module = accelerator.prepare_model(network, evaluation_mode=True)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.share = share  # scenes of a step that this process sees
        self.step = 0
        self.saved: int | None = None  # the step that is on the disk
        self.is_between_steps = True  # and so can be saved

    def start(self, resume: bool) -> None:
        """Begin, or take up the run that is in the folder; nothing is written yet."""
        state = self.out_dir / STATE
        if resume:
            self._take_up(state)
        elif state.exists():
            raise TrainingError(
                f"{self.out_dir}: holds a training already; expected an empty folder: "
                "continue it with --resume, or choose another one"
            )
        elif self.config.network.weights is not None:
            path = self.config.network.weights
            start = take_weights(self._bare_network, self.classes, path)
            if self.processes.is_main and start.fresh:
                taken, fresh = "; ".join(start.taken), "; ".join(start.fresh)
                _log.warning("taken from %s: %s. Starting afresh: %s", path, taken, fresh)
        self._check_alike()
        self.processes.copy_from_main(self._bare_network)

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
        self._on_main(self._prepare_folder)
        try:
            self._step_on(on_step, is_stopped)
        except ProcessLostError as error:  # others cannot be asked
            raise TrainingError(f"step {self.step}: {error}; {self._saved_alone()}") from error
        except TrainingError:  # says what is saved
            raise
        except Exception:  # others may not know
            if self.processes.is_main:
                _log.error("step %d fails; %s", self.step, self._saved_alone())
            raise

    def _step_on(
        self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]
    ) -> None:
        schedule = self.config.schedule
        batches = self._batches()
        saved = started = time.monotonic()
        while self.step < schedule.num_steps:
            batch = self._next(batches)
            rate = schedule.rate_at(self.step)
            losses = self._learn(batch, rate)
            self.step += 1
            now = time.monotonic()
            speed = schedule.batch_size / (now - started)
            started = now
            trouble = ""
            if self.processes.is_main:
                progress = Progress(self.step, schedule.num_steps, rate, losses, speed)
                trouble = self._noted(progress)
                on_step(progress)
            is_due = now - saved > schedule.checkpoint_minutes * 60
            has_trouble, is_due, is_over = self.processes.any(bool(trouble), is_due, is_stopped())
            if has_trouble:
                raise self._failure(trouble)
            if is_due:
                self.save()
                saved = now
            if is_over:
                break
        self.save()

    @property
    def _bare_network(self) -> SR3D:
        network: SR3D = self.accelerator.unwrap_model(self.network)
        return network

    def _batches(self) -> Iterator[Batch]:
        schedule = self.config.schedule
        order = TrainingOrder(
            self.scenes,
            self.config.augment,
            seed=schedule.seed,
            batch_size=self.share,
            steps=range(self.step, schedule.num_steps),
            rank=self.processes.rank,
            num_processes=self.processes.num,
        )
        return iter(
            DataLoader(
                order,
                batch_size=self.share,
                num_workers=schedule.num_workers,
                collate_fn=Batch.collate,
            )
        )

    def _next(self, batches: Iterator[Batch]) -> Batch:
        """The scenes of this step; saves and raises where any process cannot read its own."""
        batch, trouble, cause = None, "", None
        try:
            batch = next(batches)
        except Exception as error:  # whatever a reader raises: what is learnt must not be lost
            trouble, cause = _in_one_line(error), error
        if any(self.processes.any(batch is None)):
            raise self._failure(trouble) from cause
        assert batch is not None
        return batch

    def _learn(self, batch: Batch, rate: float) -> Losses:
        """One optimiser step; saves and raises where loss or gradient are not finite.

        The gradient is shared by all processes, so they all raise at the same step.
        """
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        try:
            losses, norm = self._gradient(batch)
        except Exception:
            self._forget(statistics)
            raise
        if norm is None or not math.isfinite(float(norm)):
            self._forget(statistics)
            raise self._failure(
                f"loss {float(losses.total):.4g}, gradient {norm} on "
                f"scenes {', '.join(batch.names)}; expected finite numbers: look at these scenes' "
                "boxes, or lower schedule.learning_rate"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.is_between_steps = False
        self.optimizer.step()
        self.is_between_steps = True
        return losses

    def _gradient(self, batch: Batch) -> tuple[Losses, Tensor | None]:
        """The losses of all processes' scenes, and the norm of their gradient."""
        batch = batch.to(self.accelerator.device)
        self.network.train()
        if self.norms is not None:
            self.norms.begin(self.accelerator.device)
        predictions = self.network(batch.cloud)
        losses = self.config.criterion(predictions, batch.targets, self.processes.total)
        self.optimizer.zero_grad()
        loss = losses.total if self.norms is None else self.norms.tied(losses.total)
        self.accelerator.backward(loss)
        self.processes.sum_gradients(self._bare_network)
        norm = self.accelerator.clip_grad_norm_(
            self.network.parameters(), self.config.schedule.clip_norm
        )
        classification, box = self.processes.sums([losses.classification, losses.box])
        return replace(losses, classification=classification.detach(), box=box.detach()), norm

    @torch.no_grad()
    def _forget(self, statistics: list[Tensor]) -> None:
        """Take back what a forward pass did, so that the state is that before the step."""
        for buffer, before in zip(self.network.buffers(), statistics, strict=True):
            buffer.copy_(before)

    def _failure(self, trouble: str) -> TrainingError:
        """Save, and say what is wrong and what is saved; called by all processes."""
        troubles = self.processes.all_of(trouble)
        if len(troubles) > 1:
            troubles = [f"process {rank}: {text}" for rank, text in enumerate(troubles) if text]
        outcome = self.processes.main_says(self._saved_alone())
        return TrainingError(f"step {self.step}: {'; '.join(troubles)}; {outcome}")

    def _saved_alone(self) -> str:
        """Save the steps done, without asking the others, and say how that went."""
        if not self.processes.is_main:
            return "the first process says what is saved"
        if self.step == 0:
            return "no step was done before, so there is nothing to save"
        return self._write() or f"what was learnt before, {self.step} steps, is saved"

    def save(self) -> None:
        """Write the weights and everything a resumed run needs; both files or neither.

        Raises TrainingError where that fails; a state that is no longer finite is not written
        over a sound one.
        """
        self._on_main(self._write)

    def _on_main(self, action: Callable[[], str]) -> None:
        """Let the main process write; what it says went wrong stops all."""
        trouble = self.processes.main_says(action() if self.processes.is_main else "")
        if trouble:
            raise TrainingError(trouble)

    def _write(self) -> str:
        """Save; returns what went wrong, nothing where all is well."""
        if self.saved == self.step:
            return ""
        network = self._bare_network
        last = "no step" if self.saved is None else f"step {self.saved}"
        if not self.is_between_steps:
            return f"step {self.step + 1} was cut off midway and cannot be saved; {last} is"
        if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
            return (
                f"the network is no longer finite after step {self.step} and is not saved; {last} "
                "is: lower schedule.learning_rate"
            )
        weights, state = self._contents()
        try:
            write_whole({self.out_dir / STATE: state, self.out_dir / WEIGHTS: weights})
        except OSError as error:
            return (
                f"{self.out_dir}: step {self.step} cannot be saved ({error.strerror}), {last} is; "
                "make room there, then go on with --resume"
            )
        self.saved = self.step
        return ""

    def _contents(self) -> tuple[bytes, bytes]:
        """The files of this step: weights and state."""
        network = self._bare_network
        manifest = Manifest(
            architecture=network.architecture,
            classes=self.classes,
            description=f"trained on {self.config.data.name} for {self.step} steps",
        )
        weights, written = checkpoint_content(network, manifest)
        state = State(
            step=self.step,
            network=network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            settings=self.settings,
            weights_sha256=written.sha256,
        )
        return weights, state_content(state)

    def _take_up(self, path: Path) -> None:
        """Go on from a state, if it is sound and of the same training."""
        state = read_state(path)
        for change in check_fits(path, state, self.settings, self.config.schedule.num_steps):
            if self.processes.is_main:
                _log.warning("goes on with another setting: %s", change)
        try:
            self._bare_network.load_state_dict(state.network)
            self.optimizer.load_state_dict(state.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{path}: does not fit this network ({_in_one_line(error)}); expected the state "
                "of this version of SR3D: start in another folder"
            ) from error
        self.step = self.saved = state.step
        self._say_rate(state.settings)
        if self.processes.is_main and not self._has_weights(state.weights_sha256):
            _log.warning("%s is not of step %d: it is written again", WEIGHTS, self.step)
            self.saved = None

    def _say_rate(self, before: dict[str, Any]) -> None:
        """Say where the learning rate goes on, where another number of steps changes it."""
        schedule = self.config.schedule
        earlier = replace(schedule, num_steps=before["schedule.num_steps"])
        rates = [each.rate_at(self.step) for each in (earlier, schedule)]
        if self.processes.is_main and rates[0] != rates[1]:
            _log.warning(
                "learning rate of step %d: %.3g, as in %d steps from the start; %.3g of %d steps",
                *(self.step, rates[1], schedule.num_steps, rates[0], earlier.num_steps),
            )

    def _has_weights(self, sha256: str) -> bool:
        """Whether the weights file beside the state is the one that belongs to it."""
        try:
            return read_manifest(self.out_dir / WEIGHTS).sha256 == sha256
        except CheckpointError:
            return False

    def _check_alike(self) -> None:
        """Refuse processes, maybe on several machines, that are not about to do the same."""
        of_machine = MAY_CHANGE - {"schedule.num_steps"}
        own = {key: value for key, value in self.settings.items() if key not in of_machine}
        all_settings = self.processes.all_of({"steps done": self.step, **own})
        for rank, settings in enumerate(all_settings):
            changed = differences(all_settings[0], settings)
            if changed:
                raise TrainingError(
                    f"process 0 and process {rank} are not about to train the same: "
                    f"{'; '.join(changed.values())}; expected equal: give both the same files"
                )

    def _prepare_folder(self) -> str:
        """Write what a run's folder holds before its next step; returns what went wrong."""
        try:
            self.out_dir.mkdir(parents=True, exist_ok=True)
            files = [self.out_dir / name for name in (STATE, WEIGHTS, _CONFIG, _LOG_FILE)]
            remove_parts(files)
            config, log = dump_config(self.config).encode(), _log_until(files[3], self.step)
            write_whole({files[2]: config, files[3]: log})
        except OSError as error:
            where = error.filename or self.out_dir
            return f"{where}: {error.strerror}; expected a folder that can be written to"
        return "" if self.step == 0 else self._write()

    def _noted(self, progress: Progress) -> str:
        """Append a step to the log; returns what went wrong."""
        try:
            with (self.out_dir / _LOG_FILE).open("a", newline="") as file:
                csv.writer(file).writerow(_log_row(progress))
        except OSError as error:
            return f"{self.out_dir / _LOG_FILE}: cannot be written ({error.strerror}); make room"
        return ""


def _in_one_line(error: Exception) -> str:
    """The last line of an error's text: readers' processes put their stack before it."""
    lines = str(error).strip().splitlines()
    text = lines[-1] if lines else ""
    if len(lines) > 1:  # "module.TypeOfTheError: its text"
        text = text.partition(": ")[2] or text
    is_ours = isinstance(error, (ValueError, OSError, RuntimeError)) and text
    return text if is_ours else f"{type(error).__name__}: {text}"


def _log_until(path: Path, last_step: int) -> bytes:
    """log.csv without the lines that a resumed run will write again, or that were cut short."""
    rows: list[list[str]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(_LOG_COLUMNS)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_LOG_COLUMNS)
    writer.writerows(row for row in rows if row[0].isdigit() and int(row[0]) <= last_step)
    return text.getvalue().encode()


def _log_row(progress: Progress) -> list[str]:
    losses = progress.losses
    return [
        str(progress.step),
        f"{progress.learning_rate:.3g}",
        *(f"{float(x.detach()):.5f}" for x in (losses.total, losses.classification, losses.box)),
        str(losses.num_positives),
        f"{progress.scenes_per_s:.2f}",
    ]


@contextmanager
def _stop_on_interrupt(is_launched: bool) -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM only ask to stop; a second one stops at once.

    Not so under a launcher (`is_launched`): it passes on the Ctrl-C that the terminal has sent
    already, and ends by itself what does not stop.
    """
    is_asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        if is_asked and not is_launched:
            raise KeyboardInterrupt
        is_asked = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: nobody sends it signals
        yield lambda: False
        return
    try:
        yield lambda: is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
