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
from sr3d_ros.sensors.pointcloud2 import all_colors, all_coordinates

_LEAST_POINTS = 100
_MOST_OFF_PX = 1.0  # nineteen of twenty points lie nearer to where the camera found has them
_MOST_BLACK = 0.5  # of all pixels
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
class CloudCameraInfo:
    """Like a `sensor_msgs/CameraInfo` of an image without distortion."""

    header: Any
    height: int
    width: int
    k: tuple[float, ...]


def holds_image(cloud: Any) -> bool:
    """Whether a message is an organized cloud with colors."""
    try:
        colors = all_colors(cloud)
    except MessageError:
        return False
    return colors is not None and min(colors.shape[:2]) > 1


def image_of(cloud: Any) -> tuple[CloudImage, CloudCameraInfo]:
    """The color image of an organized cloud in its camera's optical frame, and its intrinsics.

    Pixels without a color are black. Raises `MessageError` where it has no image, where its grid
    is not that of a camera, or where more than half of the image is black.
    """
    colors = all_colors(cloud)
    if colors is None or min(colors.shape[:2]) < 2:
        raise MessageError(
            "no_color",
            f"{_WHAT}: expected an organized one (height and width above 1) with colors; record "
            "the camera's image",
        )
    height, width = colors.shape[:2]
    pixels = np.rint(255 * np.nan_to_num(colors).clip(0, 1)).astype(np.uint8)
    black = 1 - float(pixels.any(axis=-1).mean())
    if black > _MOST_BLACK:
        raise MessageError(
            "no_color",
            f"{_WHAT} has no color at {100 * black:.0f} % of its pixels, expected at most "
            f"{100 * _MOST_BLACK:.0f} %; record the camera's image",
        )
    fx, fy, cx, cy = _camera_of(all_coordinates(cloud).astype(np.float64), height, width)
    header = cloud.header
    return (
        CloudImage(header, height, width, 3 * width, pixels.tobytes()),
        CloudCameraInfo(header, height, width, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)),
    )


def _camera_of(
    xyz: NDArray[np.float64], height: int, width: int
) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy by points (height * width, 3), row by row."""
    x, y, z = xyz.T
    rows, columns = np.divmod(np.arange(height * width), width)
    with np.errstate(all="ignore"):
        usable = np.isfinite(xyz).all(axis=1) & (z > 0)
    if usable.sum() < _LEAST_POINTS:
        raise MessageError(
            "no_color",
            f"{_WHAT}: {usable.sum()} of its points lie in front of the camera, expected "
            f"{_LEAST_POINTS} or more, by which its focal length is found",
        )
    fx, cx, off_u = _line(x[usable] / z[usable], columns[usable])
    fy, cy, off_v = _line(y[usable] / z[usable], rows[usable])
    off_px = max(off_u, off_v)
    if not (off_px <= _MOST_OFF_PX and fx > 0 and fy > 0):
        raise MessageError(
            "no_color",
            f"{_WHAT}: its points are not where a camera without distortion sees its pixels "
            f"(fx {fx:.1f}, fy {fy:.1f}, {off_px:.1f} pixels off); expected its optical frame "
            "(x right, y down, z forward): record the camera's image",
        )
    return fx, fy, cx, cy


def _line(at: NDArray[np.float64], pixel: NDArray[np.int64]) -> tuple[float, float, float]:
    """Slope and intercept of pixel over `at`, and how far 95 % of the points are off at most."""
    spread = at - at.mean()
    square = float(spread @ spread)
    slope = float(spread @ pixel) / square if square > 0 else 0.0
    start = float(pixel.mean() - slope * at.mean())
    return slope, start, float(np.quantile(np.abs(slope * at + start - pixel), 0.95))
