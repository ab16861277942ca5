"""Identities of objects for the node: the tracker, and the frame that stands still.

Without `tracking.frame` the first of odom and map that is known is tracked in, else the z-up
frame of the detections, which is right for a robot that stands. No ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.fixed import FIXED_FRAMES, in_fixed_frame, is_unknown
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tf.source import TransformSource
from sr3d_ros.tracking.tracker import Tracker, Tracks, in_static_frame


@dataclass(frozen=True, slots=True, eq=False)
class StaticPlace:
    """The frame that stands still, and where what is known there is published."""

    static_frame: str  # TF knows it, unless it is the gravity frame: see `FrameResult`
    static_from_gravity: Matrix
    frame_id: str  # where `output_from_static` leads, a frame of TF
    output_from_static: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What tracking makes of one frame."""

    ids: tuple[str, ...]  # one for each detection of the frame, "" = not confirmed yet
    tracks: Tracks  # all that are confirmed after the frame
    place: StaticPlace

    @property
    def is_occluded(self) -> tuple[bool, ...]:
        """Which of the tracks the frame does not show."""
        seen = set(self.ids)
        return tuple(name not in seen for name in self.tracks.ids)


class Identities:
    """Follows the objects of frames, where `tracking.enabled` is set."""

    def __init__(self, transforms: TransformSource) -> None:
        self._transforms = transforms
        self._tracker: Tracker | None = None
        self._is_enabled = False
        self._wanted = ""
        self._world: tuple[str, tuple[str, ...]] = ("", ())

    def apply(self, parameters: Parameters) -> None:
        """Track as the parameters say from the next frame on."""
        if self._tracker is not None:
            self._tracker.parameters = parameters
        elif parameters.tracking:
            self._tracker = Tracker(parameters)
        self._is_enabled = parameters.tracking
        self._wanted = frame_name(parameters.tracking_frame)

    def of(self, result: FrameResult, classes: Sequence[str]) -> Tracked | None:
        """What is known after a frame of a detector of `classes`; None = not tracked.

        Raises `TransformError` where the frame to track in is not known.
        """
        tracker = self._tracker
        if tracker is None:
            return None
        if not self._is_enabled:
            tracker.reset()  # here, as `apply` runs in another thread; identities go on counting
            return None
        place = static_place(self._transforms, result, self._wanted)
        world = (place.static_frame, tuple(classes))
        if world != self._world:
            tracker.reset()
            self._world = world
        found = in_static_frame(result.detections, place.static_from_gravity)
        ids = tracker.update(found, result.stamp_ns)
        return Tracked(ids, tracker.tracks(), place)


def static_place(
    transforms: TransformSource,
    result: FrameResult,
    wanted: str,
    candidates: Sequence[str] = FIXED_FRAMES,
) -> StaticPlace:
    """The `wanted` frame, or "" for the first of the candidates that is known.

    Without any it is the z-up frame of the detections. Raises `TransformError`.
    """
    try:
        frame, static_from_output = in_fixed_frame(
            transforms, result.frame_id, result.stamp_ns, wanted, candidates
        )
    except TransformError as error:
        if wanted or not is_unknown(error):
            raise  # it will come; another frame would give everything new identities
        # TF need not know the gravity frame, so what is kept there goes where boxes go.
        return StaticPlace(
            result.gravity_frame, np.eye(4), result.frame_id, result.output_from_gravity
        )
    return StaticPlace(frame, static_from_output @ result.output_from_gravity, frame, np.eye(4))
