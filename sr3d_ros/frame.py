"""One frame from PointCloud2 to detections: the path that the node and the replay share.

The cloud is moved into a gravity-aligned frame at its own stamp, the sensor at x = y = 0 so that
coordinates stay small however far the robot has driven; the detector sees z up. Boxes come back
in the gravity frame, with the matrix that carries them into the output frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.cloud import cloud_from_message
from sr3d_ros.rigid import Matrix, rigid_inverse
from sr3d_ros.transforms import (
    GRAVITY_FRAMES,
    TransformError,
    TransformSource,
    first_gravity_frame,
    frame_name,
    stamp_to_ns,
)

CLOUD_IS_Z_UP = "none"
"""As `detection_frame`: the cloud's own frame is gravity-aligned, no transform is needed."""


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """What can be set about one frame's way."""

    detection_frame: str = ""
    """Gravity-aligned frame; "" = first of `gravity_candidates` that resolves, "none" = the
    cloud's own frame is z up."""
    target_frame: str = ""
    """Frame of the published boxes; "" = the cloud's own."""
    score_threshold: float = 0.3
    """Detections below this score are left out; 0..1."""
    drop_zeros: bool = True
    """Treat points at (0, 0, 0) as "no return"."""
    max_points: int | None = 200_000
    """Larger clouds are thinned evenly to this many points; None = never."""
    gravity_candidates: tuple[str, ...] = GRAVITY_FRAMES
    """Frames to try, in order, where `detection_frame` is ""."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one cloud gave."""

    stamp_ns: int  # of the cloud
    frame_id: str  # output frame, where `output_from_gravity` leads
    gravity_frame: str  # frame of `detections` and `cloud`
    detections: Detections
    output_from_gravity: Matrix
    cloud: PointCloud  # what was detected in
    time_ms: dict[str, float]  # wall time: parse, transform, detect

    @property
    def num_points(self) -> int:
        """How many valid points the cloud had, after thinning."""
        return len(self.cloud)


class FramePipeline:
    """Turns PointCloud2-like messages into detections.

    `detector` is any callable from a cloud (z up, metres) to detections, such as
    `Detector.detect`. `settings` may be replaced between frames.
    """

    def __init__(
        self,
        detector: Callable[[PointCloud], Detections],
        transforms: TransformSource,
        settings: FrameSettings | None = None,
    ) -> None:
        self.detector = detector
        self.transforms = transforms
        self.settings = settings or FrameSettings()
        self._chosen_frame: dict[str, str] = {}  # gravity frame per cloud frame, once found

    def process(self, message: Any) -> FrameResult:
        """Detect in one cloud; raises `MessageError` or `TransformError`, both with `.reason`.

        An empty cloud has no detections; that is not an error.
        """
        started = time.perf_counter()
        settings = self.settings
        cloud = cloud_from_message(
            message, drop_zeros=settings.drop_zeros, max_points=settings.max_points
        )
        parsed = time.perf_counter()
        stamp_ns = stamp_to_ns(message.header.stamp)
        cloud_frame = frame_name(message.header.frame_id)
        gravity_frame, gravity_from_cloud = self._gravity(cloud_frame, stamp_ns)
        output_frame = frame_name(settings.target_frame) or cloud_frame
        output_from_gravity = self._output(
            output_frame, cloud_frame, gravity_frame, gravity_from_cloud, stamp_ns
        )
        level_cloud, offset = _below_sensor(cloud, gravity_from_cloud)
        moved = time.perf_counter()
        found = self._detect(level_cloud)
        detected = time.perf_counter()
        return FrameResult(
            stamp_ns=stamp_ns,
            frame_id=output_frame,
            gravity_frame=gravity_frame,
            detections=_shifted_detections(found, offset),
            output_from_gravity=output_from_gravity,
            cloud=_shifted_cloud(level_cloud, offset),
            time_ms={
                "parse": (parsed - started) * 1e3,
                "transform": (moved - parsed) * 1e3,
                "detect": (detected - moved) * 1e3,
            },
        )

    def _detect(self, cloud: PointCloud) -> Detections:
        if len(cloud) == 0:
            return Detections.empty()
        found = self.detector(cloud).to("cpu")
        return found[found.scores >= self.settings.score_threshold]

    def _gravity(self, cloud_frame: str, stamp_ns: int) -> tuple[str, Matrix]:
        """The gravity-aligned frame of a cloud and `gravity_from_cloud`."""
        wanted = frame_name(self.settings.detection_frame)
        if wanted == CLOUD_IS_Z_UP:
            return cloud_frame, np.eye(4)
        if wanted:
            return wanted, self.transforms.lookup(wanted, cloud_frame, stamp_ns)
        known = self._chosen_frame.get(cloud_frame)
        if known in self.settings.gravity_candidates:
            try:
                return known, self.transforms.lookup(known, cloud_frame, stamp_ns)
            except TransformError as error:
                if error.reason == "extrapolation":
                    raise  # it will come; another frame would make the boxes jump
        chosen = first_gravity_frame(
            self.transforms, cloud_frame, stamp_ns, self.settings.gravity_candidates
        )
        self._chosen_frame[cloud_frame] = chosen
        return chosen, self.transforms.lookup(chosen, cloud_frame, stamp_ns)

    def _output(
        self,
        output_frame: str,
        cloud_frame: str,
        gravity_frame: str,
        gravity_from_cloud: Matrix,
        stamp_ns: int,
    ) -> Matrix:
        """`output_from_gravity`; boxes in the cloud's own frame need no second transform."""
        if output_frame == cloud_frame:
            return rigid_inverse(gravity_from_cloud)
        return self.transforms.lookup(output_frame, gravity_frame, stamp_ns)


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


def _shifted_cloud(cloud: PointCloud, offset: Tensor) -> PointCloud:
    xyz = (cloud.xyz.to(offset.dtype) + offset).to(cloud.xyz.dtype)
    return PointCloud(xyz, cloud.features, cloud.scene)
