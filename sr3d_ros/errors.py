"""Why a frame gives no boxes: the errors, and the one list of drop reasons.

A reason is a short stable slug; frames are counted under it in ~/status and /diagnostics. A new
one is an entry of `DROP_REASONS`; `make/robot_reference.py` writes docs/drop_reasons.md from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    """Which way is up is not known."""


class TransformError(Refused):
    """A transform that is not known."""

    @property
    def may_still_come(self) -> bool:
        """Whether waiting may help: both frames are known, but not for this stamp."""
        return self.reason in ("extrapolation", "two_parents")


SUPERSEDED = "superseded"
TOO_OLD = "too_old"
STOPPED = "stopped"
DETECTOR_FAILED = "detector_failed"
OUT_OF_MEMORY = "out_of_memory"
UNMATCHED = "unmatched"
DEPTH_NOT_STEADY = "depth_not_steady"


@dataclass(frozen=True, slots=True)
class DropReason:
    """One reason for which frames give no boxes."""

    slug: str
    meaning: str
    """What happened, for people who meet it in ~/status."""
    remedy: str
    """What to do."""
    is_normal: bool = False
    """Whether it is counted, but neither logged nor a warning."""
    is_about_transforms: bool = False
    """Whether it belongs to the concern `tf` of /diagnostics."""


_READ_THE_TEXT = "correct the publisher as the text says"

_LIST = (
    DropReason(
        SUPERSEDED,
        "a newer frame came before the detector was free",
        "normal when the sensor is faster than the detector",
        is_normal=True,
    ),
    DropReason(
        TOO_OLD,
        "the frame was older than input.max_age_s when the detector was free",
        "raise input.max_age_s, or compare the clocks of sensor and detector",
    ),
    DropReason(
        STOPPED,
        "the frame still waited when no more boxes were wanted",
        "normal when the node is deactivated or disabled",
        is_normal=True,
    ),
    DropReason(
        DEPTH_NOT_STEADY,
        "a frame of depth while the camera is in use, as depth was silent or mostly holes",
        "normal until depth has been steady for input.recover_after_s",
        is_normal=True,
    ),
    DropReason(
        "no_color",
        "a cloud of a recording without a color image of its time (sr3d distill --bag), or that "
        "holds none itself: organized, with colors, in its camera's optical frame",
        "record color images with their CameraInfo, as often as clouds; or name the topics",
    ),
    DropReason(
        "depth_elsewhere",
        "hardly a pixel of the color image has a depth in the cloud (sr3d distill --bag)",
        "name the color topic of the camera that looks where the depth sensor does",
    ),
    DropReason(
        "no_transform",
        "nobody publishes one of the frames on /tf or /tf_static",
        "publish the frame (start robot_state_publisher or the camera's "
        "static_transform_publisher), or correct frames.detection and frames.target; where there "
        "is no TF at all, set frames.up to floor (launch argument up:=floor)",
        is_about_transforms=True,
    ),
    DropReason(
        "disconnected",
        "both frames are published, but in two trees",
        "publish the transform between the two trees",
        is_about_transforms=True,
    ),
    DropReason(
        "extrapolation",
        "the transform did not come for the stamp of the frame within frames.timeout_s",
        "raise frames.timeout_s; where messages are lost on the way too, start their publisher "
        "with config/fastdds_large_data.xml: its transforms come late as well",
        is_about_transforms=True,
    ),
    DropReason(
        "two_parents",
        "two publishers give a frame different parents, so that its place comes and goes",
        "stop one of the two publishers; `ros2 topic info --verbose /tf` names them",
        is_about_transforms=True,
    ),
    DropReason(
        "cycle",
        "the frames form a ring",
        "two publishers disagree about a frame's parent: stop one of them",
        is_about_transforms=True,
    ),
    DropReason(
        "bad_transform",
        "what was published is no rotation, or not finite",
        "correct the publisher of the transform",
        is_about_transforms=True,
    ),
    DropReason("no_xyz", "a cloud without x, y or z", "publish a cloud with fields x, y and z"),
    DropReason("field_type", "a field of another type than expected", _READ_THE_TEXT),
    DropReason("fields", "a list of fields that names one twice, or is none", _READ_THE_TEXT),
    DropReason("point_step", "a point_step that is 0 or too small for the fields", _READ_THE_TEXT),
    DropReason("size", "width, height or row_step that do not fit the data", _READ_THE_TEXT),
    DropReason(
        "truncated",
        "fewer bytes of data than height, width and steps say, or a compressed image that was cut",
        _READ_THE_TEXT,
    ),
    DropReason(
        "data", "data that is no bytes, or a compressed image that is damaged", _READ_THE_TEXT
    ),
    DropReason(
        "header",
        "no usable stamp or frame_id",
        "fill in header.stamp and header.frame_id in the driver",
    ),
    DropReason(
        "unsupported_encoding",
        "an image whose encoding or compression is not known",
        "publish depth as 16UC1 or 32FC1, raw or as compressedDepth (input.depth_transport), and "
        "color as rgb8, bgr8, rgba8, bgra8, mono8 or yuv422, raw or compressed as jpeg or png "
        "(input.color_transport)",
    ),
    DropReason(
        "no_camera_info",
        "an image without its CameraInfo",
        "publish the CameraInfo of the image, with its stamp",
    ),
    DropReason(
        "camera_info",
        "a CameraInfo that is not calibrated",
        "calibrate the camera, or publish the CameraInfo that belongs to the image",
    ),
    DropReason(
        "image_size_differs_from_camera_info",
        "an image of another size than its CameraInfo",
        "publish the CameraInfo of this very image; a node that resizes one must change both",
    ),
    DropReason(
        "not_rectified",
        "a raw color image whose distortion cannot be taken off",
        "subscribe to image_rect of image_proc, or calibrate with plumb_bob, rational_polynomial "
        "or equidistant",
    ),
    DropReason(
        "no_gravity_transform",
        "a color image alone, and nobody says where its camera stands and which way is up",
        "publish the camera's transform to a frame with z up on /tf, or set frames.up to imu",
        is_about_transforms=True,
    ),
    DropReason(
        "dark_image",
        "a color image so dark that nothing can be seen in it",
        "uncover the lens, switch the light on, or let the camera expose longer",
    ),
    DropReason(
        "undecodable",
        "a recorded message that cannot be decoded",
        "the recording is damaged there: record again",
    ),
    DropReason(
        "units",
        "a cloud far too large for metres, such as one in millimetres",
        "publish metres (REP-103): correct the driver's scale",
    ),
    DropReason(
        "no_floor",
        "frames.up is floor, and no floor was found in the cloud",
        "point the camera so that it sees floor, or set frames.up to tf or imu",
    ),
    DropReason(
        "no_imu",
        "frames.up is imu, and no message came from one",
        "publish ~/input/imu (remap it), or set frames.up to tf or floor",
    ),
    DropReason(
        "stale_imu",
        "the IMU's messages are too far from the stamp of the frame",
        "compare the clocks of IMU and camera, or raise the IMU's rate",
    ),
    DropReason(
        "bad_imu",
        "the IMU's messages cannot be used",
        "correct the IMU's driver as the text says",
    ),
    DropReason(
        UNMATCHED,
        "a message of a set whose other messages did not come",
        "publish the topics of one frame with equal stamps, or raise input.match_tolerance_s or "
        "input.fuse_window_s",
    ),
    DropReason(
        OUT_OF_MEMORY,
        "the GPU's memory was not enough, also with half the points",
        "lower input.max_points, use a smaller model, or free the GPU of other work",
    ),
    DropReason(
        DETECTOR_FAILED,
        "an exception that is no fault of the frame or of its transform",
        "report it with the text; the next frame is tried as usual",
    ),
)

DROP_REASONS: Mapping[str, DropReason] = {reason.slug: reason for reason in _LIST}
"""Every reason by its slug, in the order of ~/status."""


def drop_reason(slug: str) -> DropReason:
    """What is known about a reason; the text of one that nobody foresaw says what to do."""
    return DROP_REASONS.get(slug, DropReason(slug, "", "do as the text says"))
