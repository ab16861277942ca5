"""The distances that one frame measured, by direction: what its rays passed through.

Directions are the cells of an octahedral map (Cigolle, Donow and others, "A Survey of Efficient
Representations for Independent Unit Vectors", 2014) with its pole along the middle of the view:
plain arithmetic, and cells of similar size all over the sphere, so that any sensor will do. The
cells are as fine as the points are dense.

A ray is evidence only together with its neighbours: a point counts as passed through where its
cell and most of the eight around it were measured, and all of these are farther than the point by
more than the noise.
So no conclusion is drawn from holes in the depth, beside the edge of something nearer, which the
sensor blurs, on a floor that is seen at a grazing angle, or where one of the rays met a thin leg.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

FINEST = 512
"""Cells along each side of the finest map: 0.35 degrees wide in the middle of the view."""

_COARSEST = 32
_MEASURED = 6  # of the nine cells around a point, itself among them
_POINTS_PER_CELL = 2.5  # fewer, and holes between the pixels would be taken for holes in the depth


@dataclass(frozen=True, slots=True, eq=False)
class RangeImage:
    """What a frame measured around its sensor."""

    view_from_level: Float[ndarray, "3 3"]  # a rotation; the view's middle is at +z
    near: Float[ndarray, " C"]  # smallest distance in each cell, metres; inf = none
    passed: Float[ndarray, " C"]  # up to here all rays in and around the cell met nothing; 0 = ?
    size: int  # cells along each side
    cosine: float  # of the angle around the view's middle that holds all measured cells

    @classmethod
    def of(cls, offset: Float[ndarray, "3 N"], distance: Float[ndarray, " N"]) -> RangeImage:
        """From a frame's points as seen from the sensor, and how far they are; metres."""
        middle = offset[:, ::16].mean(axis=1) if len(distance) else None
        view_from_level = _turned_to(middle)
        seen = view_from_level @ offset
        finest = _nearest(_cells(seen, FINEST), distance, FINEST)
        rows, columns = (_measured_along(finest, axis) for axis in (1, 0))
        measured, size = finest[rows, columns], FINEST
        while size > _COARSEST and len(distance) < _POINTS_PER_CELL * np.isfinite(measured).sum():
            size //= 2
            measured = np.minimum(measured[::2], measured[1::2])
            measured = np.minimum(measured[:, ::2], measured[:, 1::2])
        near = np.full((size, size), np.inf, np.float32)
        passed = np.zeros_like(near)
        finer = FINEST // size
        part = tuple(slice(s.start // finer, s.stop // finer) for s in (rows, columns))
        near[part], passed[part] = measured, _passed(measured)
        cosine = _around(seen, distance, size)
        return cls(view_from_level, near.ravel(), passed.ravel(), size, cosine)

    def may_show(
        self, offset: Float[ndarray, "3 M"], distance: Float[ndarray, " M"]
    ) -> Bool[ndarray, " M"]:
        """False for points, seen from the sensor, whose cell was surely not measured."""
        return self.view_from_level[2] @ offset >= np.float32(self.cosine) * distance

    def cells(self, offset: Float[ndarray, "3 M"]) -> Int[ndarray, " M"]:
        """The cell of each point, seen from the sensor.

        Where nothing was measured behind the middle's plane, all that lies there is in the map's
        corner, straight behind.
        """
        seen = self.view_from_level @ offset
        if self.cosine < 0.0:
            return _cells(seen, self.size)
        return _cells_at(*_map_of_half(seen), self.size) * (seen[2] >= 0)


def _turned_to(middle: Float[ndarray, " 3"] | None) -> Float[ndarray, "3 3"]:
    """The rotation that brings a direction to +z; none where there is no direction."""
    length = 0.0 if middle is None else float(np.linalg.norm(middle))
    if middle is None or length < 0.1:  # metres: rays to all sides
        return np.eye(3, dtype=np.float32)
    forward = middle / length
    aside = np.eye(3)[int(np.abs(forward).argmin())]
    right = np.cross(aside, forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward]).astype(np.float32)


def _cells(seen: Float[ndarray, "3 N"], size: int) -> Int[ndarray, " N"]:
    u, v = _map_of_half(seen)
    behind = np.flatnonzero(seen[2] < 0)
    if len(behind):
        s, t = u.take(behind), v.take(behind)
        u[behind] = np.copysign(1 - np.abs(t), s)
        v[behind] = np.copysign(1 - np.abs(s), t)
    return _cells_at(u, v, size)


def _map_of_half(
    seen: Float[ndarray, "3 N"],
) -> tuple[Float[ndarray, " N"], Float[ndarray, " N"]]:
    """Where points ahead lie on the map, -1..1 along both sides; those behind as if ahead."""
    x, y, z = seen
    away_x, away_y = np.abs(x), np.abs(y)
    scale = np.float32(1.0) / np.maximum(away_x + away_y + np.abs(z), np.float32(1e-9))
    return x * scale, y * scale


def _cells_at(u: Float[ndarray, " N"], v: Float[ndarray, " N"], size: int) -> Int[ndarray, " N"]:
    half = np.float32(size / 2)
    row = ((u + 1) * half).astype(np.int32)
    column = ((v + 1) * half).astype(np.int32)
    np.minimum(row, size - 1, out=row)
    np.minimum(column, size - 1, out=column)
    return row * np.int32(size) + column


def _nearest(
    cell: Int[ndarray, " N"], distance: Float[ndarray, " N"], size: int
) -> Float[ndarray, "S S"]:
    """The smallest distance in each cell."""
    near = torch.full((size * size,), torch.inf)
    near.scatter_reduce_(
        0, torch.from_numpy(cell).long(), torch.from_numpy(distance), reduce="amin"
    )
    return near.numpy().reshape(size, size)


def _measured_along(near: Float[ndarray, "S S"], axis: int) -> slice:
    """The rows or columns with all that was measured and at least a cell around it, of any size.

    Most sensors see a small part of the sphere; the rest needs no looking at.
    """
    step = FINEST // _COARSEST
    measured = np.flatnonzero((near < np.inf).any(axis=axis))
    if not len(measured):
        return slice(0, step)
    low, high = int(measured[0]) // step - 1, int(measured[-1]) // step + 2
    return slice(max(low, 0) * step, min(high, _COARSEST) * step)


def _around(seen: Float[ndarray, "3 N"], distance: Float[ndarray, " N"], size: int) -> float:
    """The cosine of the angle around +z that holds the cells of all points.

    Across a cell u and v change by 2 / size each, so a point of the octahedron by at most
    sqrt(6) 2 / size, which at its least distance 1 / sqrt(3) is an angle below 9 / size.
    """
    if not len(distance):
        return 1.0
    widest = float((seen[2] / np.maximum(distance, np.float32(1e-9))).min())
    return math.cos(min(math.acos(min(max(widest, -1.0), 1.0)) + 9.0 / size, math.pi))


def _passed(near: Float[ndarray, "S S"]) -> Float[ndarray, "S S"]:
    """The smallest of the nine distances around each cell; 0 where it or too many are missing.

    Cells at the rim of the map, behind the view, have no neighbours.
    """
    passed = np.zeros_like(near)
    low = np.minimum(np.minimum(near[:-2], near[1:-1]), near[2:])
    low = np.minimum(np.minimum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    is_measured = np.isfinite(near)
    count = is_measured.astype(np.uint8)
    count = count[:-2] + count[1:-1] + count[2:]
    count = count[:, :-2] + count[:, 1:-1] + count[:, 2:]
    is_sure = is_measured[1:-1, 1:-1] & (count >= _MEASURED)
    passed[1:-1, 1:-1] = np.where(is_sure, low, 0.0)
    return passed
