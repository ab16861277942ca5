"""Sparse tensors: features on occupied voxels.

Coordinates are rows `scene, x, y, z` in finest voxels whatever the stride, as MinkowskiEngine
has them (arXiv 1904.08755, sec 3).
`cells_of` is the only place where metres become indices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.engine import Engine
from sr3d_core.structures import PointCloud

MAX_INDEX = 2**30
"""Voxel indices lie in +-MAX_INDEX; a point further out is an error, not a wrapped index."""


@dataclass(slots=True, eq=False)
class MapCache:
    """What has been worked out about one set of voxels, and by which engine.

    Shared by all tensors on these voxels; tensors made from them keep the engine.
    """

    engine: Engine = field(default_factory=TorchEngine)
    index: Any = None
    same: dict[int, Any] = field(default_factory=dict)
    down: dict[tuple[int, int], Any] = field(default_factory=dict)
    coarser: dict[int, tuple[Tensor, Tensor, MapCache]] = field(default_factory=dict)
    finer: dict[int, tuple[Tensor, MapCache]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class SparseTensor:
    """Features of distinct voxels, in any order of rows."""

    coords: Int[Tensor, "V 4"]  # int64: scene, x, y, z; multiples of the stride
    features: Float[Tensor, "V C"]
    stride: int = 1  # finest voxels between neighbours
    cache: MapCache = field(default_factory=MapCache)

    def __len__(self) -> int:
        return len(self.coords)

    def replaced(self, features: Float[Tensor, "V D"]) -> SparseTensor:
        """Other features on the same voxels."""
        return SparseTensor(self.coords, features, self.stride, self.cache)

    @property
    def engine(self) -> Engine:
        """What builds the maps of these voxels and multiplies along them."""
        return self.cache.engine

    @property
    def index(self) -> Any:
        """Where each voxel's row is, for the engine; the tensor has at least one voxel."""
        if self.cache.index is None:
            self.cache.index = self.engine.index(self.coords, self.stride)
        return self.cache.index

    def same_map(self, kernel: int) -> Any:
        """The map of a stride-1 convolution on these voxels."""
        if kernel not in self.cache.same:
            self.cache.same[kernel] = self.engine.same_map(self.index, kernel)
        return self.cache.same[kernel]

    def down_map(self, kernel: int, factor: int) -> Any:
        """The map of a convolution or pooling that multiplies the stride by `factor`."""
        key = (kernel, factor)
        if key not in self.cache.down:
            coarse, row, _ = self._coarser(factor)
            if kernel == factor:
                self.cache.down[key] = self.engine.cell_map(
                    self.coords, coarse, row, self.stride, kernel
                )
            else:
                self.cache.down[key] = self.engine.down_map(self.index, coarse, kernel)
        return self.cache.down[key]

    def coarser(self, factor: int) -> tuple[Int[Tensor, "O 4"], MapCache]:
        """The voxels at `factor` times the stride, and what is known about them."""
        coarse, _, cache = self._coarser(factor)
        return coarse, cache

    def _coarser(self, factor: int) -> tuple[Tensor, Tensor, MapCache]:
        if factor not in self.cache.coarser:
            coarse, row = self.engine.occupied_cells(self.coords, self.stride * factor)
            self.cache.coarser[factor] = (coarse, row, MapCache(self.engine))
        return self.cache.coarser[factor]

    def grown(self, kernel: int) -> tuple[Int[Tensor, "O 4"], MapCache]:
        """The voxels a generative up-convolution by two creates from these."""
        if kernel not in self.cache.finer:
            fine = self.engine.grown_coords(self.coords, self.stride // 2, kernel)
            self.cache.finer[kernel] = (fine, MapCache(self.engine))
        return self.cache.finer[kernel]

    def up_map(self, fine: SparseTensor, kernel: int) -> Any:
        """The map of a transposed convolution from these voxels onto those of `fine`."""
        return self.engine.up_map(self.coords, fine.index, kernel)


def voxelize(cloud: PointCloud, voxel_size_m: float, engine: Engine | None = None) -> SparseTensor:
    """Keep the first point of every occupied voxel; `engine` works on the tensor, torch's if None.

    Voxels are `floor(xyz / voxel_size_m)`, also below zero, so the origin is a voxel corner.
    Rows follow the order of the points: the same cloud always gives the same tensor.
    Points must be finite. Raises ValueError for points too far out to be indexed.
    """
    coords, cache = cells_of(cloud, voxel_size_m), MapCache(engine or TorchEngine())
    if not len(coords):
        return SparseTensor(coords, cloud.features, cache=cache)
    first = cache.engine.first_rows(coords)
    return SparseTensor(coords[first], cloud.features[first], cache=cache)


def voxelize_mean(
    cloud: PointCloud, voxel_size_m: float, engine: Engine | None = None
) -> SparseTensor:
    """Average the points of every occupied voxel.

    Features (V, C + 3) are the mean of the points' features, then how far their mean lies from the
    voxel's centre, in voxels (-0.5 to 0.5): what a coarse voxel would otherwise forget. A feature
    that is NaN at one point is NaN in its voxel. Rows are sorted by scene, x, y, z; voxels and
    errors as in `voxelize`.
    """
    coords, cache = cells_of(cloud, voxel_size_m), MapCache(engine or TorchEngine())
    place = cloud.xyz / voxel_size_m - (coords[:, 1:] + 0.5)
    points = torch.cat([cloud.features, place.to(cloud.features.dtype)], dim=1)
    if not len(coords):
        return SparseTensor(coords, points, cache=cache)
    voxels, row = cache.engine.occupied_cells(coords, 1)
    summed = points.new_zeros(len(voxels), points.shape[1]).index_add_(0, row, points)
    count = torch.bincount(row, minlength=len(voxels))
    return SparseTensor(voxels, summed / count[:, None], cache=cache)


def cells_of(cloud: PointCloud, voxel_size_m: float) -> Int[Tensor, "N 4"]:
    """Scene and voxel of every point: the place where metres become indices."""
    cells = torch.floor(cloud.xyz.double() / voxel_size_m)
    if len(cells) and not bool(cells.abs().max() < MAX_INDEX):
        raise ValueError(
            f"points reach {float(cloud.xyz.abs().max()):g} m from the origin at "
            f"{voxel_size_m:g} m voxels; expected finite metres within "
            f"{MAX_INDEX * voxel_size_m:g} m: drop stray points or move the cloud"
        )
    return torch.cat([cloud.scene[:, None], cells.long()], dim=1)


def union_add(first: SparseTensor, second: SparseTensor) -> SparseTensor:
    """Add two tensors of one stride; a voxel that only one of them has keeps its features.

    Rows of the result are sorted by scene, x, y, z.
    """
    if first.stride != second.stride:
        raise ValueError(
            f"union_add of strides {first.stride} and {second.stride}; expected equal strides"
        )
    if first.coords is second.coords:
        return first.replaced(first.features + second.features)
    coords = torch.cat([first.coords, second.coords])
    if not len(coords):
        return first
    coords, row = first.engine.occupied_cells(coords, first.stride)
    summed = first.features.new_zeros(len(coords), first.features.shape[1])
    summed = summed.index_add(0, row[: len(first)], first.features)
    summed = summed.index_add_(0, row[len(first) :], second.features)
    return SparseTensor(coords, summed, first.stride, MapCache(first.engine))
