"""How often boxes of a score are right: what `model.chances` makes scores chances of.

Over labelled scenes that the network has not seen, the scale and offset of each class are fitted
by likelihood (Platt, "Probabilistic outputs for support vector machines", 1999). A box is right as
in AP25. A class with few boxes is fitted towards all classes together.

Whether that makes scores better chances is measured on scenes that a fit has not seen: the scenes
are cut into `NUM_FOLDS` runs of neighbours, and each is judged by what the others say. Compared
are the network's own scores, one fit of all classes, and one of each class. The best is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sr3d_core.evaluate import FindsObjects, found_and_true
from sr3d_core.matches import match_all
from sr3d_core.model.chances import ClassCalibration
from sr3d_core.structures import Sample

RIGHT_IOU = 0.25
"""What the loosest of the usual figures calls found."""

FEWEST_RIGHT = 20
"""Right boxes of all classes together, below which nothing can be said."""

NUM_BINS = 10
"""Equal parts of the score, over which the calibration error is taken."""

_PULL = 4.0  # towards all classes: as a Gaussian of standard deviation 1/2 would
_NEWTON_STEPS = 100
_SLOWEST, _STEEPEST = 0.05, 50.0  # a scale beyond them says that scores mean nothing


NUM_FOLDS = 4
"""Parts of the scenes, each judged by fits of the others."""

WAYS = ("own scores", "all classes alike", "class by class")
"""What is compared; the first of equally good ones is used."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The calibrations of one detector, and how good each is on scenes that it has not seen."""

    ways: dict[
        str, dict[str, ClassCalibration]
    ]  # by way, then by class name; fitted on all scenes
    errors: dict[str, HeldOut]  # by way

    @property
    def best(self) -> str:
        """The way with the smallest error within classes."""
        return min(WAYS, key=lambda way: self.errors[way].within_classes)

    @property
    def calibration(self) -> dict[str, ClassCalibration]:
        """That of the best way, by class name; empty where own scores are best."""
        return self.ways[self.best]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Expected calibration errors, 0..1."""

    together: float  # of all detections
    within_classes: float  # the mean of that of each class, weighted by its detections


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Detections that are right or wrong."""

    scores: Float[NDArray, " D"]
    labels: NDArray[np.int64]
    is_right: NDArray[np.bool_]
    scene: NDArray[np.int64]  # counted from 0

    def __getitem__(self, rows: NDArray) -> Judged:
        """Some of them."""
        return Judged(self.scores[rows], self.labels[rows], self.is_right[rows], self.scene[rows])


def measure_calibration(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
) -> Measured:
    """Run the detector over labelled scenes that it has not seen, two at least.

    The detector's scores are those to be calibrated, weak ones included. Labels of the samples
    index `detector.classes`; classes that no scene has get the calibration of all together.
    Raises ValueError where there are too few scenes, or too few boxes are right.
    """
    found, truth = found_and_true(detector, samples, progress)
    matches = match_all(found, truth)
    counts = matches.is_scored(RIGHT_IOU)
    judged = Judged(
        matches.scores[counts],
        matches.labels[counts],
        matches.is_right(RIGHT_IOU)[counts],
        matches.scene[counts],
    )
    return measured(judged, len(truth), detector.classes)


def measured(judged: Judged, num_scenes: int, classes: Sequence[str]) -> Measured:
    """The same from what was found in so many scenes."""
    if num_scenes < 2:
        raise ValueError(
            f"{num_scenes} scenes, expected 2 or more: a fit is judged on scenes it has not seen"
        )
    ways = _ways(judged, classes)
    num_folds = min(NUM_FOLDS, num_scenes)
    fold = judged.scene * num_folds // num_scenes
    chances = {way: np.zeros(len(judged.scores)) for way in WAYS}
    for part in range(num_folds):
        fitted_elsewhere = _ways(judged[fold != part], classes)
        for way, calibration in fitted_elsewhere.items():
            mine = np.flatnonzero(fold == part)
            chances[way][mine] = _chances(judged[mine], calibration, classes)
    return Measured(ways, {way: held_out(chances[way], judged) for way in WAYS})


