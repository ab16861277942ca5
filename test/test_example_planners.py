"""The example for planners, by message, with stand-ins for messages that are not installed."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from types import SimpleNamespace as Message
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "11_objects_for_planners.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def chair(identity: str = "7") -> Message:
    """A box turned by a quarter: 1 m along y, 0.4 m along x."""
    half = math.pi / 4
    pose = Message(
        position=Message(x=2.0, y=1.0, z=0.5),
        orientation=Message(x=0.0, y=0.0, z=math.sin(half), w=math.cos(half)),
    )
    return Message(id=identity, bbox=Message(center=pose, size=Message(x=1.0, y=0.4, z=1.0)))


class CollisionObject(Message):
    ADD, REMOVE = b"\x00", b"\x01"


class SolidPrimitive(Message):
    BOX = 1


MOVEIT = Message(
    PlanningScene=lambda: Message(robot_state=Message(), world=Message()),
    CollisionObject=CollisionObject,
)


def test_obstacles_are_points_on_the_sides_of_turned_boxes(example: dict[str, Any]) -> None:
    points = example["obstacle_points"]([chair()])
    np.testing.assert_allclose(points.min(axis=0), (1.8, 0.5, 0.0), atol=1e-6)
    np.testing.assert_allclose(points.max(axis=0), (2.2, 1.5, 1.0), atol=1e-6)
    away = np.abs(points[:, :2] - (2.0, 1.0))
    assert (np.isclose(away[:, 0], 0.2) | np.isclose(away[:, 1], 0.5)).all()
    assert example["obstacle_points"]([]).shape == (0, 3)


def test_the_planning_scene_adds_what_is_there_and_removes_what_is_not(
    example: dict[str, Any],
) -> None:
    array = Message(header=Message(frame_id="map"), detections=[chair()])
    scene = example["planning_scene"](array, {"sr3d_7", "sr3d_3"}, MOVEIT, SolidPrimitive)
    there, gone = scene.world.collision_objects
    assert scene.is_diff
    assert (there.id, there.operation) == ("sr3d_7", CollisionObject.ADD)
    assert there.primitives[0].dimensions == [1.0, 0.4, 1.0]
    assert there.header.frame_id == "map"
    assert (gone.id, gone.operation) == ("sr3d_3", CollisionObject.REMOVE)
