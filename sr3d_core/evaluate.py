"""Average precision of detected boxes, by the protocol of the indoor benchmarks.

Per class, over all scenes: detections sorted by falling score; each looks at the ground-truth box
of its class and scene that it overlaps most (3D, yaw respected). It is a true positive if that
overlap exceeds the threshold and nobody with a higher score has claimed the box; a second hit is
a false positive, also where another box overlaps. AP is the area under the precision envelope
(all points, as in VOC 2010 and later); recall is the share of boxes found in the end.
Means run over the classes that occur in the ground truth: a class that is detected but never
there has no AP.
A detection that hits no box to be found, but an ignored one of its class, is neither right nor
wrong. As an ignored object is seen in part, it is hit as well where the share of the detection
inside it exceeds the threshold (as COCO's evaluation treats `iscrowd`, Lin et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.structures import Detections, PointCloud, Sample, Targets

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

    def detect(self, cloud: PointCloud) -> Detections:
        """The objects in a cloud of one scene."""
        ...


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


@dataclass(frozen=True, slots=True)
class RightFronts:
    """How often boxes of one class that were found are turned as their label is."""

    num_matched: int  # true positives at the lower threshold
    num_right: int  # of them, those whose yaw is within 45 degrees of the label's

    @property
    def share(self) -> float:
        """0..1, a quarter by chance; NaN where nothing was found."""
        return self.num_right / self.num_matched if self.num_matched else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """All detections of a data set, each with the box of its class that it overlaps most."""

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    iou: NDArray[np.float64]  # 0 where the scene has no box of that class
    truth: NDArray[np.int64]  # a number that no other ground-truth box shares
    ignored: NDArray[np.float64]  # how well an ignored box of the class is hit, 0..1


def average_precision(
    detections: Sequence[Detections], targets: Sequence[Targets], num_classes: int, iou: float
) -> AveragePrecision:
    """Average precision at one threshold; entry i of both lists belongs to scene i.

    Raises ValueError where the lists differ in length or a label is outside 0..num_classes-1.
    """
    _check_scenes(detections, targets, num_classes)
    return _score(_match_all(detections, targets), _count(targets, num_classes), iou)


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


def table_of(
    report: EvaluationReport, title: str, cells: Callable[[int | None], Iterable[str]]
) -> Table:
    """A table with a row for each class and one for their means; `cells` writes `FIGURES`."""
    table = Table(title=title)
    table.add_column("class")
    for heading in ("boxes", "AP25", "AP50", "recall25", "recall50"):
        table.add_column(heading, justify="right")
    for index, name in enumerate(report.classes):
        table.add_row(name, str(int(report.ap25.num_truth[index])), *cells(index))
    table.add_section()
    table.add_row("mean", str(int(report.ap25.num_truth.sum())), *cells(None))
    return table


def report(
    detections: Sequence[Detections],
    targets: Sequence[Targets],
    classes: tuple[str, ...],
    front_classes: Sequence[str] = (),
) -> EvaluationReport:
    """Both thresholds at once; entry i of both lists belongs to scene i.

    Of `front_classes` the report says how often yaw points out of the front, as in the labels.
    """
    _check_scenes(detections, targets, len(classes))
    matches, counts = _match_all(detections, targets), _count(targets, len(classes))
    ap25, ap50 = (_score(matches, counts, iou) for iou in IOU_THRESHOLDS)
    fronts = {
        name: _right_fronts(matches, classes.index(name), detections, targets)
        for name in front_classes
    }
    return EvaluationReport(classes, len(targets), ap25, ap50, fronts)


def evaluate(
    detector: FindsObjects,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
) -> EvaluationReport:
    """Run the detector over labelled scenes and score it; `progress` is told how many are done.

    Labels of the samples index `detector.classes`; `front_classes` as for `report`.
    """
    detections, targets = [], []
    for sample in samples:
        detections.append(detector.detect(sample.cloud))
        targets.append(sample.targets.to("cpu"))
        if progress is not None:
            progress(len(targets))
    return report(detections, targets, detector.classes, front_classes)


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


def _count(targets: Sequence[Targets], num_classes: int) -> Int[Tensor, " K"]:
    labels = [target.labels.cpu() for target in targets]
    merged = torch.cat(labels) if labels else torch.zeros(0, dtype=torch.int64)
    return torch.bincount(merged, minlength=num_classes)


def _match_all(detections: Sequence[Detections], targets: Sequence[Targets]) -> _Matches:
    """Match scene by scene; ground-truth boxes are numbered through the whole data set."""
    iou, truth, first = [np.zeros(0)], [np.zeros(0, dtype=np.int64)], 0
    ignored = [np.zeros(0)]
    for found, target in zip(detections, targets, strict=True):
        best, index = best_overlap(found.to("cpu"), target.to("cpu"))
        iou.append(best.numpy())
        truth.append(first + index.numpy())
        ignored.append(_share_ignored(found.to("cpu"), target.to("cpu")).numpy())
        first += len(target)
    scores = [found.scores.double().cpu().numpy() for found in detections]
    labels = [found.labels.cpu().numpy() for found in detections]
    return _Matches(
        scores=np.concatenate([np.zeros(0), *scores]),
        labels=np.concatenate([np.zeros(0, dtype=np.int64), *labels]),
        iou=np.concatenate(iou),
        truth=np.concatenate(truth),
        ignored=np.concatenate(ignored),
    )


def best_overlap(
    found: Detections, target: Targets
) -> tuple[Float[Tensor, " D"], Int[Tensor, " D"]]:
    """Overlap with, and index of, the box of the same class that each detection overlaps most."""
    if len(found) == 0 or len(target) == 0:
        zeros = torch.zeros(len(found), dtype=torch.float64)
        return zeros, zeros.long()
    overlap = _overlaps(found, target)
    index = overlap.argmax(dim=1)
    return overlap.gather(1, index[:, None])[:, 0], index


def _overlaps(found: Detections, target: Targets) -> Float[Tensor, "D M"]:
    """IoU of all pairs of one class, 0 of all others."""
    overlap = torch.zeros(len(found), len(target), dtype=torch.float64)
    rows, columns = (found.labels[:, None] == target.labels[None, :]).nonzero(as_tuple=True)
    overlap[rows, columns] = aligned_iou(found.boxes[rows], target.boxes[columns]).double()
    return overlap


def _share_ignored(found: Detections, target: Targets) -> Float[Tensor, " D"]:
    """IoU with an ignored box of the same class, or share of the detection inside, the larger."""
    ignored = target.ignored
    if ignored is None or len(ignored) == 0 or len(found) == 0:
        return torch.zeros(len(found), dtype=torch.float64)
    iou = _overlaps(found, ignored)
    volume = found.boxes.size.double().prod(dim=1)[:, None]
    # From IoU = I / (A + B - I), A the detection's volume: I = IoU (A + B) / (1 + IoU).
    both = volume + ignored.boxes.size.double().prod(dim=1)
    inside = iou * both / (1 + iou) / volume.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.maximum(iou, inside).amax(dim=1)


def _score(matches: _Matches, num_truth: Int[Tensor, " K"], iou: float) -> AveragePrecision:
    per_class = torch.full((len(num_truth),), math.nan, dtype=torch.float64)
    recall = per_class.clone()
    for label, count in enumerate(num_truth.tolist()):
        if count == 0:
            continue
        _, is_true = _true_positives(matches, label, iou)
        hits = np.cumsum(is_true)
        recalls, precisions = hits / count, hits / np.arange(1, len(hits) + 1)
        per_class[label] = _area(recalls, precisions)
        recall[label] = float(recalls[-1]) if len(recalls) else 0.0
    return AveragePrecision(iou, per_class, recall, num_truth)


def _true_positives(
    matches: _Matches, label: int, iou: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The detections of one class by falling score, and whether each is the first to hit its box.

    Those that hit an ignored box only are left out.
    """
    is_scored = (matches.iou > iou) | (matches.ignored <= iou)
    rows = np.flatnonzero((matches.labels == label) & is_scored)
    rows = rows[np.argsort(-matches.scores[rows], kind="stable")]
    hits = np.flatnonzero(matches.iou[rows] > iou)
    _, first = np.unique(matches.truth[rows[hits]], return_index=True)
    is_true = np.zeros(len(rows), dtype=np.bool_)
    is_true[hits[first]] = True
    return rows, is_true


def _right_fronts(
    matches: _Matches, label: int, detections: Sequence[Detections], targets: Sequence[Targets]
) -> RightFronts:
    """Of the true positives at the lower threshold, those whose yaw is near the label's."""
    rows, is_true = _true_positives(matches, label, IOU_THRESHOLDS[0])
    found, truth = (
        torch.cat([torch.zeros(0).double(), *(each.boxes.yaw.double().cpu() for each in records)])
        for records in (detections, targets)
    )
    hits = rows[is_true]
    apart = (found[hits] - truth[matches.truth[hits]]).numpy()
    return RightFronts(len(hits), int((np.cos(apart) >= math.cos(math.pi / 4)).sum()))


def _area(recalls: NDArray[np.float64], precisions: NDArray[np.float64]) -> float:
    """Area under the precision envelope: at each recall the best precision from there on."""
    steps = np.diff(np.concatenate([[0.0], recalls]))
    envelope = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(steps * envelope))


def plain_number(number: float) -> float | None:
    """A figure as JSON has it: null for NaN."""
    return None if math.isnan(number) else round(number, 6)


def percent(number: float) -> str:
    """A share 0..1 as a table has it, - for NaN."""
    return "-" if math.isnan(number) else f"{100 * number:.1f}"
