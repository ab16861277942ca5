"""One evaluation with all that is said of it: `sr3d eval --report`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.analysis.answers import DISTANCE_EDGES_M, Answers, by_distance, by_size
from sr3d_core.analysis.confusion import REPORTED, confusion
from sr3d_core.analysis.reliability import Reliability, reliability
from sr3d_core.analysis.worst import WorstScene, WorstScenes
from sr3d_core.evaluate import (
    IOU_THRESHOLDS,
    EvaluationReport,
    FindsObjects,
    found_and_true,
    rankings,
    report,
)
from sr3d_core.matches import match_all
from sr3d_core.structures import Sample

NUM_WORST = 6
"""Scenes that the page shows, at most."""

RECALL_LEVELS: Float[ndarray, " L"] = np.linspace(0, 1, 101)
"""At which the JSON gives the precision."""


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What an evaluation found, and where it fails."""

    answers: Answers
    scores: EvaluationReport
    by_size: Mapping[str, EvaluationReport]
    by_distance: Mapping[str, EvaluationReport]
    reliability: Reliability
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
            "confusion": {"least_score": REPORTED, "taken_for": self.confusion},
            "by_size": {name: part.to_dict() for name, part in self.by_size.items()},
            "by_distance": {
                "edges_m": list(DISTANCE_EDGES_M),
                **{name: part.to_dict() for name, part in self.by_distance.items()},
            },
            "worst": [scene.to_dict() for scene in self.worst],
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
) -> Analysis:
    """Run the detector over labelled scenes; arguments as those of `evaluate.evaluate`."""
    worst = WorstScenes(NUM_WORST)
    found, truth = found_and_true(detector, samples, progress, worst)
    answers = Answers(detector.classes, [each.to("cpu") for each in found], truth)
    return Analysis(
        answers,
        report(answers.found, truth, detector.classes, front_classes),
        _scores(by_size(answers)),
        _scores(by_distance(answers)),
        reliability(match_all(answers.found, truth)),
        confusion(answers, REPORTED),
        worst.kept,
    )


def _scores(parts: Mapping[str, Answers]) -> dict[str, EvaluationReport]:
    return {name: report(part.found, part.truth, part.classes) for name, part in parts.items()}
