"""Scoring the split val while a training runs: which weights are the best, and when to stop.

Scored is what would be saved, by the `Detector` and the code of `sr3d eval`, in a network of its
own: a run with validations learns the same as one without, bit by bit. From the same look of the
network comes AIC (`sr3d_core.inconsistency`), by the assigner that the run learns with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from sr3d_core.config import Config
from sr3d_core.data.balance import KnownLabels
from sr3d_core.data.identity import identity_of
from sr3d_core.data.sources import Scenes
from sr3d_core.data.split import how_to_split
from sr3d_core.detector import Detector
from sr3d_core.evaluate import found_and_true, plain_number, report
from sr3d_core.inconsistency import Aic, Looking
from sr3d_core.structures import Detections, Sample
from sr3d_core.training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Validated:
    """What one validation found."""

    step: int
    report: dict[str, Any]  # as `sr3d eval --json` writes it, and "aic"
    best_step: int
    best_figure: float  # mean AP of the best step, 0..1
    without_gain: int  # validations since then
    is_last: bool  # whether the training ends for want of gain

    @property
    def is_best(self) -> bool:
        """Whether none before was better."""
        return self.best_step == self.step


@dataclass(frozen=True, slots=True)
class _Record:
    """What a resumed run must know of the validations before."""

    protocol: dict[str, Any]  # what figures depend on besides the weights
    last_step: int = 0
    best_step: int = 0
    best_figure: float | None = None
    best_other: float = 0.0  # mean AP at the other threshold, which decides between equals
    without_gain: int = 0
    best_sha256: str = ""  # of the tensors of the best weights


class Validation:
    """The validations of one run; every process keeps the same record of them."""

    def __init__(self, config: Config) -> None:
        self._schedule, self._remedy = config.schedule, _remedy(config)
        self._assigner = config.criterion.assigner
        self._scenes = None if config.schedule.validate_steps == 0 else scenes_of(config)
        self._record = _Record(_protocol(config, self._scenes))

    @property
    def last_step(self) -> int:
        """The step that was scored last; 0 where none was."""
        return self._record.last_step

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether the weights after a step, of so many, are to be scored now."""
        if self._scenes is None or step <= self._record.last_step:
            return False
        return step % self._schedule.validate_steps == 0 or step == num_steps

    @property
    def has_no_gain(self) -> bool:
        """Whether the training is to end because validations no longer rise."""
        return 0 < self._schedule.patience <= self._record.without_gain

    def score(
        self,
        detector: Detector,
        is_stopped: Callable[[], bool],
        on_scored: Callable[[int, int], None],
    ) -> dict[str, Any] | None:
        """The report on all scenes; None where the user stops it. Draws no random numbers."""
        assert self._scenes is not None
        chosen = _chosen(self._scenes, self._schedule.validate_scenes)
        loader: DataLoader[Any] = DataLoader(
            cast("Dataset[Any]", self._scenes),
            batch_size=None,
            sampler=chosen,
            num_workers=self._schedule.num_workers,
            generator=torch.Generator(),  # else it takes its seed from the training
        )

        def tell(num_done: int) -> None:
            on_scored(num_done, len(chosen))
            if is_stopped():
                raise _StoppedError

        looking, aic = Looking(detector), Aic(self._assigner)

        def watch(sample: Sample, found: Detections) -> None:
            del found
            aic.add(looking.last, sample.targets)

        try:
            detections, targets = found_and_true(looking, loader, tell, watch)
        except _StoppedError:
            return None
        scores = report(detections, targets, detector.classes, detector.front_classes)
        if int(scores.ap50.num_truth.sum()) == 0:
            raise TrainingError(
                f"{len(chosen)} scenes of the split val were scored and have no boxes; "
                f"{self._remedy}"
            )
        return {**scores.to_dict(), "aic": plain_number(aic.value)}

    def take(self, step: int, report: dict[str, Any]) -> Validated:
        """Remember what a validation found, and whether it is a gain.

        Of equal figures the other threshold decides: a young network is long at an AP50 of 0
        while its AP25 rises, and is neither without gain nor best where it began.
        """
        other_by = "ap25" if self._schedule.best_by == "ap50" else "ap50"
        figure, other = (float(report[f"m{by}"]) for by in (self._schedule.best_by, other_by))
        before = self._record
        if before.best_figure is None or (figure, other) > (before.best_figure, before.best_other):
            now = replace(
                before, best_step=step, best_figure=figure, best_other=other, without_gain=0
            )
        else:
            now = replace(before, without_gain=before.without_gain + 1)
        self._record = replace(now, last_step=step)
        assert now.best_figure is not None
        return Validated(
            step, report, now.best_step, now.best_figure, now.without_gain, self.has_no_gain
        )

    def saved_with(self, step: int, sha256: str) -> dict[str, Any]:
        """What a state holds of it; `sha256` is that of the weights of this step."""
        if self.is_best(step):
            self._record = replace(self._record, best_sha256=sha256)
        return asdict(self._record)

    def is_best(self, step: int) -> bool:
        """Whether the weights of this step are the best that were scored."""
        return step > 0 and self._record.best_step == step

    def take_up(self, saved: dict[str, Any] | None, has_best: Callable[[str], bool]) -> list[str]:
        """Go on with what a state holds; returns what must be said.

        `has_best` says whether the file of the best weights is the one with a digest. Where it is
        not, or where figures are no longer of the same scenes and rules, the best is sought anew.
        """
        if saved is None:
            return []
        protocol, self._record = self._record.protocol, _Record(**saved)
        known = saved["protocol"]  # an earlier version did not look into files
        changed = [key for key in protocol if key in known and protocol[key] != known[key]]
        if self._scenes is None or self._record.best_figure is None:
            return []
        if self.has_no_gain and not changed:
            return [
                f"{self._record.without_gain} validations brought no gain, schedule.patience is "
                f"{self._schedule.patience}: the training ends here; raise it to go on"
            ]
        if changed:
            why = f"{', '.join(changed)} changed since"
        elif not has_best(self._record.best_sha256):
            why = "its file is not there any more, or another one"
        else:
            return []
        best = self._record.best_step
        self._record = _Record(protocol, last_step=self._record.last_step)
        return [f"the best weights were those of step {best}, but {why}: they are sought anew"]


