"""Detecting in what is remembered of the room, beside frames or instead of them: `memory.*`.

Every frame goes into a `SceneMemory` by the robot's pose in a frame that stands still, odom or
else map. What is remembered around the robot is detected in as often as `memory.period_s` says;
in between, what was found there last is carried along with the robot's motion. A frame that
cannot be placed is detected in alone: it is not lost, and says why.

Times are those of the frames' stamps, so that a recording gives what the robot gave.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d_core.detector import Postprocess
from sr3d_core.geometry.boxes import transform_boxes
from sr3d_core.memory.merging import merged
from sr3d_core.memory.scene import Added, SceneMemory
from sr3d_core.memory.settings import MemorySettings
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.crop import joined
from sr3d_ros.tf.fixed import FIXED_FRAMES, in_fixed_frame, is_unknown
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.rigid import Matrix, rigid_inverse, without_tilt
from sr3d_ros.tf.source import TransformSource

Detect = Callable[[PointCloud], Detections]
"""Finds objects in a cloud, z up, metres."""

Crop = Callable[[PointCloud], PointCloud]
"""What of a cloud around the sensor is worth detecting in."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One frame as it is remembered."""

    cloud: PointCloud  # in its own frame
    frame_id: str
    stamp_ns: int
    rays_doubt: str  # why nobody knows where its rays start; "" = at its origin
    cloud_from_level: Matrix  # from the z-up frame around the sensor that is detected in

    @classmethod
    def of(
        cls,
        cloud: PointCloud,
        frame_id: str,
        stamp_ns: int,
        rays_doubt: str,
        gravity_from_cloud: Matrix,
        offset: Tensor,
    ) -> Seen:
        """`rays_doubt` as the function of that name, `offset` as `around_sensor` took it off."""
        gravity_from_level = np.eye(4)
        gravity_from_level[:3, 3] = offset.numpy()
        cloud_from_level = rigid_inverse(gravity_from_cloud) @ gravity_from_level
        return cls(cloud, frame_id, stamp_ns, rays_doubt, cloud_from_level)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What was remembered when a frame was detected in."""

    fixed_frame: str = ""  # that stands still; "" = not known
    num_points: int = 0
    num_frames: int = 0  # that the points come from
    took_ms: float = 0.0  # to remember, and to give out what is around the robot
    alone_because: str = ""  # why the frame was detected in alone; "" = it was not
    num_alone: int = 0  # frames so far that were
    num_over: int = 0  # points forgotten so far because of `memory.max_points`

    @property
    def values(self) -> dict[str, str]:
        """In words, for diagnostics."""
        return {
            "scene: fixed frame": self.fixed_frame,
            "scene: points": str(self.num_points),
            "scene: frames": str(self.num_frames),
            "scene: remembering took (ms)": f"{self.took_ms:.1f}",
            "scene: frames detected in alone": str(self.num_alone),
            "scene: points over memory.max_points": str(self.num_over),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What is found, and what it was found in, both z up around the sensor."""

    detections: Detections
    cloud: PointCloud
    use: MemoryUse | None = None  # None: nothing is remembered
    notes: tuple[str, ...] = ()
    is_carried: bool = False  # the scene's boxes are those of an earlier frame


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What was found last in what is remembered."""

    stamp_ns: int
    fixed_from_level: Matrix
    detections: Detections
    cloud: PointCloud
    made_by: tuple[Any, ...]  # what would find something else

    def seen_from(self, fixed_from_level: Matrix) -> _Scene:
        """The same from where the robot is now; boxes stay upright."""
        now_from_then = rigid_inverse(fixed_from_level) @ self.fixed_from_level
        upright = torch.from_numpy(without_tilt(now_from_then))
        found = self.detections
        boxes = transform_boxes(found.boxes, upright)
        return _Scene(
            self.stamp_ns,
            fixed_from_level,
            Detections(boxes, found.scores, found.labels, found.time_ms),
            self.cloud.transformed(torch.from_numpy(now_from_then)),
            self.made_by,
        )


@dataclass(slots=True, eq=False)
class _Held:
    """All that is remembered: forgotten as one, by letting go of it."""

    memory: SceneMemory
    fixed_frame: str = ""
    scene: _Scene | None = None
    use: MemoryUse = field(default_factory=MemoryUse)


class SceneDetector:
    """Detects in frames and, where `memory.seconds` is set, in what is remembered.

    For one thread, but for `forget`. `one_class` as in `Postprocess`.
    """

    def __init__(self, transforms: TransformSource, one_class: bool = True) -> None:
        self._transforms = transforms
        self._one_class = one_class
        self._held: _Held | None = None

    @property
    def use(self) -> MemoryUse | None:
        """Of the last frame; None = nothing is remembered."""
        held = self._held
        return None if held is None else held.use

    def forget(self) -> None:
        """Remember nothing; safe in any thread. A frame in hand is still detected in what was
        remembered when it came, and does not bring it back."""
        self._held = None

    def __call__(
        self, frame: PointCloud, seen: Seen, crop: Crop, detect: Detect, parameters: Parameters
    ) -> Found:
        """Detect in a frame, of which `frame` is what is worth it, and in what is remembered."""
        if parameters.memory_seconds == 0.0:
            self.forget()
            return Found(_found_in(frame, detect), frame)
        started_s = time.perf_counter()
        held = self._held_for(parameters)
        try:
            fixed_from_level, added, notes = self._remember(held, seen, parameters)
            carried = _carried(held.scene, seen, fixed_from_level, (detect, parameters))
            around = carried.cloud if carried else _around(held.memory, fixed_from_level, crop)
        except _Alone as alone:
            use = _used(held, started_s, alone=str(alone))
            return Found(_found_in(frame, detect), frame, use, (str(alone),))
        use = _used(held, started_s, num_over=added.num_over)
        found = carried.detections if carried else _found_in(around, detect)
        if not carried:
            made_by = (detect, parameters)
            held.scene = _Scene(seen.stamp_ns, fixed_from_level, found, around, made_by)
        if parameters.memory_mode == "beside":
            found = merged(_found_in(frame, detect), found, self._wanted(parameters))
            around = joined([frame, around])
        return Found(found, around, use, notes, carried is not None)

    def _held_for(self, parameters: Parameters) -> _Held:
        """What is remembered as the parameters say; begun anew where that cannot be changed."""
        settings, held = settings_of(parameters), self._held
        if held is None or held.memory.settings.voxel_m != settings.voxel_m:
            held = self._held = _Held(SceneMemory(settings))
        held.memory.settings = settings
        return held

    def _remember(
        self, held: _Held, seen: Seen, parameters: Parameters
    ) -> tuple[Matrix, Added, tuple[str, ...]]:
        """Take a frame in: `fixed_from_level`, what became of it, what is odd; raises `_Alone`."""
        fixed_frame, fixed_from_cloud = self._place(seen, frame_name(parameters.memory_frame))
        notes = []
        if fixed_frame != held.fixed_frame:
            if held.memory.num_points:
                notes.append(f"memory forgotten: '{fixed_frame}' is now the frame that is still")
            held.memory.forget()
            held.fixed_frame, held.scene = fixed_frame, None
        sensor = None if seen.rays_doubt else (0.0, 0.0, 0.0)
        added = held.memory.add(seen.cloud, fixed_from_cloud, seen.stamp_ns, sensor)
        if added.forgot:
            held.scene = None
            notes.append(f"memory forgotten: {added.text}")
        if seen.rays_doubt and parameters.memory_free_space:
            notes.append(
                f"{seen.rays_doubt}; what has gone stays in memory until its seconds are over "
                "(memory.free_space: false, where that is meant)"
            )
        return fixed_from_cloud @ seen.cloud_from_level, added, tuple(notes)

    def _place(self, seen: Seen, wanted: str) -> tuple[str, Matrix]:
        """The frame that stands still, and the cloud's place in it; raises `_Alone`.

        The texts hold no number of the frame's own, so that each is told once.
        """
        frame_id, tried = seen.frame_id, wanted or " or ".join(FIXED_FRAMES)
        if seen.stamp_ns == 0:
            raise _Alone("without memory: header.stamp of the cloud is 0; set it in the driver")
        if frame_id in (wanted, *FIXED_FRAMES):
            raise _Alone(
                f"without memory: the cloud comes in '{frame_id}', so that nobody knows where its "
                "sensor is; publish it in the sensor's frame"
            )
        try:
            return in_fixed_frame(self._transforms, frame_id, seen.stamp_ns, wanted)
        except TransformError as error:
            what = "is not published" if is_unknown(error) else f"is not known ({error.reason})"
            raise _Alone(
                f"without memory: the place of '{frame_id}' in {tried} {what} at the stamp of the "
                "cloud; start the robot's odometry, name its frame in memory.frame, or raise "
                "frames.timeout_s"
            ) from error

    def _wanted(self, parameters: Parameters) -> Postprocess:
        """Which boxes of frame and scene stay: as within one of them."""
        return Postprocess(
            iou=parameters.nms_iou,
            one_class=self._one_class,
            max_detections=parameters.max_detections or None,
        )


class _Alone(Exception):
    """Why a frame is detected in alone."""


def settings_of(parameters: Parameters) -> MemorySettings:
    """What `memory.*` say, where `memory.seconds` is above 0."""
    return MemorySettings(
        seconds=parameters.memory_seconds,
        metres=parameters.memory_metres or math.inf,
        voxel_m=parameters.memory_voxel_m,
        radius_m=parameters.memory_radius_m,
        max_points=parameters.memory_max_points,
        free_space=parameters.memory_free_space,
    )


def _carried(
    last: _Scene | None, seen: Seen, fixed_from_level: Matrix, maker: tuple[Detect, Parameters]
) -> _Scene | None:
    """What was found last, seen from here, where it is not yet due to be found anew."""
    if last is None or any(a is not b for a, b in zip(last.made_by, maker, strict=True)):
        return None
    passed_s = 1e-9 * (seen.stamp_ns - last.stamp_ns)
    if not 0.0 <= passed_s < maker[1].memory_period_s:
        return None
    return last.seen_from(fixed_from_level)


def _used(held: _Held, started_s: float, alone: str = "", num_over: int = 0) -> MemoryUse:
    held.use = MemoryUse(
        "" if alone else held.fixed_frame,
        held.memory.num_points,
        held.memory.num_frames,
        1e3 * (time.perf_counter() - started_s),
        alone,
        held.use.num_alone + bool(alone),
        held.use.num_over + num_over,
    )
    return held.use


def _around(memory: SceneMemory, fixed_from_level: Matrix, crop: Crop) -> PointCloud:
    """What is remembered around the sensor and worth detecting in; raises `_Alone`."""
    around = memory.cloud(fixed_from_level)
    if len(around) == 0:
        raise _Alone(
            f"without memory: nothing is remembered within {memory.settings.radius_m:g} m of the "
            "sensor (memory.radius_m)"
        )
    return crop(around)


def _found_in(cloud: PointCloud, detect: Detect) -> Detections:
    return detect(cloud).to("cpu") if len(cloud) else Detections.empty()
