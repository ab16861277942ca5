"""Clouds of several cameras in one frame, although they were taken at slightly different times."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sr3d_core.structures import PointCloud
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tf.up import sound_lookup
from sr3d_ros.transforms import TransformError, TransformSource

FIXED_FRAMES = ("odom", "map")
"""Frames in which the room stands still while the robot moves, the smoother first."""


def moved_between(
    source: TransformSource, target: str, target_ns: int, frame: str, stamp_ns: int
) -> Matrix:
    """Where what `frame` saw at `stamp_ns` is in `target` at `target_ns`.

    Through a fixed frame, so that the robot's motion between the stamps is taken out; directly,
    at `target_ns`, where the stamps are equal or no fixed frame is known. Raises `TransformError`.
    """
    if stamp_ns != target_ns:
        for fixed in FIXED_FRAMES:
            try:
                fixed_from_frame = sound_lookup(source, fixed, frame, stamp_ns)
                return sound_lookup(source, target, fixed, target_ns) @ fixed_from_frame
            except TransformError:
                continue
    return sound_lookup(source, target, frame, target_ns)


def joined(clouds: Sequence[PointCloud]) -> PointCloud:
    """Clouds of one frame as one, in order; there is at least one."""
    return (
        clouds[0]
        if len(clouds) == 1
        else PointCloud(
            torch.cat([cloud.xyz for cloud in clouds]),
            torch.cat([cloud.features for cloud in clouds]),
            torch.cat([cloud.scene for cloud in clouds]),
        )
    )
