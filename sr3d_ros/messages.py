"""Detections -> Detection3DArray and LabelInfo (vision_msgs), MarkerArray (visualization_msgs).

Filled so that every known consumer works: the array's header is the cloud's stamp and the output
frame, repeated in every detection; `results` is never empty and its pose repeats `bbox.center`;
orientations are unit quaternions with w >= 0. An empty array means "looked, found nothing".
Numbers become Python's own at this border: a NumPy scalar in a message field is silently corrupted
by rclpy where its field checks are off.
No ROS import at module level: pass the message classes in, or let `ros_types()` import them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sr3d_core.colors import class_color
from sr3d_core.structures import Detections
from sr3d_ros.rigid import Matrix, quaternion_of

_CUBE, _LINE_LIST, _TEXT, _ARROW = 1, 5, 9, 0
_ADD, _DELETE_ALL = 0, 3
_SMALLEST_M = 1e-3  # rviz refuses markers without extent
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]


@dataclass(frozen=True, kw_only=True)
class MessageTypes:
    """The message classes to fill; each is called without arguments."""

    detection_array: Callable[[], Any]
    detection: Callable[[], Any]
    hypothesis: Callable[[], Any]  # ObjectHypothesisWithPose
    marker_array: Callable[[], Any]
    marker: Callable[[], Any]
    point: Callable[[], Any]
    label_info: Callable[[], Any]
    vision_class: Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class MarkerStyle:
    """How boxes look in rviz."""

    boxes: Literal["cube", "lines"] = "cube"
    """Filled boxes or their twelve edges."""
    alpha: float = 0.3
    """Opacity of filled boxes, 0..1."""
    line_width_m: float = 0.02
    """Width of edges."""
    text_height_m: float = 0.15
    """Height of the labels' letters; 0 = no labels."""
    headings: bool = False
    """Also an arrow along each box's heading."""


def ros_types() -> MessageTypes:
    """The classes of the ROS installation; raises ImportError where it lacks a package."""
    vision = import_module("vision_msgs.msg")
    visualization = import_module("visualization_msgs.msg")
    return MessageTypes(
        detection_array=vision.Detection3DArray,
        detection=vision.Detection3D,
        hypothesis=vision.ObjectHypothesisWithPose,
        marker_array=visualization.MarkerArray,
        marker=visualization.Marker,
        point=import_module("geometry_msgs.msg").Point,
        label_info=vision.LabelInfo,
        vision_class=vision.VisionClass,
    )


@dataclass(frozen=True, slots=True)
class _PlacedBox:
    """One detection in the output frame, in Python's own numbers."""

    name: str
    label: int
    score: float
    center: tuple[float, ...]
    size: tuple[float, ...]
    orientation: tuple[float, ...]  # x y z w
    top: tuple[float, ...]  # a little above the middle of the upper face


def detection_array(
    detections: Detections,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
    classes: Sequence[str],
    class_id_as: Literal["name", "index"] = "name",
    types: MessageTypes | None = None,
) -> Any:
    """A Detection3DArray in `frame_id`; covariances are 0, which is "unknown", and ids are ""."""
    types = types or ros_types()
    array = types.detection_array()
    _fill_header(array.header, stamp_ns, frame_id)
    entries = []
    for box in _placed(detections, output_from_gravity, classes):
        entry = types.detection()
        _fill_header(entry.header, stamp_ns, frame_id)
        _fill_pose(entry.bbox.center, box.center, box.orientation)
        _fill_xyz(entry.bbox.size, box.size)
        result = types.hypothesis()
        result.hypothesis.class_id = box.name if class_id_as == "name" else str(box.label)
        result.hypothesis.score = box.score
        _fill_pose(result.pose.pose, box.center, box.orientation)
        entry.results = [result]
        entry.id = ""
        entries.append(entry)
    array.detections = entries
    return array


def marker_array(
    detections: Detections,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
    classes: Sequence[str],
    style: MarkerStyle | None = None,
    types: MessageTypes | None = None,
) -> Any:
    """A MarkerArray: first DELETEALL, then namespaces `boxes`, `labels` and `headings`.

    Lifetime is 0 (for ever): markers stay until the next array deletes them, so nothing blinks.
    """
    types, style = types or ros_types(), style or MarkerStyle()
    array = types.marker_array()
    eraser = types.marker()
    _fill_header(eraser.header, stamp_ns, frame_id)
    eraser.action = _DELETE_ALL
    eraser.pose.orientation.w = 1.0
    markers = [eraser]
    for index, box in enumerate(_placed(detections, output_from_gravity, classes)):
        for marker in _markers_of(box, style, types):
            _fill_header(marker.header, stamp_ns, frame_id)
            marker.id = index
            marker.action = _ADD
            markers.append(marker)
    array.markers = markers
    return array


