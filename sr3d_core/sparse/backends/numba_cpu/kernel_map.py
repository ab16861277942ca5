"""Indices, pairs and kernel maps of the numba engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.sparse.backends import native
from sr3d_core.sparse.backends.numba_cpu import maps, threads
from sr3d_core.sparse.backends.numba_cpu.products import ROWS
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex, kernel_offsets
from sr3d_core.sparse.lattice import Lattice

MAX_BITS = 2**28
"""Larger lattices (48 MiB as bits) are left to the torch engine's binary search."""
MAX_BLOCK, MIN_BLOCK, MIN_BLOCKS = 256, 64, 8
"""Output rows per block: their sums stay in the cache, and several threads get blocks."""
MIN_LOOK_UPS, MIN_VOXELS = 20_000, 5_000
"""With fewer per thread, waking it costs more than it saves."""


def lattice_around(coords: Int[Tensor, "V 4"], stride: int) -> Lattice:
    """`Lattice.around`, quicker."""
    low, high = np.empty(4, np.int64), np.empty(4, np.int64)
    maps.bounds(coords.contiguous().numpy(), low, high)
    return Lattice.between(torch.from_numpy(low), torch.from_numpy(high), stride)


def number(lattice: Lattice, coords: Int[Tensor, "V 4"]) -> Int[Tensor, " V"]:
    """The number of the cell that each voxel lies in."""
    numbers = np.empty(len(coords), np.int64)
    origin = lattice.origin.numpy()
    given = (coords.contiguous().numpy(), lattice.stride, origin, lattice.shape)
    threads.share(maps.number, len(coords) // MIN_VOXELS, *given, numbers)
    return torch.from_numpy(numbers)


class CellSet:
    """The occupied cells of a lattice as bits, with the rank of each."""

    def __init__(self, lattice: Lattice, numbers: Int[Tensor, " V"]) -> None:
        self.lattice = lattice
        self.bits = np.zeros(lattice.num_cells // 64 + 2, np.uint64)
        self.before = np.empty(len(self.bits), np.int32)
        maps.mark(numbers.numpy(), self.bits)
        self.size = maps.count(self.bits, self.before)

    def listed(self) -> tuple[Int[Tensor, " O"], Int[Tensor, "O 4"]]:
        """The numbers of all occupied cells, ascending, and the cells' corners."""
        numbers, coords = np.empty(self.size, np.int64), np.empty((self.size, 4), np.int64)
        lattice = self.lattice
        place = (lattice.stride, lattice.origin.numpy(), lattice.shape)
        given = (self.bits, self.before, *place)
        threads.share(maps.list_cells, self.size // MIN_VOXELS, *given, numbers, coords)
        return torch.from_numpy(numbers), torch.from_numpy(coords)

    def ranks(self, numbers: Int[Tensor, " V"]) -> Int[Tensor, " V"]:
        """The place of each of these occupied cells among all."""
        ranks = np.empty(len(numbers), np.int64)
        given = (numbers.numpy(), self.bits, self.before)
        threads.share(maps.rank, len(numbers) // MIN_VOXELS, *given, ranks)
        return torch.from_numpy(ranks)


class BitIndex:
    """Finds the rows of a set of voxels by their coordinates.

    Where `rows` are not given, the voxels are sorted.
    """

    def __init__(
        self, cells: CellSet, numbers: Int[Tensor, " V"], rows: NDArray | None = None
    ) -> None:
        self.lattice = cells.lattice
        self.numbers = numbers
        self._cells = cells
        self._rows = np.empty(0, np.int32) if rows is None else rows

    def neighbours(self, numbers: Int[Tensor, " O"], kernel: int) -> Int[Tensor, "K O"]:
        """The row that each offset of a kernel sees from each numbered cell, -1 for none."""
        columns = self.lattice.step(kernel_offsets(kernel)[: kernel**2])
        found = np.empty((kernel**3, len(numbers)), np.int32)
        table = (self._cells.bits, self._cells.before, self._rows)
        num_tasks = found.size // MIN_LOOK_UPS
        threads.share(
            maps.look_up, num_tasks, numbers.numpy(), columns.numpy(), kernel, *table, found
        )
        return torch.from_numpy(found)


@dataclass(frozen=True, slots=True, eq=False)
class BlockedPairs:
    """The pairs of a kernel map by block of output rows, then by kernel offset.

    Each block has one place more than it has pairs, so that blocks are listed independently.
    """

    inputs: NDArray  # (P + blocks + ROWS) int32
    outputs: NDArray
    starts: NDArray  # (blocks, K + 1) int32
    block: int  # output rows per block
    num_outputs: int

    @property
    def num_pairs(self) -> int:
        """How many pairs there are in all blocks."""
        return int((self.starts[:, -1] - self.starts[:, 0]).sum())

    def work(self, weight: Tensor | NDArray) -> float:
        """How many operations it takes to multiply all pairs with a weight."""
        return 2.0 * self.num_pairs * weight.shape[1] * weight.shape[2]


def list_pairs(kernel_map: KernelMap) -> BlockedPairs:
    """List the pairs of a map."""
    neighbours = kernel_map.neighbours.numpy()
    num_kernel, num_outputs = neighbours.shape
    block = min(MAX_BLOCK, max(MIN_BLOCK, -(-num_outputs // MIN_BLOCKS)))
    num_tasks = neighbours.size // MIN_LOOK_UPS
    sizes = np.empty(-(-num_outputs // block), np.int64)
    threads.share(maps.count_pairs, num_tasks, neighbours, block, sizes)
    ends = (sizes + 1).cumsum()
    starts = np.empty((len(sizes), num_kernel + 1), np.int32)
    starts[:, 0] = ends - sizes - 1
    inputs = np.empty(int(sizes.sum()) + len(sizes) + ROWS, np.int32)  # read ahead
    outputs = np.empty_like(inputs)
    threads.share(maps.list_pairs, num_tasks, neighbours, block, inputs, outputs, starts)
    return BlockedPairs(inputs, outputs, starts, block, num_outputs)


class NumbaMap(KernelMap):
    """A map whose table is transposed by compiled code."""

    __slots__ = ()

    def outputs_by_input(self) -> Int[Tensor, "K I"]:
        """The output row that sees each input row through each offset, -1 for none."""
        return transposed_table(self.neighbours, self.num_inputs)


def transposed_table(seen: Int[Tensor, "K O"], num_rows: int) -> Int[Tensor, "K {num_rows}"]:
    """The table that names the other side of each pair."""
    table = np.empty((len(seen), num_rows), np.int32)
    threads.share(maps.transpose, seen.numel() // MIN_LOOK_UPS, seen.numpy(), table)
    return torch.from_numpy(table)


def first_rows(coords: Int[Tensor, "N 4"]) -> Int[Tensor, " V"]:
    """The first row of every distinct coordinate, in row order."""
    lattice = lattice_around(coords, stride=1)
    if lattice.num_cells > MAX_BITS:
        return native.TorchEngine().first_rows(coords)
    bits, rows = np.zeros(lattice.num_cells // 64 + 1, np.uint64), np.empty(len(coords), np.int64)
    found = maps.first_rows(number(lattice, coords).numpy(), bits, rows)
    return torch.from_numpy(rows[:found])


def cells(
    coords: Int[Tensor, "V 4"], row: Int[Tensor, " V"], num_cells: int, stride: int, kernel: int
) -> Int[Tensor, "K {num_cells}"]:
    """The voxel at each place of a cell, -1 where there is none; `row` is a voxel's cell."""
    seen = np.full((kernel**3, num_cells), -1, np.int32)
    given = (coords.contiguous().numpy(), row.numpy(), stride, kernel)
    threads.share(maps.cells, len(coords) // MIN_VOXELS, *given, seen)
    return torch.from_numpy(seen)


def index(coords: Int[Tensor, "V 4"], stride: int) -> BitIndex | VoxelIndex:
    """A bit index, or the torch engine's where the voxels lie too far apart."""
    lattice = lattice_around(coords, stride)
    if lattice.num_cells > MAX_BITS:
        return VoxelIndex(coords, stride)
    numbers = number(lattice, coords)
    cells = CellSet(lattice, numbers)
    rows = np.full(len(coords) + 1, -1, np.int32)
    rows[cells.ranks(numbers).numpy() + 1] = np.arange(len(coords), dtype=np.int32)
    return BitIndex(cells, numbers, rows)


def neighbours(
    index: BitIndex | VoxelIndex, numbers: Int[Tensor, " O"], kernel: int
) -> Int[Tensor, "K O"]:
    """The row that each offset of a kernel sees from each numbered cell, -1 for none."""
    if isinstance(index, BitIndex):
        return index.neighbours(numbers, kernel)
    steps = index.lattice.step(kernel_offsets(kernel))
    return index.rows(numbers + steps[:, None])


def distinct(
    lattice: Lattice, numbers: Int[Tensor, " V"]
) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"], BitIndex | None]:
    """The distinct cells' corners, sorted, the place of each number among them, and their index.

    The index is None where the cells lie too far apart for bits.
    """
    if lattice.num_cells > MAX_BITS:
        distinct, place = torch.unique(numbers, return_inverse=True)
        return lattice.coords(distinct), place, None
    cells = CellSet(lattice, numbers)
    distinct, coords = cells.listed()
    return coords, cells.ranks(numbers), BitIndex(cells, distinct)
