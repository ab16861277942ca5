"""How much better one detector is than another on the same scenes, and how sure that is.

Scenes are drawn with replacement, the same for both, and the difference of their average
precisions is taken each time; the interval holds the middle 95 % of these differences (the paired
percentile bootstrap; B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13). Scenes of a drive resemble their neighbours, which would make it far too narrow: so
runs of neighbouring scenes are drawn whole (the circular block bootstrap; D. Politis and
J. Romano, 1992). An interval speaks for these objects in these rooms, seen again; for no others.

Draws from few runs differ less than scenes seen anew would: of b runs the variance is too small by
1 / b, and itself uncertain, as much as with 3/2 b - 1 degrees of freedom, since runs may begin
anywhere (H. Kuensch, 1989). Intervals are widened by both; without that, of two detectors that are
equally good one was called better in one of ten trials of 100 scenes, not in one of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.evaluate import IOU_THRESHOLDS, Ranking, plain_number, rankings
from sr3d_core.structures import Detections, Targets

NUM_DRAWS = 1000
_AT_ONCE = 50  # draws, which bounds memory
_MIDDLE = (2.5, 97.5)  # percent
_NORMAL = 1.96  # where a normal distribution has that


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one detector found in the scenes, and what is there; labels index its `classes`."""

    detections: Sequence[Detections]
    targets: Sequence[Targets]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Average precision of both at one threshold, 0..1; NaN where nothing is to be found."""

    first: float
    second: float
    low: float  # of second - first; NaN where there are too few scenes to say
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0.0 or self.high < 0.0

    def to_dict(self) -> dict[str, float | None]:
        """As plain JSON values."""
        return {
            "first": plain_number(self.first),
            "second": plain_number(self.second),
            "difference": plain_number(self.second - self.first),
            "low": plain_number(self.low),
            "high": plain_number(self.high),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Differences of two detectors over the classes that both know."""

    per_class: dict[str, tuple[Difference, Difference]]  # at the two `IOU_THRESHOLDS`
    mean: tuple[Difference, Difference]  # over these classes
    num_scenes: int
    block: int  # so many neighbouring scenes are drawn together

    @property
    def there(self) -> dict[str, tuple[Difference, Difference]]:
        """Of the classes of which there are objects."""
        return {
            name: pair for name, pair in self.per_class.items() if not math.isnan(pair[0].first)
        }

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "num_scenes": self.num_scenes,
            "num_draws": NUM_DRAWS,
            "block": self.block,
            "mean": _both(self.mean),
            "per_class": {name: _both(pair) for name, pair in self.per_class.items()},
        }


def paired(first: Side, second: Side, rng: np.random.Generator) -> Paired:
    """Compare two detectors on the same scenes.

    Raises ValueError where they share no class, or were not shown as many scenes.
    """
    if len(first.targets) != len(second.targets):
        raise ValueError(
            f"the two detectors were scored on {len(first.targets)} and {len(second.targets)} "
            "scenes; expected the same scenes: score both again"
        )
    names = [name for name in first.classes if name in second.classes]
    if not names:
        raise ValueError(
            f"the two detectors have no class in common: {', '.join(first.classes)} and "
            f"{', '.join(second.classes)}"
        )
    num_scenes = len(first.targets)
    block = max(1, math.ceil(math.sqrt(num_scenes)))
    weights = drawn(num_scenes, block, rng)
    ranked = [
        [[of_iou[side.classes.index(name)] for name in names] for of_iou in _rankings(side)]
        for side in (first, second)
    ]
    widening = widening_of(num_scenes / block)
    columns = [_differences(a, b, weights, widening) for a, b in zip(*ranked, strict=True)]
    rows = list(zip(*columns, strict=True))
    per_class = dict(zip(names, rows[:-1], strict=True))
    return Paired(per_class, rows[-1], num_scenes, block)


def widening_of(num_runs: float) -> float:
    """What deviations of draws from so many runs are multiplied by; NaN for one run or none."""
    degrees = 1.5 * num_runs - 1
    if num_runs <= 1:
        return math.nan
    z = _NORMAL  # Student's quantile by E. Cornish and R. Fisher, 1937
    student = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return student / z / math.sqrt(1 - 1 / num_runs)


def drawn(num_scenes: int, block: int, rng: np.random.Generator) -> Int[ndarray, "B S"]:
    """How often each scene counts in each of `NUM_DRAWS` draws of as many scenes as there are."""
    if num_scenes == 0:
        return np.zeros((NUM_DRAWS, 0), np.int64)
    num_blocks = math.ceil(num_scenes / block)
    begin = rng.integers(num_scenes, size=(NUM_DRAWS, num_blocks, 1))
    scenes = ((begin + np.arange(block)) % num_scenes).reshape(NUM_DRAWS, -1)[:, :num_scenes]
    flat = scenes + num_scenes * np.arange(NUM_DRAWS)[:, None]
    counts = np.bincount(flat.ravel(), minlength=NUM_DRAWS * num_scenes)
    return counts.reshape(NUM_DRAWS, num_scenes)


def _rankings(side: Side) -> tuple[list[Ranking], ...]:
    return rankings(side.detections, side.targets, len(side.classes), *IOU_THRESHOLDS)


def _differences(
    first: Sequence[Ranking],
    second: Sequence[Ranking],
    weights: Int[ndarray, "B S"],
    widening: float,
) -> list[Difference]:
    """Of each class, then of their mean; `widening` is that of the deviations of draws."""
    once = np.ones((1, weights.shape[1]), np.int64)
    found = [[_with_mean(side, chosen) for side in (first, second)] for chosen in (once, weights)]
    (a, b), (a_drawn, b_drawn) = found
    rows = []
    for row in range(len(a)):
        between = (b_drawn[row] - a_drawn[row])[np.isfinite(a_drawn[row])]
        here = float(b[row, 0] - a[row, 0])
        ends = np.percentile(between, _MIDDLE) if len(between) else np.full(2, math.nan)
        low, high = (here + widening * (ends - here)).tolist()
        rows.append(Difference(float(a[row, 0]), float(b[row, 0]), low, high))
    return rows


def _with_mean(side: Sequence[Ranking], weights: Int[ndarray, "B S"]) -> Float[ndarray, "C B"]:
    """Average precision of each class, and in the last row the mean over those that are there."""
    parts = [weights[begin : begin + _AT_ONCE] for begin in range(0, len(weights), _AT_ONCE)]
    rows = np.array(
        [np.concatenate([ranking.average_precision(part) for part in parts]) for ranking in side]
    )
    is_there = np.array([weights @ ranking.num_truth > 0 for ranking in side])
    rows[~is_there] = np.nan
    count = is_there.sum(axis=0)
    mean = np.where(count > 0, np.where(is_there, rows, 0.0).sum(axis=0), np.nan)
    return np.vstack([rows, mean / np.maximum(count, 1)])


def _both(pair: tuple[Difference, Difference]) -> dict[str, object]:
    return {"ap25": pair[0].to_dict(), "ap50": pair[1].to_dict()}
