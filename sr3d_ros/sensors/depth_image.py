"""Depth image + CameraInfo (+ color image) -> PointCloud in the camera's optical frame.

The same points, in the same order, as depth_image_proc computes: pixel (u, v) of depth z is
((u - cx) z / fx, (v - cy) z / fy, z), with the projection of the rectified image
(`camera_info.py`). Images must be rectified, as there.
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

from sr3d_core.geometry.thinning import even_rows
from sr3d_core.structures import PointCloud
from sr3d_ros.sensors.camera_info import rectified_camera
from sr3d_ros.sensors.color_image import rgb_of
from sr3d_ros.sensors.compressed_color import plain_color
from sr3d_ros.sensors.compressed_depth import is_compressed_depth, plain_depth
from sr3d_ros.sensors.image import PixelLayout, pixels_of, size_of
from sr3d_ros.sensors.pointcloud2 import FARTHEST_M
from sr3d_ros.tf.headers import frame_of

_DEPTH = {
    "16uc1": PixelLayout("u2", 1),
    "mono16": PixelLayout("u2", 1),
    "32fc1": PixelLayout("f4", 1),
}
_SATURATED_MM = 65535


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


def is_return(depth: Any) -> NDArray[np.bool_]:
    """Which pixels (height, width) of a depth image are returns; raises `MessageError`."""
    return _is_return(_metres(plain_depth(depth)))


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
    camera = rectified_camera(info, depth, "the depth image")
    kept = np.flatnonzero(_is_return(metres))
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


def _metres(depth: Any) -> NDArray[np.float32]:
    """The depth of every pixel in metres; what is no return is not in (0, FARTHEST_M]."""
    raw = pixels_of(depth, _DEPTH, "the depth image")[:, :, 0]
    if raw.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return raw.astype(np.float32, copy=False)
    metres = raw * np.float32(0.001)
    metres[raw == _SATURATED_MM] = 0.0
    return metres


def _is_return(metres: NDArray[np.float32]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (metres > 0) & (metres <= FARTHEST_M)
    return found


def _slopes(length: int, centre: float, focal: float) -> NDArray[np.float32]:
    """What to multiply the depth with, for each pixel along an axis."""
    return ((np.arange(length) - centre) / focal).astype(np.float32)


def _colors(
    color: Any, shape: tuple[int, ...], row: NDArray[np.intp], column: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Red, green, blue in 0..1 at the given pixels of the depth image."""
    pixels = rgb_of(color)
    height, width = shape
    found = pixels[row * pixels.shape[0] // height, column * pixels.shape[1] // width]
    return np.true_divide(found, 255, dtype=np.float32)
