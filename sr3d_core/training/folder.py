"""The folder of a run: config.yaml, log.csv, state.pt (to resume) and weights.safetensors.

State and weights are written both or neither. What cannot be written is said in words, for a
process that has to tell the others before it stops.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from sr3d_core.checkpoint import CheckpointError, read_manifest
from sr3d_core.config import Config, dump_config
from sr3d_core.structures import Losses
from sr3d_core.whole_files import remove_parts, write_whole

WEIGHTS = "weights.safetensors"
STATE = "state.pt"
_CONFIG = "config.yaml"
_LOG = "log.csv"
_LOG_COLUMNS = ("step", "rate", "loss", "classification", "box", "positives", "scenes_per_s")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands."""

    step: int  # steps done
    num_steps: int
    learning_rate: float
    losses: Losses
    scenes_per_s: float  # over the last steps


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

    def prepare(self, config: Config, step: int) -> str:
        """Write configuration and log of a run that goes on at a step; returns what went wrong."""
        log = self.path / _LOG
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_parts([self.path / name for name in (STATE, WEIGHTS, _CONFIG, _LOG)])
            text = dump_config(config).encode()
            write_whole({self.path / _CONFIG: text, log: _log_until(log, step)})
        except OSError as error:
            where = error.filename or self.path
            return f"{where}: {error.strerror}; expected a folder that can be written to"
        return ""

    def note(self, progress: Progress) -> str:
        """Append a step to the log; returns what went wrong."""
        log = self.path / _LOG
        try:
            with log.open("a", newline="") as file:
                csv.writer(file).writerow(_log_row(progress))
        except OSError as error:
            return f"{log}: cannot be written ({error.strerror}); make room"
        return ""

    def save(self, state: bytes, weights: bytes) -> str:
        """Write both files; returns the system's word for what went wrong."""
        try:
            write_whole({self.state: state, self.weights: weights})
        except OSError as error:
            return str(error.strerror)
        return ""

    def has_weights(self, sha256: str) -> bool:
        """Whether the weights file beside the state is the one that belongs to it."""
        try:
            return read_manifest(self.weights).sha256 == sha256
        except CheckpointError:
            return False


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
