"""Ground truth for a recording.

Two forms of one JSON file; boxes are upright in `frame`, metres and radians:

    {"frame": "map", "static": [{"class": "chair", "center": [x, y, z], "size": [dx, dy, dz],
                                 "yaw": 0.0}]}
    {"frame": "base_link", "frames": [{"stamp_ns": 17, "boxes": [...]}, {"stamp": 17.5, ...}]}

Static boxes stand still in a fixed frame; they are carried into the detection frame at each
cloud's stamp. A static box counts in a frame only if at least `min_points` points of the cloud
lie in it; detections on boxes that do not count are neither right nor wrong.
Boxes by stamp all count; clouds without an entry are not scored. `"classes"` may name the classes
that were annotated: detections of other classes are then left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sr3d_core.geometry.boxes import points_in_boxes, transform_boxes
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.records import BoxRecord, Record, RecordError, read_records, targets_of
from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_ros.bag.replay import ReplayError
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.rigid import Matrix, rigid_inverse
from sr3d_ros.tf.source import TransformSource

MAX_TILT_RAD = math.radians(5.0)
"""Two gravity-aligned frames may differ this much, as a rocking base does from the map."""

STAMP_TOLERANCE_NS = 1_000_000
"""Stamps written as decimal seconds are rounded; clouds come at least 10 ms apart."""

_IGNORED_IOU = 0.25


class _Stamped(Record):
    stamp_ns: int | None = None
    stamp: float | None = None  # seconds
    boxes: list[BoxRecord]

    @model_validator(mode="after")
    def _has_one_stamp(self) -> _Stamped:
        if (self.stamp_ns is None) == (self.stamp is None):
            raise ValueError("expected either stamp_ns or stamp (seconds)")
        return self

    @property
    def time_ns(self) -> int:
        return self.stamp_ns if self.stamp_ns is not None else round((self.stamp or 0.0) * 1e9)


class _File(Record):
    frame: str = Field(min_length=1)
    classes: list[str] | None = None
    static: list[BoxRecord] | None = None
    frames: list[_Stamped] | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> _File:
        if (self.static is None) == (self.frames is None):
            raise ValueError("expected either 'static' (boxes) or 'frames' (boxes by stamp)")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFrame:
    """One frame as the evaluation takes it, both in the detection frame."""

    detections: Detections
    targets: Targets


class BagTruth:
    """Ground truth of a recording; read it with `load`."""

    def __init__(self, truth: _File, classes: Sequence[str], min_points: int) -> None:
        self.frame = truth.frame
        self._min_points = min_points
        self._annotated = [
            index
            for index, name in enumerate(classes)
            if truth.classes is None or name in truth.classes
        ]
        self._static = None if truth.static is None else _targets(truth.static, classes)
        stamped = truth.frames or []
        self._stamps_ns = np.array([entry.time_ns for entry in stamped], dtype=np.int64)
        self._stamped = [_targets(entry.boxes, classes) for entry in stamped]

    @classmethod
    def load(cls, path: str | Path, classes: Sequence[str], min_points: int = 20) -> BagTruth:
        """Read and check a file; `classes` is the label space of the detector."""
        path = Path(path)
        try:
            truth = read_records(path, _File)
        except OSError as error:
            raise ReplayError(f"{path}: cannot be read ({error.strerror})") from error
        except RecordError as error:
            raise ReplayError(f"{error}; see sr3d bag eval --help") from error
        boxes = (truth.static or []) + [b for f in truth.frames or [] for b in f.boxes]
        named = {box.class_name for box in boxes} | set(truth.classes or [])
        unknown = sorted(named - set(classes))
        if unknown:
            raise ReplayError(
                f"{path}: classes {', '.join(unknown)} are not among those of the model: "
                f"{', '.join(classes)}; rename or remove them"
            )
        return cls(truth, classes, min_points)

    def score(self, result: FrameResult, transforms: TransformSource) -> ScoredFrame | None:
        """What to compare in one frame; None where there is no ground truth for its stamp.

        Raises `TransformError` where the ground truth's frame is not known at the stamp, and
        `ReplayError` where that frame is not gravity-aligned.
        """
        truth = self._at(result.stamp_ns)
        if truth is None:
            return None
        output_from_truth = transforms.lookup(result.frame_id, self.frame, result.stamp_ns)
        gravity_from_truth = rigid_inverse(result.output_from_gravity) @ output_from_truth
        boxes = transform_boxes(truth.boxes, _level(gravity_from_truth, self.frame, result))
        xyz = result.cloud.xyz
        boxes = Boxes3D.from_array(boxes.array.to(xyz.dtype))  # so that faces round as points do
        targets = Targets(boxes, truth.labels)
        found = result.detections[_is_among(result.detections.labels, self._annotated)]
        if self._static is None:
            return ScoredFrame(found, targets)
        is_seen = points_in_boxes(xyz, boxes).sum(dim=0) >= self._min_points
        ignored, counted = targets[~is_seen], targets[is_seen]
        return ScoredFrame(found[~_is_on(found, ignored, counted)], counted)

    def _at(self, stamp_ns: int) -> Targets | None:
        if self._static is not None:
            return self._static
        if len(self._stamps_ns) == 0:
            return None
        nearest = int(np.argmin(np.abs(self._stamps_ns - stamp_ns)))
        if abs(int(self._stamps_ns[nearest]) - stamp_ns) > STAMP_TOLERANCE_NS:
            return None
        return self._stamped[nearest]


def _targets(boxes: Sequence[BoxRecord], classes: Sequence[str]) -> Targets:
    """In float64: a map's frame may be far away."""
    return targets_of(boxes, classes, torch.float64)


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
    heading_rad = math.atan2(rotation[1, 0], rotation[0, 0])
    level = np.eye(4)
    level[:2, :2] = [
        [math.cos(heading_rad), -math.sin(heading_rad)],
        [math.sin(heading_rad), math.cos(heading_rad)],
    ]
    level[:3, 3] = gravity_from_truth[:3, 3]
    return torch.from_numpy(level)


def _is_among(labels: Tensor, wanted: Sequence[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(wanted, dtype=labels.dtype))


def _is_on(found: Detections, ignored: Targets, counted: Targets) -> Tensor:
    """Which detections belong to an ignored box rather than to one that counts."""
    return (_best_iou(found, ignored) > _IGNORED_IOU) & (
        _best_iou(found, ignored) > _best_iou(found, counted)
    )


def _best_iou(found: Detections, targets: Targets) -> Tensor:
    """Overlap of each detection with the best box of its class; 0 where there is none."""
    if len(found) == 0 or len(targets) == 0:
        return torch.zeros(len(found))
    overlap = pairwise_iou(found.boxes, targets.boxes)
    is_same = found.labels[:, None] == targets.labels[None, :]
    return torch.where(is_same, overlap, 0.0).amax(dim=1)
