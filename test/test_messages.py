"""Detections -> ROS messages, as each consumer reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.messages import (
    MarkerStyle,
    MessageTypes,
    detection_array,
    label_info,
    marker_array,
)

STAMP_NS = 1_700_000_300_123_456_789
CLASSES = ("chair", "night_stand")
# z up to a camera's optical frame: x right, y down, z forward.
OPTICAL_FROM_LEVEL = np.array([[0.0, -1, 0, 0.5], [0, 0, -1, 1.2], [1, 0, 0, -0.3], [0, 0, 0, 1]])

DEFINITIONS = {  # field lists of vision_msgs, which rosbags does not bring
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "Detection3D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox3D bbox\nstring id",
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
}


class Record:
    """A message with any field: records appear when they are first looked at."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Record()
        setattr(self, name, value)
        return value


@dataclass
class Pose:
    """A PoseWithCovariance whose covariance nobody touches."""

    covariance: np.ndarray = field(default_factory=lambda: np.zeros(36))
    pose: Record = field(default_factory=Record)


class Hypothesis(Record):
    """An ObjectHypothesisWithPose."""

    def __init__(self) -> None:
        self.pose = Pose()


TYPES = MessageTypes(
    detection_array=Record,
    detection=Record,
    hypothesis=Hypothesis,
    marker_array=Record,
    marker=Record,
    point=Record,
    label_info=Record,
    vision_class=Record,
)


def found(*rows: tuple[float, int, list[float]]) -> Detections:
    """Detections of (score, label, x y z dx dy dz yaw)."""
    return Detections(
        Boxes3D.from_array(torch.tensor([row[2] for row in rows]).reshape(-1, 7)),
        torch.tensor([row[0] for row in rows]),
        torch.tensor([row[1] for row in rows], dtype=torch.int64),
    )


TWO = found(
    (0.5, 0, [1.0, 2.0, 0.4, 0.5, 0.6, 0.8, 0.3]),
    (0.875, 1, [-1.0, 0.0, 0.3, 0.4, 0.4, 0.5, 3.0]),
)


def array_of(detections: Detections, matrix: Any = None, **options: Any) -> Any:
    return detection_array(
        detections,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=np.eye(4) if matrix is None else matrix,
        classes=CLASSES,
        types=TYPES,
        **options,
    )


def markers_of(detections: Detections, **style: Any) -> list[Any]:
    array = marker_array(
        detections,
        stamp_ns=STAMP_NS,
        frame_id="camera",
        output_from_gravity=OPTICAL_FROM_LEVEL,
        classes=CLASSES,
        style=MarkerStyle(**style),
        types=TYPES,
    )
    return list(array.markers)


def xyz(record: Any) -> list[float]:
    return [record.x, record.y, record.z]


def xyzw(record: Any) -> list[float]:
    return [*xyz(record), record.w]


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


def walk(record: Any) -> list[Any]:
    """All plain values in a message."""
    if isinstance(record, (list, tuple)):
        return [value for entry in record for value in walk(entry)]
    if hasattr(record, "__dict__"):
        return [value for entry in vars(record).values() for value in walk(entry)]
    return [record]


def test_no_numpy_or_torch_number_gets_into_a_message() -> None:
    values = walk(array_of(TWO)) + walk(markers_of(TWO, headings=True, boxes="lines"))
    values += walk(label_info(CLASSES, stamp_ns=STAMP_NS, threshold=1, types=TYPES))
    kinds = {type(value) for value in values if not isinstance(value, np.ndarray)}
    assert kinds <= {int, float, str}


def test_the_first_marker_deletes_what_was_there() -> None:
    for detections in (TWO, Detections.empty()):
        first = markers_of(detections)[0]
        assert first.action == 3
        assert first.header.frame_id == "camera"
    assert len(markers_of(Detections.empty())) == 1


def test_each_box_has_a_cube_and_a_label_with_fixed_ids() -> None:
    markers = markers_of(TWO)[1:]
    assert [(m.ns, m.id, m.type) for m in markers] == [
        ("boxes", 0, 1),
        ("labels", 0, 9),
        ("boxes", 1, 1),
        ("labels", 1, 9),
    ]
    assert markers[0].color.a == pytest.approx(0.3)
    assert xyz(markers[2].scale) == pytest.approx([0.5, 0.6, 0.8])
    assert markers[1].text == "night_stand 0.88"


