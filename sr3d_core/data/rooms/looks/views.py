"""Where color cameras of images stand, so that furniture is in the picture.

Images are 320 x 240; the focal length is 250 to 700 pixels of a 640 wide image (104 to 49 degrees
wide), each factor as likely. A depth camera sits at the same place with the same lens.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.camera.models import MODELS
from sr3d_core.data.rooms.camera.poses import anywhere
from sr3d_core.data.rooms.camera.rasterise import rasterise
from sr3d_core.data.rooms.camera.sensor import View, orientation
from sr3d_core.data.rooms.furniture.classes import CLASSES
from sr3d_core.data.rooms.scene.room import Room
from sr3d_core.geometry.camera import Pinhole

Rng = np.random.Generator

WIDTH, HEIGHT = 320, 240
"""Of every image, pixels."""

FOCAL_PX = (250.0, 700.0)
"""Shortest and longest focal length of an image that is 640 wide."""

_TRIES = 5
_SMALL = 4  # the first look at a pose has so many times fewer pixels along each side
_ENOUGH = 0.08  # as `_worth` counts
_ONE_PIECE = 0.06  # share of the pixels that one piece counts for at most
_NEAR_M = 0.6
_MOST_NEAR = 0.12  # share of the pixels


def image_view(room: Room, habits: SensorHabits, rng: Rng) -> View:
    """A view with furniture in it, not right before something; the best of five otherwise."""
    pinhole = _lens(rng)
    noise = MODELS[rng.integers(len(MODELS))].noise
    range_m = float(rng.uniform(*habits.range_m))
    half_width = float(np.arctan(pinhole.width / 2 / pinhole.fx))
    best: tuple[float, View] | None = None
    for _ in range(_TRIES):
        pose = anywhere(room, half_width, range_m, habits, rng)
        turn = orientation(pose.heading, pose.pitch, pose.roll)
        view = View(pinhole, turn, pose.position, range_m, noise)
        worth = _worth(room, view)
        if best is None or worth > best[0]:
            best = (worth, view)
        if worth >= _ENOUGH:
            break
    assert best is not None
    return best[1]


def _lens(rng: Rng) -> Pinhole:
    focal = WIDTH / 640 * float(np.exp(rng.uniform(*np.log(FOCAL_PX))))
    cx = float((WIDTH - 1) / 2 + rng.normal(0, 1.5))
    cy = float((HEIGHT - 1) / 2 + rng.normal(0, 1.5))
    return Pinhole(WIDTH, HEIGHT, focal, focal, cx, cy)


def _worth(room: Room, view: View) -> float:
    """Share of the image that shows furniture, up to a limit for each piece, so that two are worth
    more than a large one; below 0 where too much is too near."""
    p = view.pinhole
    small = Pinhole(p.width // _SMALL, p.height // _SMALL, p.fx / _SMALL, p.fy / _SMALL,
                    p.cx / _SMALL, p.cy / _SMALL)  # fmt: skip
    turned = (room.corners - view.position) @ view.room_from_optical
    hits = rasterise(turned, np.full(len(turned), -1), 0, small)
    is_hit = hits.face >= 0
    too_near = float((is_hit & (hits.depth < _NEAR_M)).mean())
    if too_near > _MOST_NEAR:
        return -too_near
    stands = np.array([not CLASSES[thing.label].hangs for thing in room.things] + [False])
    owner = np.where(is_hit, room.owner[np.maximum(hits.face, 0)], -1)
    share = np.bincount(owner[stands[owner]], minlength=len(room.things)) / owner.size
    return float(np.minimum(share, _ONE_PIECE).sum())
