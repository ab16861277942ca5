"""Detections -> ROS messages, as each consumer reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from reading import STAMP_NS, plain_values, xyz, xyzw
from sample_boxes import CLASSES, OPTICAL_FROM_LEVEL, TWO, found
from scipy.spatial.transform import Rotation

from sr3d_core.structures import Detections
from sr3d_ros.messages.detections import detection_array, label_info, vision_info
from sr3d_ros.messages.markers import MarkerStyle, marker_array


def array_of(detections: Detections, matrix: Any = None, **options: Any) -> Any:
    return detection_array(
        detections,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=np.eye(4) if matrix is None else matrix,
        classes=CLASSES,
        **options,
    )


def test_every_header_is_the_clouds_stamp_and_the_output_frame() -> None:
    array = array_of(TWO)
    for header in (array.header, *(entry.header for entry in array.detections)):
        assert (header.stamp.sec, header.stamp.nanosec) == (1_700_000_300, 123_456_789)
        assert header.frame_id == "camera"


def test_nothing_found_is_an_empty_array_with_a_header() -> None:
    array = array_of(Detections.empty())
    assert array.detections == []
    assert array.header.frame_id == "camera"


def test_detections_come_by_falling_score() -> None:
    results = [entry.results for entry in array_of(TWO).detections]
    assert [len(entries) for entries in results] == [1, 1]
    assert [entries[0].hypothesis.score for entries in results] == [0.875, 0.5]


def test_the_rviz_plugin_reads_the_class_name() -> None:
    classes = [entry.results[0].hypothesis.class_id for entry in array_of(TWO).detections]
    assert classes == ["night_stand", "chair"]


def test_the_class_can_be_sent_as_its_index() -> None:
    array = array_of(TWO, class_id_as="index")
    assert [entry.results[0].hypothesis.class_id for entry in array.detections] == ["1", "0"]


def test_isaacs_pose_node_reads_the_box_pose_from_the_result() -> None:
    for entry in array_of(TWO, OPTICAL_FROM_LEVEL).detections:
        pose = entry.results[0].pose.pose
        assert xyz(pose.position) == xyz(entry.bbox.center.position)
        assert xyzw(pose.orientation) == xyzw(entry.bbox.center.orientation)
        assert not entry.results[0].pose.covariance.any()


def test_an_untracked_detection_has_no_id() -> None:
    assert [entry.id for entry in array_of(TWO).detections] == ["", ""]


def test_boxes_keep_their_full_extents() -> None:
    assert xyz(array_of(TWO).detections[1].bbox.size) == pytest.approx([0.5, 0.6, 0.8])


def test_boxes_carry_the_full_orientation_into_the_output_frame() -> None:
    entry = array_of(TWO, OPTICAL_FROM_LEVEL).detections[1]
    rotation = Rotation.from_matrix(OPTICAL_FROM_LEVEL[:3, :3])
    expected = rotation * Rotation.from_euler("z", 0.3)
    turned = Rotation.from_quat(xyzw(entry.bbox.center.orientation))
    assert (expected.inv() * turned).magnitude() < 1e-6
    assert xyz(entry.bbox.center.position) == pytest.approx([-1.5, 0.8, 0.7])


@pytest.mark.parametrize("yaw", [-7.0, -math.pi, -1.0, 0.0, 2.0, math.pi, 4.0, 100.0])
def test_orientations_are_unit_quaternions_with_w_not_negative(yaw: float) -> None:
    box = found((0.5, 0, [0, 0, 0, 1, 1, 1, yaw]))
    quaternion = xyzw(array_of(box).detections[0].bbox.center.orientation)
    assert math.isclose(np.linalg.norm(quaternion), 1.0, abs_tol=1e-12)
    assert quaternion[3] >= 0


def test_no_numpy_or_torch_number_gets_into_a_message() -> None:
    parts: dict[str, Any] = {
        "stamp_ns": STAMP_NS,
        "frame_id": "camera",
        "output_from_gravity": OPTICAL_FROM_LEVEL,
        "classes": CLASSES,
    }
    messages = (
        array_of(TWO, ids=("1", "2")),
        marker_array(TWO, style=MarkerStyle(boxes="lines"), **parts),
        label_info(CLASSES, stamp_ns=STAMP_NS, threshold=1),
    )
    values = [value for message in messages for value in plain_values(message)]
    kinds = {type(value) for value in values}
    assert kinds <= {int, float, str, bool}


def test_label_info_lists_the_classes_by_index() -> None:
    info = label_info(CLASSES, stamp_ns=STAMP_NS, frame_id="map", threshold=0.3)
    assert [(c.class_id, c.class_name) for c in info.class_map] == [
        (0, "chair"),
        (1, "night_stand"),
    ]
    assert info.threshold == pytest.approx(0.3)
    assert info.header.stamp.sec == 1_700_000_300


def rviz_plugin(array: Any) -> list[tuple[str, str, list[float], list[float], float]]:
    """What vision_msgs_rviz_plugins draws: frame, class, centre, size and score of each box.

    It looks at the array's header only, and at the first result without asking whether there is
    one; classes are looked up by name in lower case.
    """
    return [
        (
            array.header.frame_id,
            entry.results[0].hypothesis.class_id.lower(),
            xyz(entry.bbox.center.position),
            xyz(entry.bbox.size),
            entry.results[0].hypothesis.score,
        )
        for entry in array.detections
    ]


def isaac_pose_node(array: Any, wanted: str) -> tuple[str, list[float]] | None:
    """What Isaac's Detection3DArray-to-pose node sends on: the best result of a class."""
    results = [result for entry in array.detections for result in entry.results]
    mine = [r for r in results if wanted in ("", r.hypothesis.class_id)]
    if not mine:
        return None
    best = max(mine, key=lambda result: float(result.hypothesis.score))
    return array.header.frame_id, xyz(best.pose.pose.position)


