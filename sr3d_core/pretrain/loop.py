"""The loop of a pre-training: steps, checkpoints, exact resume, a log that tells of a collapse.

What step n sees depends on the seed and n alone, so a resumed run is the run that was not
interrupted, and several processes that share the clouds of a step learn what one would.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from sr3d_core.checkpoint import CheckpointError, backbone_content, read_manifest
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.sources import Scenes
from sr3d_core.pretrain.encoder import cell_stride
from sr3d_core.pretrain.going_on import (
    deciding,
    log_path,
    notes_on_clouds,
    require_same,
    state_path,
    what_is_there,
)
from sr3d_core.pretrain.learner import DrawViews, Losses, Pretrainer, alarms
from sr3d_core.pretrain.masks import grid_cells
from sr3d_core.pretrain.method import Drawn
from sr3d_core.pretrain.prototypes import most_prototypes
from sr3d_core.pretrain.regular_probe import COLUMNS, RegularProbe, learns_nothing
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.curves import draw
from sr3d_core.training.errors import (
    NotFiniteError,
    ProcessLostError,
    TrainingError,
    in_one_line,
)
from sr3d_core.training.folder import locked
from sr3d_core.training.interrupt import stop_on_interrupt
from sr3d_core.training.memory_use import peak_memory_gb
from sr3d_core.training.run import Joined, SharedRun, join
from sr3d_core.training.state import read_sealed, sealed
from sr3d_core.training.step_log import append_row, log_until, logged_figures
from sr3d_core.whole_files import remove_parts, write_whole

_log = logging.getLogger(__name__)
_PROBED_FROM = 0.3
"""From this share of the steps on features are to know more than untrained ones."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pre-training stands."""

    step: int  # steps done
    num_steps: int
    losses: Losses
    health: dict[str, float] | None  # every few steps: `Pretrainer.health`
    probed: dict[str, float] | None  # every so many steps: `RegularProbe.figures`
    clouds_per_s: float
    memory_gb: float  # the most so far, NaN where unknown


