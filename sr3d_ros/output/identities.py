"""Identities of objects for the node: the tracker, and the frame that stands still.

Without `tracking.frame` the first of odom and map that is known is tracked in, else the z-up
frame of the detections, which is right for a robot that stands. No ROS.
"""

from __future__ import annotations

from sr3d_ros.frame import FrameResult
from sr3d_ros.output.tracking import Tracker, in_static_frame
from sr3d_ros.parameters.settings import tracking_settings
from sr3d_ros.params import Parameters
from sr3d_ros.tf.rigid import Matrix, rigid_inverse
from sr3d_ros.transforms import TransformError, TransformSource, frame_name

STATIC_FRAMES = ("odom", "map")


class Identities:
    """Gives the boxes of a frame their identities, where `tracking.enabled` is set."""

    def __init__(self, transforms: TransformSource) -> None:
        self._transforms = transforms
        self._tracker: Tracker | None = None
        self._wanted = ""
        self._frame = ""

    def apply(self, parameters: Parameters) -> None:
        """Track as the parameters say from the next frame on; raises `TrackingError`."""
        settings = tracking_settings(parameters)
        if not parameters.tracking:
            self._tracker = None
        elif self._tracker is None:
            self._tracker = Tracker(settings)
        else:
            self._tracker.settings = settings
        self._wanted = frame_name(parameters.tracking_frame)

    def of(self, result: FrameResult) -> tuple[str, ...] | None:
        """One identity for each detection, "" = not confirmed yet; None = not tracked.

        Raises `TransformError` where the frame to track in is not known.
        """
        tracker = self._tracker
        if tracker is None:
            return None
        frame, static_from_output = self._static(result)
        if frame != self._frame:
            tracker.reset()
            self._frame = frame
        static_from_gravity = static_from_output @ result.output_from_gravity
        return tracker.update(
            in_static_frame(result.detections, static_from_gravity), result.stamp_ns
        )

    def _static(self, result: FrameResult) -> tuple[str, Matrix]:
        """The frame to track in, and `static_from_output`."""
        if self._wanted:
            return self._wanted, self._lookup(self._wanted, result)
        for name in STATIC_FRAMES:
            try:
                return name, self._lookup(name, result)
            except TransformError as error:
                if error.reason == "extrapolation":
                    raise  # it will come; another frame would give everything new identities
        return result.gravity_frame, rigid_inverse(result.output_from_gravity)

    def _lookup(self, frame: str, result: FrameResult) -> Matrix:
        return self._transforms.lookup(frame, result.frame_id, result.stamp_ns)
