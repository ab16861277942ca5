"""A frame's way from its views to detections: the one path of the node and of recordings.

`FrameAssembler` (assembler.py) puts messages together into frames, `FramePipeline` detects in
them. Both do what the `Parameters` say, and nothing else decides about a frame: the same messages
and parameters give the same boxes, live or recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d_core.geometry.origin import FAR_M, MAX_DISTANCE_M, local_origin, moved, reach
from sr3d_core.geometry.scale import scale_doubt
from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.assembler import Frame
from sr3d_ros.budget import AdaptiveBudget
from sr3d_ros.errors import MessageError, Refused, TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.crop import joined, within_range, within_region
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth, color_misfit
from sr3d_ros.sensors.pointcloud2 import cloud_from_message
from sr3d_ros.tf.headers import frame_name, frame_of, stamp_of
from sr3d_ros.tf.rigid import Matrix, rigid_inverse
from sr3d_ros.tf.source import GRAVITY_FRAMES, TransformSource
from sr3d_ros.tf.up import GravityFrame, UpFinder, UpSource, sound_lookup

BEFORE_CROP = 1_000_000
"""Larger clouds are thinned to this before they are cropped; millions would hold up the frame."""

CLOUD_IS_Z_UP = "none"
"""As `frames.detection`: the same as `frames.up` "none"."""

_SAMPLE = 1000  # points that are looked at to see how far a cloud lies

FIXED_FRAMES = ("odom", "map")
"""Frames in which the room stands still while the robot moves, the smoother first."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What one frame gave."""

    stamp_ns: int  # of the first view
    frame_id: str  # output frame, where `output_from_gravity` leads
    gravity_frame: str  # frame of `detections` and `cloud`; TF knows it only where up is "tf"
    detections: Detections
    output_from_gravity: Matrix
    gravity_from_cloud: Matrix  # for points of the first view
    sensor_cloud: PointCloud  # what was detected in: as `cloud`, but around the sensor
    sensor_offset: Tensor  # from there to `gravity_frame`, metres
    time_ms: dict[str, float]  # wall time: parse, transform, detect
    up_confidence: float = 1.0  # 0..1, how sure the way up is
    left_out: tuple[Refused, ...] = ()  # further views that could not be used
    notes: tuple[str, ...] = ()  # what was not used, and why

    @property
    def num_points(self) -> int:
        """How many valid points the cloud had, after cropping and thinning."""
        return len(self.sensor_cloud)

    @property
    def cloud(self) -> PointCloud:
        """What was detected in, in `gravity_frame`; float64 where that is far away."""
        cloud, offset = self.sensor_cloud, self.sensor_offset
        if not offset.any():
            return cloud
        xyz = cloud.xyz.double() if _is_far(offset) else cloud.xyz
        return PointCloud(xyz + offset.to(xyz.dtype), cloud.features, cloud.scene)


class FramePipeline:
    """Turns frames into detections; for one thread.

    `detector` is any callable from a cloud (z up, metres) to detections, such as
    `Detector.detect`; which boxes it reports is its own business, see `postprocess_for`.
    `parameters` and `detector` may be replaced between frames. `imu` is needed where `frames.up`
    is "imu".
    """

    def __init__(
        self,
        detector: Callable[[PointCloud], Detections],
        transforms: TransformSource,
        parameters: Parameters | None = None,
        imu: UpSource | None = None,
    ) -> None:
        self.detector = detector
        self.transforms = transforms
        self.parameters = parameters or Parameters()
        self.budget = AdaptiveBudget()
        self._up = UpFinder(transforms, imu)

    def process(self, *views: Any) -> FrameResult:
        """Detect in the views of a frame; raises `Refused`, which has a `.reason`.

        The first view decides stamp and frame id and must be usable; what is wrong with others is
        in the result. An empty cloud has no detections; that is not an error.
        """
        first, parameters = views[0], self.parameters
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
        level_cloud = within_region(level_cloud, *parameters.region_m, offset.tolist())
        level_cloud = thinned(level_cloud, max_points)
        watch.lap("transform")
        found = self.detector(level_cloud).to("cpu") if len(level_cloud) else Detections.empty()
        watch.lap("detect")
        self.budget.observe(watch.time_ms, len(level_cloud), parameters)
        return FrameResult(
            stamp_ns=stamp_ns,
            frame_id=output_frame,
            gravity_frame=level.frame,
            detections=Detections(
                moved(found.boxes, offset), found.scores, found.labels, found.time_ms
            ),
            output_from_gravity=output_from_gravity,
            gravity_from_cloud=level.gravity_from_cloud,
            sensor_cloud=level_cloud,
            sensor_offset=offset,
            time_ms=watch.time_ms,
            up_confidence=level.confidence,
            left_out=left_out,
            notes=(
                *_notes_on_color(views),
                *_notes_on_precision(cloud, frame_id),
                *self._notes_on_up(frame_id),
                *_notes_on_header(output_frame, stamp_ns),
            ),
        )

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
                clouds.append(_placed(cloud, torch.from_numpy(matrix)))
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

    def _notes_on_up(self, frame_id: str) -> tuple[str, ...]:
        """What is odd about the frame that is taken as z up."""
        if not (is_cloud_z_up(self.parameters) and is_optical(frame_id)):
            return ()
        return (
            f"z of '{frame_id}' is taken as up, but an optical frame's z points forward: "
            "set frames.up to tf, imu or floor",
        )


