"""What a robot with a depth camera records while it drives through a procedural room.

Frames carry everything a recording has: stamp, depth and color image, cloud in the optical frame,
the transforms map <- odom <- base <- optical, an IMU sample; and the truth: where the base really
is and which boxes can be seen. The map frame is the room's: floor at z = 0. The same seed always
gives the same sequence; frames are made one after the other, as they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.camera.drive import (
    Drift,
    Pose,
    Route,
    drifting,
    inertial,
    random_route,
)
from sr3d_core.data.rooms.camera.models import random_camera
from sr3d_core.data.rooms.camera.noise import DepthNoise
from sr3d_core.data.rooms.camera.sensor import (
    Light,
    Photo,
    View,
    orientation,
    photograph,
)
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.sight import Sight, sight_of
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.structures import Boxes3D, PointCloud, Targets

Rng = np.random.Generator

_START_NS = 1_700_000_000_000_000_000  # recordings have stamps of this size, not of 0
_STREAM = 2_000_000  # apart from the streams of single frames and scans


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSettings:
    """How long a sequence is and how it is taken."""

    num_frames: int = 40
    """How many frames; at least 1."""
    rate_hz: float = 5.0
    """Frames per second; more than 0."""
    width: int = 240
    """Width of the images, pixels."""
    range_m: float = 5.0
    """The depth camera sees no farther."""
    drift: Drift = field(default_factory=Drift)
    """Errors of odometry and IMU."""

    def __post_init__(self) -> None:
        if self.num_frames < 1 or not self.rate_hz > 0:
            raise ValueError(
                f"sequence of {self.num_frames} frames at {self.rate_hz:g} Hz, expected at least "
                "1 frame and a rate above 0"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SequenceFrame:
    """One moment; `target_from_source` are 4x4, metres."""

    stamp_ns: int
    pinhole: Pinhole
    depth: Float[ndarray, "H W"]  # float32 metres along the optical axis, 0 = none
    rgb: Float[ndarray, "H W 3"]  # 0..1
    cloud: PointCloud  # the valid pixels, row by row, in the optical frame (x right, z forward)
    map_from_odom: Pose  # the localisation's opinion
    odom_from_base: Pose  # the wheels' opinion
    base_from_optical: Pose
    angular_velocity: Float[ndarray, " 3"]  # rad/s, optical frame
    linear_acceleration: Float[ndarray, " 3"]  # specific force, m/s^2, optical frame
    map_from_base: Pose  # the truth
    targets: Targets  # boxes in the map frame of what can be seen now
    things: Int[ndarray, " M"]  # which object of the room each target is, the same in all frames
    ignored_things: Int[ndarray, " I"]  # the same of `targets.ignored`


def room_sequence(seed: int, settings: SequenceSettings | None = None) -> Iterator[SequenceFrame]:
    """The frames of a drive through the room that belongs to `seed`."""
    room = build_room(np.random.default_rng(seed))
    return drive(room, seed, settings or SequenceSettings(), lambda _: room)


def drive(
    room: Room, seed: int, settings: SequenceSettings, room_at: Callable[[float], Room]
) -> Iterator[SequenceFrame]:
    """The frames of a drive through `room`, in which `room_at(seconds)` stands at each moment."""
    camera, route, rng = _robot(room, seed, settings)
    light = Light.random(rng)
    true, odom = route.at(0.0), np.eye(4)
    map_from_odom = true.copy()
    localised_s = 0.0
    for number in range(settings.num_frames):
        seconds = number / settings.rate_hz
        before, true = true, route.at(seconds)
        odom = drifting(before, true, odom, settings.drift, rng)
        if seconds - localised_s >= settings.drift.localised_every_s:
            map_from_odom, localised_s = true @ np.linalg.inv(odom), seconds
        motion = inertial(route, seconds, camera.base_from_optical, settings.drift, rng)
        now = room_at(seconds)
        photo = photograph(now, camera.view(true, settings.range_m), light, rng)
        yield _frame(now, camera, photo, seconds, (map_from_odom, odom, true), motion)


def route_of(room: Room, seed: int, settings: SequenceSettings) -> Route:
    """The way of the robot in the drive that belongs to `seed`."""
    return _robot(room, seed, settings)[1]


def _robot(room: Room, seed: int, settings: SequenceSettings) -> tuple[_Camera, Route, Rng]:
    """Camera and way, and the generator for all that is drawn after them."""
    rng = np.random.default_rng((seed, _STREAM))
    camera = _Camera.random(rng, settings)
    return camera, random_route(room.layout, rng), rng


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    """A depth camera mounted on the base."""

    pinhole: Pinhole
    noise: DepthNoise
    base_from_optical: Pose

    @classmethod
    def random(cls, rng: Rng, settings: SequenceSettings) -> _Camera:
        """Any kind of camera, 0.6 to 1.5 m high, looking a little down."""
        pinhole, noise = random_camera(rng, settings.width)
        mount = np.eye(4)
        mount[:3, :3] = orientation(0.0, float(rng.uniform(-0.35, -0.05)), rng.normal(0, 0.01))
        mount[:3, 3] = 0.1, 0.0, rng.uniform(0.6, 1.5)
        return cls(pinhole, noise, mount)

    def view(self, map_from_base: Pose, range_m: float) -> View:
        """The camera where the base is."""
        pose = map_from_base @ self.base_from_optical
        return View(self.pinhole, pose[:3, :3], pose[:3, 3], range_m, self.noise)


def _frame(
    room: Room,
    camera: _Camera,
    photo: Photo,
    seconds: float,
    poses: tuple[Pose, Pose, Pose],
    motion: tuple[Float[ndarray, " 3"], Float[ndarray, " 3"]],
) -> SequenceFrame:
    map_from_odom, odom_from_base, map_from_base = poses
    is_valid = photo.depth > 0
    xyz = photo.rays[is_valid] * photo.depth[is_valid, None]
    sight = _seen(room, photo, xyz, map_from_base @ camera.base_from_optical)
    return SequenceFrame(
        stamp_ns=_START_NS + round(1e9 * seconds),
        pinhole=camera.pinhole,
        depth=photo.depth.astype(np.float32),
        rgb=photo.rgb.astype(np.float32),
        cloud=PointCloud.single(
            torch.from_numpy(xyz.astype(np.float32)),
            torch.from_numpy(photo.rgb[is_valid].astype(np.float32)),
        ),
        map_from_odom=map_from_odom,
        odom_from_base=odom_from_base,
        base_from_optical=camera.base_from_optical,
        angular_velocity=motion[0],
        linear_acceleration=motion[1],
        map_from_base=map_from_base,
        targets=replace(_targets(room, sight.clear), ignored=_targets(room, sight.ignored)),
        things=sight.clear,
        ignored_things=sight.ignored,
    )


def _seen(room: Room, photo: Photo, xyz: Float[ndarray, "N 3"], map_from_optical: Pose) -> Sight:
    """How well the objects show themselves, by the rule of single frames."""
    placed = xyz @ map_from_optical[:3, :3].T + map_from_optical[:3, 3]
    thing = photo.thing[photo.depth > 0]
    share = photo.visible * photo.in_view.mean(axis=1)
    return sight_of(room.things, share, placed, thing)


def _targets(room: Room, things: Int[ndarray, " M"]) -> Targets:
    placed = [room.things[k] for k in things.tolist()]
    rows = np.array([(*p.center, *p.size, p.yaw) for p in placed], np.float32).reshape(-1, 7)
    labels = torch.tensor([p.label for p in placed], dtype=torch.int64)
    return Targets(Boxes3D.from_array(torch.from_numpy(rows)), labels)
