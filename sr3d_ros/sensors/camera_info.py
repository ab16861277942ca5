"""Calibration of a `sensor_msgs/CameraInfo`: the camera that took an image, raw or rectified.

A rectified image has the projection P (K where P is empty), a raw one K with the distortion D and
for stereo cameras the turn R. Binning and region of interest are applied, as in image_geometry:
`c -> (c - offset) / binning`. Works on any object with the message's fields, also with the capital
letters of ROS 1. The last column of P, the place of the second camera of a stereo pair, is left
out: drivers give that camera a frame of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.geometry.camera import Pinhole
from sr3d_core.geometry.distortion import Lens
from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.image import size_of
from sr3d_ros.sensors.raw_message import number_of

_MAX_PIXELS = 1e6  # no camera has a longer focal length


def rectified_camera(info: Any, image: Any, what: str) -> Pinhole:
    """The camera of a rectified image that `what` names in errors. Raises `MessageError`."""
    projection = _numbers(info, "p", 12)
    if projection is None or projection[0] == 0.0:
        return raw_camera(info, image, what)
    return _camera(info, image, what, projection, 4)


def raw_camera(info: Any, image: Any, what: str) -> Pinhole:
    """The camera of an image as it was taken, but for its distortion. Raises `MessageError`."""
    return _camera(info, image, what, _numbers(info, "k", 9) or [0.0] * 9, 3)


def has_projection(info: Any) -> bool:
    """Whether a CameraInfo says how its rectified image looks."""
    projection = _numbers(info, "p", 12)
    return projection is not None and projection[0] != 0.0


def is_cropped(info: Any) -> bool:
    """Whether the image is a part of what the camera sees."""
    roi = getattr(info, "roi", None)
    return any(_whole(roi, name) for name in ("width", "height", "x_offset", "y_offset"))


def lens_of(info: Any, camera: Pinhole) -> Lens:
    """The lens of a raw image; one without a model or coefficients does not distort.

    Raises `MessageError` where its distortion cannot be taken off.
    """
    model = str(getattr(info, "distortion_model", ""))
    values = getattr(info, "d", None)
    values = getattr(info, "D", None) if values is None else values
    try:
        coefficients = tuple(map(float, () if values is None else values))
        if not model and not any(coefficients):
            model = "plumb_bob"
        return Lens(camera, model, coefficients)
    except (TypeError, ValueError, OverflowError) as error:
        raise not_rectified(str(error)) from error


def not_rectified(why: str) -> MessageError:
    """What to say of an image whose distortion cannot be taken off."""
    return MessageError(
        "not_rectified",
        f"the image cannot be rectified: {why}; or subscribe to the rectified image (image_rect "
        "of image_proc) and say that it is",
    )


def turn_of(info: Any) -> Float[Tensor, "3 3"] | None:
    """R of a CameraInfo, from the raw to the rectified frame; None where there is no turn."""
    numbers = _numbers(info, "r", 9)
    if numbers is None or not any(numbers):
        return None
    turn = torch.tensor(numbers, dtype=torch.float64).reshape(3, 3)
    one = torch.eye(3, dtype=torch.float64)
    if not torch.allclose(turn @ turn.T, one, atol=1e-3) or torch.linalg.det(turn) < 0:
        raise MessageError(
            "camera_info", f"camera info has R {numbers}, expected a rotation; calibrate again"
        )
    return None if torch.equal(turn, one) else turn


def _camera(info: Any, image: Any, what: str, matrix: list[float], columns: int) -> Pinhole:
    """The camera of a matrix in rows of 3 or 4 numbers, for an image of just this size."""
    fx, fy, cx, cy = matrix[0], matrix[columns + 1], matrix[2], matrix[columns + 2]
    # NaN is not between any two numbers.
    if not (all(1e-3 < f < _MAX_PIXELS for f in (fx, fy)) and abs(cx) + abs(cy) < _MAX_PIXELS):
        raise MessageError(
            "camera_info",
            f"camera info has fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}; expected focal lengths "
            f"in pixels; calibrate the camera, or choose the camera_info beside {what}",
        )
    roi = getattr(info, "roi", None)
    binning = [max(1, _whole(info, f"binning_{axis}")) for axis in "xy"]
    width, height = (
        (_whole(roi, name) or _whole(info, name)) // step
        for name, step in zip(("width", "height"), binning, strict=True)
    )
    if (height, width) != size_of(image):
        raise MessageError(
            "image_size_differs_from_camera_info",
            f"camera info is of {width} x {height} pixels, {what} of "
            f"{size_of(image)[1]} x {size_of(image)[0]}; choose the camera_info that the driver "
            f"publishes beside {what}",
        )
    cx, cy = cx - _whole(roi, "x_offset"), cy - _whole(roi, "y_offset")
    return Pinhole(
        width, height, fx / binning[0], fy / binning[1], cx / binning[0], cy / binning[1]
    )


def _whole(record: Any, name: str) -> int:
    """A number of 0 or more; 0 where the record has none of this name."""
    return number_of(record, name) if hasattr(record, name) else 0


def _numbers(info: Any, name: str, num: int) -> list[float] | None:
    """The numbers of a matrix; None where there are others than so many."""
    values = getattr(info, name, None)
    values = getattr(info, name.upper(), None) if values is None else values
    try:
        found = [float(value) for value in values]  # type: ignore[union-attr]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == num else None
