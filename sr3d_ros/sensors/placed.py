"""Clouds in other frames, and the z-up frame around the sensor that is detected in.

Coordinates stay small however far the robot has driven, so that single precision is enough.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d_core.geometry.origin import FAR_M, local_origin
from sr3d_core.structures import PointCloud
from sr3d_ros.tf.rigid import Matrix


def is_far(place: Tensor) -> bool:
    """Whether single precision begins to lose what lies there."""
    return bool((place.abs() > FAR_M).any())


def placed(cloud: PointCloud, target_from_source: Tensor) -> PointCloud:
    """The cloud in another frame; in float64 where it lies far away there."""
    if is_far(target_from_source[:3, 3]):
        cloud = PointCloud(cloud.xyz.double(), cloud.features, cloud.scene)
    return cloud.transformed(target_from_source)


def around_sensor(cloud: PointCloud, gravity_from_cloud: Matrix) -> tuple[PointCloud, Tensor]:
    """The cloud z up with the sensor at x = y = 0, and the shift that was taken off.

    So that coordinates stay small however far the robot has driven. A cloud of float64 comes from
    a frame that is itself far away; it is moved near zero, and becomes float32 only there.
    """
    level_from_cloud = gravity_from_cloud.copy()
    level_from_cloud[:2, 3] = 0.0
    offset = torch.from_numpy(gravity_from_cloud[:3, 3] * (1.0, 1.0, 0.0))
    level = cloud.transformed(torch.from_numpy(level_from_cloud))
    if level.xyz.dtype == torch.float64:
        origin = local_origin(level.xyz)
        xyz = level.xyz - origin
        level = PointCloud(xyz.float(), level.features.float(), level.scene)
        offset = offset + origin
    return level, offset
