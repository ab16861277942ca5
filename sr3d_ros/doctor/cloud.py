"""The doctor's questions about one real cloud: readable, not empty, in metres, and z up?

Pure: nothing of ROS is imported. What becomes of the cloud is asked of `FramePipeline`, the node's
own way, with a detector that finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from sr3d_core.geometry.gravity import GravityError, up_rotation
from sr3d_core.geometry.scale import extent_of, scale_doubt
from sr3d_core.machine.findings import Finding, fail, ok, warn
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.errors import MessageError, Refused, drop_reason
from sr3d_ros.frame_notes import is_optical
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult, is_cloud_z_up
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth
from sr3d_ros.sensors.placed import around_sensor
from sr3d_ros.sensors.pointcloud2 import cloud_from_message
from sr3d_ros.tf.fixed import FIXED_FRAMES
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.source import TransformSource
from sr3d_ros.tf.up import UpSource

Reader = Callable[[], PointCloud]

_STANDING_FRAMES = (*FIXED_FRAMES, "world", "earth")
"""Frames that do not move with the robot (REP-105): their origin may be anywhere."""
_MANY_INVALID = 0.9
_WEAK_FLOOR = 0.1
_SHOW_THE_FLOOR = "let the camera see more of the floor and run the doctor again"
_TILTED_RAD = math.radians(5.0)
_OPTICAL_DOWN = 0.5  # how far up must point along -y before a frame looks optical


def reader_of(message: Any, drop_zeros: bool = True) -> Reader:
    """Reads a PointCloud2 or a `DepthSet`, all of it."""
    if isinstance(message, DepthSet):
        return lambda: cloud_from_depth(message.depth, message.info)
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
    if isinstance(message, DepthSet):
        message = message.plain().depth
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
    return ok("cloud", text if cloud.features.isfinite().any() else f"{text}, no color")


def _layout_of(message: Any) -> str:
    """The fields of a cloud, the encoding of an image."""
    fields = getattr(message, "fields", ())
    return " ".join(str(field.name) for field in fields) or str(getattr(message, "encoding", ""))


def _why_empty(frame: str) -> str:
    return (
        "is the lens covered, the projector off, everything nearer or farther than the camera's "
        f"range? look at the depth image of '{frame}' in rviz2"
    )


def check_units(cloud: PointCloud, frame: str) -> Finding:
    """Whether the cloud is as large as rooms are in metres; it has at least one point.

    How far it is from its origin tells of units only where the origin is the sensor.
    """
    is_on_a_map = frame in _STANDING_FRAMES or cloud.xyz.dtype == torch.float64
    doubt = scale_doubt(cloud.xyz, is_from_sensor=not is_on_a_map)
    if doubt is None:
        extent = " x ".join(f"{edge:,.2f}" for edge in extent_of(cloud.xyz))
        return ok("units", f"{extent} m")
    if doubt.kind == "large":
        remedy = "limit it with filter.max_range_m; the weights know rooms"
        return warn("units", doubt.text, remedy)
    remedy = "the driver must publish metres (REP-103): correct its depth scale or units parameter"
    return fail("units", doubt.text, remedy)


def way_of(
    parameters: Parameters, transforms: TransformSource, imu: UpSource | None = None
) -> Callable[[Any], FrameResult]:
    """What the node does with a message before it detects; raises `Refused`."""
    alone = replace(parameters, memory_seconds=0.0)  # of one message
    pipeline = FramePipeline(lambda _: Detections.empty(), transforms, alone, imu)
    return pipeline.process


def check_transform(
    message: Any, way: Callable[[Any], FrameResult], parameters: Parameters
) -> Finding:
    """Whether the node knows everything that it needs to turn the cloud upright and to publish."""
    try:
        result = way(message)
    except Refused as error:
        reason = drop_reason(error.reason)
        return fail("tf" if reason.is_about_transforms else "up", str(error), reason.remedy)
    frame = frame_name(message.header.frame_id)
    if parameters.up == "tf" and not is_cloud_z_up(parameters):
        height_m = result.gravity_from_cloud[2, 3]
        text = f"{result.gravity_frame} <- {frame}, the camera is at z = {height_m:.2f} m"
    else:
        text = f"none needed to know up (frames.up: {parameters.up})"
    return ok("tf", text if result.frame_id == frame else f"{text}; {result.frame_id} <- {frame}")


def check_image(view: CameraView, way: Callable[[Any], FrameResult]) -> Finding:
    """Whether the node can read a color image and knows where its camera stands."""
    try:
        result = way(view)
    except Refused as error:
        reason = drop_reason(error.reason)
        return fail("tf" if reason.is_about_transforms else "image", str(error), reason.remedy)
    height_m = result.gravity_from_cloud[2, 3]
    frame = frame_name(view.header.frame_id)
    return ok("image", f"{result.gravity_frame} <- {frame}, the camera is at z = {height_m:.2f} m")


def check_filter(cloud: PointCloud, result: FrameResult) -> Finding:
    """How many points the crop and the point budget leave."""
    text = f"{len(result.cloud):,} of {len(cloud):,} points are detected in"
    if len(result.cloud) == 0:
        return fail("filter", text, "correct filter.*: range, height or region of interest")
    return ok("filter", text)


def check_up(cloud: PointCloud, frame: str) -> Finding:
    """Whether the floor is level in the frame that is taken as z up."""
    remedy = "set frames.up to tf with a z-up frame of the robot, or to floor"
    if is_optical(frame):
        text = f"z of '{frame}' is taken as up: an optical frame's z points forward (REP-103)"
        return fail("up", text, remedy)
    try:
        rotation, confidence = up_rotation(cloud.xyz, is_from_sensor=True)
    except GravityError as error:
        return warn(
            "up",
            f"z of '{frame}' is taken as up; not verified: {error}",
            _SHOW_THE_FLOOR,
        )
    tilt_rad = math.acos(max(-1.0, min(1.0, float(rotation[2, 2]))))
    text = f"the floor ({confidence:.0%} of the surface) is tilted {math.degrees(tilt_rad):.0f} "
    text += f"degrees in '{frame}'"
    if float(rotation[2, 1]) < -_OPTICAL_DOWN:
        return fail("up", f"{text}: y points down, it looks like a camera's optical frame", remedy)
    if tilt_rad > _TILTED_RAD:
        return warn(
            "up",
            f"{text}, unless a wall was taken for it",
            "correct the camera's mounting angle in the URDF or static transform",
        )
    text = f"z of '{frame}': its floor is level ({confidence:.0%} of the surface)"
    if confidence < _WEAK_FLOOR:
        return warn("up", f"{text}, but that is little to go by", _SHOW_THE_FLOOR)
    return ok("up", text)


def check_level(cloud: PointCloud, result: FrameResult, parameters: Parameters) -> Finding:
    """Whether z is up in the frame that is detected in; `cloud` is in its own frame."""
    if parameters.up == "floor" and not is_cloud_z_up(parameters):
        height_m = result.gravity_from_cloud[2, 3]
        text = f"fitted floor ({result.up_confidence:.0%} of the surface)"
        return ok("up", f"{text}, {height_m:.2f} m beneath the camera")
    level, _ = around_sensor(cloud, result.gravity_from_cloud)
    return check_up(level, result.gravity_frame)
