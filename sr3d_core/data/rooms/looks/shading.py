"""The light that comes from every pixel of a view: patterns, lamps, shadows, dark corners.

Lambert's law and the highlights of Blinn and Phong. What reaches a surface from everywhere is the
same in the whole room but for corners: ambient occlusion is guessed from the depth image itself,
by how much of it stands out above a surface's own plane near by (Mittring, "Finding next gen",
2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import uniform_filter

from sr3d_core.data.rooms.camera.sensor import Sighting, View
from sr3d_core.data.rooms.looks.finishes import Finishes
from sr3d_core.data.rooms.looks.lights import Lighting, Source
from sr3d_core.data.rooms.looks.parts import Parts, parts_of
from sr3d_core.data.rooms.looks.rounding import Rounding
from sr3d_core.data.rooms.looks.shadows import GOLDEN_RAD
from sr3d_core.data.rooms.looks.tiles import PATTERNS, VARIANTS, all_tiles, plaster
from sr3d_core.data.rooms.scene.room import Room

Rng = np.random.Generator
Colors = Float[ndarray, "N 3"]

_REACH_M = 0.45  # of what darkens a corner
_TAPS = 10
_STAIN = PATTERNS.index(plaster) * VARIANTS  # a tile for what is uneven everywhere
_STAIN_M = 3.1
_GLOSSY = 0.015  # what mirrors less is dull


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A room, painted and lit."""

    room: Room
    parts: Parts
    rounding: Rounding
    finishes: Finishes
    lighting: Lighting

    @classmethod
    def of(cls, room: Room, rng: Rng) -> Stage:
        """With finishes as real rooms have them."""
        parts = parts_of(room)
        finishes = Finishes.of(parts.groups, rng)
        return cls(room, parts, Rounding.of(room), finishes, Lighting.random(room, rng))


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """What the pixels that see something see; rooms coordinates, float32."""

    face: Int[ndarray, " N"]
    xyz: Float[ndarray, "N 3"]
    normal: Float[ndarray, "N 3"]  # of the triangle, towards the camera's side
    bent: Float[ndarray, "N 3"]  # of the round surface that the triangle stands for
    to_camera: Float[ndarray, "N 3"]  # unit length
    width: Float[ndarray, " N"]  # of a pixel on the surface, metres

    @classmethod
    def of(cls, rounding: Rounding, view: View, seen: Sighting) -> Spots:
        """Of the pixels with a hit, row by row."""
        is_hit = seen.hits.face >= 0
        face, depth = seen.hits.face[is_hit], seen.hits.depth[is_hit].astype(np.float32)
        turn = view.room_from_optical.astype(np.float32)
        rays = seen.rays[is_hit].astype(np.float32) @ turn.T
        normal = (seen.normal @ view.room_from_optical.T).astype(np.float32)[face]
        long = _length(rays)
        cosine = np.einsum("nc,nc->n", normal, rays) / long
        normal *= np.where(cosine > 0, np.float32(-1), np.float32(1))[:, None]
        slope = np.sqrt(np.maximum(np.abs(cosine), np.float32(0.1)))
        xyz = rays * depth[:, None] + view.position.astype(np.float32)
        return cls(
            face,
            xyz,
            normal,
            rounding.at(face, xyz, normal),
            -rays / long[:, None],
            depth / np.float32(view.pinhole.fx) / slope,
        )


def light_of(
    stage: Stage, finishes: Finishes, view: View, seen: Sighting, rng: Rng
) -> Float[ndarray, "H W 3"]:
    """Linear red, green, blue of every pixel; nothing is seen where there is no hit: dark."""
    shape = seen.hits.face.shape
    image = np.zeros((*shape, 3), dtype=np.float32)
    image[...] = 0.05 * stage.lighting.ambient
    is_hit = seen.hits.face >= 0
    if not is_hit.any():
        return image
    spots = Spots.of(stage.rounding, view, seen)
    group = stage.parts.group[stage.parts.of_face[spots.face]]
    color = _reflectance(stage.parts, finishes, spots)
    dim = _occlusion(view, seen)[is_hit]
    up = 0.75 + 0.25 * spots.bent[:, 2]
    ambient = stage.lighting.ambient.astype(np.float32)
    total = (dim * up)[:, None] * ambient
    gleam = (0.5 * dim)[:, None] * ambient * finishes.gloss[group]
    for source in stage.lighting.sources:
        _shine(source, spots, finishes, group, total, gleam)
    light = color * total + gleam
    is_outside = finishes.is_outside[group]
    if is_outside.any():
        light[is_outside] = stage.lighting.outside(-spots.to_camera[is_outside], rng)
    image[is_hit] = light
    return _softened(image, seen)


def _softened(image: Float[ndarray, "H W 3"], seen: Sighting) -> Float[ndarray, "H W 3"]:
    """The image with the mean of the pixels around in place of those at the edge of a triangle.

    A pixel at an edge sees both sides; one ray to its middle sees one.
    """
    face = seen.hits.face
    is_edge = np.zeros(face.shape, dtype=bool)
    across, down = face[:, 1:] != face[:, :-1], face[1:] != face[:-1]
    is_edge[:, 1:] |= across
    is_edge[:, :-1] |= across
    is_edge[1:] |= down
    is_edge[:-1] |= down
    image[is_edge] = uniform_filter(image, (3, 3, 1), mode="nearest")[is_edge]
    return image


