"""From a seed to labelled samples: single RGB-D frames and fused scans of one room.

A frame's cloud may have its origin at the camera or on the floor below it, looks into any
direction, and is levelled up to a few degrees, as a robot's clouds are. Boxes are the full ones of
the things, as targets where enough of them is seen, or ignored (`sight`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.choices import RoomNoise, RoomSensor
from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.camera.kinds import frame_habits, scan_habits
from sr3d_core.data.rooms.camera.models import random_camera
from sr3d_core.data.rooms.camera.poses import anywhere
from sr3d_core.data.rooms.camera.sampling import Points, thinned, vertices
from sr3d_core.data.rooms.camera.sensor import Capture, Light, View, capture, orientation
from sr3d_core.data.rooms.furniture.classes import OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import turn_x, turn_y, turn_z
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scan import scan
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.sight import sight_of
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

Rng = np.random.Generator

_SCAN_STREAM = 1_000_000


def room_sample(seed: int, sensor: RoomSensor, supply: FurnitureSupply = OWN_FURNITURE) -> Sample:
    """The first frame, or the scan, of the room that belongs to `seed`; always the same."""
    if sensor == "scan":
        return room_samples(seed, num_frames=0, scan=True, supply=supply)[0]
    return room_samples(seed, num_frames=1, scan=False, supply=supply)[0]


def room_samples(
    seed: int,
    *,
    num_frames: int = 4,
    scan: bool = True,
    supply: FurnitureSupply = OWN_FURNITURE,
    noise: RoomNoise = "usual",
) -> list[Sample]:
    """Frames of one room, then its scan if asked for; frame k does not depend on the others."""
    room = build_room(np.random.default_rng(seed), supply)
    samples = []
    for k in range(num_frames):
        rng = np.random.default_rng((seed, k))
        samples.append(frame_of(room, rng, f"room {seed} frame {k}", frame_habits(rng, noise)))
    if scan:
        rng = np.random.default_rng((seed, _SCAN_STREAM))
        samples.append(scan_of(room, rng, f"room {seed} scan", scan_habits(rng, noise)))
    return samples


def frame_of(room: Room, rng: Rng, name: str, habits: SensorHabits | None = None) -> Sample:
    """One RGB-D frame somewhere in the room; `habits` are drawn where none are given."""
    habits = frame_habits(rng) if habits is None else habits
    view = _view(room, habits, rng)
    shot = capture(room, view, Light.random(rng, habits.color), rng)
    origin, turn = frame_of_view(view, rng)
    points = chosen(shot, habits, rng)
    frame = OutputFrame.levelled(origin, turn, rng)
    share = shot.visible * shot.in_view.mean(axis=1)
    return labelled(room, points, share, frame, name)


def scan_of(room: Room, rng: Rng, name: str, habits: SensorHabits | None = None) -> Sample:
    """A fused scan; `habits` are drawn where none are given."""
    habits = scan_habits(rng) if habits is None else habits
    seen = scan(room, habits, rng)
    size = np.array([room.layout.floor.width, room.layout.floor.depth, 0.0])
    origin = size * rng.choice([0.0, 0.5]) + rng.normal(0, 0.1, 3) * (1, 1, 0.2)
    turn = float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
    points = chosen(seen.capture, habits, rng)
    frame = OutputFrame.levelled(origin, turn, rng)
    return labelled(room, points, seen.capture.in_view.mean(axis=1), frame, name, seen.moved)


@dataclass(frozen=True, slots=True, eq=False)
class OutputFrame:
    """Where the frame of a cloud is in its room: `p' = level (p - origin)`."""

    origin: Float[ndarray, " 3"]  # metres, room coordinates
    turn: float  # radians about the vertical
    level: Float[ndarray, "3 3"]  # that turn, and what levelling is wrong by

    @classmethod
    def levelled(cls, origin: Float[ndarray, " 3"], turn: float, rng: Rng) -> OutputFrame:
        """As a robot levels its clouds: wrong by a degree, at most by three."""
        tilt = np.clip(rng.normal(0, np.deg2rad(1.0), 2), -np.deg2rad(3), np.deg2rad(3))
        level = turn_x(float(tilt[0])) @ turn_y(float(tilt[1])) @ turn_z(turn)
        return cls(origin, turn, level)

    def places(self, xyz: Float[ndarray, "... 3"]) -> Float[ndarray, "... 3"]:
        """Where points of the room are in this frame."""
        return (xyz - self.origin) @ self.level.T


def frame_of_view(view: View, rng: Rng) -> tuple[Float[ndarray, " 3"], float]:
    """Origin and turn: at the camera or below it, mostly; looking along an axis or anywhere."""
    origin = view.position * (1, 1, rng.random() < 0.5)
    if rng.random() < 0.3:
        origin[:2] += rng.normal(0, 2, 2)
    heading = np.arctan2(view.room_from_optical[1, 2], view.room_from_optical[0, 2])
    facing = rng.choice([0.0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
    return origin, float(facing - heading)


def _view(room: Room, habits: SensorHabits, rng: Rng) -> View:
    pinhole, noise = random_camera(rng, int(rng.choice([200, 240, 280, 320])))
    range_m = float(rng.uniform(*habits.range_m))
    half_width = float(np.arctan(pinhole.width / 2 / pinhole.fx))
    pose = anywhere(room, half_width, range_m, habits, rng)
    turn = orientation(pose.heading, pose.pitch, pose.roll)
    return View(pinhole, turn, pose.position, range_m, noise)


def labelled(
    room: Room,
    points: Points,
    share: Float[ndarray, " O"],
    frame: OutputFrame,
    name: str,
    moved: Float[ndarray, "O 3"] | None = None,
) -> Sample:
    """Sort the things by what the points show of them and move everything into the output frame.

    `share` is how much of each thing is seen, `moved` how far registration moved it, metres.
    """
    sight = sight_of(room.things, share, points.xyz, points.thing)
    moved = np.zeros((len(room.things), 3)) if moved is None else moved
    cloud = PointCloud.single(
        torch.from_numpy(frame.places(points.xyz).astype(np.float32)),
        torch.from_numpy(points.rgb.astype(np.float32)),
    )

    def targets(things: Int[ndarray, " M"], ignored: Targets | None = None) -> Targets:
        rows = np.zeros((len(things), 7), dtype=np.float32)
        for row, k in zip(rows, things, strict=True):
            placed = room.things[k]
            row[:3] = frame.level @ (placed.center + moved[k] - frame.origin)
            row[3:6] = placed.size
            row[6] = (placed.yaw + frame.turn + np.pi) % (2 * np.pi) - np.pi
        labels = np.array([room.things[k].label for k in things], dtype=np.int64)
        return Targets(
            Boxes3D.from_array(torch.from_numpy(rows)),
            torch.from_numpy(labels),
            ignored,
            torch.from_numpy(share[things].astype(np.float32)),
        )

    return Sample(cloud, targets(sight.clear, targets(sight.ignored)), name)


def chosen(shot: Capture, habits: SensorHabits, rng: Rng) -> Points:
    """The points of a cloud, where the sensor says they are."""
    kept = habits.present(shot.xyz, rng)
    shot = replace(shot, xyz=habits.displaced(shot.xyz, rng))
    points = Points(shot.xyz[kept], shot.rgb[kept], shot.thing[kept])
    return (vertices if habits.sampling == "vertices" else thinned)(points, rng)
