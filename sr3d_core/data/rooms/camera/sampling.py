"""Which points a cloud is made of: 10k to 50k measured ones, or vertices of a mesh.

A mesh that was fused out of depth images has its vertices on a lattice, each the mean of what was
measured about it; where the surface is flat most of them are left out, as decimation does. That is
what scanned data sets offer as points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

Rng = np.random.Generator

FEWEST, MOST = 10_000, 50_000
"""How many points a cloud has, where so many were measured."""

_FLAT_CELL_M = 0.15
_FLAT_M = 0.008  # standard deviation across a plane


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points, their colors and the things they lie on."""

    xyz: Float[ndarray, "N 3"]
    rgb: Float[ndarray, "N 3"]
    thing: Int[ndarray, " N"]

    def __getitem__(self, index: ndarray) -> Points:
        """Some of them."""
        return Points(self.xyz[index], self.rgb[index], self.thing[index])


def thinned(points: Points, rng: Rng) -> Points:
    """At random, now and then one per voxel first."""
    order = rng.permutation(len(points.xyz))
    if rng.random() < 0.4 or len(order) > 100_000:
        _, first, _ = _cells(points.xyz[order], rng.uniform(0.01, 0.035))
        order = order[np.sort(first)]
    return points[np.sort(order[: int(rng.integers(FEWEST, MOST + 1))])]


def vertices(points: Points, rng: Rng) -> Points:
    """Means of lattice cells 2 to 4 cm wide, fewer of them where they lie in a plane."""
    if len(points.xyz) == 0:
        return points
    cell, first, count = _cells(points.xyz, rng.uniform(0.02, 0.04))
    xyz, rgb = (_means(values, cell, count) for values in (points.xyz, points.rgb))
    merged = Points(xyz, rgb, points.thing[first])
    dropped = _is_flat(merged.xyz) & (rng.random(len(xyz)) < rng.uniform(0.3, 0.7))
    kept = rng.permutation(np.flatnonzero(~dropped))[:MOST]
    return merged[np.sort(kept)]


def _cells(
    xyz: Float[ndarray, "N 3"], edge: float
) -> tuple[Int[ndarray, " N"], Int[ndarray, " C"], Int[ndarray, " C"]]:
    """Each point's cell, and each cell's first point and number of points."""
    place = np.floor((xyz - xyz.min(axis=0, initial=0.0)) / edge).astype(np.int64)
    key = place[:, 0] + (place[:, 1] << 16) + (place[:, 2] << 32)
    _, first, cell, count = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    return cell, first, count


def _means(
    values: Float[ndarray, "N K"], cell: Int[ndarray, " N"], count: Int[ndarray, " C"]
) -> Float[ndarray, "C K"]:
    columns = [np.bincount(cell, column, len(count)) / count for column in values.T]
    return np.stack(columns, axis=1)


def _is_flat(xyz: Float[ndarray, "N 3"]) -> Bool[ndarray, " N"]:
    """Which points have a plane about them."""
    cell, _, count = _cells(xyz, _FLAT_CELL_M)
    away = xyz - _means(xyz, cell, count)[cell]
    pairs = (away[:, :, None] * away[:, None, :]).reshape(-1, 9)
    spread = np.linalg.eigvalsh(_means(pairs, cell, count).reshape(-1, 3, 3))[:, 0]
    return ((spread < _FLAT_M**2) & (count >= 8))[cell]
