"""Which way is up at a cloud's stamp: through TF, from an IMU, from the floor, or as it comes.

All ways give the same: a z-up frame and where the cloud is in it, with a confidence 0..1 for the
diagnostics. No rotation is ever assumed from a frame's name: optical frames, and frames that are x
forward and z up as ZED's, are treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sr3d_ros.errors import TransformError, UpError
from sr3d_ros.tf.floor import FloorMemory
from sr3d_ros.tf.imu import UpVector
from sr3d_ros.tf.rigid import Matrix, is_rigid, level_rotation
from sr3d_ros.tf.source import TransformSource, first_gravity_frame, require_named

UpMode = Literal["tf", "imu", "floor", "none"]


class UpSource(Protocol):
    """Knows up in some sensor's frame; `GravityFromImu` is one."""

    def up(self, stamp_ns: int) -> UpVector:
        """Up at a stamp; raises `UpError`."""


@dataclass(frozen=True, slots=True, eq=False)
class GravityFrame:
    """A z-up frame for one cloud."""

    frame: str  # a frame of TF, or the cloud's own name with `_level` where there is none
    gravity_from_cloud: Matrix
    confidence: float  # 0..1


class UpFinder:
    """Finds the z-up frame of a cloud; remembers what it found for the next one. One thread."""

    def __init__(self, transforms: TransformSource, imu: UpSource | None = None) -> None:
        self.transforms = transforms
        self._imu = imu
        self._floors = FloorMemory()
        self._chosen_frame: dict[str, str] = {}  # gravity frame per cloud frame, once found

    def through_tf(
        self, frame: str, stamp_ns: int, wanted: str, candidates: Sequence[str]
    ) -> GravityFrame:
        """The frame `wanted`, or "" for the first of `candidates` that resolves.

        Raises `TransformError`.
        """
        if wanted:
            return GravityFrame(
                wanted, sound_lookup(self.transforms, wanted, frame, stamp_ns), 1.0
            )
        known = self._chosen_frame.get(frame)
        if known is not None and known in candidates:
            try:
                return GravityFrame(
                    known, sound_lookup(self.transforms, known, frame, stamp_ns), 1.0
                )
            except TransformError as error:
                if error.may_still_come:
                    raise  # it will come; another frame would make the boxes jump
        chosen = first_gravity_frame(self.transforms, frame, stamp_ns, candidates)
        self._chosen_frame[frame] = chosen
        return GravityFrame(chosen, sound_lookup(self.transforms, chosen, frame, stamp_ns), 1.0)

    def from_imu(self, frame: str, stamp_ns: int) -> GravityFrame:
        """The cloud's frame turned upright; its origin stays the sensor.

        Raises `UpError`, or `TransformError` where the IMU's place on the robot is not known.
        """
        if self._imu is None:
            raise UpError("no_imu", "no IMU to ask; set frames.up to tf, floor or none")
        found = self._imu.up(stamp_ns)
        cloud_from_imu = sound_lookup(self.transforms, frame, found.frame_id, stamp_ns)
        turn = level_rotation(cloud_from_imu[:3, :3] @ found.vector)
        return GravityFrame(f"{frame}_level", _matrix(turn, 0.0), found.confidence)

    def from_floor(self, xyz: Float[Tensor, "N 3"], frame: str, stamp_ns: int) -> GravityFrame:
        """The cloud's frame turned upright and lifted: z = 0 is the floor. Raises `UpError`."""
        fit = self._floors.fit(xyz, frame, stamp_ns)
        return GravityFrame(f"{frame}_level", _matrix(fit.rotation, fit.height_m), fit.confidence)


def sound_lookup(source: TransformSource, target: str, frame: str, stamp_ns: int) -> Matrix:
    """`target_from_frame`, checked: what is published may be no rotation. `TransformError`."""
    if target != frame:
        require_named(target, frame)
    matrix = source.lookup(target, frame, stamp_ns)
    if not is_rigid(matrix):
        raise TransformError(
            "bad_transform",
            f"the transform of '{frame}' in '{target}' holds no rotation or numbers that are not "
            "finite; correct the publisher of the transforms between them",
        )
    return matrix


def _matrix(rotation: Matrix, height_m: float) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[2, 3] = height_m
    return matrix
