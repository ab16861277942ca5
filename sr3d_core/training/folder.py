"""The folder of a run: config.yaml, log.csv, state.pt (to resume) and weights.safetensors.

Where it is validated, validation.jsonl and best.safetensors as well; curves.png where matplotlib
is installed. State and weights are written all or none. What cannot be written is said in words,
for a process that has to tell the others before it stops.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr3d_core.checkpoint import CheckpointError, read_manifest
from sr3d_core.config import Config, dump_config
from sr3d_core.structures import Losses
from sr3d_core.whole_files import remove_parts, write_whole

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
VALIDATION = "validation.jsonl"
CURVES = "curves.png"
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
            names = (STATE, WEIGHTS, BEST, _CONFIG, _LOG, VALIDATION, CURVES)
            remove_parts([self.path / name for name in names])
            text = dump_config(config).encode()
            files = {self.path / _CONFIG: text, log: _log_until(log, step)}
            if scores.exists():
                files[scores] = _scores_until(scores, validated_step)
            write_whole(files)
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
        try:
            rows = _log_rows(self.path / _LOG)
            if len(rows) < 2:  # no curve yet
                return ""
            from sr3d_core.plots import training_plot

            scores = _score_lines(self.path / VALIDATION)
            write_whole({self.path / CURVES: training_plot(rows, scores)})
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "matplotlib":
                raise
        except OSError as error:
            return f"{self.path / CURVES}: cannot be written ({error.strerror})"
        return ""

    def has_weights(self, sha256: str) -> bool:
        """Whether the weights file beside the state is the one that belongs to it."""
        return _holds(self.weights, sha256)

    def has_best(self, sha256: str) -> bool:
        """Whether the file of the best weights is the one with this digest."""
        return _holds(self.best, sha256)


def _holds(path: Path, sha256: str) -> bool:
    try:
        return read_manifest(path).sha256 == sha256
    except CheckpointError:
        return False


def _log_rows(path: Path) -> list[dict[str, float]]:
    """The whole lines of log.csv, by column."""
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(_LOG_COLUMNS)]
    return [dict(zip(_LOG_COLUMNS, map(float, row), strict=True)) for row in rows[1:]]


def _score_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of validation.jsonl, none where there is no such file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _scores_until(path: Path, last_step: int) -> bytes:
    """validation.jsonl without the lines that a resumed run will write again."""
    kept = [line for line in _score_lines(path) if line["step"] <= last_step]
    return "".join(json.dumps(line) + "\n" for line in kept).encode()


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
