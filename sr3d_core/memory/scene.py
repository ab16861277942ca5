"""The room around a robot as the clouds of its last seconds show it together.

Clouds are put into a fixed frame by the robot's pose and kept as one point in each voxel. A point
is forgotten when it was last seen too long ago, too far back on the way, too far from the sensor,
or when later rays pass through it (`RangeImage`). What is seen again in its voxel counts as new:
its place is right to within a voxel of what the odometry says now, so a room that stays in view
stays in memory while the drift is bounded by the window.

Coordinates are kept from an origin near the robot, in single precision; poses are float64.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from sr3d_core.geometry.thinning import thinned
from sr3d_core.memory.range_image import RangeImage
from sr3d_core.memory.settings import MemorySettings
from sr3d_core.memory.voxels import EMPTY, Observed, VoxelStore, first_in_each_voxel
from sr3d_core.structures import PointCloud

FRAME_POINTS = 60_000
"""A frame with more points is thinned out evenly to this before it is taken in."""

MISSES = 2
"""A point is forgotten when so many frames have looked through it since it was seen."""

Reason = Literal["", "clock_back", "clock_gap", "jump"]
"""Why everything was forgotten; "" = it was not."""

_LATE_S = 1.0  # frames come that much out of order; more is a clock that was set back
_GAP_S = 10.0  # without a limit in seconds: after such a pause the room may be another
_ORIGIN_M = 200.0  # so far from the origin, single precision still resolves 0.02 mm
_SLACK_M, _SLACK_RAD = 0.2, 0.2  # what poses may jump by without a reason
_MARGIN_M = 0.04  # how much farther than a point a ray must go, besides noise and voxel
_SIGMAS = 3.0
_BLOCK = 1 << 15  # slots looked at together: few enough to stay in the cache
_TRIMMED = 0.9  # of `max_points` stay where there are more: not at every frame

Matrix = Float[ndarray, "4 4"]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a frame, and of what was remembered before."""

    is_kept: bool  # False: the sensor has hardly moved, the cloud is empty, or the frame is late
    is_late: bool = False  # older than the frame before; not looked at
    forgot: Reason = ""  # why everything before was forgotten
    text: str = ""  # the same in a sentence
    num_passed: int = 0  # points forgotten because rays passed through
    num_over: int = 0  # points forgotten because there were more than `max_points`


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """Where the sensor was, and when."""

    stamp_ns: int
    fixed_from_cloud: Matrix
    sensor: Float[ndarray, " 3"]  # in the fixed frame, metres
    way_m: float  # how far it has moved since the memory began

    def motion_since(self, before: _Moment) -> tuple[float, float, float]:
        """Metres, radians and seconds between two moments."""
        turn = before.fixed_from_cloud[:3, :3].T @ self.fixed_from_cloud[:3, :3]
        cosine = (float(np.trace(turn)) - 1.0) / 2.0
        return (
            float(np.linalg.norm(self.sensor - before.sensor)),
            math.acos(min(max(cosine, -1.0), 1.0)),
            1e-9 * (self.stamp_ns - before.stamp_ns),
        )


