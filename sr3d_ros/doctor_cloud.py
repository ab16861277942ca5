"""The doctor's questions about one real cloud: readable, not empty, in metres, and z up?

Pure: nothing of ROS is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sr3d_core.cli.findings import Finding, fail, ok, warn
from sr3d_core.geometry.gravity import GravityError, up_rotation
from sr3d_core.structures import PointCloud
from sr3d_ros.cloud import cloud_from_message
from sr3d_ros.depth_image import cloud_from_depth
from sr3d_ros.refusal import MessageError
from sr3d_ros.rigid import Matrix
from sr3d_ros.transforms import (
    TransformError,
    TransformSource,
    first_gravity_frame,
    frame_name,
)

Reader = Callable[[], PointCloud]

CLOUD_IS_Z_UP = "none"
"""As frames.detection: the cloud's own frame is z up."""
_MANY_INVALID = 0.9
_FAR_M, _NEAR_M, _ROOM_M = 100.0, 0.05, 60.0
_TILTED_RAD, _WRONG_RAD = math.radians(5.0), math.radians(30.0)
_TF_REMEDIES = {
    "no_transform": "start robot_state_publisher or a static_transform_publisher for the camera, "
    "name a frame that exists in frames.detection, or set frames.up to floor",
    "disconnected": "publish the transform that joins the two trees (how the camera is mounted)",
    "extrapolation": "compare the clocks of camera and transforms, or raise frames.timeout_s",
    "cycle": "two publishers disagree about a frame's parent: stop one of them",
    "bad_transform": "correct the publisher of the transform",
}


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """How the node is told to find up."""

    up: str = "tf"
    """tf, imu, floor or none: parameter frames.up."""
    detection_frame: str = ""
    """Parameter frames.detection."""
    target_frame: str = ""
    """Parameter frames.target."""

    @property
    def is_cloud_z_up(self) -> bool:
        """Whether the cloud's own frame is taken as z up."""
        return self.up == "none" or frame_name(self.detection_frame) == CLOUD_IS_Z_UP


def reader_of(message: Any, info: Any = None, drop_zeros: bool = True) -> Reader:
    """Reads a PointCloud2, or a depth image where its CameraInfo is given."""
    if info is not None:
        return lambda: cloud_from_depth(message, info)
    return lambda: cloud_from_message(message, drop_zeros=drop_zeros)


def read_or_none(read: Reader) -> PointCloud | None:
    """The cloud; None where it cannot be read or holds no return."""
    try:
        return read() or None
    except MessageError:
        return None


def check_cloud(message: Any, read: Reader) -> Finding:
    """Layout, number of points and the share of them that are no return."""
    try:
        cloud = read()
    except MessageError as error:
        return fail("cloud", str(error), "correct the publisher as the text says")
    num = int(message.height) * int(message.width)
    frame = frame_name(message.header.frame_id)
    text = f"{message.height} x {message.width} points ({_layout_of(message)}) in frame '{frame}'"
    if num == 0:
        return fail("cloud", f"{text}: empty", _why_empty(frame))
    share = 1.0 - len(cloud) / num
    text += f", {share:.0%} invalid"
    if len(cloud) == 0:
        return fail("cloud", f"{text}: no point is a return", _why_empty(frame))
    if not frame:
        return fail("cloud", text, "the publisher must set header.frame_id")
    if share > _MANY_INVALID:
        return warn("cloud", text, _why_empty(frame))
    return ok("cloud", text if cloud.features.isfinite().any() else f"{text}, no colour")


def _layout_of(message: Any) -> str:
    """The fields of a cloud, the encoding of an image."""
    fields = getattr(message, "fields", ())
    return " ".join(str(field.name) for field in fields) or str(getattr(message, "encoding", ""))


def _why_empty(frame: str) -> str:
    return (
        "is the lens covered, the projector off, everything nearer or farther than the camera's "
        f"range? look at the depth image of '{frame}' in rviz2"
    )


