"""Lamps, windows and the sun of one room, with their shadows; the same for all its images.

Strengths are such that a surface which faces an average lamp 2 m away gets light 1. By day windows
shine into the room as the sky does, and sometimes the sun comes through them; then lamps are
mostly off. By night windows are dark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.data.rooms.camera.sensor import orientation
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.material import Material
from sr3d_core.data.rooms.looks.shadows import ShadowMap
from sr3d_core.data.rooms.scene.layout import Placed
from sr3d_core.data.rooms.scene.room import Room
from sr3d_core.geometry.camera import Pinhole

Rng = np.random.Generator
Color = Float[ndarray, " 3"]

_WINDOW = LABELS.index("window")
_MOST_LAMPS, _MOST_WINDOWS = 3, 2
_LAMP_MAP_PX, _SUN_MAP_PX = 256, 352
_WIDE_TAN = 2.8  # half the width of a lamp's image over its distance: 70 degrees
_SUN_AWAY_M = 40.0
_BEHIND_M = 0.3  # so far within the room stands the light that is a window


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One light."""

    position: Float[ndarray, " 3"]
    color: Color  # of the light that a surface gets which faces it 2 m away
    facing: Float[ndarray, " 3"] | None  # windows shine to their front; None: to all sides
    is_far: bool  # the sun: equally strong everywhere
    shadows: ShadowMap


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """All that shines in a room."""

    sources: tuple[Source, ...]
    ambient: Color  # of what comes from everywhere
    sky: Color  # outside the windows
    ground: Color

    @classmethod
    def random(cls, room: Room, rng: Rng) -> Lighting:
        """Day or night, and lamps that are on or off."""
        casts = room.build.material != Material.GLASS
        windows = [placed for placed in room.things if placed.label == _WINDOW]
        is_day = bool(windows) and rng.random() < 0.7
        sources = _lamps(room, casts, rng, fewest=0 if is_day and rng.random() < 0.5 else 1)
        if is_day:
            order = np.argsort([-w.size[1] * w.size[2] for w in windows], kind="stable")
            sky = _temperature(rng.uniform(5500, 9000)) * rng.uniform(0.7, 2.5)
            some = [windows[k] for k in order[:_MOST_WINDOWS]]
            sources += [_window(room, casts, window, sky) for window in some]
            if rng.random() < 0.4:
                sources.append(_sun(room, casts, windows, rng))
            outside = sky * rng.uniform(1.5, 6.0)
        else:
            outside = np.array([0.02, 0.025, 0.04]) * rng.uniform(0.2, 3.0)
        total = sum((source.color for source in sources), np.zeros(3))
        tone = total / max(float(total.max()), 1e-6)
        ambient = tone * rng.uniform(0.15, 0.45) * (0.6 + 0.4 * min(2.0, float(total.max())))
        return cls(tuple(sources), ambient, outside, outside * rng.uniform(0.15, 0.5))

    def outside(self, ray: Float[ndarray, "N 3"], rng: Rng) -> Float[ndarray, "N 3"]:
        """What one sees through a window: sky, and below the horizon something green or grey."""
        heading = np.arctan2(ray[:, 1], ray[:, 0])
        waves = rng.uniform(3, 12, 3)
        phase = rng.uniform(0, 2 * np.pi, 3)
        rise = sum(np.sin(w * heading + p) for w, p in zip(waves, phase, strict=True)) * 0.03
        up = ray[:, 2] - (rng.uniform(-0.1, 0.12) + rise)
        share = np.clip(0.5 + up / 0.02, 0, 1)[:, None]
        land = self.ground * rng.uniform(0.4, 1.2, 3)
        return (share * self.sky + (1 - share) * land).astype(np.float32)


def _temperature(kelvin: float) -> Color:
    """Color of a black body relative to daylight (6500 K), about; brightest part 1."""
    warm = np.log(6500 / kelvin)
    color = np.exp(np.array([0.55, 0.0, -0.95]) * warm)
    return color / color.max()


def _lamps(room: Room, casts: Bool[ndarray, " F"], rng: Rng, fewest: int) -> list[Source]:
    """At or under the ceilings of the room's parts."""
    floors = [part.floor for part in room.layout.parts] or [room.layout.floor]
    spots = []
    for floor in floors:
        size = np.array([floor.width, floor.depth])
        num = 1 if floor.width * floor.depth < 25 else 2
        for k in range(num):
            share = np.array([0.5, 0.5])
            share[int(size.argmax())] = (k + 0.5) / num
            spots.append(size * (share + rng.normal(0, 0.08, 2)) + floor.at)
    num = int(rng.integers(fewest, min(len(spots), _MOST_LAMPS) + 1))
    kelvin = rng.uniform(2600, 5500)
    out = []
    for k in rng.permutation(len(spots))[:num].tolist():
        hang = rng.choice([0.06, rng.uniform(0.2, 0.7)])
        position = np.array([*spots[k], room.layout.floor.height - hang])
        color = _temperature(kelvin) * rng.uniform(0.6, 1.5)
        down = orientation(rng.uniform(-np.pi, np.pi), -np.pi / 2, 0.0)
        image = _map(room, casts, (down, position), rng.uniform(1.2, 3.0), True)
        out.append(Source(position, color, None, False, image))
    return out


def _map(
    room: Room,
    casts: Bool[ndarray, " F"],
    pose: tuple[Float[ndarray, "3 3"], Float[ndarray, " 3"]],
    softness_px: float,
    is_lit_outside: bool,
) -> ShadowMap:
    middle = (_LAMP_MAP_PX - 1) / 2
    focal = _LAMP_MAP_PX / 2 / _WIDE_TAN
    pinhole = Pinhole(_LAMP_MAP_PX, _LAMP_MAP_PX, focal, focal, middle, middle)
    return ShadowMap.taken(room.corners, casts, pose, pinhole, softness_px, is_lit_outside)


def _window(room: Room, casts: Bool[ndarray, " F"], window: Placed, sky: Color) -> Source:
    """The sky's light through a window, as if from its middle."""
    front = np.array([np.cos(window.yaw), np.sin(window.yaw), 0.0])
    position = window.center + _BEHIND_M * front
    area = float(window.size[1] * window.size[2])
    turn = orientation(window.yaw, -0.25, 0.0)
    image = _map(room, casts, (turn, position), 4.0, True)
    return Source(position, sky * min(area, 3.0), front, False, image)


def _sun(room: Room, casts: Bool[ndarray, " F"], windows: list[Placed], rng: Rng) -> Source:
    """Through one of the windows, from 15 to 50 degrees above."""
    window = windows[rng.integers(len(windows))]
    heading = window.yaw + rng.uniform(-1.1, 1.1)
    turn = orientation(heading, -rng.uniform(0.26, 0.87), 0.0)
    position = window.center - _SUN_AWAY_M * turn[:, 2]
    middle = (_SUN_MAP_PX - 1) / 2
    focal = _SUN_MAP_PX / 2 / (5.0 / _SUN_AWAY_M)
    pinhole = Pinhole(_SUN_MAP_PX, _SUN_MAP_PX, focal, focal, middle, middle)
    image = ShadowMap.taken(room.corners, casts, (turn, position), pinhole, 0.8, False)
    color = _temperature(rng.uniform(4300, 5800)) * rng.uniform(2.0, 6.0)
    return Source(position, color, None, True, image)