class SceneMemory:
    """Remembers what a sensor saw in a fixed frame; for one thread.

    `settings` may be replaced between frames, but for the voxel and the fusion.
    """

    def __init__(self, settings: MemorySettings | None = None) -> None:
        self.settings = settings or MemorySettings()
        self.forget()

    def forget(self) -> None:
        """Remember nothing."""
        self._voxel_m = self.settings.voxel_m
        self._store = VoxelStore(self.settings.fusion)
        self._origin = np.zeros(3, np.int64)  # in voxels, fixed frame
        self._frames: deque[tuple[int, int, float]] = deque()  # number, stamp_ns, way_m
        self._number = 0
        self._last: _Moment | None = None
        self._key: _Moment | None = None

    @property
    def num_points(self) -> int:
        """How many points are remembered."""
        return self._store.num_points

    @property
    def num_frames(self) -> int:
        """How many frames, of those that were kept, are within the window."""
        return len(self._frames)

    def add(
        self,
        cloud: PointCloud,
        fixed_from_cloud: Float[ndarray, "4 4"],
        stamp_ns: int,
        sensor: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    ) -> Added:
        """Look at a frame and remember it where it adds something.

        `fixed_from_cloud` places the cloud's frame in a frame in which the room stands still,
        best odom, which does not jump. `sensor` is where the rays start, in the cloud's frame,
        metres; None where they start in several places: such a frame forgets nothing. Raises
        ValueError where the pose is no rigid transform.
        """
        now = self._moment(fixed_from_cloud, stamp_ns, sensor)
        if self._last is not None and -_LATE_S <= 1e-9 * (stamp_ns - self._last.stamp_ns) < 0:
            return Added(is_kept=False, is_late=True)
        forgot, text = self._break_before(now)
        if forgot:
            self.forget()
            now = _Moment(stamp_ns, now.fixed_from_cloud, now.sensor, 0.0)
        self._last = now
        self._forget_old(now)
        if len(cloud) == 0 or not self._is_due(now):
            return Added(is_kept=False, forgot=forgot, text=text)
        self._key = now
        num_passed = self._take_in(cloud, now, has_rays=sensor is not None)
        return Added(True, False, forgot, text, num_passed, self._forget_most(now))

    def cloud(
        self, fixed_from_level: Float[ndarray, "4 4"], radius_m: float | None = None
    ) -> PointCloud:
        """What is remembered within `radius_m` (default: the settings') of a pose, seen from it.

        `fixed_from_level` is where the robot is now: a z-up frame, such as its base's, in the
        fixed frame. The distance is measured along the ground from its origin.
        """
        radius_m = self.settings.radius_m if radius_m is None else radius_m
        pose = _rigid(fixed_from_level)
        center = pose[:3, 3] - self._origin * self._voxel_m
        xyz = self._store.xyz
        away = xyz - center[:, None].astype(np.float32)
        turned = pose[:3, :3].T.astype(np.float32) @ away
        is_near = turned[0] ** 2 + turned[1] ** 2 <= np.float32(radius_m**2)
        rows = np.flatnonzero(is_near & (self._store.frame >= 0))
        return PointCloud.single(_picked(turned, rows), _picked(self._store.rgb, rows))

    def _moment(
        self,
        fixed_from_cloud: Matrix,
        stamp_ns: int,
        sensor: tuple[float, float, float] | None,
    ) -> _Moment:
        pose = _rigid(fixed_from_cloud)
        at = pose[:3, :3] @ np.asarray(sensor or (0.0, 0.0, 0.0), np.float64) + pose[:3, 3]
        way = 0.0
        if self._last is not None:
            way = self._last.way_m + float(np.linalg.norm(at - self._last.sensor))
        return _Moment(stamp_ns, pose, at, way)

    def _break_before(self, now: _Moment) -> tuple[Reason, str]:
        """Why what is remembered has nothing to do with this moment."""
        if self._last is None:
            return "", ""
        metres, radians, seconds = now.motion_since(self._last)
        settings = self.settings
        if seconds < 0:
            return "clock_back", (
                f"stamps went back by {-seconds:.3g} s: a restarted recording, or a clock that "
                "was set"
            )
        longest = settings.seconds if math.isfinite(settings.seconds) else _GAP_S
        if seconds > longest:
            return "clock_gap", (
                f"no frame for {seconds:.3g} s, longer than the {longest:g} s that are remembered"
            )
        if (
            metres > settings.max_speed_m_s * seconds + _SLACK_M
            or radians > settings.max_turn_rad_s * seconds + _SLACK_RAD
        ):
            return "jump", (
                f"the sensor moved {metres:.3g} m and turned {math.degrees(radians):.3g} degrees "
                f"in {seconds:.3g} s: the fixed frame jumped (relocalisation?); use one that is "
                "smooth, such as odom"
            )
        return "", ""

    def _is_due(self, now: _Moment) -> bool:
        if self._key is None:
            return True
        metres, radians, seconds = now.motion_since(self._key)
        settings = self.settings
        return metres >= settings.key_m or radians >= settings.key_rad or seconds >= settings.key_s

    def _forget_old(self, now: _Moment) -> None:
        """Forget what was last seen before the window."""
        frames, settings = self._frames, self.settings
        num_before = len(frames)
        while frames and (
            1e-9 * (now.stamp_ns - frames[0][1]) > settings.seconds
            or now.way_m - frames[0][2] > settings.metres
        ):
            frames.popleft()
        if len(frames) < num_before:
            oldest = frames[0][0] if frames else self._number
            self._store.forget(np.flatnonzero(self._store.frame < oldest))

    def _take_in(self, cloud: PointCloud, now: _Moment, has_rays: bool) -> int:
        """Look through the frame at what is remembered, then remember the frame."""
        self._keep_origin_near(now)
        sensor = (now.sensor - self._origin * self._voxel_m).astype(np.float32)
        cloud = thinned(cloud, FRAME_POINTS)
        offset = self._offset(cloud.xyz.numpy(force=True), now)
        distance = _length(offset)
        used = np.flatnonzero(distance <= self.settings.radius_m)  # no NaN
        if len(used) < len(distance):
            offset, distance = offset.take(used, axis=1), distance.take(used)
        num_passed = 0
        if has_rays and self.settings.free_space and self._store.size:
            num_passed = self._forget_passed(RangeImage.of(offset, distance), sensor)
        xyz = offset + sensor[:, None]
        key, first = first_in_each_voxel(xyz, self._voxel_m)
        rgb = cloud.features.numpy(force=True).take(used.take(first), axis=0).T
        weight = np.float32(1.0) / np.maximum(distance.take(first), np.float32(0.1)) ** 2
        new = Observed(key, xyz.take(first, axis=1), np.ascontiguousarray(rgb, np.float32), weight)
        self._store.observe(new, self._number)
        self._frames.append((self._number, now.stamp_ns, now.way_m))
        self._number += 1
        return num_passed

    def _offset(self, xyz: Float[ndarray, "N 3"], now: _Moment) -> Float[ndarray, "3 N"]:
        """The points seen from the sensor, along the axes of the fixed frame, float32."""
        pose = now.fixed_from_cloud
        local = pose[:3, :3].T @ (now.sensor - pose[:3, 3])  # the sensor in the cloud's frame
        away = np.ascontiguousarray(xyz.T)  # rows of three would take three times as long
        away = (away - local.astype(xyz.dtype)[:, None]).astype(np.float32, copy=False)
        offset: Float[ndarray, "3 N"] = pose[:3, :3].astype(np.float32) @ away
        return offset

    def _forget_passed(self, image: RangeImage, sensor: Float[ndarray, " 3"]) -> int:
        """Forget points that the frame's rays, and those of one before, passed through."""
        store = self._store
        gone = [np.zeros(0, np.int64)]
        for first in range(0, store.size, _BLOCK):
            block = slice(first, first + _BLOCK)
            offset = store.xyz[:, block] - sensor[:, None]
            distance = _length(offset)
            if image.may_show(offset, distance).any():
                gone.append(first + self._look_through(image, offset, distance, block))
        slots = np.concatenate(gone)
        store.forget(slots)
        return len(slots)

    def _look_through(
        self, image: RangeImage, offset: Float[ndarray, "3 B"], distance: Float[ndarray, " B"],
        block: slice,
    ) -> Int[ndarray, " G"]:  # fmt: skip
        """Count the misses of some slots; which of their points have to go."""
        frame, misses = self._store.frame[block], self._store.misses[block]
        cell = image.cells(offset)
        noise = np.float32(_SIGMAS * self.settings.depth_noise)
        margin = noise * distance * distance + np.float32(_MARGIN_M + self._voxel_m)
        is_passed = image.passed.take(cell) > distance + margin
        missed = np.flatnonzero(misses > 0)
        off = np.abs(image.near.take(cell.take(missed)) - distance.take(missed))
        misses[missed[off < margin.take(missed)]] = 0  # where passed, the cell is farther off
        misses += is_passed
        return np.flatnonzero(is_passed & (misses >= MISSES) & (frame != EMPTY))

    def _forget_most(self, now: _Moment) -> int:
        """Forget the oldest points, of equally old ones the farthest, that are too many."""
        store = self._store
        slots = np.flatnonzero(store.frame >= 0)
        if len(slots) <= self.settings.max_points:
            return 0
        num_over = len(slots) - int(_TRIMMED * self.settings.max_points)
        age = np.int32(self._number) - store.frame.take(slots)
        num_up_to = np.cumsum(np.bincount(age)[::-1])[::-1]  # of this age and older
        limit = int(np.flatnonzero(num_up_to >= num_over)[-1])  # all older go, and some of these
        older, equal = slots[age > limit], slots[age == limit]
        sensor = (now.sensor - self._origin * self._voxel_m).astype(np.float32)
        distance = _length(store.xyz.take(equal, axis=1) - sensor[:, None])
        num_kept = len(older) + len(equal) - num_over  # of those of equal age, the nearest
        farthest = equal[np.argpartition(distance, num_kept)[num_kept:]]
        store.forget(np.concatenate([older, farthest]))
        return num_over

    def _keep_origin_near(self, now: _Moment) -> None:
        place = np.rint(now.sensor / self._voxel_m).astype(np.int64)
        step = place - self._origin
        if self._store.size == 0 or np.abs(step).max() * self._voxel_m > _ORIGIN_M:
            self._store.shift(step, self._voxel_m)
            self._origin = place


def _picked(values: Float[ndarray, "3 S"], index: Int[ndarray, " M"]) -> Float[Tensor, "M 3"]:
    """Some columns as rows; several times faster than `values[:, index].T`."""
    rows = np.empty((len(index), 3), np.float32)
    for side, of_all in enumerate(values):
        rows[:, side] = of_all.take(index)
    return torch.from_numpy(rows)


def _length(offset: Float[ndarray, "3 N"]) -> Float[ndarray, " N"]:
    x, y, z = offset * offset
    length: Float[ndarray, " N"] = x + y
    length += z
    return np.sqrt(length, out=length)


def _rigid(pose: Matrix) -> Matrix:
    """A pose as float64; raises ValueError where it is no rigid transform."""
    pose = np.asarray(pose, np.float64)
    if pose.shape == (4, 4) and np.isfinite(pose).all():
        turn = pose[:3, :3]
        is_turn = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-3 and np.linalg.det(turn) > 0
        if is_turn and np.abs(pose[3] - (0, 0, 0, 1)).max() < 1e-6:
            return pose
    raise ValueError(
        f"pose {pose.tolist()}, expected a rigid 4x4 transform: rotation, translation, 0 0 0 1"
    )
