"""Identities for the node: tracked in a frame that stands still, whatever the robot does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tracking.identities import Identities, Tracked

CLASSES = ("chair", "bed")
ON = {"tracking.enabled": True, "tracking.min_hits": 1}


def seen(second: int, x: float | None, **more: Any) -> FrameResult:
    """A chair that a frame shows at x metres ahead of the robot; None = it shows nothing."""
    boxes = Boxes3D.from_array(torch.tensor([[x or 0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 0.0]]))
    found = Detections(boxes, torch.tensor([0.9]), torch.tensor([0]))
    values: dict[str, Any] = {
        "frame_id": "base_link",
        "gravity_frame": "base_link",
        "output_from_gravity": np.eye(4),
    }
    return FrameResult(
        stamp_ns=second * 10**9,
        detections=Detections.empty() if x is None else found,
        gravity_from_cloud=np.eye(4),
        sensor_cloud=PointCloud.single(torch.zeros(0, 3), None),
        frame_cloud=PointCloud.single(torch.zeros(0, 3), None),
        sensor_offset=torch.zeros(3),
        time_ms={},
        **{**values, **more},
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


def ids_of(identities: Identities, result: FrameResult) -> tuple[str, ...]:
    """The ids of a frame's detections."""
    tracked = identities.of(result, CLASSES)
    assert tracked is not None
    return tracked.ids


def test_without_tracking_there_are_no_identities() -> None:
    identities = Identities(TransformBuffer())
    identities.apply(Parameters())
    assert identities.of(seen(1, x=2.0), CLASSES) is None


def test_an_object_that_stands_keeps_its_identity_while_the_robot_drives() -> None:
    identities = tracking(driving())
    names = {ids_of(identities, seen(second, x=20.0 - 5.0 * second)) for second in range(1, 5)}
    assert len(names) == 1
    assert names != {("",)}


def test_an_object_that_moves_with_the_robot_is_not_taken_for_one_that_stands() -> None:
    identities = tracking(driving())
    assert ids_of(identities, seen(1, x=2.0)) != ids_of(identities, seen(2, x=2.0))


def test_without_odometry_the_detection_frame_is_tracked_in() -> None:
    identities = tracking(TransformBuffer())
    assert ids_of(identities, seen(1, x=2.0)) == ids_of(identities, seen(2, x=2.0))


def test_a_frame_that_was_asked_for_must_be_known() -> None:
    identities = tracking(driving(), **{"tracking.frame": "mapp"})
    with pytest.raises(TransformError, match="frame 'mapp' is not known"):
        ids_of(identities, seen(1, x=2.0))


def test_a_transform_that_is_late_is_waited_for_and_not_replaced() -> None:
    identities = tracking(driving())
    with pytest.raises(TransformError) as caught:
        ids_of(identities, seen(9, x=2.0))
    assert caught.value.reason == "extrapolation"


def test_switched_off_and_on_again_everything_is_new() -> None:
    identities = tracking(TransformBuffer())
    first = ids_of(identities, seen(1, x=2.0))
    identities.apply(Parameters())
    assert identities.of(seen(2, x=2.0), CLASSES) is None
    identities.apply(Parameters.from_values(ON))
    assert ids_of(identities, seen(3, x=2.0)) not in (first, ("",))


def tracked_of(identities: Identities, result: FrameResult) -> Tracked:
    """What is known after a frame."""
    tracked = identities.of(result, CLASSES)
    assert tracked is not None
    return tracked


def test_an_occluded_object_keeps_its_track_in_odom_until_its_time_is_over() -> None:
    identities = tracking(driving(), **{"tracking.max_age_s": 1.5})
    first = tracked_of(identities, seen(1, x=2.0))
    assert first.is_occluded == (False,)
    occluded = tracked_of(identities, seen(2, x=None))
    assert (occluded.ids, occluded.tracks.ids, occluded.is_occluded) == ((), first.ids, (True,))
    assert occluded.tracks.boxes.boxes.center[0].tolist() == pytest.approx([7.0, 0.0, 0.5])
    assert (occluded.place.static_frame, occluded.place.frame_id) == ("odom", "odom")
    np.testing.assert_array_equal(occluded.place.output_from_static, np.eye(4))
    assert tracked_of(identities, seen(3, x=None)).tracks.ids == ()


def test_without_odometry_objects_are_published_where_boxes_go() -> None:
    """TF does not know the frame that is levelled by the floor."""
    turned = np.array([[0.0, -1, 0, 0.5], [0, 0, -1, 1.2], [1, 0, 0, -0.3], [0, 0, 0, 1]])
    result = seen(
        1, x=2.0, frame_id="camera", gravity_frame="camera_level", output_from_gravity=turned
    )
    tracked = tracked_of(tracking(TransformBuffer()), result)
    assert (tracked.place.static_frame, tracked.place.frame_id) == ("camera_level", "camera")
    np.testing.assert_array_equal(tracked.place.output_from_static, turned)
    assert tracked.tracks.boxes.boxes.center[0].tolist() == pytest.approx([2.0, 0.0, 0.5])


def test_objects_of_another_label_space_are_forgotten() -> None:
    identities = tracking(TransformBuffer())
    first = tracked_of(identities, seen(1, x=2.0))
    other = identities.of(seen(2, x=None), ("bed",))
    assert other is not None
    assert first.tracks.ids == ("1",)
    assert other.tracks.ids == ()


def test_objects_are_forgotten_where_time_jumps_back_or_the_frame_changes() -> None:
    buffer = driving()
    identities = tracking(buffer)
    assert tracked_of(identities, seen(4, x=2.0)).tracks.ids == ("1",)
    assert tracked_of(identities, seen(1, x=None)).tracks.ids == ()
    assert tracked_of(identities, seen(2, x=2.0)).tracks.ids == ("2",)
    buffer.insert("map", "odom", 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), static=True)
    identities.apply(Parameters.from_values({**ON, "tracking.frame": "map"}))
    moved = tracked_of(identities, seen(3, x=None))
    assert (moved.tracks.ids, moved.place.frame_id) == ((), "map")


def test_frames_without_a_place_leave_what_is_known_alone() -> None:
    identities = tracking(driving(), **{"tracking.max_age_s": 100.0})
    first = tracked_of(identities, seen(1, x=2.0))
    with pytest.raises(TransformError):
        identities.of(seen(9, x=2.0), CLASSES)
    assert tracked_of(identities, seen(2, x=None)).tracks.ids == first.ids


def test_a_transform_that_holds_no_numbers_does_not_reach_the_tracks() -> None:
    class Broken:
        def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Any:
            return np.full((4, 4), np.nan)

    identities = Identities(Broken())
    identities.apply(Parameters.from_values(ON))
    with pytest.raises(TransformError) as caught:
        identities.of(seen(1, x=2.0), CLASSES)
    assert caught.value.reason == "bad_transform"
