"""Up from the floor that a cloud shows, for robots that publish neither transforms nor an IMU.

The first floor is searched for (`up_rotation`, some 0.3 s); from then on it is followed from frame
to frame, which is cheap. Where no floor is in view the last one holds for a while, with falling
confidence. Works for optical, OpenGL and z-up frames alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.floor_following import floor_near
from sr3d_core.geometry.gravity import GravityError, UnitsError, up_rotation
from sr3d_ros.errors import UpError
from sr3d_ros.tf.rigid import Matrix, level_rotation


@dataclass(frozen=True, slots=True, eq=False)
class FloorFit:
    """A floor in a cloud's frame."""

    rotation: Matrix  # 3x3, level_from_cloud
    height_m: float  # of the cloud's origin above the floor
    confidence: float  # 0..1, share of the seen surface that lies in the floor
    num_inliers: int  # cells of that surface, 5 cm wide

    @property
    def up(self) -> NDArray[np.float64]:
        """The unit up direction in the cloud's frame."""
        return self.rotation[2]


def floor_up(xyz: Float[Tensor, "N 3"], hint: NDArray[np.float64] | None = None) -> FloorFit:
    """Fit the floor of a cloud; `hint` is a unit up direction that is right to some degrees.

    Raises `UpError` where there is no floor.
    """
    plane = None if hint is None else floor_near(xyz, torch.from_numpy(hint))
    if plane is None:
        try:
            rotation, _ = up_rotation(xyz, is_from_sensor=True)
        except UnitsError as error:
            raise UpError("no_floor", f"{error}; the driver must publish metres") from error
        except GravityError as error:
            raise _no_floor(str(error)) from error
        plane = floor_near(xyz, rotation[2])
    if plane is None:
        raise _no_floor("what looked like a floor does not hold as a level plane")
    return FloorFit(
        rotation=level_rotation(plane.normal.numpy()),
        height_m=-plane.offset_m,
        confidence=plane.support,
        num_inliers=plane.num_inliers,
    )


class FloorMemory:
    """The floor of each cloud frame, followed over time; for one thread.

    A floor that is out of view holds for `hold_s` seconds, its confidence falling to 0.
    """

    def __init__(self, hold_s: float = 5.0) -> None:
        self._hold_ns = round(hold_s * 1e9)
        self._known: dict[str, tuple[int, FloorFit]] = {}  # stamp and floor by cloud frame

    def fit(self, xyz: Float[Tensor, "N 3"], frame: str, stamp_ns: int) -> FloorFit:
        """The floor of a cloud, or the last one seen in its frame; raises `UpError`."""
        seen_ns, known = self._known.get(frame, (0, None))
        age_ns = abs(stamp_ns - seen_ns)
        if known is not None and age_ns > self._hold_ns:
            known = None
        try:
            found = floor_up(xyz, None if known is None else known.up)
        except UpError:
            if known is None:
                raise
            share = 1.0 - age_ns / max(1, self._hold_ns)
            return replace(known, confidence=known.confidence * share)
        self._known[frame] = (stamp_ns, found)
        return found


def _no_floor(what: str) -> UpError:
    return UpError(
        "no_floor",
        f"{what}; tilt the camera down until it sees the floor, or set frames.up to tf, imu or "
        "none",
    )
