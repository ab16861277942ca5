"""One frame from messages to detections: the path that the node and the replay share.

What comes in is a PointCloud2, a matched set of depth image, CameraInfo and color (`DepthSet`),
or several of these from several cameras. Clouds are put together in the frame of the first, which
is then turned upright at its own stamp, the sensor at x = y = 0 so that coordinates stay small
however far the robot has driven; the detector sees z up. Boxes come back in the gravity frame,
with the matrix that carries them into the output frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.errors import Refused, TransformError
from sr3d_ros.sensors.crop import Crop, thinned
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth, color_misfit
from sr3d_ros.sensors.extent import require_metres
from sr3d_ros.sensors.pointcloud2 import cloud_from_message
from sr3d_ros.tf.headers import frame_name, frame_of, stamp_of
from sr3d_ros.tf.rigid import Matrix, rigid_inverse
from sr3d_ros.tf.source import GRAVITY_FRAMES, TransformSource
from sr3d_ros.tf.up import GravityFrame, UpFinder, UpMode, UpSource, sound_lookup

BEFORE_CROP = 1_000_000
"""Larger clouds are thinned to this before they are cropped; millions would hold up the frame."""

CLOUD_IS_Z_UP = "none"
"""As `detection_frame`: the same as `up="none"`."""


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """What can be set about one frame's way."""

    up: UpMode = "tf"
    """How to find up: a z-up frame of TF, an IMU, the floor in the cloud, or "none": the cloud's
    own frame is z up."""
    detection_frame: str = ""
    """Gravity-aligned frame of TF; "" = first of `gravity_candidates` that resolves."""
    target_frame: str = ""
    """Frame of the published boxes; "" = the cloud's own."""
    score_threshold: float = 0.3
    """Detections below this score are left out; 0..1."""
    drop_zeros: bool = True
    """Treat points at (0, 0, 0) as "no return"."""
    max_points: int | None = 200_000
    """Larger clouds are thinned evenly to this many points, after the crop; None = never."""
    crop: Crop = field(default_factory=Crop)
    """Which points are detected in."""
    gravity_candidates: tuple[str, ...] = GRAVITY_FRAMES
    """Frames to try, in order, where `detection_frame` is ""."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one cloud, or several together, gave."""

    stamp_ns: int  # of the first cloud
    frame_id: str  # output frame, where `output_from_gravity` leads
    gravity_frame: str  # frame of `detections` and `cloud`; TF knows it only where up is "tf"
    detections: Detections
    output_from_gravity: Matrix
    gravity_from_cloud: Matrix  # for points of the first message
    sensor_cloud: PointCloud  # what was detected in: as `cloud`, but around the sensor
    sensor_offset: Tensor  # from there to `gravity_frame`, metres
    time_ms: dict[str, float]  # wall time: parse, transform, detect
    up_confidence: float = 1.0  # 0..1, how sure the way up is
    left_out: tuple[Refused, ...] = ()  # further clouds that could not be used
    notes: tuple[str, ...] = ()  # what was not used, and why

    @property
    def num_points(self) -> int:
        """How many valid points the cloud had, after cropping and thinning."""
        return len(self.sensor_cloud)

    @property
    def cloud(self) -> PointCloud:
        """What was detected in, in `gravity_frame`."""
        cloud, offset = self.sensor_cloud, self.sensor_offset
        if not offset.any():
            return cloud
        return PointCloud(cloud.xyz + offset.to(cloud.xyz.dtype), cloud.features, cloud.scene)


