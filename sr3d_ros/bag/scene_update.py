"""Detections -> foxglove_msgs/SceneUpdate, which Foxglove's 3D panel shows without a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr3d_core.colors import class_color
from sr3d_core.structures import Detections
from sr3d_ros.bag.written_types import blank
from sr3d_ros.messages.parts import fill_pose, fill_xyz, placed_boxes
from sr3d_ros.tf.rigid import Matrix

_ALL = 1  # SceneEntityDeletion.ALL
_ALPHA, _TEXT_M = 0.35, 0.15
_UPRIGHT = (0.0, 0.0, 0.0, 1.0)


def scene_update(
    detections: Detections,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
    classes: Sequence[str],
) -> Any:
    """A SceneUpdate that takes the place of all before it: boxes in their colors, with names."""
    update = blank("foxglove_msgs/msg/SceneUpdate")
    deletion = blank("foxglove_msgs/msg/SceneEntityDeletion")
    deletion.type = _ALL
    _fill_time(deletion.timestamp, stamp_ns)
    update.deletions = [deletion]
    for number, box in enumerate(placed_boxes(detections, output_from_gravity, classes)):
        entity = blank("foxglove_msgs/msg/SceneEntity")
        _fill_time(entity.timestamp, stamp_ns)
        entity.frame_id, entity.id = frame_id, str(number)
        cube = blank("foxglove_msgs/msg/CubePrimitive")
        fill_pose(cube.pose, box.center, box.orientation)
        fill_xyz(cube.size, box.size)
        _fill_color(cube.color, box.name, _ALPHA)
        text = blank("foxglove_msgs/msg/TextPrimitive")
        fill_pose(text.pose, box.top, _UPRIGHT)
        text.billboard, text.font_size = True, _TEXT_M
        text.text = f"{box.name} {box.score:.2f}"
        _fill_color(text.color, box.name, 1.0)
        entity.cubes, entity.texts = [cube], [text]
        update.entities.append(entity)
    return update


def _fill_time(stamp: Any, stamp_ns: int) -> None:
    stamp.sec, stamp.nanosec = divmod(int(stamp_ns), 1_000_000_000)


def _fill_color(color: Any, name: str, alpha: float) -> None:
    color.r, color.g, color.b = (float(part) for part in class_color(name))
    color.a = alpha