def easy_navigation(array: Any) -> tuple[int, str, list[Any]]:
    """What EasyNavigation keeps: the array's stamp and frame, and all of its detections."""
    stamp = array.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec, array.header.frame_id, list(array.detections)


def test_the_rviz_plugin_draws_every_box_in_its_place() -> None:
    drawn = rviz_plugin(array_of(TWO))
    assert [(frame, name) for frame, name, *_ in drawn] == [
        ("camera", "night_stand"),
        ("camera", "chair"),
    ]
    assert drawn[1][2] == pytest.approx([1.0, 2.0, 0.4])
    assert drawn[1][3] == pytest.approx([0.5, 0.6, 0.8])


def test_the_rviz_plugin_survives_an_empty_array() -> None:
    assert rviz_plugin(array_of(Detections.empty())) == []


def test_isaacs_pose_node_picks_the_best_box_of_a_class() -> None:
    frame, place = isaac_pose_node(array_of(TWO), "chair") or ("", [])
    assert frame == "camera"
    assert place == pytest.approx([1.0, 2.0, 0.4])
    assert (isaac_pose_node(array_of(TWO), "") or ("", []))[1] == pytest.approx([-1.0, 0.0, 0.3])


def test_easy_navigation_knows_when_and_where_the_array_holds() -> None:
    stamp_ns, frame, kept = easy_navigation(array_of(TWO))
    assert (stamp_ns, frame, len(kept)) == (STAMP_NS, "camera", 2)


def test_identities_stay_with_their_boxes_when_messages_sort_by_score() -> None:
    array = array_of(TWO, ids=("7", ""))
    named = {e.results[0].hypothesis.class_id: e.id for e in array.detections}
    assert named == {"chair": "7", "night_stand": ""}


def test_covariances_stay_with_their_boxes_when_messages_sort_by_score() -> None:
    covariances = np.zeros((2, 6, 6))
    covariances[0] = np.arange(36).reshape(6, 6)
    array = array_of(TWO, covariances=covariances)
    sent = {e.results[0].hypothesis.class_id: e.results[0].pose for e in array.detections}
    assert sent["chair"].covariance.tolist() == list(range(36))
    assert not sent["night_stand"].covariance.any()


def test_identities_of_another_frame_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 ids for 2 detections"):
        array_of(TWO, ids=("1",))


def test_covariances_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 36\), expected \(2, 6, 6\)"):
        array_of(TWO, covariances=np.zeros((2, 36)))


def test_vision_info_says_what_detects_and_where_the_labels_are() -> None:
    info = vision_info(
        stamp_ns=STAMP_NS, method="sr3d, 12 classes", label_topic="/a/label_info", version=2,
        frame_id="map",
    )  # fmt: skip
    assert info.method == "sr3d, 12 classes"
    assert info.database_location == "/a/label_info"
    assert info.database_version == 2
    assert (info.header.frame_id, info.header.stamp.sec) == ("map", 1_700_000_300)
