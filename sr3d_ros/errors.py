"""Why a frame gives no boxes: the errors, the drop reasons, and in words what to do about each.

A reason is a short stable slug; frames are counted under it in ~/status and /diagnostics. A new
one is a line here.
"""

from __future__ import annotations

from collections.abc import Mapping


class Refused(ValueError):
    """Input that cannot be used; `reason` is a short stable slug to count it under.

    The text says where, what was found, what was expected and what to do. `stamp_ns` is that of
    the message, where it is another one than the message in hand.
    """

    def __init__(self, reason: str, text: str, stamp_ns: int | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.stamp_ns = stamp_ns


class MessageError(Refused):
    """A message that cannot be read."""


class UpError(Refused):
    """Which way is up is not known.

    Reasons: `no_floor`, `no_imu` (none came), `stale_imu`, `bad_imu` (what came cannot be used).
    """


class TransformError(Refused):
    """A transform that is not known; `reason` is a short stable slug to count it under.

    Reasons: `no_transform` (a frame nobody publishes), `disconnected`, `extrapolation` (waiting
    may help), `cycle`, `bad_transform` (what was published cannot be used).
    """


SUPERSEDED = "superseded"
"""Drop reason: a newer item came before the worker was free."""
TOO_OLD = "too_old"
"""Drop reason: the item was older than the age limit when the worker was free."""
STOPPED = "stopped"
"""Drop reason: the item still waited when no more work was wanted."""
DETECTOR_FAILED = "detector_failed"
"""Drop reason: an exception that is no fault of the frame or of its transform."""
OUT_OF_MEMORY = "out_of_memory"
"""Drop reason: the GPU's memory did not do, also with half the points."""

UNMATCHED = "unmatched"
"""Drop reason: a message of a set whose other messages did not come."""

QUIET = (SUPERSEDED, STOPPED)
"""Reasons that are normal: counted, but neither logged nor a warning."""

TRANSFORM_REASONS = ("no_transform", "disconnected", "extrapolation", "cycle", "bad_transform")
"""Reasons that are about transforms."""

_READ_THE_TEXT = "correct the publisher of the cloud as the text says"

REMEDIES: Mapping[str, str] = {
    SUPERSEDED: "normal when the sensor is faster than the detector",
    STOPPED: "normal when the node is deactivated or disabled",
    TOO_OLD: "raise input.max_age_s, or compare the clocks of sensor and detector",
    "no_transform": "publish the frame (start robot_state_publisher or the camera's "
    "static_transform_publisher), or correct frames.detection and frames.target; where there is "
    "no TF at all, set frames.up to floor (launch argument up:=floor)",
    "disconnected": "publish the transform between the two trees",
    "extrapolation": "raise frames.timeout_s; where messages are lost on the way too, start "
    "their publisher with config/fastdds_large_data.xml: its transforms come late as well",
    "cycle": "two publishers disagree about a frame's parent: stop one of them",
    "bad_transform": "correct the publisher of the transform",
    "no_xyz": "publish a cloud with fields x, y and z",
    "field_type": _READ_THE_TEXT,
    "fields": _READ_THE_TEXT,
    "point_step": _READ_THE_TEXT,
    "size": _READ_THE_TEXT,
    "truncated": _READ_THE_TEXT,
    "data": _READ_THE_TEXT,
    "header": "fill in header.stamp and header.frame_id in the driver",
    "encoding": "publish depth as 16UC1 or 32FC1",
    "camera_info": "publish the CameraInfo of the depth image, calibrated",
    "undecodable": "the recording is damaged there: record again",
    "units": "publish metres (REP-103): correct the driver's scale",
    "no_floor": "point the camera so that it sees floor, or set frames.up to tf or imu",
    "no_imu": "publish ~/input/imu (remap it), or set frames.up to tf or floor",
    "stale_imu": "compare the clocks of IMU and camera, or raise the IMU's rate",
    "bad_imu": "correct the IMU's driver as the text says",
    UNMATCHED: "publish the topics of one frame with equal stamps, or raise "
    "input.match_tolerance_s or input.fuse_window_s",
    OUT_OF_MEMORY: "lower input.max_points, use a smaller model, or free the GPU of other work",
    DETECTOR_FAILED: "report it with the text; the next frame is tried as usual",
}
"""What to do, by reason."""


def remedy_for(reason: str) -> str:
    """What to do about a reason; the texts of unforeseen ones say it themselves."""
    return REMEDIES.get(reason, "do as the text says")