def label_info(
    classes: Sequence[str],
    *,
    stamp_ns: int,
    frame_id: str = "",
    threshold: float = 0.0,
    types: MessageTypes | None = None,
) -> Any:
    """A LabelInfo: which number is which class, and the score below which boxes are dropped."""
    types = types or ros_types()
    info = types.label_info()
    _fill_header(info.header, stamp_ns, frame_id)
    entries = []
    for index, name in enumerate(classes):
        entry = types.vision_class()
        entry.class_id = index
        entry.class_name = str(name)
        entries.append(entry)
    info.class_map = entries
    info.threshold = float(threshold)
    return info


def _placed(
    detections: Detections, output_from_gravity: Matrix, classes: Sequence[str]
) -> Iterator[_PlacedBox]:
    """The boxes in the output frame with their full orientation, by falling score."""
    order = detections.scores.detach().cpu().argsort(descending=True, stable=True)
    rows = detections.boxes.array.detach().cpu().double().numpy()[order.numpy()]
    scores = detections.scores.detach().cpu().tolist()
    labels = detections.labels.cpu().tolist()
    rotation, origin = output_from_gravity[:3, :3], output_from_gravity[:3, 3]
    centers = rows[:, :3] @ rotation.T + origin
    lift = rows[:, 5] / 2 + 0.1
    tops = centers + lift[:, None] * rotation[:, 2]
    orientations = _orientations(rows[:, 6], output_from_gravity)
    for row, index in enumerate(order.tolist()):
        yield _PlacedBox(
            name=str(classes[labels[index]]),
            label=int(labels[index]),
            score=float(scores[index]),
            center=tuple(centers[row].tolist()),
            size=tuple(rows[row, 3:6].tolist()),
            orientation=tuple(orientations[row].tolist()),
            top=tuple(tops[row].tolist()),
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


def _markers_of(box: _PlacedBox, style: MarkerStyle, types: MessageTypes) -> Iterator[Any]:
    """The markers of one box, without header and id."""
    size = tuple(max(extent, _SMALLEST_M) for extent in box.size)
    shape = _marker(types, "boxes", box, box.center)
    if style.boxes == "cube":
        shape.type = _CUBE
        _fill_xyz(shape.scale, size)
        shape.color.a = float(style.alpha)
    else:
        shape.type = _LINE_LIST
        shape.scale.x = float(style.line_width_m)
        corners = (_CORNERS * size).tolist()
        ends = [end for edge in _EDGES for end in edge]
        shape.points = [_point(types, corners[end]) for end in ends]
    yield shape
    if style.headings:
        arrow = _marker(types, "headings", box, box.center)
        arrow.type = _ARROW
        _fill_xyz(arrow.scale, (0.5 * size[0] + 0.2, 0.04, 0.04))
        yield arrow
    if style.text_height_m > 0:
        label = _marker(types, "labels", box, box.top)
        label.type = _TEXT
        label.scale.z = float(style.text_height_m)
        label.text = f"{box.name} {box.score:.2f}"
        yield label


def _marker(
    types: MessageTypes, namespace: str, box: _PlacedBox, position: Sequence[float]
) -> Any:
    """A marker at a box, in the colour of its class, opaque."""
    marker = types.marker()
    marker.ns = namespace
    _fill_pose(marker.pose, position, box.orientation)
    marker.color.r, marker.color.g, marker.color.b = (float(c) for c in class_color(box.name))
    marker.color.a = 1.0
    return marker


def _point(types: MessageTypes, xyz: Sequence[float]) -> Any:
    point = types.point()
    _fill_xyz(point, xyz)
    return point


def _fill_header(header: Any, stamp_ns: int, frame_id: str) -> None:
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    header.stamp.sec, header.stamp.nanosec = seconds, nanoseconds
    header.frame_id = str(frame_id)


def _fill_xyz(target: Any, xyz: Sequence[float]) -> None:
    target.x, target.y, target.z = (float(part) for part in xyz)


def _fill_pose(pose: Any, position: Sequence[float], orientation: Sequence[float]) -> None:
    _fill_xyz(pose.position, position)
    turned = pose.orientation
    turned.x, turned.y, turned.z, turned.w = (float(part) for part in orientation)
