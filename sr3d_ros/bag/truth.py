"""Scoring a recording against its ground truth.

Static boxes stand still in a fixed frame; they are carried into the detection frame at each
cloud's stamp. A static box counts in a frame only if at least `min_points` points of the cloud
lie in it; detections on boxes that do not count are neither right nor wrong.
Boxes by stamp all count but for those with `"ignored": true`; clouds without an entry are not
scored. `"classes"` may name the classes that were annotated: detections of other classes are then
left out. `truth_file.py` reads the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.boxes import points_in_boxes, transform_boxes
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.records import LabelRecord, targets_of
from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.truth_file import STAMP_TOLERANCE_NS, TruthFile, read_truth
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.rigid import Matrix, rigid_inverse, without_tilt
from sr3d_ros.tf.source import TransformSource

MAX_TILT_RAD = math.radians(5.0)
"""Two gravity-aligned frames may differ this much, as a rocking base does from the map."""

_IGNORED_IOU = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class FrameTruth:
    """What is to be found in one frame, in the detection frame."""

    targets: Targets
    objects: tuple[str, ...]  # which object each target is, "" = not known
    unseen: Targets  # boxes that do not count
    is_counted: Tensor  # which of the ground truth's boxes are among the targets
    annotated: tuple[int, ...] | None = None  # labels of the classes that were; None: all

    @classmethod
    def where_seen(
        cls,
        targets: Targets,
        objects: Sequence[str],
        is_seen: Tensor,
        annotated: tuple[int, ...] | None = None,
    ) -> FrameTruth:
        """Of all boxes those that are seen are to be found."""
        chosen = tuple(objects[row] for row in is_seen.nonzero()[:, 0].tolist())
        return cls(targets[is_seen], chosen, targets[~is_seen], is_seen, annotated)

    def is_judged(self, found: Detections) -> Tensor:
        """Which detections are right or wrong: not those of an unseen box, or of other classes."""
        is_judged = ~_is_on(found, self.unseen, self.targets)
        if self.annotated is not None:
            wanted = torch.tensor(self.annotated, dtype=found.labels.dtype)
            is_judged &= torch.isin(found.labels, wanted)
        return is_judged


class BagTruth:
    """Ground truth of a recording; read it with `load`."""

    def __init__(self, truth: TruthFile, classes: Sequence[str], min_points: int) -> None:
        self.frame = truth.frame
        self._min_points = min_points
        self._annotated = None
        if truth.classes is not None:
            named = truth.classes
            self._annotated = tuple(row for row, name in enumerate(classes) if name in named)
        self._static = None if truth.static is None else _Boxes.of(truth.static, classes, True)
        stamped = truth.by_stamp()
        self._stamps_ns = np.array(list(stamped), dtype=np.int64)
        self._stamped = [_Boxes.of(boxes, classes, False) for boxes in stamped.values()]

    @classmethod
    def load(cls, path: str | Path, classes: Sequence[str], min_points: int = 20) -> BagTruth:
        """Read and check a file; `classes` is the label space of the detector."""
        truth = read_truth(Path(path), classes)
        return cls(truth, classes, min_points)

    def num_without_cloud(self, stamps_ns: Sequence[int]) -> int:
        """How many of the stamps with boxes none of these clouds has."""
        return num_without(self._stamps_ns, stamps_ns)

    def num_never_counted(self, frames: Sequence[FrameTruth]) -> int:
        """How many of the static boxes count in none of some frames."""
        if self._static is None or not frames:
            return 0
        return int((~torch.stack([frame.is_counted for frame in frames]).any(dim=0)).sum())

    def at(self, result: FrameResult, transforms: TransformSource) -> FrameTruth | None:
        """What is to be found in one frame; None where there is no ground truth for its stamp.

        Raises `TransformError` where the ground truth's frame is not known at the stamp, and
        `ReplayError` where that frame is not gravity-aligned.
        """
        truth = self._at(result.stamp_ns)
        if truth is None:
            return None
        output_from_truth = transforms.lookup(result.frame_id, self.frame, result.stamp_ns)
        gravity_from_truth = rigid_inverse(result.output_from_gravity) @ output_from_truth
        level, xyz = _level(gravity_from_truth, self.frame, result), result.cloud.xyz

        def placed(boxes: Boxes3D) -> Boxes3D:
            # In the points' precision, so that faces round as points do.
            return Boxes3D.from_array(transform_boxes(boxes, level).array.to(xyz.dtype))

        targets = truth.targets.map_boxes(placed)
        is_seen = torch.ones(len(targets), dtype=torch.bool)
        if self._static is not None:
            is_seen = points_in_boxes(xyz, targets.boxes).sum(dim=0) >= self._min_points
        return FrameTruth.where_seen(targets, truth.objects, is_seen, self._annotated)

    def _at(self, stamp_ns: int) -> _Boxes | None:
        if self._static is not None:
            return self._static
        if len(self._stamps_ns) == 0:
            return None
        nearest = int(np.argmin(np.abs(self._stamps_ns - stamp_ns)))
        if abs(int(self._stamps_ns[nearest]) - stamp_ns) > STAMP_TOLERANCE_NS:
            return None
        return self._stamped[nearest]


class Truth(Protocol):
    """What frames are compared with."""

    def at(self, result: FrameResult, transforms: TransformSource) -> FrameTruth | None:
        """See `BagTruth.at`."""
        ...

    def num_without_cloud(self, stamps_ns: Sequence[int]) -> int:
        """See `BagTruth.num_without_cloud`."""
        ...

    def num_never_counted(self, frames: Sequence[FrameTruth]) -> int:
        """See `BagTruth.num_never_counted`."""
        ...


def num_without(truth_ns: NDArray[np.int64], clouds_ns: Sequence[int]) -> int:
    """How many stamps of the ground truth no cloud has."""
    clouds = np.sort(np.array(clouds_ns, dtype=np.int64))
    first = np.searchsorted(clouds, truth_ns - STAMP_TOLERANCE_NS, side="left")
    last = np.searchsorted(clouds, truth_ns + STAMP_TOLERANCE_NS, side="right")
    return int((first == last).sum())


class _Boxes(NamedTuple):
    """Boxes of a file, and which objects they are."""

    targets: Targets
    objects: tuple[str, ...]

    @classmethod
    def of(cls, boxes: Sequence[LabelRecord], classes: Sequence[str], is_static: bool) -> _Boxes:
        """In float64: a map's frame may be far away. What stands still needs no id of its own."""
        objects = [
            box.id or (f"{box.class_name} {number}" if is_static else "")
            for number, box in enumerate(boxes)
            if box.class_name in classes and not box.ignored
        ]
        return cls(targets_of(boxes, classes, torch.float64), tuple(objects))


