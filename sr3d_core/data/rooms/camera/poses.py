"""Where cameras stand and where they look: anywhere, mostly at furniture, or along a path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.furniture.classes import CLASSES
from sr3d_core.data.rooms.scene.room import Room

Rng = np.random.Generator
Spot = Float[ndarray, " 2"]

_CLEARANCE_M = 0.2
_STRIDE_M = (0.15, 0.6)  # from view to view of a path
_AIMED_RAD = (float(np.deg2rad(-40)), float(np.deg2rad(5)))
_BASE_M = 1.0  # what stands on the floor up to here is in a robot's way


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A camera's place in a room; radians, pitch positive upwards."""

    position: Float[ndarray, " 3"]
    heading: float
    pitch: float
    roll: float


def anywhere(
    room: Room, half_width: float, range_m: float, habits: SensorHabits, rng: Rng
) -> Pose:
    """On free floor; mostly it looks at furniture, and rather at much than at little."""
    tries = [_try(room, habits, rng) for _ in range(1 if rng.random() < 0.25 else 4)]
    farthest = max(5.0, 0.8 * range_m)
    position, heading, aimed = max(
        tries, key=lambda t: _interest(room, t[0], t[1], half_width, farthest)
    )
    return Pose(position, heading, habits.pitch(aimed, rng), _roll(rng))


def along_a_path(room: Room, num: int, habits: SensorHabits, rng: Rng) -> list[Pose]:
    """`num` poses one after the other, as somebody walks through a room and looks about."""
    height = rng.uniform(*habits.height_m)
    spots = _path(room, num, height, habits, rng)
    step = np.diff(spots, axis=0, append=spots[-1:])
    walking = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    turns = np.cumsum(rng.normal(0, 0.15, num)) + rng.uniform(-np.pi, np.pi)
    place, sweep = np.arange(num), rng.uniform(0.5, 2.2)
    looking = sweep * np.sin(2 * np.pi * place / rng.uniform(6, 20) + turns)
    nod = rng.uniform(0.05, 0.3) * np.sin(2 * np.pi * place / rng.uniform(5, 15))
    mean = rng.uniform(-0.6, -0.2)  # who scans a room looks at its floor as well
    return [
        Pose(
            np.array([*spots[k], height + rng.normal(0, 0.03)]),
            float(walking[k] + looking[k]),
            habits.pitch(float(np.clip(mean + nod[k], *_AIMED_RAD)), rng),
            _roll(rng),
        )
        for k in range(num)
    ]


def _roll(rng: Rng) -> float:
    return float(np.clip(rng.normal(0, 0.03), -0.09, 0.09))


def _try(room: Room, habits: SensorHabits, rng: Rng) -> tuple[Float[ndarray, " 3"], float, float]:
    """Position, heading and pitch, often towards some piece of furniture."""
    height = rng.uniform(*habits.height_m)
    target = _target(room, rng)
    at = _stand(room, rng, height, target, habits)
    position = np.array([at[0], at[1], height])
    heading, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(-0.6, 0.05)
    if target is not None:
        away = target - position
        heading = np.arctan2(away[1], away[0]) + rng.normal(0, 0.2)
        pitch = np.arctan2(away[2], np.hypot(away[0], away[1])) + rng.normal(0, 0.12)
    return position, float(heading), float(np.clip(pitch, *_AIMED_RAD))


def _interest(
    room: Room,
    position: Float[ndarray, " 3"],
    heading: float,
    half_width: float,
    farthest: float,
) -> float:
    """Weighted number of things with their centres in the camera's sector, from 0.8 m away."""
    if not room.things:
        return 0.0
    away = np.stack([thing.center for thing in room.things])[:, :2] - position[:2]
    angle = np.arctan2(away[:, 1], away[:, 0]) - heading
    distance = np.hypot(away[:, 0], away[:, 1])
    inside = (np.cos(angle) > np.cos(half_width)) & (distance > 0.8) & (distance < farthest)
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
    room: Room, rng: Rng, height: float, target: Float[ndarray, " 3"] | None, habits: SensorHabits
) -> Spot:
    """Where the camera stands: the best of a few free spots, 0.8 to 4.5 m from the target."""
    best: Spot | None = None
    for _ in range(6):
        spot = room.layout.free_spot(_CLEARANCE_M, height, rng=rng)
        if spot is None:
            break
        if best is not None and not _has_floor(room, spot, habits):
            continue
        best = spot
        if target is None:
            break
        is_near = 0.8 < np.hypot(*(spot - target[:2])) < 4.5
        if is_near and room.layout.is_open(spot, target[:2]):
            break
    return _somewhere(room) if best is None else best


def _path(room: Room, num: int, height: float, habits: SensorHabits, rng: Rng) -> ndarray:
    """Spots a stride apart towards one free spot after the other."""
    at = _free(room, height, habits, rng)
    goal, spots = _free(room, height, habits, rng), [at]
    while len(spots) < num:
        away = goal - at
        far = float(np.linalg.norm(away))
        ahead = at + away / max(far, 1e-6) * min(far, rng.uniform(*_STRIDE_M))
        if far < 0.1 or not _is_free(room, at, ahead, habits):
            # Around a corner of something: from here to another spot that lies in sight.
            goal = _free(room, height, habits, rng)
            ahead = at + rng.normal(0, 0.02, 2)
        at = ahead
        spots.append(at)
    return np.stack(spots)


def _free(room: Room, height: float, habits: SensorHabits, rng: Rng) -> Spot:
    spots = [room.layout.free_spot(_CLEARANCE_M, height, rng=rng) for _ in range(4)]
    found = [spot for spot in spots if spot is not None]
    stands = [spot for spot in found if _has_floor(room, spot, habits)]
    return (stands or found or [_somewhere(room)])[0]


def _is_free(room: Room, start: Spot, at: Spot, habits: SensorHabits) -> bool:
    """Whether a camera passes; a hand holds it over tables, never through a partition."""
    if not room.layout.is_open(start, at):
        return False
    if habits.on_floor:
        return _has_floor(room, at, habits)
    return bool(room.layout.floor.contains(at[None], _CLEARANCE_M).all())


def _has_floor(room: Room, at: Spot, habits: SensorHabits) -> bool:
    return not habits.on_floor or room.layout.is_free(at, _CLEARANCE_M, _BASE_M)


def _somewhere(room: Room) -> Spot:
    """Where a room has no free floor at all."""
    return np.array([room.layout.floor.width, room.layout.floor.depth]) * 0.3
