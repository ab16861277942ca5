"""What several processes that learn together do alike when they begin, go on, save, or fail."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from sr3d_core.training.errors import TrainingError, in_one_line
from sr3d_core.training.folder import FolderInUseError
from sr3d_core.training.processes import (
    Processes,
    launched_processes,
    leave_at_exit,
    scenes_per_process,
)

_Seen = TypeVar("_Seen")
_log = logging.getLogger(__name__)
_LONGEST_WAIT = timedelta(hours=12)
"""How long processes wait for each other: one may inspect many large scans for all. One that ends
is noticed at once."""


@dataclass(frozen=True)
class Joined:
    """This process among those that learn together."""

    accelerator: Accelerator
    processes: Processes
    share: int  # scenes of a step that this process sees


def join(batch_size: int) -> Joined:
    """Find the other processes that torchrun started; alone where there are none.

    Raises TrainingError where they cannot share the scenes of a step.
    """
    num = launched_processes(os.environ)
    share = scenes_per_process(batch_size, num)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    leave_at_exit()
    if accelerator.num_processes != num:
        raise TrainingError(
            f"{num} processes were started, this training sees {accelerator.num_processes}; "
            "expected as many: start them with torchrun"
        )
    processes = Processes(accelerator.process_index, num, accelerator.device)
    return Joined(accelerator, processes, share)


class Learns(Protocol):
    """What learns, as far as saving asks about it."""

    is_between_steps: bool

    @property
    def is_finite(self) -> bool:
        """Whether all that would be saved is made of numbers."""


class SharedRun(ABC):
    """A run of several processes; one of them saves, and what fails in one stops all."""

    processes: Processes
    learner: Learns
    step: int = 0  # steps done
    saved: int | None = None  # the step that is on the disk
    has_news: bool = False  # whether more is known of that step than what is on the disk
    place: Path  # what it writes
    rate_key: ClassVar[str]  # the setting that is the learning rate
    _saved_at: float  # seconds of the monotonic clock

    @abstractmethod
    def _store(self) -> str:
        """Write state and weights, both or neither; returns what went wrong."""

    @abstractmethod
    def _draw(self) -> str:
        """Draw the curves of the run; returns what went wrong."""

    @contextmanager
    def alone(self, lock: AbstractContextManager[None]) -> Iterator[None]:
        """Within, the main process has the lock; all raise TrainingError where another has it."""
        with ExitStack() as stack:

            def claim() -> str:
                try:
                    stack.enter_context(lock)
                except FolderInUseError as error:
                    return str(error)
                return ""

            self._on_main(claim)
            yield

    def _next(self, seen: Iterator[_Seen]) -> _Seen:
        """What this step sees; saves and raises where any process cannot read its own."""
        batch, trouble, cause = None, "", None
        try:
            batch = next(seen)
        except Exception as error:  # whatever a reader raises: what is learnt must not be lost
            trouble, cause = in_one_line(error), error
        if any(self.processes.any(batch is None)):
            raise self._failure(trouble) from cause
        assert batch is not None
        return batch

    def _is_over(self, trouble: str, minutes: float, is_stopped: Callable[[], bool]) -> bool:
        """After a step: whether the user stops the run; saves where the last time is so long ago.

        `trouble` is what went wrong in this process; then all save and raise TrainingError.
        """
        is_due = time.monotonic() - self._saved_at > minutes * 60
        has_trouble, is_due, is_over = self.processes.any(bool(trouble), is_due, is_stopped())
        if has_trouble:
            raise self._failure(trouble)
        if is_due:
            self._save()
        return is_over

    def _save(self) -> None:
        """Save the steps done; raises TrainingError where that fails.

        A state that is no longer finite is not written over a sound one.
        """
        self._on_main(self._write)
        self._saved_at = time.monotonic()

    def _write(self) -> str:
        """Save the steps done; returns what went wrong, nothing where all is well."""
        if self.saved == self.step and not self.has_news:
            return ""
        last = "no step" if self.saved is None else f"step {self.saved}"
        if not self.learner.is_between_steps:
            return f"step {self.step + 1} was cut off midway and cannot be saved; {last} is"
        if not self.learner.is_finite:
            return (
                f"the network is no longer finite after step {self.step} and is not saved; {last} "
                f"is: lower {self.rate_key}"
            )
        trouble = self._store()
        if trouble:
            again = "start again" if self.saved is None else "go on with --resume"
            return (
                f"{self.place}: step {self.step} cannot be saved ({trouble}), {last} is; "
                f"make room there, then {again}"
            )
        self.saved, self.has_news = self.step, False
        trouble = self._draw()
        if trouble:  # which is worth no training
            _log.warning("%s", trouble)
        return ""

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

    def _on_main(self, action: Callable[[], str]) -> None:
        """Let the main process write; what it says went wrong stops all."""
        trouble = self.processes.main_says(action() if self.processes.is_main else "")
        if trouble:
            raise TrainingError(trouble)
