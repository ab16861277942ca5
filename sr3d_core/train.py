"""The training loop: one process or many (Accelerate), checkpoints, exact resume.

A run lives in one folder: config.yaml, log.csv, state.pt (to resume) and weights.safetensors.
What step n sees depends on the seed and n alone, so a resumed run is the run that was not
interrupted. Ctrl-C finishes the step, saves and stops.
"""

from __future__ import annotations

import csv
import logging
import math
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader

from sr3d_core.checkpoint import Manifest, save_checkpoint, take_weights
from sr3d_core.config import Config, dump_config
from sr3d_core.data.inspection import inspect_before_training
from sr3d_core.data.order import TrainingOrder
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Batch, Losses

_log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
_LOG_COLUMNS = ("step", "rate", "loss", "classification", "box", "positives", "scenes_per_s")


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the text says why and what to do."""


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
    a run. Raises TrainingError where neither can be, or where the loss is no longer finite.
    Scenes of the user's own are inspected first; `on_inspected` is told how many of how many are
    done, and DatasetError is raised where some cannot be trained on.
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if config.schedule.precision == "bfloat16" else "no",
        cpu=not torch.cuda.is_available(),
    )
    run = _Run(config, out_dir, accelerator)
    run.start(resume)
    warnings = inspect_before_training(config.data, on_inspected)
    for warning in warnings if accelerator.is_main_process else ():
        _log.warning("%s", warning)
    with _stop_on_interrupt() as is_stopped:
        run.loop(on_step, is_stopped)
    return out_dir / WEIGHTS


class _Run:
    """The objects of one training and how they are saved."""

    def __init__(self, config: Config, out_dir: Path, accelerator: Accelerator) -> None:
        self.config, self.out_dir, self.accelerator = config, out_dir, accelerator
        self.classes = tuple(config.data.classes)
        torch.manual_seed(config.schedule.seed)
        network = SR3D(config.network.architecture(len(self.classes)))
        network.backend = config.network.backend
        optimizer = AdamW(
            network.parameters(),
            lr=config.schedule.learning_rate,
            weight_decay=config.schedule.weight_decay,
        )
        self.network: nn.Module
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        self.step = 0
        self._is_main = accelerator.is_main_process  # the one of several processes that writes

    def start(self, resume: bool) -> None:
        """Make the run's folder, or take up the run that is in it."""
        state = self.out_dir / STATE
        if resume:
            self._load(state)
            return
        if state.exists():
            raise TrainingError(
                f"{self.out_dir}: holds a training already; expected an empty folder: "
                "continue it with --resume, or choose another one"
            )
        if self.config.network.weights is not None:
            network = self.accelerator.unwrap_model(self.network)
            fresh = take_weights(network, self.classes, self.config.network.weights)
            if self._is_main and fresh:
                _log.warning("starting afresh: %s", ", ".join(fresh))
        self.out_dir.mkdir(parents=True, exist_ok=True)
        if self._is_main:
            (self.out_dir / "config.yaml").write_text(dump_config(self.config), encoding="utf-8")

    def loop(self, on_step: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> None:
        """Step until the schedule is done or the user stops it; save either way."""
        schedule = self.config.schedule
        log = _Log(self.out_dir / "log.csv", self.step) if self._is_main else None
        saved = started = time.monotonic()
        for batch in self._batches():
            rate = schedule.rate_at(self.step)
            losses = self._learn(batch, rate)
            self.step += 1
            now = time.monotonic()
            speed = schedule.batch_size * self.accelerator.num_processes / (now - started)
            started = now
            progress = Progress(self.step, schedule.num_steps, rate, losses, speed)
            if log is not None:
                log.add(progress)
                on_step(progress)
            if now - saved > schedule.checkpoint_minutes * 60:
                self.save()
                saved = now
            if self._is_any(is_stopped()):
                break
        self.save()

    def _is_any(self, flag: bool) -> bool:
        """Whether any process says so: all must leave the loop at the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(votes) > 0)

    def _batches(self) -> Iterator[Batch]:
        schedule = self.config.schedule
        scenes = self.config.data.open("train")
        if len(scenes) == 0:
            raise TrainingError("the training split has no scenes; expected at least one")
        order = TrainingOrder(
            scenes,
            self.config.augment,
            seed=schedule.seed,
            batch_size=schedule.batch_size,
            steps=range(self.step, schedule.num_steps),
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        return iter(
            DataLoader(
                order,
                batch_size=schedule.batch_size,
                num_workers=schedule.num_workers,
                collate_fn=Batch.collate,
            )
        )

    def _learn(self, batch: Batch, rate: float) -> Losses:
        """One optimiser step; saves and raises where loss or gradient are not finite.

        The gradient is shared by all processes, so they all raise at the same step.
        """
        batch = batch.to(self.accelerator.device)
        self.network.train()
        losses = self.config.criterion(self.network(batch.cloud), batch.targets)
        self.optimizer.zero_grad()
        self.accelerator.backward(losses.total)
        norm = self.accelerator.clip_grad_norm_(
            self.network.parameters(), self.config.schedule.clip_norm
        )
        if norm is None or not math.isfinite(float(norm)):
            self.save()
            raise TrainingError(
                f"step {self.step}: loss {float(losses.total.detach()):.4g}, gradient {norm} on "
                f"scenes {', '.join(batch.names)}; expected finite numbers: look at these scenes' "
                "boxes, or lower schedule.learning_rate; the state before this step is saved"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return losses

    def save(self) -> None:
        """Write the weights and everything a resumed run needs; each file whole or not at all.

        A state that is no longer finite is not written over a sound one.
        """
        network = self.accelerator.unwrap_model(self.network)
        is_sound = all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())
        if not (self._is_main and is_sound):
            return
        manifest = Manifest(
            architecture=network.architecture,
            classes=self.classes,
            description=f"trained on {self.config.data.name} for {self.step} steps",
        )
        save_checkpoint(self.out_dir / WEIGHTS, network, manifest)
        partial = self.out_dir / f"{STATE}.part"
        state = {
            "step": self.step,
            "network": network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": dump_config(self.config),
        }
        torch.save(state, partial)
        partial.replace(self.out_dir / STATE)

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise TrainingError(
                f"{path}: no such file; expected the state of an earlier run: "
                "start without --resume"
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["config"] != dump_config(self.config):
                raise TrainingError(
                    f"{path}: was made with another configuration; expected the one in "
                    f"{path.parent / 'config.yaml'}: resume with that file"
                )
            self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); expected the state of an "
                "earlier run: start again in another folder"
            ) from error


class _Log:
    """One line per step in log.csv; a resumed run drops the lines it will write again."""

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        rows: list[list[str]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_LOG_COLUMNS)
            writer.writerows(row for row in rows if int(row[0]) <= first_step)

    def add(self, progress: Progress) -> None:
        """Append one step."""
        losses = progress.losses
        values = [losses.total, losses.classification, losses.box]
        row = [
            str(progress.step),
            f"{progress.learning_rate:.3g}",
            *(f"{float(value.detach()):.5f}" for value in values),
            str(losses.num_positives),
            f"{progress.scenes_per_s:.2f}",
        ]
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow(row)


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM only ask to stop; a second one stops at once."""
    is_asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        if is_asked:
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
