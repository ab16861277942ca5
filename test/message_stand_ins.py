"""Messages without ROS: bare records, and rosbags' types of the real definitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.messages.parts import MessageTypes

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
    "VisionInfo": "std_msgs/Header header\nstring method\nstring database_location\n"
    "int32 database_version",
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
    vision_info=Record,
    point_cloud=Record,
    point_field=Record,
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


def xyz(record: Any) -> list[float]:
    return [record.x, record.y, record.z]


def xyzw(record: Any) -> list[float]:
    return [*xyz(record), record.w]


def walk(record: Any) -> list[Any]:
    """All plain values in a message."""
    if isinstance(record, (list, tuple)):
        return [value for entry in record for value in walk(entry)]
    if hasattr(record, "__dict__"):
        return [value for entry in vars(record).values() for value in walk(entry)]
    return [record]


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
            vision_info=maker("vision_msgs/msg/VisionInfo"),
            point_cloud=maker("sensor_msgs/msg/PointCloud2"),
            point_field=maker("sensor_msgs/msg/PointField"),
        )
