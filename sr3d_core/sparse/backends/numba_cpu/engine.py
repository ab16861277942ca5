"""The numba engine: kernel maps from bit sets, convolutions by a register micro-kernel.

float32 on a CPU is its own work, and bfloat16 where the CPU multiplies it; other precisions go to
the torch engine, on the same maps.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from sr3d_core.sparse.backends import native
from sr3d_core.sparse.backends.autograd import Convolution
from sr3d_core.sparse.backends.numba_cpu.kernel_map import (
    BitIndex,
    NumbaMap,
    cells,
    distinct,
    first_rows,
    index,
    lattice_around,
    neighbours,
    number,
    transposed_table,
)
from sr3d_core.sparse.backends.numba_cpu.launch import (
    MaxPool,
    products,
    short_products,
    short_weight_gradient,
    weight_gradient,
)
from sr3d_core.sparse.backends.numba_cpu.machine_code import has_short_products
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex, is_inside, kernel_offsets


class NumbaEngine:
    """Sparse convolution on a CPU at the speed of dense matrix products."""

    name = "numba"
    is_short_faster = has_short_products()

    def __init__(self) -> None:
        self._indices = WeakIdKeyDictionary()  # those of sorted coordinates it has made

    def first_rows(self, coords: Int[Tensor, "N 4"]) -> Int[Tensor, " V"]:
        """The first row of every distinct coordinate, in row order."""
        return first_rows(coords)

    def index(self, coords: Int[Tensor, "V 4"], stride: int) -> BitIndex | VoxelIndex:
        """Finds the rows of these voxels; there is at least one."""
        known = self._indices.get(coords)
        return known if known and known.lattice.stride == stride else index(coords, stride)

    def same_map(self, index: BitIndex | VoxelIndex, kernel: int) -> NumbaMap:
        """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""
        seen = neighbours(index, index.numbers, kernel)
        return NumbaMap(seen, len(index.numbers), is_mirrored=kernel % 2 == 1)

    def occupied_cells(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The cells of this stride that hold a voxel, sorted, and the row of each voxel's cell."""
        lattice = lattice_around(coords, stride)
        return self._remembered(*distinct(lattice, number(lattice, coords)))

    def down_map(
        self, index: BitIndex | VoxelIndex, coarse: Int[Tensor, "O 4"], kernel: int
    ) -> NumbaMap:
        """The map of a strided convolution onto `coarse`."""
        seen = neighbours(index, number(index.lattice, coarse), kernel)
        return NumbaMap(seen, len(index.numbers))

    def cell_map(
        self,
        coords: Int[Tensor, "V 4"],
        coarse: Int[Tensor, "O 4"],
        row: Int[Tensor, " V"],
        stride: int,
        kernel: int,
    ) -> NumbaMap:
        """The map where kernel and factor are equal; `row` is each voxel's cell in `coarse`."""
        return NumbaMap(cells(coords, row, len(coarse), stride, kernel), len(coords))

    def grown_coords(
        self, coords: Int[Tensor, "V 4"], stride: int, kernel: int
    ) -> Int[Tensor, "O 4"]:
        """The voxels of the finer `stride` that a generative up-convolution creates, sorted."""
        lattice = lattice_around(coords, stride)
        steps = lattice.step(kernel_offsets(kernel))
        numbers = (number(lattice, coords) + steps[:, None]).view(-1)
        return self._remembered(*distinct(lattice, numbers))[0]

    def up_map(
        self, coords: Int[Tensor, "V 4"], fine: BitIndex | VoxelIndex, kernel: int
    ) -> NumbaMap:
        """The map of a transposed convolution onto the voxels of the index `fine`."""
        lattice = fine.lattice
        _, _, ny, nz = lattice.shape
        lonely = (ny + 1) * nz + 1  # cell 1, 1, 1 of the first scene: all around it is margin
        numbers = torch.where(is_inside(coords, lattice), number(lattice, coords), lonely)
        reached = neighbours(fine, numbers, kernel)
        seen = transposed_table(reached, len(fine.numbers))
        return NumbaMap(seen, len(coords), by_input=reached)

    def _remembered(
        self, coords: Tensor, row: Tensor, index: BitIndex | None
    ) -> tuple[Tensor, Tensor]:
        """The coordinates and rows; their index came with them."""
        if index is not None:
            self._indices[coords] = index
        return coords, row

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both.

        float32 where products of bfloat16 are summed in it.
        """
        if features.dtype == weight.dtype == torch.float32:
            return Convolution.apply(features, weight, kernel_map, products, weight_gradient)
        if features.dtype == weight.dtype == torch.bfloat16 and self.is_short_faster:
            kernels = short_products, short_weight_gradient
            return Convolution.apply(features, weight, kernel_map, *kernels)
        return native.convolve(features, weight, kernel_map)

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution, in one go; without gradients."""
        if features.dtype == weight.dtype == epilogue.scale.dtype == torch.float32:
            return products(features, weight, kernel_map, epilogue)
        return epilogue(self.convolve(features, weight, kernel_map))

    def max_pool(
        self, features: Float[Tensor, "I C"], kernel_map: KernelMap
    ) -> Float[Tensor, "O C"]:
        """The channel-wise maximum over each output's inputs; every output has at least one."""
        if features.dtype == torch.float32:
            return MaxPool.apply(features, kernel_map)
        return native.max_pool(features, kernel_map)
