"""One evaluation with all that is said of it: `sr3d eval --report`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.analysis.answers import (
    DISTANCE_EDGES_M,
    SEEN_EDGES,
    Answers,
    by_distance,
    by_size,
    by_visible_share,
)
from sr3d_core.analysis.confusion import REPORTED, confusion
from sr3d_core.analysis.reliability import Reliability, reliability
from sr3d_core.analysis.rules import UnderRules
from sr3d_core.analysis.worst import WorstScene, WorstScenes
from sr3d_core.calibration import RIGHT_IOU
from sr3d_core.detector import Detector
from sr3d_core.evaluate import (
    IOU_THRESHOLDS,
    EvaluationReport,
    FindsObjects,
    found_and_true,
    plain_number,
    rankings,
    report,
)
from sr3d_core.inconsistency import MOST_CONFIDENT, Pce, pce
from sr3d_core.matches import match_all
from sr3d_core.structures import Detections, Sample
from sr3d_core.supervision.criterion import Assigner

NUM_WORST = 6
"""Scenes that the page shows, at most."""

NO_OTHER_RULES: dict[str, object] = {"by_nms": None, "bounds": None, "aic": None}
"""What the JSON has of merged views."""

RECALL_LEVELS: Float[ndarray, " L"] = np.linspace(0, 1, 101)
"""At which the JSON gives the precision."""


@dataclass(frozen=True, slots=True, eq=False)
class OtherRules:
    """What the same network outputs give by other rules, see `UnderRules`."""

    by_overlap: Mapping[str, EvaluationReport]  # by how boxes suppress each other
    bounds: Mapping[str, EvaluationReport]
    aic: float  # 0..1, NaN where there is no positive
    num_positives: int
    assigner: str  # whose positives these are

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, null for NaN."""
        return {
            "by_nms": {name: scores.to_dict() for name, scores in self.by_overlap.items()},
            "bounds": {name: scores.to_dict() for name, scores in self.bounds.items()},
            "aic": {
                "mean": plain_number(self.aic),
                "positives": self.num_positives,
                "assigner": self.assigner,
            },
        }


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What an evaluation found, and where it fails."""

    answers: Answers
    scores: EvaluationReport
    by_size: Mapping[str, EvaluationReport]
    by_distance: Mapping[str, EvaluationReport]
    by_visible_share: Mapping[str, EvaluationReport] | None
    """None where no scene says how much of its objects is seen."""
    reliability: Reliability
    pce: Pce
    other_rules: OtherRules | None
    """None for merged views, of which no network output is kept."""
    confusion: Mapping[str, Mapping[str, int]]  # of detections from `REPORTED`
    worst: tuple[WorstScene, ...]

    def to_dict(self) -> dict[str, object]:
        """What `scores` do not hold, as plain JSON values; null where there is nothing to say."""
        return {
            "precision_at_recall": {
                "recall": RECALL_LEVELS.round(2).tolist(),
                **{f"iou{100 * iou:.0f}": self._curves(iou) for iou in IOU_THRESHOLDS},
            },
            "reliability": self.reliability.to_dict(),
            "pce": self._pce(),
            **(NO_OTHER_RULES if self.other_rules is None else self.other_rules.to_dict()),
            "confusion": {"least_score": REPORTED, "taken_for": self.confusion},
            "by_size": {name: part.to_dict() for name, part in self.by_size.items()},
            "by_distance": {
                "edges_m": list(DISTANCE_EDGES_M),
                **{name: part.to_dict() for name, part in self.by_distance.items()},
            },
            "by_visible_share": None
            if self.by_visible_share is None
            else {
                "edges": list(SEEN_EDGES),
                **{name: part.to_dict() for name, part in self.by_visible_share.items()},
            },
            "worst": [scene.to_dict() for scene in self.worst],
        }

    def _pce(self) -> dict[str, object]:
        rows = zip(self.answers.classes, self.pce.per_class.tolist(), strict=True)
        return {
            "mean": plain_number(self.pce.mean),
            "detections_of_a_class": MOST_CONFIDENT,
            "per_class": {name: plain_number(value) for name, value in rows},
        }

    def _curves(self, iou: float) -> dict[str, list[float]]:
        """Of the classes that occur in the ground truth."""
        answers = self.answers
        (ranked,) = rankings(answers.found, answers.truth, len(answers.classes), iou)
        return {
            name: each.precision_at(RECALL_LEVELS).round(4).tolist()
            for name, each in zip(answers.classes, ranked, strict=True)
            if each.num_truth.sum() > 0
        }


def analyse(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
    assigner: Assigner | None = None,
) -> Analysis:
    """Run the detector over labelled scenes; the first arguments are those of `evaluate.evaluate`.

    `assigner` says whose positives AIC is about, TR3D's where none is given.
    """
    classes, worst = detector.classes, WorstScenes(NUM_WORST)
    under = UnderRules(detector, assigner) if isinstance(detector, Detector) else None

    def watch(sample: Sample, found: Detections) -> None:
        worst(sample, found)
        if under is not None:
            under.watch(sample, found)

    found, truth = found_and_true(under or detector, samples, progress, watch)
    answers = Answers(classes, [each.to("cpu") for each in found], truth)
    matches = match_all(answers.found, truth)
    shares = by_visible_share(answers)
    return Analysis(
        answers,
        report(answers.found, truth, classes, front_classes),
        _scores(by_size(answers)),
        _scores(by_distance(answers)),
        None if shares is None else _scores(shares),
        reliability(matches, classes),
        pce(matches, len(classes), RIGHT_IOU),
        None if under is None else _by_other_rules(under, answers),
        confusion(answers, REPORTED),
        worst.kept,
    )


def _by_other_rules(under: UnderRules, answers: Answers) -> OtherRules:
    by_overlap, bounds = (
        _scores(
            {name: Answers(answers.classes, each, answers.truth) for name, each in found.items()}
        )
        for found in (under.by_overlap, under.bounds)
    )
    return OtherRules(by_overlap, bounds, under.aic.value, under.aic.num_positives, under.assigner)


def _scores(parts: Mapping[str, Answers]) -> dict[str, EvaluationReport]:
    return {name: report(part.found, part.truth, part.classes) for name, part in parts.items()}