def held_out(chances: Float[NDArray, " D"], judged: Judged) -> HeldOut:
    """The errors of these chances, in the place of the scores."""
    errors, counts = [0.0], [0]
    for label in np.unique(judged.labels):
        mine = judged.labels == label
        errors.append(calibration_error(chances[mine], judged.is_right[mine]))
        counts.append(int(mine.sum()))
    within = float(np.dot(errors, counts) / max(1, sum(counts)))
    return HeldOut(calibration_error(chances, judged.is_right), within)


def _ways(judged: Judged, classes: Sequence[str]) -> dict[str, dict[str, ClassCalibration]]:
    """The calibrations of each way, from all of these detections."""
    if judged.is_right.sum() < FEWEST_RIGHT:
        raise ValueError(
            f"{int(judged.is_right.sum())} of {len(judged.is_right)} boxes are right, expected at "
            f"least {FEWEST_RIGHT} in three quarters of the scenes: take more scenes, or weights "
            "that have learnt more"
        )
    logits = _logits(judged.scores)
    together = _fit(logits, judged.is_right, (1.0, 0.0), 0.0)
    alike, own = {}, {}
    for label, name in enumerate(classes):
        mine = judged.labels == label
        fit = _fit(logits[mine], judged.is_right[mine], together, _PULL)
        counts = {"num_boxes": int(mine.sum()), "num_right": int(judged.is_right[mine].sum())}
        alike[name], own[name] = (
            ClassCalibration(scale=round(scale, 4), offset=round(offset, 4), **counts)
            for scale, offset in (together, fit)
        )
    return dict(zip(WAYS, ({}, alike, own), strict=True))


def _chances(
    judged: Judged, calibration: Mapping[str, ClassCalibration], classes: Sequence[str]
) -> Float[NDArray, " D"]:
    """The scores as a calibration makes them, classes without one as they are."""
    rows = [calibration.get(name) for name in classes]
    scale = np.array([1.0 if row is None else row.scale for row in rows])[judged.labels]
    offset = np.array([0.0 if row is None else row.offset for row in rows])[judged.labels]
    chances: Float[NDArray, " D"] = 1 / (1 + np.exp(-(scale * _logits(judged.scores) + offset)))
    return chances


def _logits(scores: Float[NDArray, " D"]) -> Float[NDArray, " D"]:
    tiny = np.finfo(np.float64).eps
    scores = scores.astype(np.float64).clip(tiny, 1 - tiny)
    logits: Float[NDArray, " D"] = np.log(scores) - np.log1p(-scores)
    return logits


def calibration_error(scores: Float[NDArray, " D"], is_right: NDArray[np.bool_]) -> float:
    """The expected calibration error (ECE), 0..1; NaN without detections.

    In each of `NUM_BINS` parts of the score, the distance of the mean score and the share that is
    right; the mean of these, weighted by how many detections a part has (Guo et al., "On
    calibration of modern neural networks", 2017).
    """
    if len(scores) == 0:
        return math.nan
    over = np.bincount(bin_of(scores), weights=scores - is_right, minlength=NUM_BINS)
    return float(np.abs(over).sum() / len(scores))


def bin_of(scores: Float[NDArray, " D"]) -> NDArray[np.int64]:
    """The part of the score that each detection is in; a score of 1 is in the last one."""
    return np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def _fit(
    logits: Float[NDArray, " D"],
    is_right: NDArray[np.bool_],
    start: tuple[float, float],
    pull: float,
) -> tuple[float, float]:
    """Scale and offset of the largest likelihood, with a Gaussian `pull` towards the start."""
    rows = np.stack([logits, np.ones_like(logits)], axis=1)
    towards = np.array(start)
    at = towards.copy()
    for _ in range(_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-rows @ at))
        slope = rows.T @ (chance - is_right) + pull * (at - towards)
        curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows
        curvature += (pull + 1e-9) * np.eye(2)
        # At a limit that the scale would leave, the best offset for that scale is sought.
        is_held = (at[0] <= _SLOWEST and slope[0] > 0) or (at[0] >= _STEEPEST and slope[0] < 0)
        free = slice(1, 2) if is_held else slice(0, 2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[free, free], slope[free])
        at = at - step.clip(-1, 1)
        at[0] = at[0].clip(_SLOWEST, _STEEPEST)  # a score that rises means more, never less
        if np.abs(step).max() < 1e-9:
            break
    return float(at[0]), float(at[1])
