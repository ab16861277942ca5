"""The numba engine: kernel maps from bit sets, convolutions by a register micro-kernel.

float32 on a CPU is its own work; other precisions go to the torch engine, on the same maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from sr3d_core.sparse import kernel_map as reference
from sr3d_core.sparse.backends import native
from sr3d_core.sparse.backends.numba_cpu import maps, products, threads
from sr3d_core.sparse.kernel_map import VoxelIndex, kernel_offsets
from sr3d_core.sparse.lattice import Lattice

MAX_BITS = 2**28
"""Larger lattices (48 MiB as bits) are left to the torch engine's binary search."""
BLOCK = 256
"""Output rows per block: their sums stay in the second-level cache."""
SINGLE_THREAD_WORK = 4e6
"""Below so many operations, waking another thread costs more than it saves."""


class CellSet:
    """The occupied cells of a lattice as bits, with the rank of each."""

    def __init__(self, lattice: Lattice, numbers: Int[Tensor, " V"]) -> None:
        self.lattice = lattice
        self.bits = np.zeros(lattice.num_cells // 64 + 1, np.uint64)
        self.before = np.empty(len(self.bits), np.int32)
        maps.mark(numbers.numpy(), self.bits)
        self.size = maps.count(self.bits, self.before)

    def numbers(self) -> Int[Tensor, " O"]:
        """The numbers of all occupied cells, ascending."""
        numbers = np.empty(self.size, np.int64)
        maps.list_cells(self.bits, numbers)
        return torch.from_numpy(numbers)

    def ranks(self, numbers: Int[Tensor, " V"]) -> Int[Tensor, " V"]:
        """The place of each of these occupied cells among all."""
        ranks = np.empty(len(numbers), np.int64)
        maps.rank(numbers.numpy(), self.bits, self.before, ranks)
        return torch.from_numpy(ranks)


class BitIndex:
    """Finds the rows of a set of voxels by their coordinates."""

    def __init__(self, lattice: Lattice, numbers: Int[Tensor, " V"]) -> None:
        self.lattice = lattice
        self.numbers = numbers
        self._cells = CellSet(lattice, numbers)
        self._rows = np.empty(len(numbers), np.int32)
        self._rows[self._cells.ranks(numbers).numpy()] = np.arange(len(numbers), dtype=np.int32)

    def neighbours(self, numbers: Int[Tensor, " O"], steps: Int[Tensor, " K"]) -> NDArray:
        """(K, O) row at `steps[k]` from each numbered cell, -1 where that is empty."""
        found = np.empty((len(steps), len(numbers)), np.int32)
        cells = self._cells
        maps.look_up(numbers.numpy(), steps.numpy(), cells.bits, cells.before, self._rows, found)
        return found


@dataclass(slots=True, eq=False)
class Pairs:
    """The pairs of a kernel map by block of output rows, then by kernel offset."""

    inputs: NDArray  # (P + 1) int32, the last one is void
    outputs: NDArray
    starts: NDArray  # (blocks, K + 1) int32
    num_outputs: int

    @classmethod
    def of(cls, neighbours: NDArray) -> Pairs:
        """List the pairs of a (K, O) table."""
        num_kernel, num_outputs = neighbours.shape
        starts = np.empty((-(-num_outputs // BLOCK), num_kernel + 1), np.int32)
        maps.count_pairs(neighbours, BLOCK, starts)
        inputs = np.empty((starts[-1, -1] if len(starts) else 0) + 1, np.int32)
        outputs = np.empty_like(inputs)
        maps.list_pairs(neighbours, BLOCK, inputs, outputs)
        return cls(inputs, outputs, starts, num_outputs)

    def work(self, weight: Tensor) -> float:
        """How many operations it takes to multiply all pairs with a weight."""
        return 2.0 * len(self.inputs) * weight.shape[1] * weight.shape[2]


@dataclass(slots=True, eq=False)
class NumbaMap:
    """A kernel map in the forms that the engine needs, each made when it is first used."""

    neighbours: NDArray  # (K, O) int32 input row seen through each offset, -1 for none
    num_inputs: int
    _by_input: NDArray | None = None  # (K, I) output row that sees it through each offset
    _pairs: Pairs | None = field(init=False, default=None)
    _transposed: Pairs | None = field(init=False, default=None)
    _reference: reference.KernelMap | None = field(init=False, default=None)

    @property
    def pairs(self) -> Pairs:
        """Pairs by output row: for the convolution."""
        if self._pairs is None:
            self._pairs = Pairs.of(self.neighbours)
        return self._pairs

    @property
    def transposed(self) -> Pairs:
        """Inputs and outputs swapped: for the gradient of the features."""
        if self._transposed is None:
            if self._by_input is None:
                self._by_input = _transposed(self.neighbours, self.num_inputs)
            self._transposed = Pairs.of(self._by_input)
        return self._transposed

    @property
    def reference(self) -> reference.KernelMap:
        """The torch engine's form, for other precisions than float32."""
        if self._reference is None:
            neighbours = torch.from_numpy(self.neighbours)
            self._reference = reference.KernelMap(neighbours, self.num_inputs)
        return self._reference


def _transposed(neighbours: NDArray, num_rows: int) -> NDArray:
    """The table that names the other side of each pair; (K, `num_rows`)."""
    table = np.full((len(neighbours), num_rows), -1, np.int32)
    maps.transpose(neighbours, table)
    return table


class NumbaEngine:
    """Sparse convolution on a CPU at the speed of dense matrix products."""

    name = "numba"

    def index(self, coords: Int[Tensor, "V 4"], stride: int) -> BitIndex | VoxelIndex:
        """A bit index, or the torch engine's where the voxels lie too far apart."""
        lattice = Lattice.around(coords, stride)
        if lattice.num_cells > MAX_BITS:
            return VoxelIndex(coords, stride)
        return BitIndex(lattice, lattice.number(coords))

    def same_map(self, index: BitIndex | VoxelIndex, kernel: int) -> NumbaMap:
        """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""
        steps = index.lattice.step(kernel_offsets(kernel))
        return NumbaMap(_neighbours(index, index.numbers, steps), len(index.numbers))

    def down_coords(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The cells of a coarser stride that hold a voxel, sorted, and each voxel's cell."""
        cells = coords.clone()
        cells[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
        return self.distinct(cells, stride)

    def down_map(
        self, index: BitIndex | VoxelIndex, coarse: Int[Tensor, "O 4"], kernel: int
    ) -> NumbaMap:
        """The map of a strided convolution onto `coarse`."""
        steps = index.lattice.step(kernel_offsets(kernel))
        neighbours = _neighbours(index, index.lattice.number(coarse), steps)
        return NumbaMap(neighbours, len(index.numbers))

    def cell_map(
        self,
        coords: Int[Tensor, "V 4"],
        coarse: Int[Tensor, "O 4"],
        row: Int[Tensor, " V"],
        stride: int,
        kernel: int,
    ) -> NumbaMap:
        """The map where kernel and factor are equal; `row` is each voxel's cell in `coarse`."""
        x, y, z = ((coords[:, 1:] - coarse[row, 1:]) // stride).unbind(1)
        offset = (x + kernel * (y + kernel * z)).numpy()
        seen = np.full((kernel**3, len(coarse)), -1, np.int32)
        seen[offset, row.numpy()] = np.arange(len(coords), dtype=np.int32)
        return NumbaMap(seen, len(coords))

    def grown_coords(
        self, coords: Int[Tensor, "V 4"], stride: int, kernel: int
    ) -> Int[Tensor, "O 4"]:
        """The voxels of the finer `stride` that a generative up-convolution creates, sorted."""
        lattice = Lattice.around(coords, stride)
        steps = lattice.step(kernel_offsets(kernel))
        return lattice.coords(
            _distinct(lattice, (lattice.number(coords) + steps[:, None]).view(-1))[0]
        )

    def up_map(
        self, coords: Int[Tensor, "V 4"], fine: BitIndex | VoxelIndex, kernel: int
    ) -> NumbaMap:
        """The map of a transposed convolution onto the voxels of the index `fine`."""
        lattice = fine.lattice
        _, nx, ny, nz = lattice.shape
        lonely = (ny + 1) * nz + 1  # cell 1, 1, 1 of the first scene: all around it is margin
        numbers = torch.where(reference.is_inside(coords, lattice), lattice.number(coords), lonely)
        reached = _neighbours(fine, numbers, lattice.step(kernel_offsets(kernel)))
        return NumbaMap(_transposed(reached, len(fine.numbers)), len(coords), reached)

    def distinct(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The distinct coordinates, sorted, and the row of each voxel among them."""
        lattice = Lattice.around(coords, stride)
        numbers, row = _distinct(lattice, lattice.number(coords))
        return lattice.coords(numbers), row

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: NumbaMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""
        if features.dtype == weight.dtype == torch.float32:
            return _Convolution.apply(features, weight, kernel_map)
        return native.convolve(features, weight, kernel_map.reference)

    def max_pool(
        self, features: Float[Tensor, "I C"], kernel_map: NumbaMap
    ) -> Float[Tensor, "O C"]:
        """The channel-wise maximum over each output's inputs; every output has at least one."""
        if features.dtype == torch.float32:
            return _MaxPool.apply(features, kernel_map)
        return native.max_pool(features, kernel_map.reference)


def _neighbours(
    index: BitIndex | VoxelIndex, numbers: Int[Tensor, " O"], steps: Int[Tensor, " K"]
) -> NDArray:
    """(K, O) row at `steps[k]` from each numbered cell, -1 where that is empty."""
    if isinstance(index, BitIndex):
        return index.neighbours(numbers, steps)
    return index.rows(numbers + steps[:, None]).numpy()


def _distinct(
    lattice: Lattice, numbers: Int[Tensor, " V"]
) -> tuple[Int[Tensor, " O"], Int[Tensor, " V"]]:
    """The distinct numbers, ascending, and the place of each number among them."""
    if lattice.num_cells > MAX_BITS:
        distinct, place = torch.unique(numbers, return_inverse=True)
        return distinct, place
    cells = CellSet(lattice, numbers)
    return cells.numbers(), cells.ranks(numbers)


class _Convolution(torch.autograd.Function):
    """The features' gradient is a convolution along the swapped pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: NumbaMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return _products(features, weight, kernel_map.pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        kernel_map: NumbaMap = ctx.kernel_map
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        grad_features = grad_weight = None
        if needs_features:
            grad_features = _products(grads[0], weight.transpose(1, 2), kernel_map.transposed)
        if needs_weight:
            grad_weight = _weight_gradient(features, grads[0], weight, kernel_map.pairs)
        return grad_features, grad_weight, None


def _products(features: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """Every output row is the sum of its pairs' input rows times their offset's matrix."""
    out_channels = weight.shape[2]
    weight = _whole_vectors(weight)
    y = features.new_empty(pairs.num_outputs, weight.shape[2])
    counter = np.zeros(1, np.int64)
    args = (features.detach().contiguous().numpy(), weight.numpy())
    lists = (pairs.inputs, pairs.outputs, pairs.starts, BLOCK, y.numpy())
    num_tasks = len(pairs.starts) if pairs.work(weight) > SINGLE_THREAD_WORK else 1
    threads.run(lambda *_: products.convolve(counter, *args, *lists), num_tasks)
    return y[:, :out_channels].contiguous()


def _weight_gradient(features: Tensor, above: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """The outer products of every offset's pairs, summed."""
    above = _whole_vectors(above)
    gradient = weight.new_zeros(*weight.shape[:2], above.shape[1])
    args = (features.detach().contiguous().numpy(), above.numpy(), pairs.inputs, pairs.outputs)
    num_tasks = len(weight) if pairs.work(gradient) > SINGLE_THREAD_WORK else 1
    threads.run(
        lambda part, parts: products.weight_gradient(
            part, parts, *args, pairs.starts, gradient.numpy()
        ),
        num_tasks,
    )
    return gradient[:, :, : weight.shape[2]].contiguous()


def _whole_vectors(x: Tensor) -> Tensor:
    """Zeros appended to the last dimension until it is a whole number of vectors."""
    return F.pad(x.detach(), (0, -x.shape[-1] % products.LANES)).contiguous()


class _MaxPool(torch.autograd.Function):
    """Rows that tie share the gradient, as in torch's `amax`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel_map: NumbaMap) -> Tensor:
        x = features.detach().contiguous()
        y = x.new_empty(kernel_map.neighbours.shape[1], x.shape[1])
        products.max_pool(x.numpy(), kernel_map.neighbours, y.numpy())
        ctx.save_for_backward(x, y)
        ctx.kernel_map = kernel_map
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        gradient, above = torch.zeros_like(x), grads[0].contiguous()
        seen = ctx.kernel_map.neighbours
        products.max_pool_gradient(x.numpy(), y.numpy(), above.numpy(), seen, gradient.numpy())
        return gradient, None
