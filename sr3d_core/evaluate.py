"""Average precision of detected boxes, by the protocol of the indoor benchmarks.

Per class, over all scenes: detections sorted by falling score, each right or wrong as `matches`
says. AP is the area under the precision envelope (all points, as in VOC 2010 and later); recall is
the share of boxes found in the end.
Means run over the classes that occur in the ground truth: a class that is detected but never
there has no AP.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from rich.table import Table
from scipy.sparse import csr_array
from torch import Tensor

from sr3d_core.config import Evaluation
from sr3d_core.detector import Postprocess, seen_by
from sr3d_core.matches import Matches, match_all
from sr3d_core.right_fronts import RightFronts, right_fronts
from sr3d_core.structures import Detections, Sample, Targets

IOU_THRESHOLDS = (0.25, 0.5)
"""The two thresholds that the indoor benchmarks report."""

FIGURES = ("ap25", "ap50", "recall25", "recall50")
"""What is reported of each class, by its name in JSON."""

MEAN_FIGURES = ("map25", "map50", "mean_recall25", "mean_recall50")
"""The names of their means over the classes."""


class FindsObjects(Protocol):
    """What can be evaluated: `Detector`, or anything that answers like it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        ...

    def detect(self, seen: Any, /) -> Detections:
        """The objects in a cloud of one scene, or in one image where it takes images."""
        ...


class DetectorRules(TypedDict):
    """Arguments of a `Detector`."""

    postprocess: Postprocess
    max_points: int


def detector_rules(evaluation: Evaluation) -> DetectorRules:
    """How the detector looks at scenes that are scored as a configuration says."""
    return {
        "postprocess": Postprocess(nms=evaluation.nms),
        "max_points": evaluation.max_points or sys.maxsize,
    }


@dataclass(frozen=True, slots=True, eq=False)
class AveragePrecision:
    """Average precision and recall per class at one overlap threshold."""

    iou: float
    per_class: Float[Tensor, " K"]  # 0..1, NaN where the ground truth has no such box
    recall: Float[Tensor, " K"]  # 0..1, NaN likewise
    num_truth: Int[Tensor, " K"]  # ground-truth boxes of each class

    @property
    def mean(self) -> float:
        """Mean AP over the classes that occur in the ground truth; NaN where none does."""
        return float(self.per_class.nanmean())

    @property
    def mean_recall(self) -> float:
        """Mean recall over the same classes."""
        return float(self.recall.nanmean())


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Detections of one class by falling score; those that are neither right nor wrong left out.

    `weight` says how often each scene counts, one row for each way of counting; None = once.
    """

    scores: Float[ndarray, " D"]
    scene: Int[ndarray, " D"]
    is_right: Bool[ndarray, " D"]
    num_truth: Int[ndarray, " S"]  # ground-truth boxes of each scene

    def curve(
        self, weight: Int[ndarray, "B S"] | None = None
    ) -> tuple[Float[ndarray, "B D"], Float[ndarray, "B D"]]:
        """Recall and precision down to each detection; recall is NaN without ground truth."""
        weight = np.ones((1, len(self.num_truth)), np.int64) if weight is None else weight
        often = weight[:, self.scene]
        hits = np.cumsum(often * self.is_right, axis=1)
        total = np.maximum(np.cumsum(often, axis=1), 1)
        count = (weight @ self.num_truth)[:, None]
        return hits / np.where(count > 0, count, np.nan), hits / total

    def average_precision(self, weight: Int[ndarray, "B S"] | None = None) -> Float[ndarray, " B"]:
        """Area under the precision envelope: at each recall the best precision from there on.

        Only at right detections does recall grow, and precision is best: the others count in the
        totals alone, which is what makes a thousand ways of counting quick.
        """
        if weight is None:
            weight = np.ones((1, len(self.num_truth)), np.int64)
        right = np.flatnonzero(self.is_right)
        often = weight[:, self.scene[right]]
        hits = np.cumsum(often, axis=1)
        precisions = hits / np.maximum(np.cumsum(self._since_last(right) @ weight.T, axis=0).T, 1)
        count = (weight @ self.num_truth)[:, None]
        steps = often / np.where(count > 0, count, np.nan)
        area: Float[ndarray, " B"] = (steps * _envelope(precisions)).sum(axis=1)
        return area

    def _since_last(self, right: Int[ndarray, " R"]) -> csr_array:
        """For each right detection how many of each scene came after the one before, up to it."""
        num_before = right[-1] + 1 if len(right) else 0
        row = np.searchsorted(right, np.arange(num_before))
        once = np.ones(num_before, np.int64)
        shape = (len(right), len(self.num_truth))
        return csr_array((once, (row, self.scene[:num_before])), shape=shape)

    def precision_at(self, recall: Float[ndarray, " L"]) -> Float[ndarray, " L"]:
        """The best precision from each recall on, 0 where so much is never found."""
        (recalls,), precisions = self.curve()
        envelope = np.append(_envelope(precisions)[0], 0.0)
        # Shares such as 3 / 10 and the levels asked for are rounded differently.
        return envelope[np.searchsorted(recalls, recall - 1e-9)]


def _envelope(precisions: Float[ndarray, "B D"]) -> Float[ndarray, "B D"]:
    """The best precision down from each detection."""
    return np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]


def average_precision(
    detections: Sequence[Detections], targets: Sequence[Targets], num_classes: int, iou: float
) -> AveragePrecision:
    """Average precision at one threshold; entry i of both lists belongs to scene i.

    Raises ValueError where the lists differ in length or a label is outside 0..num_classes-1.
    """
    (ranked,) = rankings(detections, targets, num_classes, iou)
    return _score(ranked, iou)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationReport:
    """What an evaluation found."""

    classes: tuple[str, ...]
    num_scenes: int
    ap25: AveragePrecision
    ap50: AveragePrecision
    fronts: dict[str, RightFronts] = field(default_factory=dict)
    """Of the classes that were asked about."""

    def figures(self, index: int | None) -> tuple[float, ...]:
        """`FIGURES` of one class, or their means (None); NaN without ground truth."""
        both = (self.ap25, self.ap50)
        if index is None:
            return (*(ap.mean for ap in both), *(ap.mean_recall for ap in both))
        of_class = (*(ap.per_class for ap in both), *(ap.recall for ap in both))
        return tuple(float(values[index]) for values in of_class)

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON values; a class without ground truth has null."""
        rows = {
            name: {
                "boxes": int(self.ap25.num_truth[index]),
                **dict(zip(FIGURES, map(plain_number, self.figures(index)), strict=True)),
            }
            for index, name in enumerate(self.classes)
        }
        means = map(plain_number, self.figures(None))
        return {
            "num_scenes": self.num_scenes,
            **dict(zip(MEAN_FIGURES, means, strict=True)),
            "per_class": rows,
            **fronts_as_json(self.fronts),
        }

    def table(self) -> Table:
        """The report as a table for the terminal, in percent."""
        title = f"Average precision over {self.num_scenes} scenes (%)"
        return table_of(self, title, lambda index: map(percent, self.figures(index)))


