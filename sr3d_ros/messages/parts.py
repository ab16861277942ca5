"""What all outgoing messages are made of: headers, poses, placed boxes.

Numbers become Python's own at this border: a NumPy scalar in a message field is silently corrupted
by rclpy where its field checks are off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_core.structures import Detections
from sr3d_ros.tf.rigid import Matrix, quaternion_of

_LABEL_LIFT_M = 0.1  # how far above the upper face a label stands


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """One detection in the output frame, in Python's own numbers."""

    row: int  # of the detections it was made from
    name: str
    label: int
    score: float
    center: tuple[float, ...]
    size: tuple[float, ...]
    orientation: tuple[float, ...]  # x y z w
    top: tuple[float, ...]  # a little above the middle of the upper face


def published_order(detections: Detections) -> NDArray[np.int64]:
    """Rows of the detections in the order in which messages list them: by falling score."""
    scores = detections.scores.detach().cpu()
    return np.asarray(scores.argsort(descending=True, stable=True).numpy())


def placed_boxes(
    detections: Detections, output_from_gravity: Matrix, classes: Sequence[str]
) -> Iterator[PlacedBox]:
    """The boxes in the output frame with their full orientation, in the published order."""
    order = published_order(detections)
    rows = detections.boxes.array.detach().cpu().double().numpy()[order]
    scores = detections.scores.detach().cpu().tolist()
    labels = detections.labels.cpu().tolist()
    rotation, origin = output_from_gravity[:3, :3], output_from_gravity[:3, 3]
    centers = rows[:, :3] @ rotation.T + origin
    lift = rows[:, 5] / 2 + _LABEL_LIFT_M
    tops = centers + lift[:, None] * rotation[:, 2]
    orientations = _orientations(rows[:, 6], output_from_gravity)
    for place, row in enumerate(order.tolist()):
        yield PlacedBox(
            row=row,
            name=str(classes[labels[row]]),
            label=int(labels[row]),
            score=float(scores[row]),
            center=tuple(centers[place].tolist()),
            size=tuple(rows[place, 3:6].tolist()),
            orientation=tuple(orientations[place].tolist()),
            top=tuple(tops[place].tolist()),
        )


def _orientations(yaw: NDArray[np.float64], output_from_gravity: Matrix) -> NDArray[np.float64]:
    """Unit quaternions x y z w, w >= 0, of `output_from_gravity` after a turn about z."""
    x, y, z, w = quaternion_of(output_from_gravity)
    sine, cosine = np.sin(yaw / 2), np.cos(yaw / 2)
    turned = np.stack(
        [
            x * cosine + y * sine,
            y * cosine - x * sine,
            z * cosine + w * sine,
            w * cosine - z * sine,
        ],
        axis=1,
    )
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return np.where(turned[:, 3:] < 0, -turned, turned)


def require_one_each(what: str, values: Sequence[object] | None, num_detections: int) -> None:
    """Refuse a list that does not name one value for every detection; None is no list."""
    if values is not None and len(values) != num_detections:
        raise ValueError(
            f"{len(values)} {what} for {num_detections} detections, expected one each, in the "
            "order of the detections"
        )


def fill_header(header: Any, stamp_ns: int, frame_id: str) -> None:
    """Set stamp and frame of a std_msgs/Header."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    header.stamp.sec, header.stamp.nanosec = seconds, nanoseconds
    header.frame_id = str(frame_id)


def fill_xyz(target: Any, xyz: Sequence[float]) -> None:
    """Set x, y and z of a Point or a Vector3."""
    target.x, target.y, target.z = (float(part) for part in xyz)


def fill_pose(pose: Any, position: Sequence[float], orientation: Sequence[float]) -> None:
    """Set a geometry_msgs/Pose; `orientation` is x y z w."""
    fill_xyz(pose.position, position)
    turned = pose.orientation
    turned.x, turned.y, turned.z, turned.w = (float(part) for part in orientation)
