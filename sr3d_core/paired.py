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
from copy import deepcopy
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


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What one detector scores on all scenes, and on each draw of them.

    Made once, it can be compared with many.
    """

    classes: tuple[str, ...]
    num_scenes: int
    scores: tuple[Float[ndarray, "C B"], Float[ndarray, "C B"]]
    """Average precision of each class at the two `IOU_THRESHOLDS`: of all scenes first, then of
    each draw; NaN where the class is not there."""

    @classmethod
    def of(cls, side: Side, rng: np.random.Generator) -> Draws:
        """Sides that are to be compared need draws of the same generator, in the same state."""
        num = len(side.targets)
        once = np.ones((1, num), np.int64)
        weights = np.concatenate([once, drawn(num, _block(num), rng)])
        at_25, at_50 = rankings(side.detections, side.targets, len(side.classes), *IOU_THRESHOLDS)
        return cls(side.classes, num, (_scores(at_25, weights), _scores(at_50, weights)))

    def compared_with(self, other: Draws) -> Paired:
        """How much better the other one is; raises ValueError as `paired` does."""
        if self.num_scenes != other.num_scenes:
            raise ValueError(
                f"the two detectors were scored on {self.num_scenes} and {other.num_scenes} "
                "scenes; expected the same scenes: score both again"
            )
        names = [name for name in self.classes if name in other.classes]
        if not names:
            raise ValueError(
                f"the two detectors have no class in common: {', '.join(self.classes)} and "
                f"{', '.join(other.classes)}"
            )
        block = _block(self.num_scenes)
        widening = widening_of(self.num_scenes / block)
        columns = [
            _differences(self._rows(names, at), other._rows(names, at), widening) for at in (0, 1)
        ]
        rows = list(zip(*columns, strict=True))
        return Paired(dict(zip(names, rows[:-1], strict=True)), rows[-1], self.num_scenes, block)

    def _rows(self, names: Sequence[str], threshold: int) -> Float[ndarray, "C B"]:
        """Those of some classes, and in the last row their mean over those that are there."""
        rows = self.scores[threshold][[self.classes.index(name) for name in names]]
        count = np.isfinite(rows).sum(axis=0)
        mean = np.where(count > 0, np.nansum(rows, axis=0), np.nan) / np.maximum(count, 1)
        return np.vstack([rows, mean])


def paired(first: Side, second: Side, rng: np.random.Generator) -> Paired:
    """Compare two detectors on the same scenes.

    Raises ValueError where they share no class, or were not shown as many scenes.
    """
    alike = deepcopy(rng)
    return Draws.of(first, rng).compared_with(Draws.of(second, alike))


def _block(num_scenes: int) -> int:
    """So many neighbouring scenes are drawn together."""
    return max(1, math.ceil(math.sqrt(num_scenes)))


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


def _scores(side: Sequence[Ranking], weights: Int[ndarray, "B S"]) -> Float[ndarray, "C B"]:
    """Average precision of each class, NaN where it is not there."""
    parts = [weights[begin : begin + _AT_ONCE] for begin in range(0, len(weights), _AT_ONCE)]
    rows = np.array(
        [np.concatenate([ranking.average_precision(part) for part in parts]) for ranking in side]
    )
    rows[~np.array([weights @ ranking.num_truth > 0 for ranking in side])] = np.nan
    return rows


def _differences(
    first: Float[ndarray, "C B"], second: Float[ndarray, "C B"], widening: float
) -> list[Difference]:
    """Of each row; the first column is of all scenes, the others of draws.

    `widening` is that of the deviations of draws.
    """
    rows = []
    for a, b in zip(first, second, strict=True):
        between = (b - a)[1:][np.isfinite(a[1:])]
        here = float(b[0] - a[0])
        ends = np.percentile(between, _MIDDLE) if len(between) else np.full(2, math.nan)
        low, high = (here + widening * (ends - here)).tolist()
        rows.append(Difference(float(a[0]), float(b[0]), low, high))
    return rows


def _both(pair: tuple[Difference, Difference]) -> dict[str, object]:
    return {"ap25": pair[0].to_dict(), "ap50": pair[1].to_dict()}
