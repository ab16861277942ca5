"""A whole room as one triangle soup: shell, furniture, clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.classes import OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, quad
from sr3d_core.data.rooms.furniture.piece import NO_LABEL
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES, Programme, furnish
from sr3d_core.data.rooms.scene.walls import decorate

_SURFACE_POINTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Triangles in room coordinates (floor at z = 0) and the labelled things among them."""

    layout: Layout
    corners: Float[ndarray, "F 3 3"]  # (face, corner, xyz), metres; at least one face
    color: Float[ndarray, "F 3"]
    absorbs: Float[ndarray, " F"]
    owner: Int[ndarray, " F"]  # index into `things`, -1 = walls and clutter
    things: tuple[Placed, ...]
    surface: Float[ndarray, "O S 3"]  # some points of each thing's surface


def build_room(
    rng: np.random.Generator,
    supply: FurnitureSupply = OWN_FURNITURE,
    programmes: Sequence[tuple[Programme, float, tuple[float, float]]] = PROGRAMMES,
) -> Room:
    """A room of a random kind out of `programmes`, furnished from `supply`."""
    share = np.array([weight for _, weight, _ in programmes])
    programme, _, (shortest, longest) = programmes[rng.choice(len(share), p=share / share.sum())]
    floor = _floor(rng, shortest, longest)
    layout = Layout(floor, rng)
    shell = _shell(floor, layout, rng)
    furnish(layout, programme, supply, rng)
    decorate(layout, supply, rng)
    for part in layout.parts:
        if rng.random() < 0.4:
            decorate(part, supply, rng)
    return _assembled(layout, shell, rng)


def _floor(rng: np.random.Generator, shortest: float, longest: float) -> Floor:
    width, depth = rng.uniform(shortest, longest, 2)
    height = float(rng.uniform(2.4, 3.1))
    if rng.random() > 0.25 or min(width, depth) < 2.8:
        return Floor(float(width), float(depth), height=height)
    notch = rng.uniform(0.2, 0.45, 2) * (width, depth)
    return Floor(float(width), float(depth), (float(notch[0]), float(notch[1])), height=height)


def _shell(floor: Floor, layout: Layout, rng: np.random.Generator) -> Mesh:
    """Floor, walls with openings, skirting, and mostly a ceiling."""
    height = floor.height
    outline = floor.outline
    tone, ground = palette.wall(rng), palette.ground(rng)
    skirting = palette.white(rng) if rng.random() < 0.6 else None
    parts = _slabs(floor, 0.0, ground)
    if rng.random() < 0.7:
        parts += _slabs(floor, height, palette.white(rng))
    for k in range(len(outline)):
        a, b = outline[k], outline[(k + 1) % len(outline)]
        color = tone if rng.random() < 0.85 else palette.wall(rng)
        parts += _wall(a, b, height, color, skirting, ground, layout, rng)
    return Mesh.cat(parts)


def _slabs(floor: Floor, z: float, color: Color) -> list[Mesh]:
    """The floor's area as one or two rectangles at height z."""
    w, d = floor.width, floor.depth
    nx, ny = floor.notch

    def slab(x0: float, y0: float, x1: float, y1: float) -> Mesh:
        return quad([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], color)

    if nx <= 0:
        return [slab(0, 0, w, d)]
    return [slab(0, 0, w, d - ny), slab(0, d - ny, w - nx, d)]


def _wall(
    a: Float[ndarray, " 2"],
    b: Float[ndarray, " 2"],
    height: float,
    color: Color,
    skirting: Color | None,
    ground: Color,
    layout: Layout,
    rng: np.random.Generator,
) -> list[Mesh]:
    """One wall from a to b, the room on its left; now and then with an open doorway."""
    length = float(np.linalg.norm(b - a))
    along = (b - a) / max(length, 1e-6)
    inward = np.array([-along[1], along[0]])

    def panel(start: float, end: float, low: float, high: float, out: float, tint: Color) -> Mesh:
        p, q = a + along * start - inward * out, a + along * end - inward * out
        return quad([(*p, low), (*q, low), (*q, high), (*p, high)], tint)

    spans = [(0.0, length)]
    parts = []
    if length > 1.6 and rng.random() < 0.3:
        wide = rng.uniform(0.75, min(1.6, length - 0.5))
        start = rng.uniform(0.2, length - wide - 0.2)
        top = rng.uniform(1.95, min(2.4, height))
        spans = [(0.0, start), (start + wide, length)]
        parts.append(panel(start, start + wide, top, height, 0.0, color))
        middle = a + along * (start + wide / 2) + inward * 0.4
        layout.block((middle[0], middle[1]), (0.8, wide), float(np.arctan2(inward[1], inward[0])))
        if rng.random() < 0.6:
            deep = rng.uniform(0.8, 3.0)
            p, q = a + along * (start - 0.5), a + along * (start + wide + 0.5)
            back = [p - inward * deep, q - inward * deep]
            flat = [(*p, 0.0), (*q, 0.0), (*back[1], 0.0), (*back[0], 0.0)]
            parts.append(quad(flat, ground))
            parts.append(panel(start - 0.5, start + wide + 0.5, 0.0, height, deep, color))
    for start, end in spans:
        parts.append(panel(start, end, 0.0, height, 0.0, color))
        if skirting is not None:
            parts.append(panel(start, end, 0.0, 0.08, -0.015, skirting))
    return parts


def _assembled(layout: Layout, shell: Mesh, rng: np.random.Generator) -> Room:
    things = tuple(placed for placed in layout.placed if placed.label != NO_LABEL)
    rest = [placed.mesh for placed in layout.placed if placed.label == NO_LABEL]
    mesh = Mesh.cat([*(placed.mesh for placed in things), shell, *rest])
    counts = [len(placed.mesh.faces) for placed in things]
    owner = np.full(len(mesh.faces), -1, dtype=np.int64)
    owner[: sum(counts)] = np.repeat(np.arange(len(things)), counts)
    corners = mesh.vertices[mesh.faces]
    tint = np.clip(mesh.color + rng.normal(0, 0.015, (len(mesh.faces), 1)), 0, 1)
    surface = [_surface(placed.mesh, rng) for placed in things]
    points = np.stack(surface) if surface else np.zeros((0, _SURFACE_POINTS, 3))
    return Room(layout, corners, tint, mesh.absorbs, owner, things, points)


def _surface(mesh: Mesh, rng: np.random.Generator) -> Float[ndarray, "S 3"]:
    """Points spread evenly over a mesh."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = np.cumsum(area)
    pick = np.searchsorted(total, rng.random(_SURFACE_POINTS) * total[-1])
    pick = np.minimum(pick, len(area) - 1)
    s, t = np.sqrt(rng.random((_SURFACE_POINTS, 1))), rng.random((_SURFACE_POINTS, 1))
    return (1 - s) * a[pick] + s * (1 - t) * b[pick] + s * t * c[pick]
