"""The parts of a room that are painted one by one: boards, cushions, legs, panels of wall.

Triangles that share a corner are one part. A part has its own coordinates for patterns: those of
the piece it belongs to, turned with it, the part's longest extent first, so that wood has its
grain along boards. The shell has the room's, the vertical first. Parts of one piece that are of
the same color and material have one finish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.material import Material
from sr3d_core.data.rooms.furniture.piece import NO_LABEL
from sr3d_core.data.rooms.scene.room import Build, Room

SHELL = "shell"
"""What the class of floors, walls and ceilings is called here."""

OTHER = "other"
"""The same for unlabelled things."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parts that have one finish."""

    class_name: str  # of `classes.LABELS`, or SHELL, or OTHER
    material: Material
    paint: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Which part every triangle is of, and how parts lie."""

    of_face: Int[ndarray, " F"]
    group: Int[ndarray, " P"]  # index into `groups`
    groups: tuple[Group, ...]
    turn: Float[ndarray, "P 2"]  # cosine and sine of the yaw
    origin: Float[ndarray, "P 3"]  # metres, room coordinates
    order: Int[ndarray, "P 3"]  # axes by falling extent

    def coordinates(
        self, part: Int[ndarray, " N"], vectors: Float[ndarray, "N 3"], about_origin: bool
    ) -> Float[ndarray, "N 3"]:
        """Points (about the origin) or directions of the room in the coordinates of parts."""
        if about_origin:
            vectors = vectors - self.origin[part].astype(np.float32)
        c, s = self.turn.astype(np.float32)[part].T
        x, y, z = vectors.T
        turned = np.stack([c * x + s * y, c * y - s * x, z])
        first, second, third = self.order[part].T
        at = np.arange(len(part))
        return np.stack([turned[first, at], turned[second, at], turned[third, at]], axis=1)


def parts_of(room: Room) -> Parts:
    """Take a room apart."""
    build = room.build
    of_face = _connected(build)
    first = np.unique(of_face, return_index=True)[1]
    piece = build.piece[first]
    yaw = np.array([placed.yaw for placed in room.layout.placed] + [0.0])[piece]
    middle = [placed.center for placed in room.layout.placed] + [np.zeros(3)]
    origin = np.array(middle)[piece]
    turn = np.column_stack([np.cos(yaw), np.sin(yaw)])
    group, groups = _groups(room, first)
    order = _axes(room.corners, of_face, turn)
    order[piece < 0] = (2, 0, 1)
    return Parts(of_face, group, groups, turn, origin, order)


def _connected(build: Build) -> Int[ndarray, " F"]:
    """The part of every triangle, numbered from 0 without gaps."""
    faces, num = build.faces, int(build.faces.max(initial=-1)) + 1
    one, two = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    links = coo_array((np.ones(len(one), dtype=np.int8), (one, two)), shape=(num, num))
    label = connected_components(links, directed=False)[1][faces[:, 0]]
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def _groups(room: Room, first: Int[ndarray, " P"]) -> tuple[Int[ndarray, " P"], tuple[Group, ...]]:
    """Each part's group by its first triangle, and the groups."""
    build = room.build
    paint = np.rint(255 * build.paint[first])
    rows = np.column_stack([build.piece[first], build.material[first], paint])
    _, at, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    groups = []
    for face in first[at].tolist():
        red, green, blue = build.paint[face].tolist()
        name = _class_of(room, int(build.piece[face]))
        groups.append(Group(name, Material(int(build.material[face])), (red, green, blue)))
    return group.reshape(-1), tuple(groups)


def _class_of(room: Room, piece: int) -> str:
    if piece < 0:
        return SHELL
    label = room.layout.placed[piece].label
    return OTHER if label == NO_LABEL else LABELS[label]


def _axes(
    corners: Float[ndarray, "F 3 3"], of_face: Int[ndarray, " F"], turn: Float[ndarray, "P 2"]
) -> Int[ndarray, "P 3"]:
    """The axes of each part by falling extent, in the frame of its piece."""
    c, s = turn[of_face].T[:, :, None]
    x, y, z = np.moveaxis(corners, 2, 0)
    local = np.stack([c * x + s * y, c * y - s * x, z], axis=2)
    low = np.full((len(turn), 3), np.inf)
    high = np.full((len(turn), 3), -np.inf)
    np.minimum.at(low, of_face, local.min(axis=1))
    np.maximum.at(high, of_face, local.max(axis=1))
    return np.argsort(low - high, axis=1, kind="stable")
