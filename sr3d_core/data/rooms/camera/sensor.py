"""Depth cameras in a room: pose, what a pixel sees, shading, and the points that come out.

The optical frame is x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.camera.noise import DepthNoise, measure
from sr3d_core.data.rooms.camera.rasterise import Hits, inside_image, rasterise, visible_share
from sr3d_core.data.rooms.camera.response import Response
from sr3d_core.data.rooms.scene.room import Room
from sr3d_core.geometry.camera import Pinhole

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A camera somewhere in a room."""

    pinhole: Pinhole
    room_from_optical: Float[ndarray, "3 3"]
    position: Float[ndarray, " 3"]  # metres, room coordinates
    range_m: float
    noise: DepthNoise


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """What the pixels of one view fall on, before any sensor has its say."""

    hits: Hits
    rays: Float[ndarray, "H W 3"]  # direction of every pixel in the optical frame, z = 1
    normal: Float[ndarray, "F 3"]  # of every triangle, optical frame, to either side
    thing: Int[ndarray, "H W"]  # index into the room's things, -1 = none of them
    visible: Float[ndarray, " O"]  # share of the silhouette that nothing hides
    in_view: Bool[ndarray, "O S"]  # surface points inside image, range and reach


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """The images of one view, and what it saw of each labelled thing."""

    depth: Float[ndarray, "H W"]  # measured, metres along the optical axis, 0 = none
    rgb: Float[ndarray, "H W 3"]  # 0..1
    rays: Float[ndarray, "H W 3"]  # direction of every pixel in the optical frame, z = 1
    thing: Int[ndarray, "H W"]  # index into the room's things, -1 = none of them
    visible: Float[ndarray, " O"]  # share of the silhouette that nothing hides
    in_view: Bool[ndarray, "O S"]  # surface points inside image, range and reach


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """Measured points of one view, and what the view saw of each labelled thing."""

    xyz: Float[ndarray, "N 3"]  # room coordinates, metres
    rgb: Float[ndarray, "N 3"]
    thing: Int[ndarray, " N"]  # index into the room's things, -1 = none of them
    visible: Float[ndarray, " O"]  # share of the silhouette that nothing hides
    in_view: Bool[ndarray, "O S"]  # surface points inside image, range and reach