def check_units(cloud: PointCloud) -> Finding:
    """Whether the cloud is as large as rooms are in metres; it has at least one point."""
    xyz = cloud.xyz.double()
    stride = max(1, len(xyz) // 100_000)
    share = torch.tensor([0.02, 0.98], dtype=xyz.dtype)
    low, high = torch.quantile(xyz[::stride], share, dim=0)
    extent = (high - low).tolist()
    distance = float(xyz[::stride].norm(dim=1).median())
    text = " x ".join(f"{edge:,.2f}" for edge in extent) + f" m, {distance:,.2f} m away"
    if distance > _FAR_M:
        return fail(
            "units",
            f"{text}: is it in millimetres?",
            "the driver must publish metres (REP-103): correct its depth scale or units parameter",
        )
    if distance < _NEAR_M:
        return fail(
            "units", f"{text}: no room is so small", "the driver must publish metres (REP-103)"
        )
    if max(extent) > _ROOM_M:
        remedy = "limit it with filter.max_range_m; the weights know rooms"
        return warn("units", f"{text}: larger than a room", remedy)
    return ok("units", text)


def find_gravity(
    settings: UpSettings, transforms: TransformSource, cloud_frame: str, stamp_ns: int
) -> tuple[str, Matrix]:
    """The z-up frame that the node takes and `gravity_from_cloud`; raises `TransformError`."""
    frame = frame_name(settings.detection_frame)
    if not frame:
        frame = first_gravity_frame(transforms, cloud_frame, stamp_ns)
    return frame, transforms.lookup(frame, cloud_frame, stamp_ns)


def gravity_of(
    settings: UpSettings,
    transforms: TransformSource,
    cloud: PointCloud,
    cloud_frame: str,
    stamp_ns: int,
) -> tuple[str, PointCloud]:
    """The name of the frame that is taken as z up, and the cloud in it.

    Raises `TransformError`, `GravityError`.
    """
    cloud_frame = frame_name(cloud_frame)
    if settings.is_cloud_z_up:
        return cloud_frame, cloud
    matrix = torch.eye(4, dtype=torch.float64)
    if settings.up == "floor":
        matrix[:3, :3] = up_rotation(cloud.xyz)[0]
        return "the fitted floor", cloud.transformed(matrix)
    frame, found = find_gravity(settings, transforms, cloud_frame, stamp_ns)
    return frame, cloud.transformed(torch.from_numpy(found))


def check_transform(
    settings: UpSettings, transforms: TransformSource, cloud_frame: str, stamp_ns: int
) -> Finding:
    """Whether every transform that the node needs is there at the cloud's stamp."""
    cloud_frame, target = frame_name(cloud_frame), frame_name(settings.target_frame)
    try:
        if settings.up == "tf" and not settings.is_cloud_z_up:
            frame, matrix = find_gravity(settings, transforms, cloud_frame, stamp_ns)
            text = f"{frame} <- {cloud_frame}, the camera is at z = {matrix[2, 3]:.2f} m"
        else:
            text = f"none needed to know up (frames.up: {settings.up})"
        if target not in ("", cloud_frame):
            transforms.lookup(target, cloud_frame, stamp_ns)
            text += f"; {target} <- {cloud_frame}"
    except TransformError as error:
        return fail("tf", str(error), _TF_REMEDIES.get(error.reason, "see the text"))
    return ok("tf", text)


def check_up(cloud: PointCloud, frame: str) -> Finding:
    """Whether the floor is level in the frame that is taken as z up."""
    try:
        rotation, confidence = up_rotation(cloud.xyz)
    except GravityError as error:
        return warn(
            "up",
            f"z of '{frame}' is taken as up; not verified: {error}",
            "let the camera see the floor and run the doctor again",
        )
    tilt_rad = math.acos(max(-1.0, min(1.0, float(rotation[2, 2]))))
    text = f"the floor ({confidence:.0%} of the surface) is tilted {math.degrees(tilt_rad):.0f} "
    text += f"degrees in '{frame}'"
    if tilt_rad > _WRONG_RAD:
        return fail(
            "up",
            f"{text}: its z axis is not up, it looks like a camera's optical frame",
            "set frames.up to tf with a z-up frame of the robot, or to floor",
        )
    if tilt_rad > _TILTED_RAD:
        return warn(
            "up", text, "correct the camera's mounting angle in the URDF or static transform"
        )
    return ok("up", f"z of '{frame}': its floor is level ({confidence:.0%} of the surface)")


def check_floor(cloud: PointCloud) -> Finding:
    """Whether a floor can be fitted, where `frames.up` is floor."""
    try:
        _, confidence = up_rotation(cloud.xyz)
    except GravityError as error:
        return fail("up", str(error), "let the camera see the floor, or set frames.up to tf")
    return ok("up", f"fitted floor, {confidence:.0%} of the surface")
