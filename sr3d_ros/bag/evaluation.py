"""All that is asked of a recording with ground truth: its scores, its pace, another detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sr3d_core.detector import Postprocess
from sr3d_core.evaluate import FindsObjects
from sr3d_ros.bag.compare import Comparison, compared, score_both
from sr3d_ros.bag.pace import PaceReport, pace_run
from sr3d_ros.bag.run import BagRun
from sr3d_ros.bag.score import BagReport, Scoring, Show, score_run
from sr3d_ros.bag.truth import Truth


@dataclass(frozen=True, slots=True, eq=False)
class Other:
    """Another detector to compare with."""

    model: str  # how its weights are called
    finder: FindsObjects


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What to find out. `truth` and `wanted` are given the class names of a detector."""

    truth: Callable[[Sequence[str]], Truth]
    wanted: Callable[[Sequence[str]], Postprocess]  # which boxes the robot reports
    speed: float | None = None  # at which pace, None = not asked for
    other: Other | None = None

    def scoring(
        self, run: BagRun, classes: Sequence[str] | None = None, show: Show | None = None
    ) -> Scoring:
        """What scores the frames of a detector of these classes, None = the run's."""
        classes = run.classes if classes is None else classes
        return Scoring(run, self.truth(classes), self.wanted(classes), classes, show)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was found out."""

    result: BagReport
    pace: PaceReport | None = None
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        pace = {} if self.pace is None else {"pace": self.pace.to_dict()}
        other = {} if self.comparison is None else {"compare": self.comparison.to_dict()}
        return {**self.result.to_dict(), **pace, **other}


def evaluated(
    run: BagRun,
    asked: Asked,
    progress: Callable[[int], object] | None = None,
    show: Show | None = None,
) -> Evaluation:
    """Replay, and once more where a pace is asked for; `show` sees the frames of the first replay.

    Raises `ReplayError` where nothing could be compared.
    """
    scoring, comparison = asked.scoring(run, show=show), None
    if asked.other is None:
        result = score_run(run, scoring, progress)
    else:
        finder = asked.other.finder
        scorings = (scoring, asked.scoring(run, finder.classes))
        result, second = score_both(run, finder, scorings, progress)
        comparison = compared(result, second, asked.other.model)
    if asked.speed is None:
        return Evaluation(result, None, comparison)
    return Evaluation(result, pace_run(run, asked.scoring, asked.speed, progress), comparison)
