"""Ground truth that is in the recording: a Detection3DArray, as simulators publish it.

Boxes may be of any frame and turned as they like there, as long as one of their axes is upright
at the stamp of the cloud; which one is found. Class ids are names, or numbers that a LabelInfo in
the recording explains. What the model does not know is left out, and said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D, Targets
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import DETECTIONS_TYPE, LABELS_TYPE, Bag
from sr3d_ros.bag.truth import MAX_TILT_RAD, FrameTruth, num_without
from sr3d_ros.bag.truth_file import STAMP_TOLERANCE_NS
from sr3d_ros.errors import MessageError
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.headers import frame_name, stamp_to_ns
from sr3d_ros.tf.rigid import matrix_of, rigid_inverse
from sr3d_ros.tf.source import TransformSource


class _Box(NamedTuple):
    label: int
    frame: str
    pose: NDArray[np.float64]  # 4x4, frame from box
    size: tuple[float, float, float]
    object_: str  # which one it is, "" = not said


class TopicTruth:
    """Ground truth of a recording, from a topic of it; `notes` say what was left out."""

    def __init__(self, bag: Bag, topic: str, classes: Sequence[str], min_points: int) -> None:
        self.notes: list[str] = []
        self._where = f"{bag.path}: --gt-topic {topic}"
        self._min_points = min_points
        kinds = [t.topic for t in bag.topics if t.type_name == DETECTIONS_TYPE and t.num_messages]
        if topic not in kinds:
            raise ReplayError(
                f"{self._where}: expected a topic of {DETECTIONS_TYPE} with messages; there are: "
                f"{', '.join(kinds) or 'none'}"
            )
        names = _label_names(bag)
        self._frames: dict[int, list[_Box]] = {}
        unknown: Counter[str] = Counter()
        unusable: Counter[str] = Counter()
        for _, _, message in bag.messages(topic):
            if isinstance(message, MessageError):
                unusable[message.reason] += 1
                continue
            boxes = self._frames.setdefault(stamp_to_ns(message.header.stamp), [])
            for entry in message.detections:
                name = _class_of(entry, names)
                if name not in classes:
                    unknown[name] += 1
                    continue
                box = _box(entry, classes.index(name), message.header.frame_id)
                if box is None:
                    unusable["without a size, or a pose that is one"] += 1
                else:
                    boxes.append(box)
        if unknown:
            found = ", ".join(f"{name or '(none)'} ({count})" for name, count in unknown.items())
            if not any(self._frames.values()):
                raise ReplayError(
                    f"{self._where}: no box is of a class of the model; found {found}, expected "
                    f"{', '.join(classes)}; numbers need a LabelInfo in the recording"
                )
            self.notes.append(f"{topic}: boxes of classes that the model lacks: {found}")
        self.notes += [f"{topic}: {count} left out: {why}" for why, count in unusable.items()]
        self._stamps_ns = np.array(sorted(self._frames), np.int64)
        self._forget_shared_ids(topic)

    def _forget_shared_ids(self, topic: str) -> None:
        """An id that two boxes of one message have names no object."""
        shared = {
            name
            for boxes in self._frames.values()
            for name, count in Counter(box.object_ for box in boxes).items()
            if name and count > 1
        }
        if not shared:
            return
        self.notes.append(
            f"{topic}: {len(shared)} ids, such as {min(shared)!r}, are those of several boxes of "
            "one message: there are no figures of these objects"
        )
        for stamp_ns, boxes in self._frames.items():
            self._frames[stamp_ns] = [
                box._replace(object_="") if box.object_ in shared else box for box in boxes
            ]

    def num_without_cloud(self, stamps_ns: Sequence[int]) -> int:
        """How many of the stamps with boxes none of these clouds has."""
        return num_without(self._stamps_ns, stamps_ns)

    def num_never_counted(self, frames: Sequence[FrameTruth]) -> int:
        """None: what stands still is not known."""
        return 0

    def at(self, result: FrameResult, transforms: TransformSource) -> FrameTruth | None:
        """As `BagTruth.at`; a box counts where it holds enough of the cloud's points."""
        place = int(np.searchsorted(self._stamps_ns, result.stamp_ns - STAMP_TOLERANCE_NS))
        stamps = self._stamps_ns[place : place + 1]
        if not len(stamps) or stamps[0] > result.stamp_ns + STAMP_TOLERANCE_NS:
            return None
        boxes = self._frames[int(stamps[0])]
        gravity_from_output = rigid_inverse(result.output_from_gravity)
        rows = []
        for box in boxes:
            output_from_box = (
                transforms.lookup(result.frame_id, box.frame, result.stamp_ns) @ box.pose
            )
            rows.append(self._upright(gravity_from_output @ output_from_box, box, result))
        xyz = result.cloud.xyz
        array = torch.from_numpy(np.array(rows, np.float64).reshape(-1, 7)).to(xyz.dtype)
        labels = torch.tensor([box.label for box in boxes], dtype=torch.int64)
        targets = Targets(Boxes3D.from_array(array), labels)
        is_seen = points_in_boxes(xyz, targets.boxes).sum(dim=0) >= self._min_points
        return FrameTruth.where_seen(targets, [box.object_ for box in boxes], is_seen)

    def _upright(
        self, pose: NDArray[np.float64], box: _Box, result: FrameResult
    ) -> tuple[float, ...]:
        """Centre, size and yaw of a box in the gravity frame."""
        rotation = pose[:3, :3]
        up = int(np.abs(rotation[2]).argmax())
        tilt_rad = math.acos(min(1.0, abs(float(rotation[2, up]))))
        if tilt_rad > MAX_TILT_RAD:
            raise ReplayError(
                f"{self._where}: a box in '{box.frame}' at {result.stamp_ns} ns is tilted by "
                f"{math.degrees(tilt_rad):.0f} degrees in '{result.gravity_frame}', expected an "
                "upright box in a z-up frame; choose --up or --detection-frame"
            )
        ahead, aside = (up + 1) % 3, (up + 2) % 3
        yaw = math.atan2(rotation[1, ahead], rotation[0, ahead])
        size = box.size[ahead], box.size[aside], box.size[up]
        return (*pose[:3, 3].tolist(), *size, yaw)


