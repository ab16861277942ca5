"""A frame's way from its views to detections: the one path of the node and of recordings.

`FrameAssembler` (assembler.py) puts messages together into frames, `FramePipeline` detects in
them. Both do what the `Parameters` say, and nothing else decides about a frame: the same messages
and parameters give the same boxes, live or recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sr3d_core.geometry.origin import moved
from sr3d_core.geometry.scale import scale_doubt
from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Detections, Images, PointCloud
from sr3d_ros.assembler import Frame
from sr3d_ros.budget import AdaptiveBudget
from sr3d_ros.errors import MessageError, Refused
from sr3d_ros.frame_notes import (
    notes_on_color,
    notes_on_header,
    notes_on_precision,
    notes_on_up,
)
from sr3d_ros.images import PlacedImages, wanted_boxes
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.scene import MemoryUse, SceneDetector, Seen
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.sensors.crop import joined, within_range, within_region
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth
from sr3d_ros.sensors.placed import around_sensor, is_far, placed
from sr3d_ros.sensors.pointcloud2 import cloud_from_message
from sr3d_ros.sensors.rays import rays_doubt
from sr3d_ros.tf.fixed import moved_between
from sr3d_ros.tf.headers import frame_name, frame_of, stamp_of
from sr3d_ros.tf.rigid import Matrix, rigid_inverse
from sr3d_ros.tf.source import GRAVITY_FRAMES, TransformSource
from sr3d_ros.tf.up import GravityFrame, UpFinder, UpSource, sound_lookup

BEFORE_CROP = 1_000_000
"""Larger clouds are thinned to this before they are cropped; millions would hold up the frame."""

CLOUD_IS_Z_UP = "none"
"""As `frames.detection`: the same as `frames.up` "none"."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one frame gave."""

    stamp_ns: int  # of the first view
    frame_id: str  # output frame, where `output_from_gravity` leads
    gravity_frame: str  # frame of `detections` and `cloud`; TF knows it only where up is "tf"
    detections: Detections
    output_from_gravity: Matrix
    gravity_from_cloud: Matrix  # for points of the first view; the camera's pose of an image
    sensor_cloud: PointCloud  # what was detected in: as `cloud`, but around the sensor
    frame_cloud: PointCloud  # of it what this frame shows itself, without what is remembered
    sensor_offset: Tensor  # from there to `gravity_frame`, metres
    time_ms: dict[str, float]  # wall time: parse, transform, detect, and memory where it is on
    up_confidence: float = 1.0  # 0..1, how sure the way up is
    left_out: tuple[Refused, ...] = ()  # further views that could not be used
    notes: tuple[str, ...] = ()  # what was not used, and why
    input: Literal["cloud", "depth", "rgb"] = "cloud"  # what it was; an rgb frame has no points
    rays_doubt: str = ""  # why nobody knows where its rays start; "" = at the cloud's origin
    memory: MemoryUse | None = None  # None: frames are detected in alone

    @property
    def num_points(self) -> int:
        """In how many points was detected, after cropping and thinning."""
        return len(self.sensor_cloud)

    @property
    def cloud(self) -> PointCloud:
        """What was detected in, in `gravity_frame`; float64 where that is far away."""
        cloud, offset = self.sensor_cloud, self.sensor_offset
        if not offset.any():
            return cloud
        xyz = cloud.xyz.double() if is_far(offset) else cloud.xyz
        return PointCloud(xyz + offset.to(xyz.dtype), cloud.features, cloud.scene)