def _reflectance(parts: Parts, finishes: Finishes, spots: Spots) -> Colors:
    """The color of every spot, 0..1."""
    part = parts.of_face[spots.face]
    group = parts.group[part]
    place = parts.coordinates(part, spots.xyz, about_origin=True)
    flat = np.abs(parts.coordinates(part, spots.normal, about_origin=False)).argmax(axis=1)
    u = np.where(flat == 0, place[:, 1], place[:, 0])
    v = np.where(flat == 2, place[:, 1], place[:, 2])
    # Each part has the pattern elsewhere, so that boards differ; the shell has it in one piece.
    own = np.arange(len(parts.group)) * 0.381966 % 1.0 * (parts.origin != 0).any(axis=1)
    shift = own.astype(np.float32)[part]
    c, s = finishes.turn[group].T
    scale = finishes.scale[group]
    tiles = all_tiles()
    found = tiles.at(
        finishes.tile[group],
        (c * u - s * v) / scale + shift,
        (s * u + c * v) / scale + shift,
        spots.width / scale,
    )
    stain = tiles.at(
        np.full(len(group), _STAIN), u / _STAIN_M, v / _STAIN_M, spots.width / _STAIN_M
    )[:, 0]
    share = (found[:, 0] * finishes.mixed[group])[:, None]
    bright = 1 + finishes.uneven[group] * (2 * found[:, 1] - 1) + 0.16 * (stain - 0.5)
    color = (1 - share) * finishes.color[group] + share * finishes.second[group]
    return np.clip(color * bright[:, None], 0.0, 0.95)


def _shine(
    source: Source,
    spots: Spots,
    finishes: Finishes,
    group: Int[ndarray, " N"],
    total: Colors,
    gleam: Colors,
) -> None:
    """Add what one light gives to what surfaces get and to what they mirror."""
    away = source.position.astype(np.float32) - spots.xyz
    far = _length(away)
    away /= np.maximum(far, np.float32(1e-4))[:, None]
    cosine = np.einsum("nc,nc->n", spots.bent, away)
    strength = np.ones_like(far) if source.is_far else (2 / np.maximum(far, 0.6)) ** 2
    if source.facing is not None:
        strength = strength * np.clip(-(away @ source.facing.astype(np.float32)), 0, 1)
    used = np.flatnonzero((cosine > 0) & (strength > 0.003))
    if len(used) == 0:
        return
    lit = source.shadows.lit(spots.xyz[used], spots.normal[used], spots.face[used])
    reaches = (lit * strength[used])[:, None] * source.color.astype(np.float32)
    total[used] += cosine[used, None] * reaches
    is_shiny = (finishes.gloss.max(axis=1, initial=0.0) > _GLOSSY)[group[used]]
    shiny = used[is_shiny]
    if len(shiny) == 0:
        return
    half = away[shiny] + spots.to_camera[shiny]
    half /= np.maximum(_length(half), np.float32(1e-4))[:, None]
    mirrored = np.clip(np.einsum("nc,nc->n", spots.bent[shiny], half), 0, 1)
    shine = finishes.shine[group[shiny]]
    peak = mirrored**shine * (shine + 8) / 8
    gleam[shiny] += finishes.gloss[group[shiny]] * peak[:, None] * reaches[is_shiny]


def _length(vectors: Float[ndarray, "N 3"]) -> Float[ndarray, " N"]:
    return np.sqrt(np.einsum("nc,nc->n", vectors, vectors))


def _occlusion(view: View, seen: Sighting) -> Float[ndarray, "H W"]:
    """How much of the light from everywhere reaches each pixel's surface, 0..1, a little rough."""
    depth = seen.hits.depth[::2, ::2].astype(np.float32)
    rays = seen.rays[::2, ::2].astype(np.float32)
    place = rays * depth[..., None]
    normal = seen.normal.astype(np.float32)[np.maximum(seen.hits.face[::2, ::2], 0)]
    away = np.einsum("hwc,hwc->hw", normal, rays) > 0
    normal *= np.where(away, np.float32(-1), np.float32(1))[..., None]
    height, width = depth.shape
    reach = np.clip(_REACH_M * view.pinhole.fx / 2 / np.maximum(depth, 0.3), 2, width / 4)
    row, column = np.indices(depth.shape, dtype=np.float32)
    hidden = np.zeros_like(depth)
    for k in range(_TAPS):
        far_off, angle = ((k + 0.7) / _TAPS) ** 0.5, k * GOLDEN_RAD
        shift = reach * np.float32(far_off)
        down = np.clip(row + shift * np.float32(np.sin(angle)), 0, height - 1).astype(np.int32)
        across = np.clip(column + shift * np.float32(np.cos(angle)), 0, width - 1)
        across = across.astype(np.int32)
        toward = place[down, across] - place
        far = np.sqrt(np.einsum("hwc,hwc->hw", toward, toward)) + np.float32(1e-3)
        rise = np.einsum("hwc,hwc->hw", toward, normal) / far
        hidden += np.clip(rise - 0.08, 0, 1) * np.clip(1.6 - far / _REACH_M, 0, 1)
    open_ = 1 - np.clip(1.7 * hidden / _TAPS, 0, 0.85)
    soft = uniform_filter(open_, 3, mode="nearest")
    full = np.repeat(np.repeat(soft, 2, axis=0), 2, axis=1)
    return full[: seen.hits.depth.shape[0], : seen.hits.depth.shape[1]]
