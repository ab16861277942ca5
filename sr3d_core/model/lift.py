"""Image features become voxels: each cell's along its ray, as far as its depth is known.

A voxel's features are the mean of what falls into it, weighted with how likely it lies there,
times the chance that anything does. The voxels are on the lattice that the point-cloud network has
at this stride, so that its later stages can go on from here and be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.sparse.engine import Engine
from sr3d_core.sparse.tensor import MapCache, SparseTensor, cells_of
from sr3d_core.structures import PointCloud

_CERTAIN = 1e-6  # a chance of 1 less this: its logarithm is finite


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """What one bin of one cell would be if the surface were there."""

    points: PointCloud  # features are not used
    chance: Float[Tensor, " N"]
    context: Float[Tensor, "N C"]


def picked(
    points: Float[Tensor, "B h w D 3"],
    probability: Float[Tensor, "B h w D"],
    context: Float[Tensor, "B h w C"],
    is_kept: Bool[Tensor, "B h w D"],
) -> Lifted:
    """The bins that are kept, as rows."""
    image, row, column, depth = is_kept.nonzero(as_tuple=True)
    xyz = points[image, row, column, depth]
    cloud = PointCloud(xyz, xyz.new_zeros(len(xyz), 0), image)
    return Lifted(cloud, probability[image, row, column, depth], context[image, row, column])


def lift(lifted: Lifted, voxel_size_m: float, stride: int, engine: Engine) -> SparseTensor:
    """Voxels at `stride` finest voxels of `voxel_size_m`; differentiable in chance and context.

    Features are `mean of context, weighted with chance` times `1 - product of (1 - chance)`.
    """
    coords = cells_of(lifted.points, voxel_size_m)
    if not len(coords):
        features = lifted.context.new_zeros(0, lifted.context.shape[1])
        return SparseTensor(coords, features, stride, MapCache(engine))
    voxels, row = engine.occupied_cells(coords, stride)
    chance = lifted.chance
    zeros = chance.new_zeros(len(voxels))
    weight = zeros.index_add(0, row, chance)
    absent = zeros.index_add(0, row, torch.log1p(-chance.clamp(max=1 - _CERTAIN)))
    weighted = lifted.context * chance[:, None]
    summed = weighted.new_zeros(len(voxels), weighted.shape[1]).index_add(0, row, weighted)
    scale = -torch.expm1(absent) / weight.clamp(min=_CERTAIN)
    return SparseTensor(voxels, summed * scale[:, None], stride, MapCache(engine))