def _level(gravity_from_truth: Matrix, truth_frame: str, result: FrameResult) -> Tensor:
    """The transform with its small tilt taken out, because boxes stay upright."""
    rotation = gravity_from_truth[:3, :3]
    tilt_rad = math.acos(min(1.0, max(-1.0, float(rotation[2, 2]))))
    if tilt_rad > MAX_TILT_RAD:
        raise ReplayError(
            f"ground truth in '{truth_frame}': tilted by {math.degrees(tilt_rad):.0f} degrees "
            f"against the detection frame '{result.gravity_frame}', expected two z-up frames; "
            "choose --detection-frame or give the boxes in a z-up frame"
        )
    return torch.from_numpy(without_tilt(gravity_from_truth))


def _is_on(found: Detections, unseen: Targets, counted: Targets) -> Tensor:
    """Which detections belong to an unseen box rather than to one that counts."""
    on_unseen = _best_iou(found, unseen)
    return (on_unseen > _IGNORED_IOU) & (on_unseen > _best_iou(found, counted))


def _best_iou(found: Detections, targets: Targets) -> Tensor:
    """Overlap of each detection with the best box of its class; 0 where there is none."""
    if len(found) == 0 or len(targets) == 0:
        return torch.zeros(len(found))
    overlap = pairwise_iou(found.boxes, targets.boxes)
    is_same = found.labels[:, None] == targets.labels[None, :]
    return torch.where(is_same, overlap, 0.0).amax(dim=1)
