"""Normals that make round things look round, though they are of flat triangles (Gouraud, Phong).

At each corner of a triangle the normals of the triangles around it are averaged, of those that
are turned from it by less than 50 degrees; edges of boxes stay sharp. Which way triangles wind
does not matter: a normal counts for what it is parallel to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.scene.room import Room

_LEAST_COSINE = 0.64
_FLAT_COSINE = 0.9999


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """Normals at the corners of all triangles, room coordinates, unit length, float32."""

    corners: Float[ndarray, "F 3 3"]  # (face, corner, xyz), metres
    normals: Float[ndarray, "F 3 3"]  # (face, corner, xyz), to the side of the face's own
    is_round: Bool[ndarray, " F"]

    @classmethod
    def of(cls, room: Room) -> Rounding:
        """Of all triangles of a room."""
        corners, faces = room.corners, room.build.faces
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        own = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        mine, other = _meetings(faces)
        cosine = np.einsum("pc,pc->p", own[mine // 3], own[other // 3])
        near = np.abs(cosine) > _LEAST_COSINE
        weight = _angles(corners, across).reshape(-1)[other[near]] * np.sign(cosine[near])
        added = own[other[near] // 3] * weight[:, None]
        total = np.stack([np.bincount(mine[near], c, 3 * len(faces)) for c in added.T], axis=1)
        length = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        normals = (total / length).reshape(-1, 3, 3)
        flat = np.einsum("fkc,fc->fk", normals, own).min(axis=1, initial=1.0) > _FLAT_COSINE
        return cls(corners.astype(np.float32), normals.astype(np.float32), ~flat)

    def at(
        self, face: Int[ndarray, " N"], xyz: Float[ndarray, "N 3"], normal: Float[ndarray, "N 3"]
    ) -> Float[ndarray, "N 3"]:
        """Normals at points of triangles; `normal`, the triangles' own, says to which side."""
        some = np.flatnonzero(self.is_round[face])
        if len(some) == 0:
            return normal
        share = _shares(self.corners[face[some]], xyz[some])
        bent = np.einsum("nk,nkc->nc", share, self.normals[face[some]])
        side = np.sign(np.einsum("nc,nc->n", bent, normal[some]))
        length = np.maximum(np.sqrt(np.einsum("nc,nc->n", bent, bent)), np.float32(1e-6))
        result = normal.copy()
        result[some] = bent * (side / length)[:, None]
        return result


def _meetings(faces: Int[ndarray, "F 3"]) -> tuple[Int[ndarray, " M"], Int[ndarray, " M"]]:
    """All pairs of corners (3 face + corner) that are at the same vertex, each with itself too."""
    vertex = faces.reshape(-1)
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)[vertex[order]]
    first = np.searchsorted(vertex[order], vertex[order])
    mine = np.repeat(order, count)
    step = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
    return mine, order[np.repeat(first, count) + step]


def _angles(
    corners: Float[ndarray, "F 3 3"], across: Float[ndarray, "F 3"]
) -> Float[ndarray, "F 3"]:
    """Radians at the corners: a side that is cut into two triangles counts once."""
    double_area = np.linalg.norm(across, axis=1)[:, None]
    ahead, behind = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    return np.arctan2(double_area, np.einsum("fkc,fkc->fk", ahead, behind))


def _shares(corners: Float[ndarray, "N 3 3"], xyz: Float[ndarray, "N 3"]) -> ndarray:
    """Barycentric coordinates of points in their triangles, 0..1."""
    a, b, p = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], xyz - corners[:, 0]
    aa, ab, bb = (np.einsum("nc,nc->n", *pair) for pair in ((a, a), (a, b), (b, b)))
    pa, pb = np.einsum("nc,nc->n", p, a), np.einsum("nc,nc->n", p, b)
    scale = np.maximum(aa * bb - ab * ab, np.float32(1e-12))
    second, third = (bb * pa - ab * pb) / scale, (aa * pb - ab * pa) / scale
    return np.clip(np.stack([1 - second - third, second, third], axis=1), 0, 1)