def table_of(
    report: EvaluationReport, title: str, cells: Callable[[int | None], Iterable[str]]
) -> Table:
    """A table with a row for each class and one for their means; `cells` writes `FIGURES`."""
    table = Table(title=title)
    table.add_column(HEAD[0])
    for heading in HEAD[1:]:
        table.add_column(heading, justify="right")
    for index, name in enumerate(report.classes):
        table.add_row(name, str(int(report.ap25.num_truth[index])), *cells(index))
    table.add_section()
    table.add_row("mean", str(int(report.ap25.num_truth.sum())), *cells(None))
    return table


HEAD = ("class", "boxes", "AP25", "AP50", "recall25", "recall50")
"""Of `rows_of`."""


def rows_of(report: EvaluationReport) -> list[tuple[object, ...]]:
    """A row of text for each class that has boxes, in percent, and one for the means."""
    num_truth = report.ap25.num_truth
    rows: list[tuple[object, ...]] = [
        (name, int(num_truth[index]), *map(percent, report.figures(index)))
        for index, name in enumerate(report.classes)
        if num_truth[index]
    ]
    return [*rows, ("mean", int(num_truth.sum()), *map(percent, report.figures(None)))]


def report(
    detections: Sequence[Detections],
    targets: Sequence[Targets],
    classes: tuple[str, ...],
    front_classes: Sequence[str] = (),
) -> EvaluationReport:
    """Both thresholds at once; entry i of both lists belongs to scene i.

    Of `front_classes` the report says how often yaw points out of the front, as in the labels.
    """
    matches, num_truth = _matched(detections, targets, len(classes))
    ap25, ap50 = (_score(_ranked(matches, num_truth, iou), iou) for iou in IOU_THRESHOLDS)
    fronts = right_fronts(matches, detections, targets, classes, front_classes, IOU_THRESHOLDS[0])
    return EvaluationReport(classes, len(targets), ap25, ap50, fronts)


def rankings(
    detections: Sequence[Detections], targets: Sequence[Targets], num_classes: int, *ious: float
) -> tuple[list[Ranking], ...]:
    """For each threshold one `Ranking` of each class; entry i of both lists belongs to scene i.

    Raises ValueError where the lists differ in length or a label is outside 0..num_classes-1.
    """
    matches, num_truth = _matched(detections, targets, num_classes)
    return tuple(_ranked(matches, num_truth, iou) for iou in ious)