class _StoppedError(Exception):
    """The user asks to stop."""


def _remedy(config: Config) -> str:
    """What to do where nothing can be scored."""
    command = how_to_split(config.data)
    how = f" ({command} holds a fifth back)" if command else ""
    return (
        f"list scenes with boxes that the training does not see{how}, or set "
        "schedule.validate_steps: 0 to train without validation"
    )


def scenes_of(config: Config) -> Scenes:
    """The scenes of the split val; raises TrainingError where nothing can be scored on them."""
    try:
        scenes = config.data.open("val")
        labels = None
        if isinstance(scenes, KnownLabels):
            chosen = _chosen(scenes, config.schedule.validate_scenes)
            labels = [scenes.labels_of(index) for index in chosen]
    except ValueError as error:
        raise TrainingError(
            f"schedule.validate_steps is {config.schedule.validate_steps}, but the split val "
            f"cannot be read: {error}; {_remedy(config)}"
        ) from error
    if len(scenes) == 0 or (labels is not None and not any(labels)):
        raise TrainingError(
            f"schedule.validate_steps is {config.schedule.validate_steps}, but the split val has "
            f"{len(scenes)} scenes and no boxes; expected some of both: {_remedy(config)}"
        )
    return scenes


def _chosen(scenes: Scenes, at_most: int | None) -> Sequence[int]:
    """The scenes that are scored, spread evenly."""
    num = len(scenes)
    if at_most is None or at_most >= num:
        return range(num)
    return [index * num // at_most for index in range(at_most)]


def _protocol(config: Config, scenes: Scenes | None) -> dict[str, Any]:
    """What figures depend on besides the weights."""
    identity = None if scenes is None else identity_of(scenes)
    return {
        "schedule.best_by": config.schedule.best_by,
        "schedule.validate_scenes": config.schedule.validate_scenes,
        "evaluation.nms": config.evaluation.nms,
        "evaluation.max_points": config.evaluation.max_points,
        "the number of scenes in val": 0 if identity is None else identity.num,
        "the names of scenes in val": "" if identity is None else identity.names,
        "the files of scenes in val": "" if identity is None else identity.files,
    }