def _label_names(bag: Bag) -> dict[str, str]:
    """Names by the numbers that a LabelInfo gives them, as texts."""
    topics = [t.topic for t in bag.topics if t.type_name == LABELS_TYPE]
    names: dict[str, str] = {}
    for _, _, message in bag.messages(*topics):
        if not isinstance(message, MessageError):
            names |= {str(entry.class_id): entry.class_name for entry in message.class_map}
    return names


def _class_of(entry: Any, names: dict[str, str]) -> str:
    """The class of a detection's best hypothesis; "" where it has none."""
    hypotheses = [getattr(result, "hypothesis", result) for result in entry.results]
    if not hypotheses:
        return ""
    best = max(hypotheses, key=lambda hypothesis: float(hypothesis.score))
    # `id` before Humble.
    name = str(best.class_id if hasattr(best, "class_id") else best.id)
    return names.get(name, name)


def _box(entry: Any, label: int, frame: str) -> _Box | None:
    """The box of a detection; None where it is none."""
    center, extent = entry.bbox.center, entry.bbox.size
    turn, place = center.orientation, center.position
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    origin = np.array([place.x, place.y, place.z], np.float64)
    size = float(extent.x), float(extent.y), float(extent.z)
    length = float(np.linalg.norm(quaternion))
    is_sound = np.isfinite(origin).all() and all(0.0 < edge < math.inf for edge in size)
    if not (is_sound and abs(length - 1.0) < 0.1):
        return None
    pose = matrix_of(origin.tolist(), (quaternion / length).tolist())
    # No `id` before Humble.
    return _Box(label, frame_name(frame), pose, size, str(getattr(entry, "id", "")))
