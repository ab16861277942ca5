"""Average precision with its spread: the same scenes scored in several views.

Each view is the whole data set turned by a quarter turn or mirrored: the same rooms to anyone but
a network. Where two weights files differ by no more than what a figure moves by from view to view,
the difference says nothing. What other scenes would give is not in these spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sr3d_core.detector import seen_by
from sr3d_core.evaluate import FindsObjects, report
from sr3d_core.evaluate_several import SeveralReports
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.geometry.turns import Turn, turns
from sr3d_core.structures import Detections, Sample, Targets


class ViewsReport(SeveralReports):
    """What was found in each of several views; fronts are those of the first, not turned one.

    Labels that are turned lose which side is the front.
    """

    looks = "views"


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