def pretrain(
    settings: Pretraining,
    clouds: Scenes,
    out: Path,
    *,
    sources: Mapping[str, str],
    resume: bool = False,
    accept_data: bool = False,
    on_read: Callable[[str, int, int], None] = lambda what, num_done, num: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Pre-train a backbone on clouds whose labels are not looked at, and return its file.

    `out` is a .safetensors file, the teacher's backbone, from which `sr3d train --init` starts;
    beside it lie the log (.csv), its curves where matplotlib is installed, and, to go on with
    `resume`, the state (.state). `sources` says where the clouds are from, by name and digest, and
    travels with the weights; with others than before a run goes on only where `accept_data` says
    so. `on_read` is told how far the scenes of the probe are. Raises TrainingError where it cannot
    start or go on; what was learnt before is saved.
    """
    joined = join(settings.steps.batch_size)
    run = _Run(settings, clouds, out, dict(sources), joined)
    with run.alone(_locked_beside(out)):
        run.start(resume, accept_data, on_read)
        with stop_on_interrupt(is_launched=joined.processes.num > 1) as is_stopped:
            run.loop(on_step, is_stopped)
    return out


class _Run(SharedRun):
    """One pre-training: what it sees, what learns, and how that is saved."""

    rate_key = "steps.learning_rate"

    def __init__(
        self,
        settings: Pretraining,
        clouds: Scenes,
        out: Path,
        sources: dict[str, str],
        joined: Joined,
    ) -> None:
        if len(clouds) == 0:
            raise TrainingError("there are no clouds to learn from; expected at least one")
        self.settings, self.clouds, self.place, self.sources = settings, clouds, out, sources
        self.processes, self.share = joined.processes, joined.share
        if len(clouds) == 1 and self.processes.is_main:
            _log.warning(
                "there is one cloud to learn from, so features will know what stands there and "
                "nothing else; expected clouds of many places: name more recordings or folders"
            )
        self.probe: RegularProbe | None = None  # of the main process, where there is one
        self.seconds_of_steps = 0.0  # since the last probe
        self.has_told_cost = False
        first = self._next(self._batches(0))
        num_rows = self.processes.total(_num_visible_cells(first, settings))
        if num_rows == 0:
            names = ", ".join(each.name for each in first)
            raise TrainingError(
                f"the clouds of the first step hold no points ({names}); expected some: leave "
                "out clouds without points"
            )
        self.learner: Pretrainer = Pretrainer(settings, num_rows, self.processes)
        if self.processes.is_main and settings.method == "dos":
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
    def curves_path(self) -> Path:
        """What the log holds, as a picture."""
        return self.place.with_suffix(".curves.png")

    def start(
        self, resume: bool, accept_data: bool, on_read: Callable[[str, int, int], None]
    ) -> None:
        """Begin, or go on where the files say; TrainingError where they do not fit."""
        entries: dict[str, Any] = {}
        if resume:
            entries = read_sealed(state_path(self.place))
            self._take_up(entries, accept_data)
        else:
            self._on_main(partial(what_is_there, self.place))
        self.processes.copy_from_main(self.learner.model.state_dict())
        self._on_main(partial(self._begin_probe, entries.get("probe"), on_read))

    def _begin_probe(
        self, before: dict[str, Any] | None, on_read: Callable[[str, int, int], None]
    ) -> str:
        """Make ready what features are asked about; returns what went wrong."""
        data = self.settings.probe.scenes_of(self.sources)
        if data is None or self.step >= self.settings.steps.num:
            return ""
        probe = RegularProbe(self.settings, data, self.processes.device)
        try:
            probe.begin(before, on_read)
        except (ValueError, OSError) as error:
            return (
                f"probe on {data}: {in_one_line(error)}; expected labelled scenes of at least two "
                "rooms: name others with --probe, or leave it out with --probe off"
            )
        self.probe = probe
        return ""

    def _take_up(self, entries: dict[str, Any], accept_data: bool) -> None:
        path, before, now = state_path(self.place), entries.get("settings"), self._record()
        if not isinstance(before, dict) or "method" not in before:
            raise TrainingError(
                f"{path}: is of no pre-training; expected one: choose another --out"
            )
        notes = notes_on_clouds(path, before, now, accept_data)
        for note in notes if self.processes.is_main else ():
            _log.warning("%s", note)
        if accept_data:  # other clouds can feed more or fewer, but these are there already
            num = int(before["num_prototypes"])
            self.learner = Pretrainer(self.settings, 0, self.processes, num)
            now = self._record()
        require_same(path, before, now)
        try:
            self.learner.load(entries)
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{path}: does not fit ({in_one_line(error)}); expected the state of this "
                "version of SR3D: begin anew under another name"
            ) from error
        self.step = self.saved = int(entries["step"])
        if self.processes.is_main and not _is_of_step(self.place, self.step):
            _log.warning("%s is not of step %d: it is written again", self.place, self.step)
            self.has_news = True

    def _record(self) -> dict[str, Any]:
        """What has to be the same for a run to go on, as plain values by dotted key."""
        kept = deciding(self.learner.settings_record())
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
        self._saved_at = started = time.monotonic()
        while self.step < steps.num:
            losses = self._learn(self._next(seen))
            self.step += 1
            now = time.monotonic()
            self.seconds_of_steps += now - started
            speed = steps.batch_size / (now - started)
            trouble = ""
            if self.processes.is_main:
                progress = self._progress(losses, speed)
                trouble = self._note(progress)
                on_step(progress)
            started = time.monotonic()
            if self._is_over(trouble, steps.checkpoint_minutes, is_stopped):
                break
        self._save()

    def _progress(self, losses: Losses, speed: float) -> Progress:
        """Where this stands after a step, with what is worked out every few steps."""
        steps, is_last = self.settings.steps, self.step == self.settings.steps.num
        probed = None
        if self.probe is not None and (self.step % self.settings.probe.every == 0 or is_last):
            probed = self._probed(self.probe)
        is_told = probed is not None or self.step % steps.log_steps == 0 or is_last
        health = self.learner.health() if is_told else None
        memory = peak_memory_gb(self.processes.device)
        return Progress(self.step, steps.num, losses, health, probed, speed, memory)

    def _probed(self, probe: RegularProbe) -> dict[str, float]:
        """Ask the teacher; said is once what share of the time that costs."""
        started = time.monotonic()
        found = probe.figures(self.learner.model.backbone())
        seconds, of_steps = time.monotonic() - started, self.seconds_of_steps
        self.seconds_of_steps = 0.0
        if not self.has_told_cost:
            _log.warning(
                "a probe took %.0f s, %.0f %% of the %.0f s of the steps before it; probe.every "
                "and probe.num of the settings change that, --probe off leaves it out",
                *(seconds, 100 * seconds / of_steps, of_steps),
            )
        self.has_told_cost = True
        return found

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
        row = {**at.losses.row(), **at.health}
        if self.probe is not None:
            row |= at.probed or dict.fromkeys(COLUMNS, math.nan)
        known = {name: "" if math.isnan(row[name]) else f"{row[name]:.6g}" for name in row}
        trouble = append_row(log_path(self.place), {"step": str(at.step), **known})
        if trouble:
            return trouble
        for text in alarms(at.health):
            _log.warning("step %d: %s", at.step, text)
        if at.probed is not None and at.step >= _PROBED_FROM * at.num_steps:
            text = learns_nothing(at.probed)
            if text:
                _log.warning("step %d: %s", at.step, text)
        return ""

    def _begin_files(self) -> str:
        """The log up to this step, which a resumed run writes on; returns what went wrong."""
        log = log_path(self.place)
        text = log_until(log, self.step) if self.step else b""
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            remove_parts([state_path(self.place), self.place, log, self.curves_path])
            write_whole({log: text})
        except OSError as error:
            return f"{error.filename or log}: {error.strerror}; expected a place to write"
        return ""

    def _store(self) -> str:
        """Write state and weights, both or neither; returns what went wrong."""
        entries = {**self.learner.entries(), "step": self.step, "settings": self._record()}
        if self.probe is not None:
            entries["probe"] = self.probe.entries()
        weights = backbone_content(
            self.settings.architecture, self.learner.model.backbone(), self._provenance()
        )
        try:
            write_whole({state_path(self.place): sealed(entries), self.place: weights})
        except OSError as error:
            return str(error.strerror)
        return ""

    def _draw(self) -> str:
        """Draw the curves; returns what went wrong."""
        return draw(self.curves_path, self._curves)

    def _curves(self) -> bytes | None:
        rows = logged_figures(log_path(self.place))
        if len(rows) < 2:
            return None
        from sr3d_core.plots import pretraining_plot

        return pretraining_plot(rows)

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


@contextmanager
def _locked_beside(out: Path) -> Iterator[None]:
    """Within, a file beside is this process's; FolderInUseError where it is another's."""
    path, lock = out.with_suffix(".lock"), None
    with suppress(OSError):  # what is written next says why nothing can be
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = locked(path, f"{out}: another pre-training is writing this")
    try:
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            lock.close()


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
