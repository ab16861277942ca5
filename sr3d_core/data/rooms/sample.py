"""From a seed to labelled samples: single RGB-D frames and fused scans of one room.

A frame's cloud may have its origin at the camera or on the floor below it, looks into any
direction, and is levelled up to a few degrees, as a robot's clouds are. Boxes are the full ones of
the things, kept when enough of them is seen: `_MIN_POINTS` points, `MIN_VISIBLE` of the
silhouette not hidden, `MIN_IN_VIEW` of the surface inside the image and the range, and points
along at least `_MIN_SPAN` of the longer side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.choices import RoomSensor
from sr3d_core.data.rooms.camera.habits import USUAL, SensorHabits
from sr3d_core.data.rooms.camera.models import random_camera
from sr3d_core.data.rooms.camera.sensor import (
    Capture,
    Light,
    View,
    capture,
    orientation,
)
from sr3d_core.data.rooms.furniture.classes import CLASSES, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import turn_x, turn_y, turn_z
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.layout import Placed
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

Rng = np.random.Generator

_MIN_POINTS = 30
MIN_VISIBLE = 0.12
MIN_IN_VIEW = 0.4
_MIN_SPAN = 0.5
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
) -> list[Sample]:
    """Frames of one room, then its scan if asked for; frame k does not depend on the others."""
    room = build_room(np.random.default_rng(seed), supply)
    samples = [
        frame_of(room, np.random.default_rng((seed, k)), f"room {seed} frame {k}")
        for k in range(num_frames)
    ]
    if scan:
        rng = np.random.default_rng((seed, _SCAN_STREAM))
        samples.append(scan_of(room, rng, f"room {seed} scan"))
    return samples


def frame_of(room: Room, rng: Rng, name: str, habits: SensorHabits = USUAL) -> Sample:
    """One RGB-D frame somewhere in the room."""
    view = _view(room, rng, int(rng.choice([200, 240, 280, 320])), habits)
    shot = capture(room, view, Light.random(rng), rng)
    in_view = shot.in_view.mean(axis=1)
    seen = (shot.visible >= MIN_VISIBLE) & (in_view >= MIN_IN_VIEW)
    origin = view.position * (1, 1, rng.random() < 0.5)
    if rng.random() < 0.3:
        origin[:2] += rng.normal(0, 2, 2)
    heading = np.arctan2(view.room_from_optical[1, 2], view.room_from_optical[0, 2])
    facing = rng.choice([0.0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
    return _sample(room, _moved(shot, habits, rng), seen, origin, facing - heading, rng, name)


def scan_of(room: Room, rng: Rng, name: str, habits: SensorHabits = USUAL) -> Sample:
    """A fused scan of 8 to 20 low-resolution views with drift between them."""
    light = Light.random(rng)
    pinhole, noise = random_camera(rng, 160)
    noise = noise.scaled(rng.uniform(0.3, 0.7))
    drift = rng.uniform(0.001, 0.004)
    offset, twist = np.zeros(3), 0.0
    shots = []
    for _ in range(int(rng.integers(8, 21))):
        view = _view(room, rng, 160, habits)
        view = View(pinhole, view.room_from_optical, view.position, view.range_m, noise)
        shot = capture(room, view, light, rng)
        offset, twist = offset + rng.normal(0, drift, 3), twist + rng.normal(0, drift / 3)
        moved = (shot.xyz - view.position) @ turn_z(twist).T + view.position + offset
        shots.append(Capture(moved, shot.rgb, shot.thing, shot.visible, shot.in_view))
    merged = _merged(shots)
    seen = merged.in_view.mean(axis=1) >= 0.5
    size = np.array([room.layout.floor.width, room.layout.floor.depth, 0.0])
    origin = size * rng.choice([0.0, 0.5]) + rng.normal(0, 0.1, 3) * (1, 1, 0.2)
    turn = float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
    return _sample(room, _moved(merged, habits, rng), seen, origin, turn, rng, name)


def _moved(shot: Capture, habits: SensorHabits, rng: Rng) -> Capture:
    return replace(shot, xyz=habits.displaced(shot.xyz, rng))


def _merged(shots: list[Capture]) -> Capture:
    """All views as one; a surface point is in view where its thing is not hidden."""
    in_view = [shot.in_view & (shot.visible >= MIN_VISIBLE)[:, None] for shot in shots]
    return Capture(
        np.concatenate([shot.xyz for shot in shots]),
        np.concatenate([shot.rgb for shot in shots]),
        np.concatenate([shot.thing for shot in shots]),
        np.max([shot.visible for shot in shots], axis=0),
        np.any(in_view, axis=0),
    )


def _view(room: Room, rng: Rng, width: int, habits: SensorHabits) -> View:
    """A camera on free floor; mostly it looks at furniture, and rather at much than at little."""
    pinhole, noise = random_camera(rng, width)
    poses = [_pose(room, rng) for _ in range(1 if rng.random() < 0.25 else 4)]
    half_width = np.arctan(pinhole.width / 2 / pinhole.fx)
    position, heading, pitch = max(poses, key=lambda p: _interest(room, p[0], p[1], half_width))
    pitch = habits.pitch(pitch, rng)
    roll = float(np.clip(rng.normal(0, 0.03), -0.09, 0.09))
    turn = orientation(heading, pitch, roll)
    return View(pinhole, turn, position, float(rng.uniform(4.0, 8.0)), noise)


def _pose(room: Room, rng: Rng) -> tuple[Float[ndarray, " 3"], float, float]:
    """Position, heading and pitch, often towards some piece of furniture."""
    height = rng.uniform(0.6, 1.9)
    target = _target(room, rng)
    at = _stand(room, rng, height, target)
    position = np.array([at[0], at[1], height])
    heading, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(-0.6, 0.05)
    if target is not None:
        away = target - position
        heading = np.arctan2(away[1], away[0]) + rng.normal(0, 0.2)
        pitch = np.arctan2(away[2], np.hypot(away[0], away[1])) + rng.normal(0, 0.12)
    return position, float(heading), float(np.clip(pitch, np.deg2rad(-40), np.deg2rad(5)))


def _interest(
    room: Room, position: Float[ndarray, " 3"], heading: float, half_width: float
) -> float:
    """Weighted number of things with their centres in the camera's sector, 0.8 to 5 m away."""
    if not room.things:
        return 0.0
    away = np.stack([thing.center for thing in room.things])[:, :2] - position[:2]
    angle = np.arctan2(away[:, 1], away[:, 0]) - heading
    distance = np.hypot(away[:, 0], away[:, 1])
    inside = (np.cos(angle) > np.cos(half_width)) & (distance > 0.8) & (distance < 5.0)
    return float(_weights(room)[inside].sum())


