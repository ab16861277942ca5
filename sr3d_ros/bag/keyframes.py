"""The keyframes of a recording: clouds to learn from, of moments that differ.

Frames of a recording are near duplicates. One is a keyframe where the sensor has moved or turned
far enough since the last keyframe; where the recording does not say how it moved, where the cloud
itself has changed enough. Its cloud is the frame and what was seen shortly before it, fused as
the node's memory does it, thinned to one point in each cube of 2 cm, around the sensor and z up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from sr3d_core.data.keyframes import Keyframe, KeyframeSettings, write_keyframes
from sr3d_core.geometry.origin import MAX_DISTANCE_M
from sr3d_core.geometry.viewpoint import Viewpoint, viewpoint_of
from sr3d_core.memory.voxels import first_in_each_voxel
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import BagRun, Tally
from sr3d_ros.errors import TransformError
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.fixed import FIXED_FRAMES, in_fixed_frame
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix

VOXEL_M = 0.02
PLACE_M = 3.0
"""Keyframes whose sensor was in one square of this edge show one place."""
ALIKE = 0.7
"""Where motion is not known, a frame is new where at most so many of its cells, as a share, were
in the last keyframe."""
_CELL_M = 0.2


class FindsNothing:
    """A detector for who wants the clouds alone."""

    classes: tuple[str, ...] = ()

    def detect(self, cloud: PointCloud) -> Detections:
        """No boxes."""
        return Detections.empty()


def parameters_of(settings: KeyframeSettings) -> dict[str, object]:
    """What the node's parameters have to be, by name."""
    return {
        "memory.seconds": settings.window_s,
        "memory.mode": "beside",  # what the keyframe's own frame shows is there in any case
        "memory.period_s": 0.0,
        "memory.voxel_m": VOXEL_M,
        "frames.target": "",
        "load.adaptive": False,  # or clouds would depend on the speed of this machine
    }


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What decides whether a frame is a keyframe."""

    fixed_frame: str  # that stands still; "" = none is known
    fixed_from_sensor: Matrix
    cells: Int[ndarray, " C"]  # that the frame occupies around its sensor, rising

    def is_due_after(self, last: Moment, settings: KeyframeSettings) -> bool:
        """Whether enough has changed since the last keyframe."""
        if not self.fixed_frame or self.fixed_frame != last.fixed_frame:
            known = np.isin(self.cells, last.cells, assume_unique=True)
            return bool(known.sum() <= ALIKE * len(self.cells))
        now, then = self.fixed_from_sensor, last.fixed_from_sensor
        moved_m = float(np.linalg.norm(now[:3, 3] - then[:3, 3]))
        cosine = (float(np.trace(then[:3, :3].T @ now[:3, :3])) - 1.0) / 2.0
        turned_rad = math.acos(min(max(cosine, -1.0), 1.0))
        # Poses come in double precision: exactly as far as asked for is far enough.
        return (
            moved_m >= settings.keyframe_distance_m - 1e-9
            or turned_rad >= settings.keyframe_angle_rad - 1e-6
        )


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a recording."""

    num_keyframes: int
    num_points: int
    tally: Tally


def write_clouds_of(
    run: BagRun,
    folder: Path,
    settings: KeyframeSettings,
    progress: Callable[[int], object] = lambda done: None,
) -> Written:
    """Write the clouds of a recording's keyframes into a new folder.

    Raises `ReplayError` where there is none, ValueError where the folder is not empty, OSError.
    """
    tally = Tally(damage=run.bag.notes)
    keyframes = keyframes_of(run, settings, tally, progress)
    num, num_points = write_keyframes(folder, run.bag.path.name, keyframes)
    if not num:
        tally.require_any(run)
        raise ReplayError(
            f"{run.bag.path}: none of the {len(tally.time_ms)} clouds of {run.topic} has a point, "
            "expected some: was the sensor covered, or is all of it outside of the region?"
        )
    return Written(num, num_points, tally)


def keyframes_of(
    run: BagRun,
    settings: KeyframeSettings,
    tally: Tally,
    progress: Callable[[int], object] = lambda done: None,
) -> Iterator[Keyframe]:
    """The keyframes of a recording, one after the other; the run has `parameters_of`.

    Nothing is kept of those before. `tally` counts all frames.
    """
    last: Moment | None = None
    for done, frame in enumerate(run.frames(), start=1):
        tally.count(frame)
        if isinstance(frame, FrameResult) and len(frame.frame_cloud):
            now = _moment(run, frame)
            if last is None or now.is_due_after(last, settings):
                last = now
                yield _keyframe(frame, now, run.parameters.memory_radius_m)
        progress(done)


def _moment(run: BagRun, frame: FrameResult) -> Moment:
    xyz = frame.frame_cloud.xyz
    near = xyz[(xyz.abs() <= MAX_DISTANCE_M).all(dim=1)]
    cells, _ = first_in_each_voxel(near.numpy().T, _CELL_M)
    fixed, pose = _place(run, frame)
    return Moment(fixed, pose, cells)


def _place(run: BagRun, frame: FrameResult) -> tuple[str, Matrix]:
    """The frame that stands still and the sensor's pose in it; "" where it is not known."""
    wanted = frame_name(run.parameters.memory_frame)
    if frame.stamp_ns == 0 or frame.frame_id in (wanted, *FIXED_FRAMES):
        return "", np.eye(4)  # in such a frame nobody knows where the sensor is
    try:
        return in_fixed_frame(run.transforms, frame.frame_id, frame.stamp_ns, wanted)
    except TransformError:
        return "", np.eye(4)


def _keyframe(frame: FrameResult, now: Moment, radius_m: float) -> Keyframe:
    place = ""
    if now.fixed_frame:
        x, y = np.floor(now.fixed_from_sensor[:2, 3] / PLACE_M).astype(int)
        place = f"{now.fixed_frame} {x} {y}"
    level_from_sensor = torch.from_numpy(frame.gravity_from_cloud.copy())
    level_from_sensor[:3, 3] -= frame.sensor_offset.double()
    cloud, view = frame.sensor_cloud, None
    if frame.rays_doubt:
        cloud = cloud[(cloud.xyz.abs() <= MAX_DISTANCE_M).all(dim=1)]
    else:
        view = _view(frame, level_from_sensor)
        distance = (cloud.xyz.double() - level_from_sensor[:3, 3]).norm(dim=1)
        cloud = cloud[distance <= radius_m]
    _, rows = first_in_each_voxel(cloud.xyz.numpy().T, VOXEL_M)
    return Keyframe(cloud[torch.from_numpy(np.sort(rows))], frame.stamp_ns, place, view)


def _view(frame: FrameResult, level_from_sensor: Tensor) -> Viewpoint:
    """Where its own frame was seen from, and how wide, in the cloud around the sensor."""
    away = frame.frame_cloud.xyz.double() - level_from_sensor[:3, 3]
    return viewpoint_of(away @ level_from_sensor[:3, :3], level_from_sensor)
