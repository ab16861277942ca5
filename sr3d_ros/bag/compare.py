"""Two detectors on the same recording, which is read once: each frame goes through both."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from sr3d_core.evaluate import FindsObjects
from sr3d_core.paired import Paired, Side, paired
from sr3d_ros.bag.replay import DroppedFrame, detected
from sr3d_ros.bag.run import BagRun
from sr3d_ros.bag.score import BagReport, Scoring

_SEED = 0  # the same recording gives the same interval


@dataclass(frozen=True, slots=True)
class FoundByOne:
    """An object that only one of two detectors found, in whichever frame."""

    object_: str
    class_name: str
    num_found: int  # frames
    num_in_view: int

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "object": self.object_,
            "class": self.class_name,
            "num_found": self.num_found,
            "num_in_view": self.num_in_view,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The second detector beside the first."""

    model: str  # the second's weights
    report: BagReport  # the second's
    differences: Paired
    only_first: tuple[FoundByOne, ...]
    only_second: tuple[FoundByOne, ...]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "model": self.model,
            "report": self.report.to_dict(),
            "differences": self.differences.to_dict(),
            "only_first": [each.to_dict() for each in self.only_first],
            "only_second": [each.to_dict() for each in self.only_second],
        }


def score_both(
    run: BagRun,
    other: FindsObjects,
    scorings: tuple[Scoring, Scoring],
    progress: Callable[[int], object] | None = None,
) -> tuple[BagReport, BagReport]:
    """What the run's detector and the other one find; each `Scoring` is of one of them."""
    pipelines = (run.pipeline, run.pipeline_of(other))
    for done, arrival in enumerate(run.arrivals(), start=1):
        for pipeline, scoring in zip(pipelines, scorings, strict=True):
            if isinstance(arrival, DroppedFrame):
                scoring.add(arrival)
            else:
                scoring.add(detected(pipeline, arrival))
        if progress is not None:
            progress(done)
    first, second = scorings
    return first.report(), second.report()


def compared(first: BagReport, second: BagReport, model: str) -> Comparison:
    """How the second differs from the first; `model` is how its weights are called."""
    shared = {view.stamp_ns for view in first.views} & {view.stamp_ns for view in second.views}
    rng = np.random.default_rng(_SEED)
    return Comparison(
        model,
        second,
        paired(_side(first, shared), _side(second, shared), rng),
        _only(first, second),
        _only(second, first),
    )


def _side(report: BagReport, shared: Set[int]) -> Side:
    """The frames that both could be scored in."""
    rows = [row for row, view in enumerate(report.views) if view.stamp_ns in shared]
    detections = [report.detections[row] for row in rows]
    return Side(detections, [report.targets[row] for row in rows], report.scores.classes)


def _only(one: BagReport, other: BagReport) -> tuple[FoundByOne, ...]:
    """Objects of classes that both know, found by the one alone."""
    num_found = {each.object_: each.num_found for each in other.objects}
    known: Sequence[str] = other.scores.classes
    return tuple(
        FoundByOne(each.object_, each.class_name, each.num_found, each.num_in_view)
        for each in one.objects
        if each.num_found and not num_found.get(each.object_, 0) and each.class_name in known
    )
