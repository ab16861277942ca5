"""A whole room as one triangle soup: shell, doors and windows, furniture, clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.furniture.classes import OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import NO_LABEL
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.openings import open_walls
from sr3d_core.data.rooms.scene.programmes import PROGRAMMES, Programme, furnish
from sr3d_core.data.rooms.scene.shell import shell
from sr3d_core.data.rooms.scene.walls import decorate

_SURFACE_POINTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """What each triangle of a room is a part of, for who paints it."""

    faces: Int[ndarray, "F 3"]  # rows of vertices: triangles that share one are of one part
    paint: Float[ndarray, "F 3"]  # color before wear, 0..1
    material: Int[ndarray, " F"]  # values of `Material`
    piece: Int[ndarray, " F"]  # index into the layout's `placed`, -1 = the shell

    def __getitem__(self, index: ndarray) -> Build:
        """Some of the triangles."""
        return Build(self.faces[index], self.paint[index], self.material[index], self.piece[index])

    def and_then(self, mesh: Mesh) -> Build:
        """These triangles and those of a mesh, as a part of the shell."""
        first = int(self.faces.max(initial=-1)) + 1
        return Build(
            np.concatenate([self.faces, mesh.faces + first]),
            np.concatenate([self.paint, mesh.color]),
            np.concatenate([self.material, mesh.material]),
            np.concatenate([self.piece, np.full(len(mesh.faces), -1)]),
        )


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
    build: Build


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
    height = floor.height
    openings = open_walls(layout, height, supply, rng)
    walls = shell(floor, openings, height, rng)
    furnish(layout, programme, supply, rng)
    for part in layout.parts or [layout]:
        decorate(part, height, supply, rng)
    return _assembled(layout, walls, rng)


def _floor(rng: np.random.Generator, shortest: float, longest: float) -> Floor:
    width, depth = rng.uniform(shortest, longest, 2)
    height = float(rng.uniform(2.4, 3.1))
    if rng.random() > 0.25 or min(width, depth) < 2.8:
        return Floor(float(width), float(depth), height=height)
    notch = rng.uniform(0.2, 0.45, 2) * (width, depth)
    return Floor(float(width), float(depth), (float(notch[0]), float(notch[1])), height=height)


def _assembled(layout: Layout, walls: Mesh, rng: np.random.Generator) -> Room:
    is_thing = np.array([placed.label != NO_LABEL for placed in layout.placed], dtype=bool)
    order = [*np.flatnonzero(is_thing).tolist(), -1, *np.flatnonzero(~is_thing).tolist()]
    meshes = [walls if k < 0 else layout.placed[k].mesh for k in order]
    mesh, counts = Mesh.cat(meshes), [len(part.faces) for part in meshes]
    things = tuple(placed for placed in layout.placed if placed.label != NO_LABEL)
    number = np.arange(len(order))
    owner = np.repeat(np.where(number < len(things), number, -1), counts)
    corners = mesh.vertices[mesh.faces]
    tint = np.clip(mesh.color + rng.normal(0, 0.015, (len(mesh.faces), 1)), 0, 1)
    surface = [_surface(placed.mesh, rng) for placed in things]
    points = np.stack(surface) if surface else np.zeros((0, _SURFACE_POINTS, 3))
    build = Build(mesh.faces, mesh.color, mesh.material, np.repeat(order, counts))
    return Room(layout, corners, tint, mesh.absorbs, owner, things, points, build)


def _surface(mesh: Mesh, rng: np.random.Generator) -> Float[ndarray, "S 3"]:
    """Points spread evenly over a mesh."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = np.cumsum(area)
    pick = np.searchsorted(total, rng.random(_SURFACE_POINTS) * total[-1])
    pick = np.minimum(pick, len(area) - 1)
    s, t = np.sqrt(rng.random((_SURFACE_POINTS, 1))), rng.random((_SURFACE_POINTS, 1))
    return (1 - s) * a[pick] + s * (1 - t) * b[pick] + s * t * c[pick]
