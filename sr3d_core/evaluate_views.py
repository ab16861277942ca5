"""Average precision with its spread: the same scenes scored in several views.

Each view is the whole data set turned by a quarter turn or mirrored: the same rooms to anyone but
a network. Where two weights files differ by no more than what a figure moves by from view to view,
the difference says nothing. Spreads are standard deviations of a sample (N - 1), since the views
stand for all others. What other scenes would give is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from sr3d_core.detector import seen_by
from sr3d_core.evaluate import (
    FIGURES,
    MEAN_FIGURES,
    EvaluationReport,
    FindsObjects,
    fronts_as_json,
    percent,
    plain_number,
    report,
    table_of,
)
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.geometry.turns import Turn, turns
from sr3d_core.right_fronts import RightFronts
from sr3d_core.structures import Detections, Sample, Targets


@dataclass(frozen=True, slots=True, eq=False)
class ViewsReport:
    """What an evaluation found in each of several views of the same scenes, two at least."""

    views: tuple[EvaluationReport, ...]

    @property
    def fronts(self) -> dict[str, RightFronts]:
        """As of the view that is not turned: labels that are lose which side is the front."""
        return self.views[0].fronts

    def spread(self, index: int | None) -> tuple[tuple[float, float], ...]:
        """Mean and standard deviation over the views of what `EvaluationReport.figures` gives."""
        return spread_of(self.views, index)

    def to_dict(self) -> dict[str, object]:
        """As of one `EvaluationReport`, each figure the mean over the views.

        Beside it stands its standard deviation, `map25_std` beside `map25` and so on; `num_views`
        says over how many views.
        """
        first = self.views[0]
        rows = {
            name: {
                "boxes": int(first.ap25.num_truth[index]),
                **_by_name(FIGURES, self.spread(index)),
            }
            for index, name in enumerate(first.classes)
        }
        return {
            "num_scenes": first.num_scenes,
            "num_views": len(self.views),
            **_by_name(MEAN_FIGURES, self.spread(None)),
            "per_class": rows,
            **fronts_as_json(self.fronts),
        }

    def table(self) -> Table:
        """The report as a table for the terminal, in percent: mean ± standard deviation."""
        first = self.views[0]
        title = (
            f"Average precision over {first.num_scenes} scenes (%), mean and standard deviation "
            f"over {len(self.views)} views"
        )

        def cells(index: int | None) -> Iterator[str]:
            for mean, deviation in self.spread(index):
                text = percent(mean)
                yield text if text == "-" else f"{text} ± {percent(deviation)}"

        return table_of(first, title, cells)


def spread_of(
    reports: Sequence[EvaluationReport], index: int | None
) -> tuple[tuple[float, float], ...]:
    """Mean and standard deviation of the figures of several reports, two at least."""
    figures = zip(*(each.figures(index) for each in reports), strict=True)
    return tuple((float(np.mean(values)), float(np.std(values, ddof=1))) for values in figures)


def evaluate_in_views(
    detector: FindsObjects,
    samples: Iterable[Sample],
    num_views: int,
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
) -> ViewsReport:
    """Score a detector on labelled scenes in 2, 4 or 8 views.

    Labels of the samples index `detector.classes`; `progress` is told how many scenes are done.
    Fronts of `front_classes` are asked about in the first view, which is not turned.
    Raises ValueError for another number of views.
    """
    if num_views == 1:
        raise ValueError("1 view has no spread, expected 2, 4 or 8; use evaluate")
    views = turns(num_views)
    detections: list[list[Detections]] = [[] for _ in views]
    targets: list[list[Targets]] = [[] for _ in views]
    for done, sample in enumerate(samples, start=1):
        for turn, found, truth in zip(views, detections, targets, strict=True):
            turned = turned_sample(sample, turn)  # its cloud and boxes; images stay behind
            found.append(detector.detect(seen_by(detector, turned)))
            truth.append(turned.targets.to("cpu"))
        if progress is not None:
            progress(done)
    asked = (front_classes, *[()] * (num_views - 1))
    return ViewsReport(
        tuple(
            report(found, truth, detector.classes, fronts)
            for found, truth, fronts in zip(detections, targets, asked, strict=True)
        )
    )


def turned_sample(sample: Sample, turn: Turn) -> Sample:
    """A scene turned about the origin that a detector sees, see `geometry.origin`."""
    cloud, origin = near_zero(sample.cloud)
    targets = sample.targets.map_boxes(lambda boxes: turn.boxes(moved(boxes, -origin)))
    return Sample(turn.cloud(cloud), targets, sample.name)


def _by_name(
    names: Sequence[str], spreads: Sequence[tuple[float, float]]
) -> dict[str, float | None]:
    """Means under their names, deviations beside them."""
    named: dict[str, float | None] = {}
    for name, (mean, deviation) in zip(names, spreads, strict=True):
        named |= {name: plain_number(mean), f"{name}_std": plain_number(deviation)}
    return named
