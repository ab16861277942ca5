"""What several processes that learn together do alike when they go on, save, or fail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TypeVar

from sr3d_core.training.errors import TrainingError, in_one_line
from sr3d_core.training.processes import Processes

_Seen = TypeVar("_Seen")


class SharedRun(ABC):
    """A run of several processes; one of them saves, and what fails in one stops all."""

    processes: Processes
    step: int  # steps done

    @abstractmethod
    def _write(self) -> str:
        """Save the steps done; returns what went wrong, nothing where all is well."""

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
