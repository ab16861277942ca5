"""Scoring what is found in a recording against its ground truth.

Average precision counts every box that the detector gives, however weak. All other figures (per
frame, per object, how steady) are of the boxes that the robot would report: `wanted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sr3d_core.detector import Postprocess
from sr3d_core.evaluate import EvaluationReport, report
from sr3d_core.structures import Detections, Targets
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.figures.objects import ObjectFigures, object_figures
from sr3d_ros.bag.figures.recording import Stability, recall_over_time
from sr3d_ros.bag.figures.sightings import FrameView, viewed
from sr3d_ros.bag.replay import DroppedFrame
from sr3d_ros.bag.run import BagRun, Tally
from sr3d_ros.bag.truth import FrameTruth, Truth
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.detector import postprocess_for
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tracking.identities import Identities

Show = Callable[[FrameResult, Detections, Targets, FrameView], object]
"""Is shown each frame that was scored, with the robot's boxes and what was to be found."""


@dataclass(frozen=True, slots=True, eq=False)
class BagReport:
    """What scoring a recording gave."""

    scores: EvaluationReport
    tally: Tally
    views: tuple[FrameView, ...]  # of the frames that were scored
    objects: tuple[ObjectFigures, ...]  # of those whose names are known
    stability: Stability
    detections: tuple[Detections, ...]  # of the scored frames, weak ones too
    targets: tuple[Targets, ...]
    num_without_truth: int  # frames that were detected in but have no ground truth
    num_truth_unused: int  # stamps with ground truth at which there is no cloud
    num_never_counted: int  # static boxes that no cloud has enough points of

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **self.scores.to_dict(),
            **self.tally.to_dict(),
            "num_without_truth": self.num_without_truth,
            "num_truth_unused": self.num_truth_unused,
            "num_never_counted": self.num_never_counted,
            "frames": [view.to_dict() for view in self.views],
            "objects": [each.to_dict() for each in self.objects],
            "recall_over_time": recall_over_time(self.views),
            "stability": self.stability.to_dict(),
        }


class Scoring:
    """Takes the frames of one detector in, one after the other.

    `wanted` says which boxes the robot would report, None = as the parameters of the run do.
    With `tracking.enabled` they get identities. `show` as `Show`.
    """

    def __init__(
        self,
        run: BagRun,
        truth: Truth,
        wanted: Postprocess | None = None,
        classes: Sequence[str] | None = None,
        show: Show | None = None,
    ) -> None:
        self._run, self._truth, self._show = run, truth, show
        self._classes = tuple(classes or run.classes)
        of_images = run.parameters.kind == "rgb"
        self._wanted = wanted or postprocess_for(
            run.parameters, self._classes, of_images=of_images
        )
        self._identities = Identities(run.transforms)
        self._identities.apply(run.parameters)
        self._tally = Tally(damage=run.bag.notes)
        self._stamps_ns: list[int] = []
        self._num_without_truth = 0
        self._found: list[Detections] = []
        self._truths: list[FrameTruth] = []
        self._views: list[FrameView] = []

    def add(self, frame: FrameResult | DroppedFrame) -> None:
        """The next frame."""
        self._stamps_ns.append(frame.stamp_ns)
        if isinstance(frame, DroppedFrame):
            self._tally.count(frame)
            return
        try:
            truth = self._truth.at(frame, self._run.transforms)
        except TransformError as error:
            self._tally.count(DroppedFrame(frame.stamp_ns, f"truth_{error.reason}", str(error)))
            return
        self._tally.count(frame)
        reported, ids = self._reported(frame)
        if truth is None:
            self._num_without_truth += 1
            return
        self._truths.append(truth)
        self._found.append(frame.detections[truth.is_judged(frame.detections)])
        is_judged = truth.is_judged(reported)
        reported = reported[is_judged]
        ids = [name for name, is_kept in zip(ids, is_judged.tolist(), strict=True) if is_kept]
        about = (frame.stamp_ns, sum(frame.time_ms.values()), frame.num_points)
        view = viewed(reported, ids, truth.targets, truth.objects, about)
        self._views.append(view)
        if self._show is not None:
            self._show(frame, reported, truth.targets, view)

    def report(self) -> BagReport:
        """What all frames gave; raises `ReplayError` where nothing could be compared."""
        self._tally.require_any(self._run)
        if not self._views:
            raise ReplayError(
                f"none of the {self._num_without_truth} clouds of {self._run.topic} has ground "
                "truth at its stamp; compare the stamps with `sr3d bag detect --json`"
            )
        targets = [truth.targets for truth in self._truths]
        objects = object_figures(self._views, self._classes)
        return BagReport(
            scores=report(self._found, targets, self._classes),
            tally=self._tally,
            views=tuple(self._views),
            objects=tuple(objects),
            stability=Stability.of(objects, self._run.parameters.tracking),
            detections=tuple(self._found),
            targets=tuple(targets),
            num_without_truth=self._num_without_truth,
            num_truth_unused=self._truth.num_without_cloud(self._stamps_ns),
            num_never_counted=self._truth.num_never_counted(self._truths),
        )

    def _reported(self, frame: FrameResult) -> tuple[Detections, Sequence[str]]:
        """The boxes that the robot would report, and their identities."""
        found = frame.detections
        found = found[self._wanted.is_wanted(found.scores, found.labels)]
        found = self._wanted.suppressed(found)
        try:
            tracked = self._identities.of(replace(frame, detections=found), self._classes)
        except TransformError as error:
            tracked = None
            self._tally.note(f"no ids where the frame that stands still is not known: {error}")
        return found, [""] * len(found) if tracked is None else tracked.ids


def score_run(
    run: BagRun, scoring: Scoring, progress: Callable[[int], object] | None = None
) -> BagReport:
    """Replay and score every frame; `progress` is told how many clouds are done.

    Raises `ReplayError` where nothing could be compared.
    """
    for done, frame in enumerate(run.frames(), start=1):
        scoring.add(frame)
        if progress is not None:
            progress(done)
    return scoring.report()
