"""The color image that a PointCloud2 holds: an organized cloud has a colored point per pixel.

Drivers of RGB-D cameras send such clouds (depth_registered/points), and recordings often have no
image beside them. Their pixels are those of an image without distortion; its camera is found by
the points themselves: u = fx x / z + cx, v = fy y / z + cy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.pointcloud2 import FARTHEST_M, all_colors, all_coordinates

_LEAST_SPREAD = 0.25  # of columns, and of rows, from the first to the last with enough points
_LEAST_IN_LINE = 5  # points that a column or a row needs to count
_NEAREST_M = 0.05  # what is nearer is no point of a camera, but a stray one
_MOST_OFF_PX = 1.0  # nineteen of twenty points lie nearer to where the camera found has them
_MOST_BLACK = 0.5  # of all pixels
_NAN_AS_COLOR = np.array([(192, 0, 0), (0, 0, 192)], np.uint8)
"""How 0x7fc00000, the NaN of points without a return, reads as rgb and as bgr."""
_WHAT = "the cloud as a color image"


@dataclass(frozen=True, slots=True)
class CloudImage:
    """Like a `sensor_msgs/Image`."""

    header: Any
    height: int
    width: int
    step: int
    data: bytes
    encoding: str = "rgb8"
    is_bigendian: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """Like a `sensor_msgs/RegionOfInterest`: clouds are often cut out of what the camera sees."""

    height: int
    width: int
    x_offset: int = 0
    y_offset: int = 0


@dataclass(frozen=True, slots=True)
class CloudCameraInfo:
    """Like a `sensor_msgs/CameraInfo` of an image without distortion."""

    header: Any
    height: int
    width: int
    k: tuple[float, ...]
    roi: _Part


def holds_image(cloud: Any) -> bool:
    """Whether a message is an organized cloud with colors; an error in its place is none."""
    try:
        return _colors_of(cloud) is not None
    except MessageError:
        return False


def image_of(cloud: Any) -> tuple[CloudImage, CloudCameraInfo]:
    """The color image of an organized cloud in its camera's optical frame, and its intrinsics.

    Pixels without a color are black. Raises `MessageError` where it has no image, where its grid
    is not that of a camera, or where more than half of the image is black.
    """
    colors = _colors_of(cloud)
    if colors is None:
        raise MessageError(
            "no_color",
            f"{_WHAT}: expected an organized one (height and width above 1) with colors; record "
            "the camera's image",
        )
    height, width = colors.shape[:2]
    xyz = all_coordinates(cloud).astype(np.float64).reshape(height, width, 3)
    pixels = np.rint(255 * np.nan_to_num(colors).clip(0, 1)).astype(np.uint8)
    is_nan = (pixels[..., None, :] == _NAN_AS_COLOR).all(axis=-1).any(axis=-1)
    pixels[is_nan & ~np.isfinite(xyz).all(axis=-1)] = 0
    black = 1 - float(pixels.any(axis=-1).mean())
    if black > _MOST_BLACK:
        raise MessageError(
            "no_color",
            f"{_WHAT} is black or without a color at {100 * black:.0f} % of its pixels, expected "
            f"at most {100 * _MOST_BLACK:.0f} %; record the camera's image",
        )
    fx, fy, cx, cy = _camera_of(xyz)
    header, k = cloud.header, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    return (
        CloudImage(header, height, width, 3 * width, pixels.tobytes()),
        CloudCameraInfo(header, height, width, k, _Part(height, width)),
    )


def _colors_of(cloud: Any) -> NDArray[np.float32] | None:
    """Colors (height, width, 3); None where the cloud has none or is not organized."""
    colors = all_colors(cloud)
    return None if colors is None or min(colors.shape[:2]) < 2 else colors


def _camera_of(xyz: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy by points (height, width, 3)."""
    x, y, z = np.moveaxis(xyz, -1, 0)
    with np.errstate(all="ignore"):
        is_usable = (np.abs(xyz) <= FARTHEST_M).all(axis=-1) & (z >= _NEAREST_M)
        right, down = x / z, y / z
    fx, cx, off_u = _line(right, is_usable)
    fy, cy, off_v = _line(down.T, is_usable.T)
    off_px = max(off_u, off_v)
    if not (off_px <= _MOST_OFF_PX and fx > 0 and fy > 0):
        raise MessageError(
            "no_color",
            f"{_WHAT}: its points are not where a camera without distortion sees its pixels "
            f"(fx {fx:.1f}, fy {fy:.1f}, {off_px:.1f} pixels off); expected its optical frame "
            "(x right, y down, z forward): record the camera's image",
        )
    return fx, fy, cx, cy


def _line(at: NDArray[np.float64], is_usable: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Slope and start of the column over `at` (rows, columns), and how far 95 % are off at most.

    By the median of each column, which stray points do not move. Raises `MessageError` where too
    few columns have points.
    """
    columns = np.flatnonzero(is_usable.sum(axis=0) >= _LEAST_IN_LINE)
    if len(columns) < 2 or columns[-1] - columns[0] < _LEAST_SPREAD * at.shape[1]:
        raise MessageError(
            "no_color",
            f"{_WHAT}: its points in front of the camera fill too little of it to find its focal "
            f"length by them, expected {100 * _LEAST_SPREAD:.0f} % of its width and height; "
            "record the camera's image",
        )
    known = np.where(is_usable, at, np.nan)
    middle = np.nanmedian(known[:, columns], axis=0)
    spread = middle - middle.mean()
    square = float(spread @ spread)
    slope = float(spread @ columns) / square if square > 0 else 0.0
    start = float(columns.mean() - slope * middle.mean())
    off = np.abs(slope * known + start - np.arange(at.shape[1]))[is_usable]
    return slope, start, float(np.quantile(off, 0.95))