def _weights(room: Room) -> Float[ndarray, " O"]:
    return np.array([CLASSES[thing.label].interest for thing in room.things])


def _target(room: Room, rng: Rng) -> Float[ndarray, " 3"] | None:
    """The middle of a piece of furniture, seldom nothing."""
    if not room.things or rng.random() < 0.12:
        return None
    weight = _weights(room)
    return room.things[rng.choice(len(weight), p=weight / weight.sum())].center


def _stand(
    room: Room, rng: Rng, height: float, target: Float[ndarray, " 3"] | None
) -> Float[ndarray, " 2"]:
    """Where the camera stands: the best of a few free spots, 0.8 to 4.5 m from the target."""
    best: Float[ndarray, " 2"] | None = None
    for _ in range(6):
        spot = room.layout.free_spot(0.2, height)
        if spot is None:
            break
        best = spot
        if target is None or 0.8 < np.hypot(*(spot - target[:2])) < 4.5:
            break
    if best is None:
        return np.array([room.layout.floor.width, room.layout.floor.depth]) * 0.3
    return best


def _sample(
    room: Room,
    shot: Capture,
    seen: Bool[ndarray, " O"],
    origin: Float[ndarray, " 3"],
    turn: float,
    rng: Rng,
    name: str,
) -> Sample:
    """Thin the points out, count them per thing, and move everything into the output frame."""
    keep = _thinned(shot.xyz, rng)
    xyz, rgb, thing = shot.xyz[keep], shot.rgb[keep], shot.thing[keep]
    kept = [k for k in np.flatnonzero(seen) if is_clear(room.things[k], xyz[thing == k])]
    tilt = np.clip(rng.normal(0, np.deg2rad(1.0), 2), -np.deg2rad(3), np.deg2rad(3))
    level = turn_x(float(tilt[0])) @ turn_y(float(tilt[1]))
    level = level @ turn_z(turn)
    points = (xyz - origin) @ level.T
    cloud = PointCloud.single(
        torch.from_numpy(points.astype(np.float32)), torch.from_numpy(rgb.astype(np.float32))
    )
    rows = np.zeros((len(kept), 7), dtype=np.float32)
    for row, k in zip(rows, kept, strict=True):
        placed = room.things[k]
        row[:3] = level @ (placed.center - origin)
        row[3:6] = placed.size
        row[6] = (placed.yaw + turn + np.pi) % (2 * np.pi) - np.pi
    labels = np.array([room.things[k].label for k in kept], dtype=np.int64)
    targets = Targets(Boxes3D.from_array(torch.from_numpy(rows)), torch.from_numpy(labels))
    return Sample(cloud, targets, name)


def is_clear(placed: Placed, points: Float[ndarray, "n 3"]) -> bool:
    """Whether a thing's points tell its size: enough of them, spread over its length."""
    if len(points) < _MIN_POINTS:
        return False
    longest = int(np.argmax(placed.size[:2]))
    angle = placed.yaw + longest * np.pi / 2
    along = points[:, 0] * np.cos(angle) + points[:, 1] * np.sin(angle)
    low, high = np.quantile(along, (0.01, 0.99))
    return bool(high - low >= _MIN_SPAN * placed.size[longest])


def _thinned(xyz: Float[ndarray, "N 3"], rng: Rng) -> ndarray:
    """Which points to keep: 10k to 50k of them, now and then one per voxel first."""
    order = rng.permutation(len(xyz))
    if rng.random() < 0.4 or len(xyz) > 100_000:
        edge = rng.uniform(0.01, 0.035)
        cell = np.floor((xyz[order] - xyz.min(axis=0, initial=0.0)) / edge).astype(np.int64)
        key = cell[:, 0] + (cell[:, 1] << 16) + (cell[:, 2] << 32)
        _, first = np.unique(key, return_index=True)
        order = order[np.sort(first)]
    return np.sort(order[: int(rng.integers(10_000, 50_001))])
