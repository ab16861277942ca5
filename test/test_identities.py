"""Identities for the node: tracked in a frame that stands still, whatever the robot does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.frame import FrameResult
from sr3d_ros.output.identities import Identities
from sr3d_ros.params import Parameters
from sr3d_ros.transforms import TransformBuffer, TransformError

ON = {"tracking.enabled": True, "tracking.min_hits": 1}


def seen(second: int, x: float, frame_id: str = "base_link") -> FrameResult:
    """A chair that a frame shows at x metres ahead of the robot."""
    boxes = Boxes3D.from_array(torch.tensor([[x, 0.0, 0.5, 0.5, 0.5, 1.0, 0.0]]))
    return FrameResult(
        stamp_ns=second * 10**9,
        frame_id=frame_id,
        gravity_frame="base_link",
        detections=Detections(boxes, torch.tensor([0.9]), torch.tensor([0])),
        output_from_gravity=np.eye(4),
        gravity_from_cloud=np.eye(4),
        sensor_cloud=PointCloud.single(torch.zeros(0, 3), None),
        sensor_offset=torch.zeros(3),
        time_ms={},
    )


def driving() -> TransformBuffer:
    """A robot that drives five metres a second along x of odom."""
    buffer = TransformBuffer(history_s=math.inf)
    for second in range(1, 5):
        place = (5.0 * second, 0.0, 0.0)
        buffer.insert("odom", "base_link", second * 10**9, place, (0.0, 0.0, 0.0, 1.0))
    return buffer


def tracking(transforms: TransformBuffer, **more: object) -> Identities:
    identities = Identities(transforms)
    identities.apply(Parameters.from_values({**ON, **more}))
    return identities


def test_without_tracking_there_are_no_identities() -> None:
    identities = Identities(TransformBuffer())
    identities.apply(Parameters())
    assert identities.of(seen(1, x=2.0)) is None


def test_an_object_that_stands_keeps_its_identity_while_the_robot_drives() -> None:
    identities = tracking(driving())
    names = {identities.of(seen(second, x=20.0 - 5.0 * second)) for second in range(1, 5)}
    assert len(names) == 1
    assert names != {("",)}


def test_an_object_that_moves_with_the_robot_is_not_taken_for_one_that_stands() -> None:
    identities = tracking(driving())
    assert identities.of(seen(1, x=2.0)) != identities.of(seen(2, x=2.0))


def test_without_odometry_the_detection_frame_is_tracked_in() -> None:
    identities = tracking(TransformBuffer())
    assert identities.of(seen(1, x=2.0)) == identities.of(seen(2, x=2.0))


def test_a_frame_that_was_asked_for_must_be_known() -> None:
    identities = tracking(driving(), **{"tracking.frame": "mapp"})
    with pytest.raises(TransformError, match="frame 'mapp' is not known"):
        identities.of(seen(1, x=2.0))


def test_a_transform_that_is_late_is_waited_for_and_not_replaced() -> None:
    identities = tracking(driving())
    with pytest.raises(TransformError) as caught:
        identities.of(seen(9, x=2.0))
    assert caught.value.reason == "extrapolation"


def test_switched_off_and_on_again_everything_is_new() -> None:
    identities = tracking(TransformBuffer())
    first = identities.of(seen(1, x=2.0))
    identities.apply(Parameters())
    identities.apply(Parameters.from_values(ON))
    assert first is not None
    assert identities.of(seen(2, x=2.0)) is not None