class FramePipeline:
    """Turns frames into detections; for one thread.

    `detector` is any callable from a cloud (z up, metres) to detections, such as
    `Detector.detect`; which boxes it reports is its own business, see `postprocess_for`. `camera`
    is the same for color images, which come where `input.kind` is rgb or auto; None: `detector`
    is one of them.
    `parameters`, `detector` and `camera` may be replaced between frames. `imu` is needed where
    `frames.up` is "imu". `one_class` says whether the detector's classes suppress each other, as
    on a robot.
    """

    def __init__(
        self,
        detector: Callable[[Any], Detections],
        transforms: TransformSource,
        parameters: Parameters | None = None,
        imu: UpSource | None = None,
        one_class: bool = True,
        camera: Callable[[Images], Detections] | None = None,
    ) -> None:
        self.detector, self.camera = detector, camera
        self.transforms = transforms
        self.parameters = parameters or Parameters()
        self.budget = AdaptiveBudget()
        self.scene = SceneDetector(transforms, one_class)
        self._up = UpFinder(transforms, imu)
        self._images = PlacedImages(transforms, self._up)

    def process(self, *views: Any) -> FrameResult:
        """Detect in the views of a frame; raises `Refused`, which has a `.reason`.

        The first view decides stamp and frame id and must be usable; what is wrong with others is
        in the result. An empty cloud has no detections; that is not an error.
        """
        first, parameters = views[0], self.parameters
        if isinstance(first, CameraView):
            return self._process_image(first)
        frame_id, stamp_ns = frame_of(first), stamp_of(first)
        max_points = self.budget.points(parameters)
        watch = _Stopwatch()
        if isinstance(first, DepthSet):
            views = (first.plain(), *views[1:])  # once, here, and not for every question
        cloud, left_out = self._read(views, frame_id, stamp_ns, max_points)
        watch.lap("parse")
        level = self._upright(cloud, frame_id, stamp_ns)
        output_frame = frame_name(parameters.target_frame) or frame_id
        output_from_gravity = self._output(output_frame, frame_id, level, stamp_ns)
        level_cloud, offset = around_sensor(cloud, level.gravity_from_cloud)
        worth_it = partial(self._worth_it, offset=offset, max_points=max_points)
        frame_cloud = worth_it(level_cloud)
        watch.lap("transform")
        doubt = rays_doubt(frame_id, len(views), is_z_up=is_cloud_z_up(parameters))
        seen = Seen.of(cloud, frame_id, stamp_ns, doubt, level.gravity_from_cloud, offset)
        found = self.scene(frame_cloud, seen, worth_it, self.detector, parameters)
        watch.lap("detect")
        if found.use is not None:
            watch.take_out(found.use.took_ms, "detect", "memory")
        if not found.is_carried:  # which costs less than what the budget is for
            self.budget.observe(watch.time_ms, len(found.cloud), parameters)
        boxes = found.detections
        return FrameResult(
            stamp_ns=stamp_ns,
            frame_id=output_frame,
            gravity_frame=level.frame,
            detections=Detections(
                moved(boxes.boxes, offset), boxes.scores, boxes.labels, boxes.time_ms
            ),
            output_from_gravity=output_from_gravity,
            gravity_from_cloud=level.gravity_from_cloud,
            sensor_cloud=found.cloud,
            frame_cloud=frame_cloud,
            input="depth" if isinstance(first, DepthSet) else "cloud",
            rays_doubt=doubt,
            sensor_offset=offset,
            time_ms=watch.time_ms,
            up_confidence=level.confidence,
            left_out=left_out,
            notes=(
                *notes_on_color(views),
                *notes_on_precision(cloud, frame_id),
                *notes_on_up(frame_id, is_cloud_z_up(parameters)),
                *notes_on_header(output_frame, stamp_ns),
                *found.notes,
            ),
            memory=found.use,
        )

    def _process_image(self, view: CameraView) -> FrameResult:
        """Detect in a color image alone."""
        parameters, watch = self.parameters, _Stopwatch()
        frame_id, stamp_ns = frame_of(view), stamp_of(view)
        level = self._images.level(view, parameters)
        output_frame = frame_name(parameters.target_frame) or frame_id
        output_from_gravity = self._output(output_frame, frame_id, level, stamp_ns)
        watch.lap("transform")
        images, shift = self._images.read(view, level, parameters)
        watch.lap("parse")
        found = (self.camera or self.detector)(images).to("cpu")
        watch.lap("detect")
        no_points = PointCloud.single(torch.zeros(0, 3), None)
        return FrameResult(
            stamp_ns=stamp_ns,
            frame_id=output_frame,
            gravity_frame=level.frame,
            detections=wanted_boxes(found, shift, level.gravity_from_cloud, parameters),
            output_from_gravity=output_from_gravity,
            gravity_from_cloud=level.gravity_from_cloud,
            sensor_cloud=no_points,
            frame_cloud=no_points,
            sensor_offset=shift,
            time_ms=watch.time_ms,
            up_confidence=level.confidence,
            notes=tuple(notes_on_header(output_frame, stamp_ns)),
            input="rgb",
        )

    def _worth_it(self, level_cloud: PointCloud, offset: Tensor, max_points: int) -> PointCloud:
        """What is detected in, of a cloud around the sensor."""
        inside = within_region(level_cloud, *self.parameters.region_m, offset.tolist())
        return thinned(inside, max_points)

    def _read(
        self, views: Frame, frame_id: str, stamp_ns: int, max_points: int
    ) -> tuple[PointCloud, tuple[Refused, ...]]:
        """All views as one cloud in the frame of the first, and why some are missing."""
        clouds, left_out = [self._read_view(views[0], max_points)], list[Refused]()
        for view in views[1:]:
            try:
                matrix = moved_between(
                    self.transforms, frame_id, stamp_ns, frame_of(view), stamp_of(view)
                )
                cloud = self._read_view(view, max_points)
                clouds.append(placed(cloud, torch.from_numpy(matrix)))
            except Refused as error:
                left_out.append(error)
        return joined(clouds), tuple(left_out)

    def _read_view(self, view: Any, max_points: int) -> PointCloud:
        """The points of one view within the range, in its own frame; raises `MessageError`."""
        parameters = self.parameters
        if self._is_cropped:
            max_points = max(max_points, BEFORE_CROP)  # thinned again once they are
        if isinstance(view, DepthSet):
            cloud = cloud_from_depth(view.depth, view.info, view.color, max_points=max_points)
        else:
            cloud = cloud_from_message(
                view, drop_zeros=parameters.drop_zeros, max_points=max_points
            )
        require_metres(cloud)
        return within_range(cloud, parameters.min_range_m, parameters.max_range_m)

    @property
    def _is_cropped(self) -> bool:
        parameters = self.parameters
        has_region = bool(np.isfinite(parameters.region_m).any())
        return has_region or parameters.min_range_m > 0.0 or parameters.max_range_m > 0.0

    def _upright(self, cloud: PointCloud, frame_id: str, stamp_ns: int) -> GravityFrame:
        """The z-up frame of a cloud."""
        parameters = self.parameters
        if is_cloud_z_up(parameters):
            return GravityFrame(frame_id, np.eye(4), 1.0)
        if parameters.up == "imu":
            return self._up.from_imu(frame_id, stamp_ns)
        if parameters.up == "floor":
            return self._up.from_floor(cloud.xyz, frame_id, stamp_ns)
        wanted = frame_name(parameters.detection_frame)
        return self._up.through_tf(frame_id, stamp_ns, wanted, GRAVITY_FRAMES)

    def _output(
        self, output_frame: str, frame_id: str, level: GravityFrame, stamp_ns: int
    ) -> Matrix:
        """`output_from_gravity`; boxes in the cloud's own frame need no second transform."""
        if output_frame == level.frame:
            return np.eye(4)
        cloud_from_gravity = rigid_inverse(level.gravity_from_cloud)
        if output_frame == frame_id:
            return cloud_from_gravity
        return sound_lookup(self.transforms, output_frame, frame_id, stamp_ns) @ cloud_from_gravity


class _Stopwatch:
    """Wall time of the parts of one frame, in milliseconds."""

    def __init__(self) -> None:
        self.time_ms: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def lap(self, part: str) -> None:
        """A part is done."""
        now_s = time.perf_counter()
        self.time_ms[part] = 1e3 * (now_s - self._last_s)
        self._last_s = now_s

    def take_out(self, took_ms: float, whole: str, part: str) -> None:
        """So much of a part belongs to another one."""
        self.time_ms[whole] -= took_ms
        self.time_ms[part] = took_ms


def is_cloud_z_up(parameters: Parameters) -> bool:
    """Whether the cloud's own frame is taken as z up."""
    return parameters.up == "none" or frame_name(parameters.detection_frame) == CLOUD_IS_Z_UP


def require_metres(cloud: PointCloud) -> None:
    """Raises `MessageError` for a cloud as no depth camera can see; it would take minutes."""
    doubt = scale_doubt(cloud.xyz)
    if doubt is not None and doubt.kind == "millimetres":
        raise MessageError(
            "units", f"{doubt.text} ROS clouds are in metres (REP-103); correct the driver's scale"
        )