def orientation(heading: float, pitch: float, roll: float) -> Float[ndarray, "3 3"]:
    """room_from_optical; pitch is positive upwards, radians."""
    forward = np.array(
        [np.cos(pitch) * np.cos(heading), np.cos(pitch) * np.sin(heading), np.sin(pitch)]
    )
    right = np.array([np.sin(heading), -np.cos(heading), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)


def capture(room: Room, view: View, light: Light, rng: Rng) -> Capture:
    """Render a view, measure it and take its points."""
    photo = photograph(room, view, light, rng)
    kept = photo.depth > 0
    xyz = (photo.rays[kept] * photo.depth[kept, None]) @ view.room_from_optical.T + view.position
    return Capture(xyz, photo.rgb[kept], photo.thing[kept], photo.visible, photo.in_view)


def photograph(room: Room, view: View, light: Light, rng: Rng) -> Photo:
    """Render a view and measure it."""
    seen = sighted(room, view)
    depth = measured(room, view, seen, rng)
    hits = seen.hits
    rgb = light.colors(room, view, hits.face, hits.depth, seen.normal, seen.rays, rng)
    return Photo(depth, rgb, seen.rays, seen.thing, seen.visible, seen.in_view)


def sighted(room: Room, view: View) -> Sighting:
    """Find what every pixel falls on."""
    turned = (room.corners - view.position) @ view.room_from_optical
    hits = rasterise(turned, room.owner, len(room.things), view.pinhole)
    share, thing = visible_share(hits, room.owner)
    in_view = inside_image(
        ((room.surface.reshape(-1, 3) - view.position) @ view.room_from_optical),
        view.pinhole,
        min(view.range_m, view.noise.reach_m),
    ).reshape(room.surface.shape[:2])
    return Sighting(hits, _rays(view.pinhole), _normals(turned), thing, share, in_view)


def measured(room: Room, view: View, seen: Sighting, rng: Rng) -> Float[ndarray, "H W"]:
    """What the depth sensor says: metres along the optical axis, 0 = nothing."""
    face, depth = np.maximum(seen.hits.face, 0), seen.hits.depth
    cosine = np.abs(np.einsum("hwc,hwc->hw", seen.normal[face], seen.rays))
    cosine = cosine / np.linalg.norm(seen.rays, axis=2)
    absorbs = room.absorbs[face] + _darkness(room.color[face], depth)
    return measure(depth, cosine, absorbs, view.noise, view.range_m, rng)


def _normals(corners: Float[ndarray, "F 3 3"]) -> Float[ndarray, "F 3"]:
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _rays(pinhole: Pinhole) -> Float[ndarray, "H W 3"]:
    """Direction of every pixel in the optical frame, scaled to z = 1."""
    u, v = np.meshgrid(np.arange(pinhole.width), np.arange(pinhole.height))
    x = (u - pinhole.cx) / pinhole.fx
    y = (v - pinhole.cy) / pinhole.fy
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def _darkness(
    color: Float[ndarray, "H W 3"], depth: Float[ndarray, "H W"]
) -> Float[ndarray, "H W"]:
    """Chance that a dark surface swallows the infrared light; it grows with the distance."""
    return 0.35 * np.clip((0.12 - color.mean(axis=2)) / 0.12, 0, 1) * np.clip(depth / 3, 0, 1.5)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Illumination, the same for all views of a scene, and the camera that answers to it."""

    directions: Float[ndarray, "2 3"]  # towards two lights, room coordinates
    strength: Float[ndarray, " 2"]
    ambient: float
    stripe: tuple[float, float]  # wave numbers of floor and wall patterns, 1/m
    response: Response

    @classmethod
    def random(cls, rng: Rng, color: Literal["mild", "any"] = "mild") -> Light:
        """Daylight to dim lamp, seen by a camera whose colors are nearly true or any."""
        directions = rng.normal(0, 1, (2, 3)) + np.array([0, 0, 1.0])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return cls(
            directions=directions,
            strength=rng.uniform(0.1, 0.5, 2),
            ambient=rng.uniform(0.35, 0.7),
            stripe=(rng.uniform(2, 40), rng.uniform(2, 40)),
            response=Response.mild(rng) if color == "mild" else Response.any(rng),
        )

    def colors(
        self,
        room: Room,
        view: View,
        face: Int[ndarray, "H W"],
        depth: Float[ndarray, "H W"],
        normal: Float[ndarray, "F 3"],
        rays: Float[ndarray, "H W 3"],
        rng: Rng,
    ) -> Float[ndarray, "H W 3"]:
        """The color image, a little out of register with the depth image."""
        index = np.maximum(face, 0)
        toward = np.where((normal * _center_of(room, view)).sum(axis=1, keepdims=True) > 0, -1, 1)
        outward = (normal * toward) @ view.room_from_optical.T
        shade = self.ambient + np.clip(outward @ self.directions.T, 0, 1) @ self.strength
        image = (room.color * shade[:, None])[index]
        place = (rays * depth[..., None]) @ view.room_from_optical.T
        wave = np.sin(self.stripe[0] * place[..., 0]) * np.sin(self.stripe[1] * place[..., 1])
        image = image * (1 + 0.06 * wave[..., None])
        image = np.roll(image, tuple(rng.integers(-1, 2, 2)), axis=(0, 1))
        return self.response.colors(image, face >= 0, rng)


def _center_of(room: Room, view: View) -> Float[ndarray, "F 3"]:
    """Where each triangle is, seen from the camera, in the optical frame."""
    return (room.corners[:, 0] - view.position) @ view.room_from_optical