def _notes_on_header(output_frame: str, stamp_ns: int) -> Iterator[str]:
    """What is odd about where and when boxes are published."""
    if not output_frame:
        yield (
            "header.frame_id of the cloud is empty, so nobody can tell where its boxes are: set "
            "it in the driver"
        )
    if stamp_ns == 0:  # also the very first moment of a simulation
        yield (
            "header.stamp of the cloud is 0, which transforms take for the latest time there is; "
            "in a recording that is its end: set it in the driver"
        )


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


def is_cloud_z_up(parameters: Parameters) -> bool:
    """Whether the cloud's own frame is taken as z up."""
    return parameters.up == "none" or frame_name(parameters.detection_frame) == CLOUD_IS_Z_UP


def is_optical(frame_id: str) -> bool:
    """Whether a frame is named as a camera's with z forward and y down (REP-103).

    Believed as an alarm alone, never as a rotation.
    """
    return frame_id.endswith(("_optical_frame", "_optical"))


def require_metres(cloud: PointCloud) -> None:
    """Raises `MessageError` for a cloud as no depth camera can see; it would take minutes."""
    doubt = scale_doubt(cloud.xyz)
    if doubt is not None and doubt.kind == "millimetres":
        raise MessageError(
            "units", f"{doubt.text} ROS clouds are in metres (REP-103); correct the driver's scale"
        )


def moved_between(
    source: TransformSource, target: str, target_ns: int, frame_id: str, stamp_ns: int
) -> Matrix:
    """Where what `frame_id` saw at `stamp_ns` is in `target` at `target_ns`.

    Through a fixed frame, so that the robot's motion between the stamps is taken out; directly,
    at `target_ns`, where the stamps are equal or no fixed frame is known. Raises `TransformError`.
    """
    if stamp_ns != target_ns:
        for fixed in FIXED_FRAMES:
            try:
                fixed_from_frame = sound_lookup(source, fixed, frame_id, stamp_ns)
                return sound_lookup(source, target, fixed, target_ns) @ fixed_from_frame
            except TransformError:
                continue
    return sound_lookup(source, target, frame_id, target_ns)


def _is_far(place: Tensor) -> bool:
    """Whether single precision begins to lose what lies there."""
    return bool((place.abs() > FAR_M).any())


def _placed(cloud: PointCloud, target_from_source: Tensor) -> PointCloud:
    """The cloud in another frame; in float64 where it lies far away there."""
    if _is_far(target_from_source[:3, 3]):
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


def _notes_on_precision(cloud: PointCloud, frame_id: str) -> tuple[str, ...]:
    """What the publisher rounded away: nothing here can bring it back."""
    if cloud.xyz.dtype != torch.float32 or not len(cloud):
        return ()
    farthest = float(reach(cloud.xyz[:: max(len(cloud) // _SAMPLE, 1)]).max())
    if farthest <= MAX_DISTANCE_M:
        return ()
    step_m = float(np.spacing(np.float32(farthest)))
    return (
        f"the cloud lies so far from the origin of '{frame_id}' that its FLOAT32 coordinates are "
        f"{step_m:.2g} m apart: publish it in the sensor's frame, or as FLOAT64",
    )


def _notes_on_color(views: Sequence[Any]) -> tuple[str, ...]:
    """Why color images of depth sets were not used."""
    pairs = [(v.depth, v.color) for v in views if isinstance(v, DepthSet) and v.color is not None]
    return tuple(filter(None, (color_misfit(depth, color) for depth, color in pairs)))