def test_labels_stand_above_the_box_where_gravity_says_up() -> None:
    label = markers_of(found((0.5, 0, [0, 0, 0, 1, 1, 2, 0])))[2]
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
    assert arrow.type == 0
    assert arrow.scale.x > arrow.scale.y > 0


def test_labels_can_be_left_out() -> None:
    assert {m.ns for m in markers_of(TWO, text_height_m=0.0)[1:]} == {"boxes"}


def test_a_flat_box_still_has_a_scale_that_rviz_takes() -> None:
    cube = markers_of(found((0.5, 0, [0, 0, 0, 0, 1, 1, 0])))[1]
    assert cube.scale.x > 0


def test_a_class_has_the_same_colour_in_every_frame() -> None:
    def colour(marker: Any) -> list[float]:
        return [marker.color.r, marker.color.g, marker.color.b]

    assert colour(markers_of(TWO)[3]) == colour(markers_of(TWO[:1])[1])
    assert colour(markers_of(TWO)[1]) != colour(markers_of(TWO)[3])


def test_label_info_lists_the_classes_by_index() -> None:
    info = label_info(CLASSES, stamp_ns=STAMP_NS, frame_id="map", threshold=0.3, types=TYPES)
    assert [(c.class_id, c.class_name) for c in info.class_map] == [
        (0, "chair"),
        (1, "night_stand"),
    ]
    assert info.threshold == pytest.approx(0.3)
    assert info.header.stamp.sec == 1_700_000_300


class RosTypes:
    """Messages of the real definitions, from rosbags' type store, made without arguments."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        for name, text in DEFINITIONS.items():
            self.store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))

    def _fields(self, name: str) -> Any:
        return self.store.fielddefs[name][1]

    def make(self, name: str) -> Any:
        zeros = {"string": "", "bool": False, "octet": 0}
        values: dict[str, Any] = {}
        for part, (kind, detail) in self._fields(name):
            if kind == 1:  # one basic value
                values[part] = zeros.get(detail[0], 0.0 if "float" in detail[0] else 0)
            elif kind == 2:  # one message
                values[part] = self.make(detail)
            else:  # an array of basic values or of messages
                (inner, (basic, *_)), length = detail
                is_number = inner == 1 and basic != "string"
                values[part] = np.zeros(length, basic) if is_number else []
        return self.store.types[name](**values)

    def all(self) -> MessageTypes:
        def maker(name: str) -> Any:
            return lambda: self.make(name)

        return MessageTypes(
            detection_array=maker("vision_msgs/msg/Detection3DArray"),
            detection=maker("vision_msgs/msg/Detection3D"),
            hypothesis=maker("vision_msgs/msg/ObjectHypothesisWithPose"),
            marker_array=maker("visualization_msgs/msg/MarkerArray"),
            marker=maker("visualization_msgs/msg/Marker"),
            point=maker("geometry_msgs/msg/Point"),
            label_info=maker("vision_msgs/msg/LabelInfo"),
            vision_class=maker("vision_msgs/msg/VisionClass"),
        )


def test_messages_survive_serialisation_with_the_real_definitions() -> None:
    ros = RosTypes()
    where: dict[str, Any] = {
        "stamp_ns": STAMP_NS,
        "frame_id": "camera",
        "output_from_gravity": OPTICAL_FROM_LEVEL,
        "classes": CLASSES,
        "types": ros.all(),
    }
    boxes = detection_array(TWO, **where)
    markers = marker_array(TWO, style=MarkerStyle(boxes="lines", headings=True), **where)
    labels = label_info(CLASSES, stamp_ns=STAMP_NS, types=ros.all())
    for message in (boxes, markers, labels):
        raw = ros.store.serialize_cdr(message, message.__msgtype__)
        back = ros.store.deserialize_cdr(raw, message.__msgtype__)
        assert ros.store.serialize_cdr(back, message.__msgtype__) == raw
    assert boxes.detections[0].results[0].hypothesis.class_id == "night_stand"
