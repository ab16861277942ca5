"""Depth image + CameraInfo (+ color image) -> PointCloud in the camera's optical frame.

The same points, in the same order, as depth_image_proc computes: pixel (u, v) of depth z is
((u - cx) z / fx, (v - cy) z / fy, z), with the projection of the rectified image (P; K where P is
empty), binning and region of interest applied. Images must be rectified, as there.
A compressed depth image is decompressed first (`compressed_depth.py`).
16UC1 holds millimetres, 32FC1 metres (REP-118); 0, 65535, NaN, infinities and negative depths are
"no return".

A color image is used only where it shows what the depth image shows, pixel by pixel:
`color_misfit` says why one does not. Let the driver register them (`align_depth`), or
depth_image_proc's register node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d_core.geometry.camera import Pinhole
from sr3d_core.geometry.thinning import even_rows
from sr3d_core.structures import PointCloud
from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.compressed_color import plain_color
from sr3d_ros.sensors.compressed_depth import is_compressed_depth, plain_depth
from sr3d_ros.sensors.image import PixelLayout, pixels_of, size_of
from sr3d_ros.sensors.pointcloud2 import FARTHEST_M
from sr3d_ros.sensors.raw_message import number_of
from sr3d_ros.tf.headers import frame_of

_DEPTH = {
    "16uc1": PixelLayout("u2", 1),
    "mono16": PixelLayout("u2", 1),
    "32fc1": PixelLayout("f4", 1),
}
_SATURATED_MM = 65535
_MAX_PIXELS = 1e6  # no camera has a longer focal length
_COLOR = {
    "rgb8": PixelLayout("u1", 3),
    "bgr8": PixelLayout("u1", 3),
    "rgba8": PixelLayout("u1", 4),
    "bgra8": PixelLayout("u1", 4),
    "8uc3": PixelLayout("u1", 3),
    "8uc4": PixelLayout("u1", 4),
    "mono8": PixelLayout("u1", 1),
    "8uc1": PixelLayout("u1", 1),
}
_RED_FIRST = ("rgb8", "rgba8")  # everything else is blue first, as OpenCV has it


@dataclass(frozen=True, slots=True)
class DepthSet:
    """Messages of one moment that make one cloud: `Image`, `CameraInfo` and perhaps `Image`.

    Depth and color may be CompressedImages.
    """

    depth: Any
    info: Any
    color: Any = None

    @property
    def header(self) -> Any:
        """Stamp and frame of the cloud: those of the depth image."""
        return self.depth.header

    def plain(self) -> DepthSet:
        """The set with images that are not compressed; raises `MessageError`."""
        color = None if self.color is None else plain_color(self.color)
        return DepthSet(plain_depth(self.depth), self.info, color)


def has_depth(image: Any) -> bool:
    """Whether an image, compressed or not, says that it is one of depth, not of color."""
    return is_compressed_depth(image) or str(getattr(image, "encoding", "")).lower() in _DEPTH


def cloud_from_depth(
    depth: Any, info: Any, color: Any = None, *, max_points: int | None = None
) -> PointCloud:
    """The returns of a depth image in its optical frame, row by row.

    Colors are unknown without `color`, or where it does not fit (see `color_misfit`). Of more
    than `max_points` returns an evenly spaced, deterministic selection is kept. Raises
    `MessageError`.
    """
    depth = plain_depth(depth)
    metres = _metres(depth)
    if metres.size == 0:
        return PointCloud.single(torch.zeros(0, 3), None)
    camera = pinhole(info, depth)
    is_return = (metres > 0) & (metres <= FARTHEST_M)
    kept = np.flatnonzero(is_return)
    if max_points is not None and len(kept) > max_points:
        kept = kept[even_rows(len(kept), max_points)]
    height, width = metres.shape
    xyz = np.empty((len(kept), 3), np.float32)
    xyz[:, 2] = metres.reshape(-1)[kept]
    row, column = np.divmod(kept, width)
    xyz[:, 0] = _slopes(width, camera.cx, camera.fx)[column] * xyz[:, 2]
    xyz[:, 1] = _slopes(height, camera.cy, camera.fy)[row] * xyz[:, 2]
    rgb = None
    if color is not None and not color_misfit(depth, color):
        rgb = torch.from_numpy(_colors(color, metres.shape, row, column))
    return PointCloud.single(torch.from_numpy(xyz), rgb)


def color_misfit(depth: Any, color: Any) -> str:
    """Why a color image cannot color a depth image, in words; "" where it can.

    Both must be of one frame, and of one size or a whole multiple of it.
    """
    depth = plain_depth(depth)
    depth_frame, color_frame = frame_of(depth), frame_of(color)
    if depth_frame != color_frame:
        return (
            f"color is not used: its image is of '{color_frame}', the depth image of "
            f"'{depth_frame}'; let the driver align depth to color"
        )
    (height, width), (color_height, color_width) = size_of(depth), size_of(color)
    is_multiple = (
        min(height, width, color_height, color_width) > 0
        and height * color_width == width * color_height
        and max(width, color_width) % min(width, color_width) == 0
    )
    if not is_multiple:
        return (
            f"color is not used: its image has {color_width} x {color_height} pixels, the "
            f"depth image {width} x {height}; expected the same size or a whole multiple"
        )
    return ""


def pinhole(info: Any, depth: Any) -> Pinhole:
    """The projection of a depth image; raises `MessageError` where there is no calibration."""
    fx, fy, cx, cy = _projection(info)
    # NaN is not between any two numbers.
    if not (all(1e-3 < f < _MAX_PIXELS for f in (fx, fy)) and abs(cx) + abs(cy) < _MAX_PIXELS):
        raise MessageError(
            "camera_info",
            f"camera info has fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}; expected focal lengths "
            "in pixels; calibrate the camera, or choose the camera_info beside the depth image",
        )
    roi = getattr(info, "roi", None)
    binning = [max(1, _whole(info, f"binning_{axis}")) for axis in "xy"]
    width, height = (
        (_whole(roi, name) or _whole(info, name)) // step
        for name, step in zip(("width", "height"), binning, strict=True)
    )
    if (height, width) != size_of(depth):
        raise MessageError(
            "camera_info",
            f"camera info is of {width} x {height} pixels, the depth image of "
            f"{size_of(depth)[1]} x {size_of(depth)[0]}; choose the camera_info that the driver "
            "publishes beside the depth image",
        )
    cx, cy = cx - _whole(roi, "x_offset"), cy - _whole(roi, "y_offset")
    return Pinhole(
        width, height, fx / binning[0], fy / binning[1], cx / binning[0], cy / binning[1]
    )


def _whole(record: Any, name: str) -> int:
    """A number of 0 or more; 0 where the record has none of this name."""
    return number_of(record, name) if hasattr(record, name) else 0


def _projection(info: Any) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of P, or of K where P is empty; 0 where both are. ROS 1 spells them large."""
    for name, rows in (("p", 4), ("k", 3)):
        values = getattr(info, name, None)
        values = getattr(info, name.upper(), None) if values is None else values
        try:
            matrix = [float(value) for value in values]  # type: ignore[union-attr]
        except (TypeError, ValueError):
            continue
        if len(matrix) == 3 * rows and matrix[0] != 0.0:
            return matrix[0], matrix[rows + 1], matrix[2], matrix[rows + 2]
    return 0.0, 0.0, 0.0, 0.0


def _metres(depth: Any) -> NDArray[np.float32]:
    """The depth of every pixel in metres; what is no return is not in (0, FARTHEST_M]."""
    raw = pixels_of(depth, _DEPTH, "the depth image")[:, :, 0]
    if raw.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return raw.astype(np.float32, copy=False)
    metres = raw * np.float32(0.001)
    metres[raw == _SATURATED_MM] = 0.0
    return metres


def _slopes(length: int, centre: float, focal: float) -> NDArray[np.float32]:
    """What to multiply the depth with, for each pixel along an axis."""
    return ((np.arange(length) - centre) / focal).astype(np.float32)


def _colors(
    color: Any, shape: tuple[int, ...], row: NDArray[np.intp], column: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Red, green, blue in 0..1 at the given pixels of the depth image."""
    pixels = pixels_of(color, _COLOR, "the color image")
    height, width = shape
    found = pixels[row * pixels.shape[0] // height, column * pixels.shape[1] // width]
    if pixels.shape[2] == 1:
        found = np.repeat(found, 3, axis=1)
    elif str(color.encoding).lower() not in _RED_FIRST:
        found = found[:, 2::-1]
    return np.true_divide(found[:, :3], 255, dtype=np.float32)