class FramePipeline:
    """Turns messages into detections.

    `detector` is any callable from a cloud (z up, metres) to detections, such as
    `Detector.detect`. `settings` and `detector` may be replaced between frames. `imu` is needed
    where `settings.up` is "imu".
    """

    def __init__(
        self,
        detector: Callable[[PointCloud], Detections],
        transforms: TransformSource,
        settings: FrameSettings | None = None,
        imu: UpSource | None = None,
    ) -> None:
        self.detector = detector
        self.transforms = transforms
        self.settings = settings or FrameSettings()
        self._up = UpFinder(transforms, imu)

    def process(self, first: Any, *others: Any) -> FrameResult:
        """Detect in one cloud, or in several as in one; raises `Refused`, which has a `.reason`.

        Each is a PointCloud2-like message or a `DepthSet`. The first decides stamp and frame and
        must be usable; what is wrong with others is in the result. An empty cloud has no
        detections; that is not an error.
        """
        started = time.perf_counter()
        frame, stamp_ns = frame_of(first), stamp_of(first)
        cloud = self._read(first)
        whole, left_out = self._joined(cloud, frame, stamp_ns, others)
        parsed = time.perf_counter()
        level = self._level(whole, frame, stamp_ns)
        output_frame = frame_name(self.settings.target_frame) or frame
        output_from_gravity = self._output(output_frame, frame, level, stamp_ns)
        level_cloud, offset = _below_sensor(whole, level.gravity_from_cloud)
        level_cloud = self._selected(level_cloud, offset)
        moved = time.perf_counter()
        found = self._detect(level_cloud)
        detected = time.perf_counter()
        return FrameResult(
            stamp_ns=stamp_ns,
            frame_id=output_frame,
            gravity_frame=level.frame,
            detections=_shifted_detections(found, offset),
            output_from_gravity=output_from_gravity,
            gravity_from_cloud=level.gravity_from_cloud,
            sensor_cloud=level_cloud,
            sensor_offset=offset,
            time_ms={
                "parse": (parsed - started) * 1e3,
                "transform": (moved - parsed) * 1e3,
                "detect": (detected - moved) * 1e3,
            },
            up_confidence=level.confidence,
            left_out=left_out,
            notes=(*_notes(first, *others), *self._notes_on_up(frame)),
        )

    def _notes_on_up(self, frame: str) -> tuple[str, ...]:
        """What is odd about the frame that is taken as z up."""
        is_optical = frame.endswith(("_optical_frame", "_optical"))
        if not (self._takes_cloud_as_level and is_optical):
            return ()
        return (
            f"z of '{frame}' is taken as up, but an optical frame's z points forward: "
            "set frames.up to tf, imu or floor",
        )

    @property
    def _takes_cloud_as_level(self) -> bool:
        settings = self.settings
        return settings.up == "none" or frame_name(settings.detection_frame) == CLOUD_IS_Z_UP

    def _read(self, message: Any) -> PointCloud:
        """The points of one input within the range, in its own frame."""
        settings = self.settings
        max_points = settings.max_points
        if max_points is not None and (settings.crop.has_range or settings.crop.has_region):
            max_points = max(max_points, BEFORE_CROP)
        if isinstance(message, DepthSet):
            cloud = cloud_from_depth(
                message.depth, message.info, message.color, max_points=max_points
            )
        else:
            cloud = cloud_from_message(
                message, drop_zeros=settings.drop_zeros, max_points=max_points
            )
        require_metres(cloud.xyz)
        return cloud[settings.crop.in_range(cloud.xyz)] if settings.crop.has_range else cloud

    def _joined(
        self, cloud: PointCloud, frame: str, stamp_ns: int, others: tuple[Any, ...]
    ) -> tuple[PointCloud, tuple[Refused, ...]]:
        """All clouds in the frame of the first, and why some are missing."""
        parts, left_out = [cloud], list[Refused]()
        for other in others:
            try:
                matrix = moved_between(
                    self.transforms, frame, stamp_ns, frame_of(other), stamp_of(other)
                )
                parts.append(self._read(other).transformed(torch.from_numpy(matrix)))
            except Refused as error:
                left_out.append(error)
        return joined(parts), tuple(left_out)

    def _level(self, cloud: PointCloud, frame: str, stamp_ns: int) -> GravityFrame:
        """The z-up frame of a cloud."""
        settings = self.settings
        wanted = frame_name(settings.detection_frame)
        if self._takes_cloud_as_level:
            return GravityFrame(frame, np.eye(4), 1.0)
        if settings.up == "imu":
            return self._up.from_imu(frame, stamp_ns)
        if settings.up == "floor":
            return self._up.from_floor(cloud.xyz, frame, stamp_ns)
        return self._up.through_tf(frame, stamp_ns, wanted, settings.gravity_candidates)

    def _output(self, output_frame: str, frame: str, level: GravityFrame, stamp_ns: int) -> Matrix:
        """`output_from_gravity`; boxes in the cloud's own frame need no second transform."""
        if output_frame == level.frame:
            return np.eye(4)
        cloud_from_gravity = rigid_inverse(level.gravity_from_cloud)
        if output_frame == frame:
            return cloud_from_gravity
        return sound_lookup(self.transforms, output_frame, frame, stamp_ns) @ cloud_from_gravity

    def _selected(self, level_cloud: PointCloud, offset: Tensor) -> PointCloud:
        """The points in the region of interest, not more than the budget."""
        crop = self.settings.crop
        if crop.has_region:
            level_cloud = level_cloud[crop.in_region(level_cloud.xyz, offset.tolist())]
        return thinned(level_cloud, self.settings.max_points)

    def _detect(self, cloud: PointCloud) -> Detections:
        if len(cloud) == 0:
            return Detections.empty()
        found = self.detector(cloud).to("cpu")
        return found[found.scores >= self.settings.score_threshold]


def _notes(*messages: Any) -> tuple[str, ...]:
    """Why color images of depth sets were not used."""
    pairs = [(m.depth, m.color) for m in messages if isinstance(m, DepthSet)]
    return tuple(
        filter(None, (color_misfit(depth, color) for depth, color in pairs if color is not None))
    )


def _below_sensor(cloud: PointCloud, gravity_from_cloud: Matrix) -> tuple[PointCloud, Tensor]:
    """The cloud z up with the sensor at x = y = 0, and the shift that was taken off."""
    level_from_cloud = gravity_from_cloud.copy()
    level_from_cloud[:2, 3] = 0.0
    offset = torch.from_numpy(gravity_from_cloud[:3, 3] * (1.0, 1.0, 0.0))
    return cloud.transformed(torch.from_numpy(level_from_cloud)), offset


def _shifted_detections(found: Detections, offset: Tensor) -> Detections:
    boxes = found.boxes
    center = (boxes.center.to(offset.dtype) + offset).to(boxes.center.dtype)
    moved = Boxes3D(center, boxes.size, boxes.yaw)
    return Detections(moved, found.scores, found.labels, found.time_ms)


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
