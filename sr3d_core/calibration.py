"""How often boxes of a score are right: what `model.chances` makes scores chances of.

Over labelled scenes that the network has not seen, the scale and offset of each class are fitted
by likelihood (Platt, "Probabilistic outputs for support vector machines", 1999). A box is right as
in AP25. A class with few boxes is fitted towards all classes together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

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


def measure_calibration(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
) -> dict[str, ClassCalibration]:
    """Run the detector over labelled scenes that it has not seen; a calibration by class name.

    The detector's scores are those to be calibrated, weak ones included. Labels of the samples
    index `detector.classes`; classes that no scene has get the calibration of all together.
    Raises ValueError where too few boxes are right.
    """
    matches = match_all(*found_and_true(detector, samples, progress))
    counts = matches.is_scored(RIGHT_IOU)
    scores, labels = matches.scores[counts], matches.labels[counts]
    return fitted(scores, labels, matches.is_right(RIGHT_IOU)[counts], detector.classes)


def fitted(
    scores: Float[NDArray, " D"],
    labels: NDArray[np.int64],
    is_right: NDArray[np.bool_],
    classes: Sequence[str],
) -> dict[str, ClassCalibration]:
    """A calibration by class name from detections that are right or wrong."""
    if is_right.sum() < FEWEST_RIGHT:
        raise ValueError(
            f"{int(is_right.sum())} of {len(is_right)} boxes are right, expected at least "
            f"{FEWEST_RIGHT}: take more scenes, or weights that have learnt more"
        )
    tiny = np.finfo(np.float64).eps
    scores = scores.astype(np.float64).clip(tiny, 1 - tiny)
    logits = np.log(scores) - np.log1p(-scores)
    together = _fit(logits, is_right, (1.0, 0.0), 0.0)
    calibration = {}
    for label, name in enumerate(classes):
        mine = labels == label
        scale, offset = _fit(logits[mine], is_right[mine], together, _PULL)
        calibration[name] = ClassCalibration(
            scale=round(scale, 4),
            offset=round(offset, 4),
            num_boxes=int(mine.sum()),
            num_right=int(is_right[mine].sum()),
        )
    return calibration


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
        step = np.linalg.solve(curvature + (pull + 1e-9) * np.eye(2), slope)
        at = at - step.clip(-1, 1)
        at[0] = at[0].clip(_SLOWEST, _STEEPEST)  # a score that rises means more, never less
        if np.abs(step).max() < 1e-9:
            break
    return float(at[0]), float(at[1])
