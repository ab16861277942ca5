"""A fused scan: many low-resolution views of a room, each a little off, put together.

Errors of registration add up from view to view; where the path closes, its end does not meet its
beginning, so that walls are double. A box follows the mean error of its points, as somebody who
labels the scan would place it. More views have fewer pixels each: the effort is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.camera.models import random_camera
from sr3d_core.data.rooms.camera.poses import Pose, along_a_path, anywhere
from sr3d_core.data.rooms.camera.sensor import Capture, Light, View, capture, orientation
from sr3d_core.data.rooms.furniture.mesh import turn_z
from sr3d_core.data.rooms.scene.room import Room
from sr3d_core.data.rooms.sight import MIN_SHARE

Rng = np.random.Generator

_WIDTH = 160  # pixels, of a scan of up to `_FEW` views
_FEW = 14


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """All views as one, and how far registration moved each thing, metres."""

    capture: Capture
    moved: Float[ndarray, "O 3"]


def scan(room: Room, habits: SensorHabits, rng: Rng) -> Scan:
    """Take the views of a room and fuse them."""
    num = round(np.exp(rng.uniform(*np.log(habits.num_views))))
    pinhole, noise = random_camera(rng, round(_WIDTH * min(1.0, (_FEW / num) ** 0.5)))
    noise, light = noise.scaled(rng.uniform(0.3, 0.7)), Light.random(rng, habits.color)
    half_width = float(np.arctan(pinhole.width / 2 / pinhole.fx))
    ranges = rng.uniform(*habits.range_m, num)
    if habits.walks:
        poses = along_a_path(room, num, habits, rng)
    else:
        poses = [anywhere(room, half_width, far, habits, rng) for far in ranges]
    shots = []
    for pose, far in zip(poses, ranges, strict=True):
        turn = orientation(pose.heading, pose.pitch, pose.roll)
        view = View(pinhole, turn, pose.position, float(far), noise)
        shots.append(capture(room, view, light, rng))
    return _fused(shots, poses, habits, rng)


def _fused(shots: list[Capture], poses: list[Pose], habits: SensorHabits, rng: Rng) -> Scan:
    """All views as one; a surface point is in view where its thing is not hidden."""
    offset, twist = _drift(len(shots), habits, rng)
    xyz = [
        (shot.xyz - pose.position) @ turn_z(float(angle)).T + pose.position + away
        for shot, pose, angle, away in zip(shots, poses, twist, offset, strict=True)
    ]
    merged = Capture(
        np.concatenate([shot.xyz for shot in shots]),
        np.concatenate([shot.rgb for shot in shots]),
        np.concatenate([shot.thing for shot in shots]),
        np.max([shot.visible for shot in shots], axis=0),
        np.any([s.in_view & (s.visible >= MIN_SHARE)[:, None] for s in shots], axis=0),
    )
    registered = replace(merged, xyz=np.concatenate(xyz))
    return Scan(registered, _mean_moves(merged, registered))


def _drift(
    num: int, habits: SensorHabits, rng: Rng
) -> tuple[Float[ndarray, "V 3"], Float[ndarray, " V"]]:
    """Each view's error of place (metres) and heading (radians), about none on average."""
    size = rng.uniform(*habits.drift_m)
    offset = np.cumsum(rng.normal(0, size, (num, 3)), axis=0)
    twist = np.cumsum(rng.normal(0, size / 3, num))
    away = rng.normal(size=3) * (1, 1, 0.3)
    away *= rng.uniform(*habits.loop_m) / np.linalg.norm(away)
    offset += np.linspace(0, 1, num)[:, None] * away
    return offset - offset.mean(axis=0), twist - twist.mean()


def _mean_moves(before: Capture, after: Capture) -> Float[ndarray, "O 3"]:
    is_thing = before.thing >= 0
    thing, moved = before.thing[is_thing], (after.xyz - before.xyz)[is_thing]
    num = len(before.visible)
    count = np.maximum(np.bincount(thing, minlength=num), 1)
    return np.stack([np.bincount(thing, axis, num) / count for axis in moved.T], axis=1)
