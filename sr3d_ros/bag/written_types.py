"""Messages that recordings are written with, without ROS: the node's, and Foxglove's scenes.

Types of vision_msgs and foxglove_msgs are declared here by their fields (vision_msgs 4.1,
foxglove_msgs/SceneUpdate): no store of rosbags has them, and a recording carries its definitions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

_FIELDS = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id"
    ),
    "vision_msgs/msg/Detection3DArray": (
        "std_msgs/Header header\nvision_msgs/Detection3D[] detections"
    ),
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"
    ),
    "foxglove_msgs/msg/Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a",
    "foxglove_msgs/msg/KeyValuePair": "string key\nstring value",
    "foxglove_msgs/msg/ArrowPrimitive": (
        "geometry_msgs/Pose pose\nfloat64 shaft_length\nfloat64 shaft_diameter\n"
        "float64 head_length\nfloat64 head_diameter\nfoxglove_msgs/Color color"
    ),
    "foxglove_msgs/msg/CubePrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfoxglove_msgs/Color color"
    ),
    "foxglove_msgs/msg/SpherePrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfoxglove_msgs/Color color"
    ),
    "foxglove_msgs/msg/CylinderPrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Vector3 size\nfloat64 bottom_scale\n"
        "float64 top_scale\nfoxglove_msgs/Color color"
    ),
    "foxglove_msgs/msg/LinePrimitive": (
        "uint8 type\ngeometry_msgs/Pose pose\nfloat64 thickness\nbool scale_invariant\n"
        "geometry_msgs/Point[] points\nfoxglove_msgs/Color color\nfoxglove_msgs/Color[] colors\n"
        "uint32[] indices"
    ),
    "foxglove_msgs/msg/TriangleListPrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Point[] points\nfoxglove_msgs/Color color\n"
        "foxglove_msgs/Color[] colors\nuint32[] indices"
    ),
    "foxglove_msgs/msg/TextPrimitive": (
        "geometry_msgs/Pose pose\nbool billboard\nfloat64 font_size\nbool scale_invariant\n"
        "foxglove_msgs/Color color\nstring text"
    ),
    "foxglove_msgs/msg/ModelPrimitive": (
        "geometry_msgs/Pose pose\ngeometry_msgs/Vector3 scale\nfoxglove_msgs/Color color\n"
        "bool override_color\nstring url\nstring media_type\nuint8[] data"
    ),
    "foxglove_msgs/msg/SceneEntityDeletion": (
        "builtin_interfaces/Time timestamp\nuint8 type\nstring id"
    ),
    "foxglove_msgs/msg/SceneEntity": (
        "builtin_interfaces/Time timestamp\nstring frame_id\nstring id\n"
        "builtin_interfaces/Duration lifetime\nbool frame_locked\n"
        "foxglove_msgs/KeyValuePair[] metadata\nfoxglove_msgs/ArrowPrimitive[] arrows\n"
        "foxglove_msgs/CubePrimitive[] cubes\nfoxglove_msgs/SpherePrimitive[] spheres\n"
        "foxglove_msgs/CylinderPrimitive[] cylinders\nfoxglove_msgs/LinePrimitive[] lines\n"
        "foxglove_msgs/TriangleListPrimitive[] triangles\nfoxglove_msgs/TextPrimitive[] texts\n"
        "foxglove_msgs/ModelPrimitive[] models"
    ),
    "foxglove_msgs/msg/SceneUpdate": (
        "foxglove_msgs/SceneEntityDeletion[] deletions\nfoxglove_msgs/SceneEntity[] entities"
    ),
}


@cache
def written_types() -> Any:
    """The store of rosbags with all types that are written."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for name, fields in _FIELDS.items():
        types.update(get_types_from_msg(fields, name))
    store.register(types)
    return store


def blank(kind: str) -> Any:
    """A message of a type, all fields empty, as `sr3d_ros.messages.blank.Blank`."""
    from rosbags.interfaces import Nodetype

    store = written_types()
    values = []
    for _, (node, about) in store.fielddefs[kind][1]:
        if node in (Nodetype.BASE, Nodetype.NAME):
            values.append(_one(node, about))
        else:
            (inner, inner_about), length = about
            count = length if node == Nodetype.ARRAY else 0
            is_number = inner == Nodetype.BASE and inner_about[0] != "string"
            values.append(
                np.zeros(count, inner_about[0])
                if is_number
                else [_one(inner, inner_about) for _ in range(count)]
            )
    return store.types[kind](*values)


def _one(node: Any, about: Any) -> Any:
    """An empty value of a field."""
    if isinstance(about, str):
        return blank(about)
    name = about[0]
    empty: dict[str, Any] = {"string": "", "bool": False}
    return empty.get(name, 0.0 if "float" in name else 0)
