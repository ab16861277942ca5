"""Color images alone: where their camera stands, how high, and which of their boxes are wanted.

An image shows no floor and no depth, so up must come from a z-up frame of TF or from an IMU: the
camera's pose is what makes metres of pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sr3d_core.geometry.camera import height_doubt
from sr3d_core.geometry.origin import FAR_M, moved
from sr3d_core.structures import Detections, Images
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.camera_image import CameraView, ImageReader
from sr3d_ros.tf.fixed import is_unknown
from sr3d_ros.tf.headers import frame_name, frame_of, stamp_of
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tf.source import GRAVITY_FRAMES, TransformSource
from sr3d_ros.tf.up import GravityFrame, UpFinder, sound_lookup


class PlacedImages:
    """Reads the images of one camera with their place in a z-up frame; for one thread."""

    def __init__(self, transforms: TransformSource, up: UpFinder) -> None:
        self._transforms = transforms
        self._up = up
        self._reader: tuple[bool, ImageReader] | None = None

    def level(self, view: CameraView, parameters: Parameters) -> GravityFrame:
        """The z-up frame of a view; raises `TransformError` or `UpError`."""
        frame_id, stamp_ns = frame_of(view), stamp_of(view)
        wanted = frame_name(parameters.detection_frame)
        if parameters.up == "imu":
            return self._up.from_imu(frame_id, stamp_ns)
        if parameters.up != "tf" or wanted == "none":
            is_own = "frames.detection is 'none'" if parameters.up == "tf" else ""
            raise TransformError(
                "no_gravity_transform",
                f"{is_own or f'frames.up is {parameters.up!r}'}, but a color image alone shows no "
                "floor, and no camera has z up; set frames.up to tf or imu",
            )
        try:
            return self._up.through_tf(frame_id, stamp_ns, wanted, GRAVITY_FRAMES)
        except TransformError as error:
            if not is_unknown(error):
                raise
            raise TransformError("no_gravity_transform", str(error)) from error

    def read(
        self, view: CameraView, level: GravityFrame, parameters: Parameters
    ) -> tuple[Images, Tensor]:
        """The image, its camera near the origin of a z-up frame, and the shift that was taken off.

        Raises `MessageError`, and `TransformError` where `frames.floor` is not known.
        """
        if self._reader is None or self._reader[0] != parameters.is_rectified:
            reader = ImageReader(is_rectified=parameters.is_rectified)
            self._reader = (parameters.is_rectified, reader)
        place = level.gravity_from_cloud
        shift = place[:3, 3] * (1.0, 1.0, float(abs(place[2, 3]) > FAR_M))
        near = place.copy()
        near[:3, 3] -= shift
        images = self._reader[1](view.image, view.info, near)
        height = torch.tensor([self._height_m(view, parameters)])
        return replace(images, height=height), torch.from_numpy(shift)

    def _height_m(self, view: CameraView, parameters: Parameters) -> float:
        """Height of the camera above the floor; NaN = unknown."""
        floor = frame_name(parameters.floor_frame)
        if floor:
            place = sound_lookup(self._transforms, floor, frame_of(view), stamp_of(view))
            height_m = float(place[2, 3])
            if doubt := height_doubt(height_m):
                raise TransformError(
                    "bad_transform",
                    f"frames.floor is '{floor}', and above its z = 0 {doubt}: set it to a frame "
                    "on the floor that the robot stands on, or to '', with input.camera_height_m",
                )
            return height_m
        return parameters.camera_height_m or math.nan


def wanted_boxes(
    found: Detections, shift: Tensor, gravity_from_camera: Matrix, parameters: Parameters
) -> Detections:
    """What was found, moved by `shift`, without boxes whose centre `filter.*` leaves out.

    The limits are those of points: range from the camera, region and heights in the z-up frame.
    """
    found = replace(found, boxes=moved(found.boxes, shift))
    centers = found.boxes.center.double().numpy()
    range_m = np.linalg.norm(centers - gravity_from_camera[:3, 3], axis=1)
    low, high = (np.array(corner) for corner in parameters.region_m)
    is_wanted = (centers >= low).all(axis=1) & (centers <= high).all(axis=1)
    is_wanted &= range_m >= parameters.min_range_m
    is_wanted &= range_m <= (parameters.max_range_m or math.inf)
    return found if is_wanted.all() else found[torch.from_numpy(is_wanted)]
