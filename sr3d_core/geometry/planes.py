"""The surface that a cloud shows, and planes through it.

Surface is counted in cells, near and far alike, and planes are tried through neighbouring cells
(RANSAC, Fischler and Bolles 1981) on a fixed seed: the same cloud gives the same planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

MIN_POINTS = 50
"""Fewer points show no surface."""

THICKNESS_M = 0.04
"""Points this near to a plane support it."""

BELOW_M = 0.12
"""Points this far beneath a plane speak against a floor."""

_CELL_M = 0.05
_MAX_CELLS = 4000
_NUM_TRIALS = 500
_NEIGHBOUR_M = (0.15, 1.2)  # how far apart the three points of a trial plane lie
_GRAIN_M = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Trial planes through neighbouring cells; each normal may point to either side."""

    cells: Float[Tensor, "S 3"]  # the seen surface
    normals: Float[Tensor, "T 3"]  # unit
    is_inlier: Bool[Tensor, "S T"]  # cells that lie in a plane
    support: Float[Tensor, " T"]  # share of the cells that lie in it
    before: Float[Tensor, " T"]  # share that lies clearly on the side of its normal
    behind: Float[Tensor, " T"]


def moved_to_zero(xyz: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " 3"]]:
    """The cloud with its lowest corner at zero, float64 on the CPU, and that corner.

    Rounded to what double precision resolves in map coordinates, so that the same cloud somewhere
    else gives the same numbers: what follows cannot depend on the origin.
    """
    columns = xyz.detach().to("cpu").numpy().T.astype(np.float64, order="C")
    corner = columns.min(axis=1)
    columns -= corner[:, None]
    columns /= _GRAIN_M
    np.rint(columns, out=columns)
    columns *= _GRAIN_M
    return torch.from_numpy(columns).T, torch.from_numpy(corner)


def surface_of(xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "S 3"]:
    """One point per occupied cell, at most `_MAX_CELLS` of them."""
    stride = max(1, len(xyz) // 400_000)
    xyz = xyz[::stride]
    cell = torch.div(xyz, _CELL_M, rounding_mode="floor").long()
    cell = cell.clamp(max=2**20 - 1)
    key = (cell[:, 0] << 40) + (cell[:, 1] << 20) + cell[:, 2]
    order = key.sort(stable=True).indices
    is_first = torch.ones(len(key), dtype=torch.bool)
    is_first[1:] = key[order][1:] != key[order][:-1]
    chosen = xyz[order[is_first]]
    if len(chosen) <= _MAX_CELLS:
        return chosen
    return chosen[torch.randperm(len(chosen), generator=_generator())[:_MAX_CELLS]]


def agreement(normals: Float[Tensor, "T 3"], support: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """Share of all well-supported planes that stand on a plane or lie parallel to it.

    What people build is upright, so a floor has walls at right angles; a chance plane has not.
    """
    cosine = (normals @ normals.T).abs()
    fits = (cosine < 0.1) | (cosine > 0.99)
    weight = support**2
    return fits.double() @ weight / weight.sum()


def trial_planes(cells: Float[Tensor, "S 3"]) -> Planes:
    """Planes through three neighbouring cells each, and what lies in, before and behind them."""
    generator = _generator()
    seeds = cells[torch.randint(len(cells), (_NUM_TRIALS,), generator=generator)]
    distance = torch.cdist(seeds, cells)
    is_neighbour = (distance >= _NEIGHBOUR_M[0]) & (distance <= _NEIGHBOUR_M[1])
    lots = torch.rand(distance.shape, generator=generator) * is_neighbour
    two: Int[Tensor, "T 2"] = lots.topk(2, dim=1).indices
    normals = torch.linalg.cross(cells[two[:, 0]] - seeds, cells[two[:, 1]] - seeds)
    length = normals.norm(dim=1)
    is_plane = (is_neighbour.sum(dim=1) >= 2) & (length > 0.01)
    normals = normals[is_plane] / length[is_plane, None]
    heights = cells @ normals.T - (seeds[is_plane] * normals).sum(dim=1)
    is_inlier = heights.abs() <= THICKNESS_M
    before, behind = _share(heights > BELOW_M), _share(heights < -BELOW_M)
    return Planes(cells, normals, is_inlier, _share(is_inlier), before, behind)


def _share(is_there: Bool[Tensor, "S T"]) -> Float[Tensor, " T"]:
    """Of the cells, for each plane."""
    return is_there.sum(dim=0).double() / len(is_there)


def fitted_normal(
    inliers: Float[NDArray, "S 3"], up: Float[NDArray, " 3"]
) -> Float[NDArray, " 3"]:
    """Normal of the least-squares plane through points, on the side of `up`."""
    centred = inliers - inliers.mean(axis=0)
    spread = np.einsum("si,sj->ij", centred, centred)
    normal: Float[NDArray, " 3"] = np.linalg.eigh(spread).eigenvectors[:, 0]
    return -normal if float(normal @ up) < 0 else normal


def along(points: Float[NDArray, "S 3"], direction: Float[NDArray, " 3"]) -> Float[NDArray, " S"]:
    """How far points lie along a direction.

    Not a matrix product: it would wake threads, which takes longer than all the rest where others
    keep the machine busy.
    """
    x, y, z = direction
    found: Float[NDArray, " S"] = points[:, 0] * x + points[:, 1] * y + points[:, 2] * z
    return found


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
