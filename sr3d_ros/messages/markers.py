"""Detections -> MarkerArray: what rviz shows with its stock display.

Every array begins with DELETEALL, so what is gone disappears and nothing is left from a message
that was lost; rviz applies an array between two pictures, so nothing blinks. Markers have a
lifetime, after which rviz takes them away by itself, also where the detector is not there any more
to say so; it must be longer than renewing them ever takes. An array of no detections wipes the
picture: publish one when detecting ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sr3d_core.colors import class_color
from sr3d_core.structures import Detections
from sr3d_ros.messages.blank import Blank, ros_blank
from sr3d_ros.messages.parts import (
    PlacedBox,
    fill_header,
    fill_pose,
    fill_xyz,
    placed_boxes,
    require_one_each,
)
from sr3d_ros.tf.rigid import Matrix

_ARRAY, _MARKER = "visualization_msgs/msg/MarkerArray", "visualization_msgs/msg/Marker"
_SMALLEST_M = 1e-3  # rviz refuses markers without extent
_PALE = 0.35  # opacity of what is occluded, as a share of what is seen
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]


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
    headings: bool = True
    """Also an arrow along each box's own x axis, out of its face."""


def marker_array(
    detections: Detections,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
    classes: Sequence[str],
    ids: Sequence[str] | None = None,
    is_occluded: Sequence[bool] | None = None,
    lifetime_s: float = 0.0,
    style: MarkerStyle | None = None,
    blank: Blank = ros_blank,
) -> Any:
    """A MarkerArray: first DELETEALL, then namespaces `boxes`, `headings` and `labels`.

    `ids` are the tracker's, one per detection; they are shown behind the score. Objects that
    have a track but are not seen, `is_occluded`, are paler. Markers that are not renewed vanish
    after `lifetime_s`; 0 = never. Raises ValueError where one of these does not match the
    detections.
    """
    style = style or MarkerStyle()
    require_one_each("ids", ids, len(detections))
    require_one_each("is_occluded", is_occluded, len(detections))
    array = blank(_ARRAY)
    eraser = blank(_MARKER)
    fill_header(eraser.header, stamp_ns, frame_id)
    eraser.action = eraser.DELETEALL
    eraser.pose.orientation.w = 1.0
    markers = [eraser]
    seconds, nanoseconds = divmod(round(1e9 * lifetime_s), 1_000_000_000)
    for index, box in enumerate(placed_boxes(detections, output_from_gravity, classes)):
        for marker in _markers_of(box, "" if ids is None else ids[box.row], style, blank):
            fill_header(marker.header, stamp_ns, frame_id)
            marker.id = index
            marker.action = marker.ADD
            marker.lifetime.sec, marker.lifetime.nanosec = seconds, nanoseconds
            if is_occluded is not None and is_occluded[box.row]:
                marker.color.a *= _PALE
            markers.append(marker)
    array.markers = markers
    return array


def _markers_of(box: PlacedBox, track: str, style: MarkerStyle, blank: Blank) -> Iterator[Any]:
    """The markers of one box, without header and id."""
    size = tuple(max(extent, _SMALLEST_M) for extent in box.size)
    shape = _marker(blank, "boxes", box, box.center)
    if style.boxes == "cube":
        shape.type = shape.CUBE
        fill_xyz(shape.scale, size)
        shape.color.a = float(style.alpha)
    else:
        shape.type = shape.LINE_LIST
        shape.scale.x = float(style.line_width_m)
        corners = (_CORNERS * size).tolist()
        ends = [end for edge in _EDGES for end in edge]
        shape.points = [_point(blank, corners[end]) for end in ends]
    yield shape
    if style.headings:
        arrow = _marker(blank, "headings", box, box.center)
        arrow.type = arrow.ARROW
        fill_xyz(arrow.scale, (0.5 * size[0] + 0.2, 0.04, 0.04))
        yield arrow
    if style.text_height_m > 0:
        label = _marker(blank, "labels", box, box.top)
        label.type = label.TEXT_VIEW_FACING
        label.scale.z = float(style.text_height_m)
        label.text = f"{box.name} {box.score:.2f}" + (f" #{track}" if track else "")
        yield label


def _marker(blank: Blank, namespace: str, box: PlacedBox, position: Sequence[float]) -> Any:
    """A marker at a box, in the color of its class, opaque."""
    marker = blank(_MARKER)
    marker.ns = namespace
    fill_pose(marker.pose, position, box.orientation)
    marker.color.r, marker.color.g, marker.color.b = (float(c) for c in class_color(box.name))
    marker.color.a = 1.0
    return marker


def _point(blank: Blank, xyz: Sequence[float]) -> Any:
    point = blank("geometry_msgs/msg/Point")
    fill_xyz(point, xyz)
    return point
