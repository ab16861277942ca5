"""Image + CameraInfo + where the camera stands -> `Images`, rectified: what a camera student sees.

The image may be raw or compressed (`color_image.py`). A raw one is rectified on the way: the grid
is made once and kept while the calibration stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.camera import (
    DARKEST,
    Pinhole,
    brightness_doubt,
    camera_doubt,
    pinhole_matrix,
)
from sr3d_core.geometry.distortion import (
    DistortionError,
    Lens,
    Rectification,
    rectification,
)
from sr3d_core.structures import Images
from sr3d_ros.errors import MessageError, TransformError
from sr3d_ros.sensors.camera_info import (
    has_projection,
    is_cropped,
    lens_of,
    not_rectified,
    raw_camera,
    rectified_camera,
    turn_of,
)
from sr3d_ros.sensors.color_image import rgb_of
from sr3d_ros.sensors.compressed_color import plain_color
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix, is_rigid

_WHAT = "the color image"


@dataclass(frozen=True, slots=True)
class CameraView:
    """What boxes are made of without depth: an `Image` or `CompressedImage` and its `CameraInfo`,
    None where none has come yet."""

    image: Any
    info: Any

    @property
    def header(self) -> Any:
        """Stamp and frame: those of the image."""
        return self.image.header


_Calibration = tuple[Lens, Pinhole | None, tuple[float, ...]]


class ImageReader:
    """Reads the images of one camera.

    `is_rectified`: whether they are so already, as those of topics image_rect... are, whose
    projection is P; no message says it. Otherwise they are raw, and rectified here. `darkest` is
    the mean brightness (0..1, as encoded) below which an image is refused.
    """

    def __init__(self, *, is_rectified: bool, darkest: float = DARKEST) -> None:
        self._is_rectified, self._darkest = is_rectified, darkest
        self._last: tuple[_Calibration, Rectification | None] | None = None

    def __call__(self, image: Any, info: Any, world_from_camera: Matrix | None) -> Images:
        """One image as float32, on the CPU, without depth.

        `world_from_camera` is 4 x 4, from the camera's optical frame to one with z up near zero;
        single precision must be enough for it. None: nobody knows it. Raises `MessageError`, and
        `TransformError` for the camera's place.
        """
        if info is None:
            raise MessageError(
                "no_camera_info",
                f"no CameraInfo came with {_WHAT}: its focal length is not known; publish the "
                "camera_info that belongs to it",
            )
        _require_one_frame(image, info)
        place = _placed(world_from_camera)
        image = plain_color(image)
        rgb = rgb_of(image)
        if rgb.size == 0:
            raise MessageError("size", f"{_WHAT} has no pixels; is the camera running?")
        self._require_light(rgb)
        pixels, camera = self._rectified(rgb, info, image)
        return Images(pixels, pinhole_matrix(camera).float()[None], place)

    def _require_light(self, rgb: NDArray[np.uint8]) -> None:
        if doubt := brightness_doubt(float(rgb.mean()) / 255, self._darkest):
            raise MessageError("dark_image", f"{_WHAT} {doubt}")

    def _rectified(
        self, rgb: NDArray[np.uint8], info: Any, image: Any
    ) -> tuple[Float[Tensor, "1 3 H W"], Pinhole]:
        pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        pixels = pixels[None].float() / 255
        if self._is_rectified:
            return pixels, _sound(rectified_camera(info, image, _WHAT), info)
        raw = _sound(raw_camera(info, image, _WHAT), info)
        found = self._rectification(info, image)
        if found is None:
            return pixels, raw
        return found(pixels), found.camera

    def _rectification(self, info: Any, image: Any) -> Rectification | None:
        """That of the camera; None where its raw images are rectified ones."""
        lens = lens_of(info, raw_camera(info, image, _WHAT))
        camera = rectified_camera(info, image, _WHAT) if has_projection(info) else None
        turn = turn_of(info)
        numbers = () if turn is None else tuple(turn.reshape(-1).tolist())
        calibration = (lens, camera, numbers)
        if self._last is None or self._last[0] != calibration:
            is_done = lens.is_straight and turn is None and camera in (None, lens.camera)
            self._last = (calibration, None if is_done else _made(lens, camera, turn))
        return self._last[1]


def _sound(camera: Pinhole, info: Any) -> Pinhole:
    """The same camera; raises `MessageError` where there can be none like it.

    Drivers that make images smaller, but not K with them, would place every box wrongly.
    """
    if doubt := camera_doubt(camera, is_cropped=is_cropped(info)):
        raise MessageError(
            "camera_info",
            f"camera info: {doubt}; calibrate the camera, or correct the driver where it resizes "
            "images without their camera info",
        )
    return camera


def _require_one_frame(image: Any, info: Any) -> None:
    """The CameraInfo of another camera may fit the size of an image by chance."""
    frames = [getattr(getattr(each, "header", None), "frame_id", "") for each in (image, info)]
    image_frame, info_frame = map(frame_name, frames)
    if image_frame and info_frame and image_frame != info_frame:
        raise MessageError(
            "camera_info",
            f"camera info is of the frame '{info_frame}', {_WHAT} of '{image_frame}'; choose the "
            "camera_info that the driver publishes beside it (where depth images come too, let "
            "the driver align them to color)",
        )


def _made(lens: Lens, camera: Pinhole | None, turn: Float[Tensor, "3 3"] | None) -> Rectification:
    try:
        return rectification(lens, camera, turn)
    except DistortionError as error:
        raise not_rectified(str(error)) from error


def _placed(world_from_camera: Matrix | None) -> Float[Tensor, "1 4 4"]:
    if world_from_camera is None:
        raise TransformError(
            "no_gravity_transform",
            f"nobody knows where the camera of {_WHAT} stands in a frame with z up, and an image "
            "alone shows no floor; publish its transform on /tf, or set frames.up to imu",
        )
    if not is_rigid(world_from_camera):
        raise TransformError(
            "bad_transform",
            f"the place of the camera is {world_from_camera}, expected a rotation "
            "and finite numbers",
        )
    return torch.from_numpy(np.asarray(world_from_camera, np.float32))[None]
