"""The folder of a run: config.yaml, log.csv, state.pt (to resume) and weights.safetensors.

Where it is validated, validation.jsonl and best.safetensors as well; curves.png where matplotlib
is installed. State and weights are written all or none. What cannot be written is said in words,
for a process that has to tell the others before it stops.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sr3d_core.checkpoint import CheckpointError, read_manifest
from sr3d_core.config import Config, dump_config
from sr3d_core.structures import Losses
from sr3d_core.training.curves import draw
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.step_log import append_row, log_until, logged_figures, whole_lines
from sr3d_core.whole_files import remove_parts, write_whole

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
VALIDATION = "validation.jsonl"
CURVES = "curves.png"
STATE = "state.pt"
CONFIG = "config.yaml"
_LOG = "log.csv"
_LOCK = "training.lock"


class FolderInUseError(TrainingError):
    """A folder that another training is writing into."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands."""

    step: int  # steps done
    num_steps: int
    learning_rate: float
    losses: Losses
    scenes_per_s: float  # over the last steps
    memory_gb: float  # the most so far, NaN where unknown


@dataclass(frozen=True)
class RunFolder:
    """Where a run lies."""

    path: Path

    @property
    def state(self) -> Path:
        """The file to resume from."""
        return self.path / STATE

    @property
    def weights(self) -> Path:
        """The file to detect with."""
        return self.path / WEIGHTS

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, the folder is this process's; raises FolderInUseError where it is another's.

        The lock is the system's and ends with the process, however that ends; where the system or
        the disk knows no such locks there is none. The folder is made where there is none, and
        removed again where nothing came into it.
        """
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            in_use = f"{self.path}: another training is writing into this folder"
            lock = locked(self.path / _LOCK, in_use)
        except OSError:  # what is written next says why nothing can be
            lock = None
        try:
            yield
        finally:
            if lock is not None:
                (self.path / _LOCK).unlink(missing_ok=True)
                lock.close()
            if is_new:
                with suppress(OSError):  # not empty
                    self.path.rmdir()

    def require_fit(self, *, to_resume: bool) -> None:
        """Refuse to begin where a run lies, and to go on where none does; raises TrainingError.

        For who has long work to do before a training asks the same.
        """
        if to_resume and not self.state.is_file():
            raise TrainingError(
                f"{self.state}: no such file; expected the state of an earlier run: start without "
                "--resume"
            )
        if not to_resume and self.state.exists():
            raise TrainingError(
                f"{self.path}: holds a training already; expected an empty folder: continue it "
                "with --resume, or choose another one"
            )
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"{self.path}: a file; expected a folder, or none yet")

    @property
    def best(self) -> Path:
        """The file with the best weights of all that were scored."""
        return self.path / BEST

    def prepare(self, config: Config, step: int, validated_step: int) -> str:
        """Write configuration and logs of a run that goes on at a step; returns what went wrong.

        `validated_step` is the last one that was scored.
        """
        log, scores = self.path / _LOG, self.path / VALIDATION
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = (STATE, WEIGHTS, BEST, CONFIG, _LOG, VALIDATION, CURVES)
            remove_parts([self.path / name for name in names])
            text = dump_config(config).encode()
            files = {self.path / CONFIG: text, log: log_until(log, step)}
            if scores.exists():
                files[scores] = _scores_until(scores, validated_step)
            write_whole(files)
        except OSError as error:
            where = error.filename or self.path
            return f"{where}: {error.strerror}; expected a folder that can be written to"
        return ""

    def note(self, progress: Progress) -> str:
        """Append a step to the log; returns what went wrong."""
        return append_row(self.path / _LOG, _log_row(progress))

    def note_scores(self, step: int, report: dict[str, Any]) -> str:
        """Append what a validation found, as `sr3d eval --json`; returns what went wrong."""
        scores = self.path / VALIDATION
        try:
            with scores.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **report}, allow_nan=False) + "\n")
        except OSError as error:
            return f"{scores}: cannot be written ({error.strerror}); make room"
        return ""

    def save(self, state: bytes, weights: bytes, is_best: bool) -> str:
        """Write state and weights, which may be the best; returns what went wrong."""
        best = {self.best: weights} if is_best else {}
        try:
            write_whole({self.state: state, self.weights: weights, **best})
        except OSError as error:
            return str(error.strerror)
        return ""

    def draw(self) -> str:
        """Draw what the logs hold, where there is something to draw with; what went wrong."""
        return draw(self.path / CURVES, self._curves)

    def _curves(self) -> bytes | None:
        rows = logged_figures(self.path / _LOG)
        if len(rows) < 2:
            return None
        from sr3d_core.plots import training_plot

        return training_plot(rows, _score_lines(self.path / VALIDATION))

    def has_weights(self, sha256: str) -> bool:
        """Whether the weights file beside the state is the one that belongs to it."""
        return _holds(self.weights, sha256)

    def has_best(self, sha256: str) -> bool:
        """Whether the file of the best weights is the one with this digest."""
        return _holds(self.best, sha256)


def locked(path: Path, in_use: str) -> IO[bytes] | None:
    """A file that is open and locked, until it is closed; None where there are no locks.

    Raises FolderInUseError that begins with `in_use` where another process has it.

    A lock of the process: those that it starts to read scenes, and that may outlive it for some
    seconds, do not have it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = path.open("ab")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # which of the two depends on the system
        file.close()
        raise FolderInUseError(
            f"{in_use}; expected one at a time: wait for it, stop it, or choose another place"
        ) from None
    except OSError:  # a disk without locks
        file.close()
        return None
    return file


def _holds(path: Path, sha256: str) -> bool:
    try:
        return read_manifest(path).sha256 == sha256
    except CheckpointError:
        return False


def _score_lines(path: Path) -> list[dict[str, Any]]:
    """What the lines of validation.jsonl say."""
    found = []
    for line in whole_lines(path):
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("step"), int)]


def _scores_until(path: Path, last_step: int) -> bytes:
    """validation.jsonl without the lines that a resumed run will write again."""
    kept = [line for line in _score_lines(path) if line["step"] <= last_step]
    return "".join(json.dumps(line) + "\n" for line in kept).encode()


def _log_row(progress: Progress) -> dict[str, str]:
    losses = progress.losses
    terms = {"loss": losses.total, **losses.terms}
    return {
        "step": str(progress.step),
        "rate": f"{progress.learning_rate:.3g}",
        **{name: f"{float(term.detach()):.5f}" for name, term in terms.items()},
        "positives": str(losses.num_positives),
        "scenes_per_s": f"{progress.scenes_per_s:.2f}",
    }
