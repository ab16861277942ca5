"""Markers, as rviz's stock display shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reading import STAMP_NS, xyz
from sample_boxes import CLASSES, OPTICAL_FROM_LEVEL, TWO, found
from visualization_msgs.msg import Marker

from sr3d_core.structures import Detections
from sr3d_ros.messages.markers import MarkerStyle, marker_array


def markers_of(detections: Detections, **style: Any) -> list[Any]:
    array = marker_array(
        detections,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=OPTICAL_FROM_LEVEL,
        classes=CLASSES,
        style=MarkerStyle(**style),
    )
    return list(array.markers)


def test_the_first_marker_deletes_what_was_there() -> None:
    for detections in (TWO, Detections.empty()):
        first = markers_of(detections)[0]
        assert first.action == Marker.DELETEALL
        assert first.header.frame_id == "camera"
    assert len(markers_of(Detections.empty())) == 1


def test_each_box_has_a_cube_and_a_label_with_fixed_ids() -> None:
    markers = markers_of(TWO, headings=False)[1:]
    assert [(m.ns, m.id, m.type) for m in markers] == [
        ("boxes", 0, Marker.CUBE),
        ("labels", 0, Marker.TEXT_VIEW_FACING),
        ("boxes", 1, Marker.CUBE),
        ("labels", 1, Marker.TEXT_VIEW_FACING),
    ]
    assert markers[0].color.a == pytest.approx(0.3)
    assert xyz(markers[2].scale) == pytest.approx([0.5, 0.6, 0.8])
    assert markers[1].text == "night_stand 0.88"


def test_labels_stand_above_the_box_where_gravity_says_up() -> None:
    label = markers_of(found((0.5, 0, [0, 0, 0, 1, 1, 2, 0])))[3]
    expected = OPTICAL_FROM_LEVEL @ [0, 0, 1.1, 1]
    assert xyz(label.pose.position) == pytest.approx(expected[:3].tolist())


def test_edges_are_the_twelve_of_the_box() -> None:
    marker = markers_of(found((0.5, 0, [0, 0, 0, 2, 4, 6, 0])), boxes="lines")[1]
    points = np.array([xyz(point) for point in marker.points])
    lengths = np.linalg.norm(points[0::2] - points[1::2], axis=1)
    assert sorted(lengths.tolist()) == [2] * 4 + [4] * 4 + [6] * 4
    assert (np.abs(points) == [1, 2, 3]).all()
    assert marker.scale.x > 0
    assert marker.color.a == 1.0


def test_headings_are_arrows_along_the_box() -> None:
    arrow = next(m for m in markers_of(TWO, headings=True) if m.ns == "headings")
    assert arrow.type == Marker.ARROW
    assert arrow.scale.x > arrow.scale.y > 0


def test_labels_can_be_left_out() -> None:
    assert {m.ns for m in markers_of(TWO, text_height_m=0.0)[1:]} == {"boxes", "headings"}


def test_a_flat_box_still_has_a_scale_that_rviz_takes() -> None:
    cube = markers_of(found((0.5, 0, [0, 0, 0, 0, 1, 1, 0])))[1]
    assert cube.scale.x > 0


def test_a_class_has_the_same_color_in_every_frame() -> None:
    def color(marker: Any) -> list[float]:
        return [marker.color.r, marker.color.g, marker.color.b]

    both, alone = of_kind(markers_of(TWO), "boxes"), of_kind(markers_of(TWO[:1]), "boxes")
    assert color(both[1]) == color(alone[0])
    assert color(both[0]) != color(both[1])


def of_kind(markers: list[Any], namespace: str) -> list[Any]:
    return [marker for marker in markers if marker.ns == namespace]


@pytest.mark.parametrize(("lifetime_s", "expected"), [(0.0, (0, 0)), (2.25, (2, 250_000_000))])
def test_every_marker_has_the_lifetime(lifetime_s: float, expected: tuple[int, int]) -> None:
    array = marker_array(
        TWO,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=np.eye(4),
        classes=CLASSES,
        lifetime_s=lifetime_s,
    )
    lifetimes = {(m.lifetime.sec, m.lifetime.nanosec) for m in array.markers[1:]}
    assert lifetimes == {expected}


def test_identities_stand_behind_the_scores() -> None:
    array = marker_array(
        TWO,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=np.eye(4),
        classes=CLASSES,
        ids=("", "12"),
    )
    texts = [marker.text for marker in of_kind(array.markers, "labels")]
    assert texts == ["night_stand 0.88 #12", "chair 0.50"]


def test_no_two_markers_share_namespace_and_id() -> None:
    names = [(marker.ns, marker.id) for marker in markers_of(TWO)[1:]]
    assert len(set(names)) == len(names) == 6


def test_what_is_occluded_is_paler() -> None:
    def opacity(is_occluded: tuple[bool, ...] | None) -> list[float]:
        place = {"stamp_ns": STAMP_NS, "frame_id": "odom", "output_from_gravity": np.eye(4)}
        array = marker_array(TWO, classes=CLASSES, is_occluded=is_occluded, **place)
        return [marker.color.a for marker in array.markers[1:]]

    plain, pale = opacity(None), opacity((True, False))  # the first row comes last
    assert opacity((False, False)) == plain
    assert pale[:3] == plain[:3]
    assert all(0 < after < before for after, before in zip(pale[3:], plain[3:], strict=True))