def evaluate(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
) -> EvaluationReport:
    """Run the detector over labelled scenes and score it; `progress` is told how many are done.

    Labels of the samples index `detector.classes`; `front_classes` as for `report`.
    """
    detections, targets = found_and_true(detector, samples, progress)
    return report(detections, targets, detector.classes, front_classes)


def found_and_true(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
    watch: Callable[[Sample, Detections], object] | None = None,
) -> tuple[list[Detections], list[Targets]]:
    """What is found in each scene and what is there, on the CPU.

    `watch` sees each scene with what is found in it; clouds are not kept otherwise.
    """
    detections, targets = [], []
    for sample in samples:
        detections.append(detector.detect(seen_by(detector, sample)))
        if watch is not None:
            watch(sample, detections[-1])
        targets.append(sample.targets.to("cpu"))
        if progress is not None:
            progress(len(targets))
    return detections, targets


def _check_scenes(
    detections: Sequence[Detections], targets: Sequence[Targets], num_classes: int
) -> None:
    if len(detections) != len(targets):
        raise ValueError(
            f"{len(detections)} scenes of detections, {len(targets)} of ground truth; "
            "expected one entry of each per scene"
        )
    all_labels = {
        "detections": [found.labels for found in detections],
        "targets": [target.labels for target in targets],
    }
    for what, records in all_labels.items():
        for scene, labels in enumerate(records):
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
                raise ValueError(
                    f"{what} of scene {scene}: labels {int(labels.min())}..{int(labels.max())}, "
                    f"expected 0..{num_classes - 1}; do both sides use the same class list?"
                )


def _matched(
    detections: Sequence[Detections], targets: Sequence[Targets], num_classes: int
) -> tuple[Matches, Int[ndarray, "S K"]]:
    """All matches, and how many boxes of each class every scene holds."""
    _check_scenes(detections, targets, num_classes)
    counts = np.array([_count(each, num_classes) for each in targets], np.int64)
    return match_all(detections, targets), counts.reshape(-1, num_classes)


def _count(target: Targets, num_classes: int) -> Int[ndarray, " K"]:
    return np.bincount(target.labels.cpu().numpy(), minlength=num_classes)


def _ranked(matches: Matches, num_truth: Int[ndarray, "S K"], iou: float) -> list[Ranking]:
    is_scored, is_right = matches.is_scored(iou), matches.is_right(iou)
    ranked = []
    for label in range(num_truth.shape[1]):
        rows = np.flatnonzero((matches.labels == label) & is_scored)
        rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
        scores, scene = matches.scores[rows], matches.scene[rows]
        ranked.append(Ranking(scores, scene, is_right[rows], num_truth[:, label]))
    return ranked


def _score(ranked: Sequence[Ranking], iou: float) -> AveragePrecision:
    num_truth = torch.tensor([int(each.num_truth.sum()) for each in ranked], dtype=torch.int64)
    per_class = torch.full((len(ranked),), math.nan, dtype=torch.float64)
    recall = per_class.clone()
    for label, each in enumerate(ranked):
        if num_truth[label] > 0:
            per_class[label] = float(each.average_precision()[0])
            recalls = each.curve()[0][0]
            recall[label] = float(recalls[-1]) if len(recalls) else 0.0
    return AveragePrecision(iou, per_class, recall, num_truth)


def fronts_as_json(fronts: Mapping[str, RightFronts]) -> dict[str, object]:
    """Right fronts under "fronts", by class; nothing where none were asked about."""
    rows = {
        name: {"matched": of_class.num_matched, "right": plain_number(of_class.share)}
        for name, of_class in fronts.items()
    }
    return {"fronts": rows} if rows else {}


def fronts_table(fronts: Mapping[str, RightFronts]) -> Table:
    """The same for the terminal, in percent."""
    table = Table(title=f"Fronts within 45 degrees, of boxes found at overlap {IOU_THRESHOLDS[0]}")
    table.add_column("class")
    for heading in ("found", "right (%)"):
        table.add_column(heading, justify="right")
    for name, of_class in fronts.items():
        table.add_row(name, str(of_class.num_matched), percent(of_class.share))
    return table


def plain_number(number: float) -> float | None:
    """A figure as JSON has it: null for NaN."""
    return None if math.isnan(number) else round(number, 6)


def percent(number: float) -> str:
    """A share 0..1 as a table has it, - for NaN."""
    return "-" if math.isnan(number) else f"{100 * number:.1f}"
