"""Which input row meets which kernel offset at which output row.

MinkowskiEngine's semantics (method.md A.2): coordinates in finest voxels; odd kernels are centred,
even ones look at 0..K-1; kernel index = ix + K iy + K^2 iz, x fastest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from sr3d_core.sparse.lattice import Lattice

MAX_TABLE_CELLS = 2**23
"""Up to so many cells a dense table (32 MiB) beats a binary search in the sorted numbers."""


@lru_cache(maxsize=None)
def kernel_offsets(kernel: int) -> Int[Tensor, "K 3"]:
    """Offsets of a cubic kernel in steps of the input's stride, x fastest."""
    first = -(kernel // 2) if kernel % 2 else 0
    axis = torch.arange(first, first + kernel)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), z.flatten()], dim=1)


@dataclass(slots=True, eq=False)
class KernelMap:
    """The pairs of one convolution, sorted by kernel offset, then by output row."""

    neighbours: Int[Tensor, "K O"]  # input row seen through each offset, -1 for none
    num_inputs: int
    inputs: Int[Tensor, " P"] = field(init=False)
    outputs: Int[Tensor, " P"] = field(init=False)
    starts: list[int] = field(init=False)  # pairs of offset k are starts[k]:starts[k + 1]
    by_output: Int[Tensor, " P"] = field(init=False)  # pair indices, sorted by output row
    output_starts: Int[Tensor, " O1"] = field(init=False)
    _transposed: KernelMap | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """List the pairs, by offset and by output row."""
        is_pair = self.neighbours >= 0
        num_kernel, num_outputs = self.neighbours.shape
        flat = is_pair.view(-1).nonzero().squeeze(1)
        self.inputs = self.neighbours.view(-1)[flat]
        self.outputs = flat % max(num_outputs, 1)
        self.starts = [0, *is_pair.sum(1).cumsum(0).tolist()]
        pair_index = (is_pair.view(-1).cumsum(0) - 1).view(num_kernel, num_outputs)
        self.by_output = pair_index.T[is_pair.T]
        self.output_starts = self.inputs.new_zeros(num_outputs + 1)
        torch.cumsum(is_pair.sum(0), 0, out=self.output_starts[1:])

    @property
    def num_outputs(self) -> int:
        """How many rows the convolution writes."""
        return self.neighbours.shape[1]

    @property
    def transposed(self) -> KernelMap:
        """The same pairs with inputs and outputs exchanged: the map of the input's gradient."""
        if self._transposed is None:
            seen = self.neighbours.new_full((len(self.starts) - 1, self.num_inputs), -1)
            offset = torch.repeat_interleave(
                torch.arange(len(seen), device=seen.device), (self.neighbours >= 0).sum(1)
            )
            seen[offset, self.inputs] = self.outputs
            self._transposed = KernelMap(seen, self.num_outputs)
            self._transposed._transposed = self
        return self._transposed


class VoxelIndex:
    """Finds the rows of a set of voxels by their coordinates."""

    def __init__(self, coords: Int[Tensor, "V 4"], stride: int) -> None:
        self.lattice = Lattice.around(coords, stride)
        self.numbers = self.lattice.number(coords)
        self._table: Tensor | None = None
        if self.lattice.num_cells <= MAX_TABLE_CELLS:
            self._table = torch.full(
                (self.lattice.num_cells,), -1, dtype=torch.int32, device=coords.device
            )
            rows = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
            self._table[self.numbers] = rows
        else:
            self._sorted, self._rows = self.numbers.sort()

    def rows(self, numbers: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The row of each numbered cell, -1 where it is empty; numbers lie in the lattice."""
        if self._table is not None:
            return self._table[numbers].long()
        place = torch.searchsorted(self._sorted, numbers).clamp_(max=len(self._sorted) - 1)
        return torch.where(self._sorted[place] == numbers, self._rows[place], -1)


def same_map(index: VoxelIndex, kernel: int) -> KernelMap:
    """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""
    step = index.lattice.step(kernel_offsets(kernel).to(index.numbers.device))
    return KernelMap(index.rows(index.numbers + step[:, None]), len(index.numbers))


def down_coords(coords: Int[Tensor, "V 4"], stride: int) -> Int[Tensor, "O 4"]:
    """The cells of a coarser stride that hold a voxel, sorted: `floor(c / stride) * stride`."""
    lattice = Lattice.around(_floor(coords, stride), stride)
    return lattice.coords(torch.unique(lattice.number(_floor(coords, stride))))


def down_map(index: VoxelIndex, coarse: Int[Tensor, "O 4"], kernel: int) -> KernelMap:
    """The map of a strided convolution or pooling; `coarse` are its output voxels."""
    step = index.lattice.step(kernel_offsets(kernel).to(coarse.device))
    numbers = index.lattice.number(coarse)
    return KernelMap(index.rows(numbers + step[:, None]), len(index.numbers))


def grown_coords(coords: Int[Tensor, "V 4"], stride: int, kernel: int) -> Int[Tensor, "O 4"]:
    """Every voxel of the finer `stride` that a generative up-convolution creates, sorted."""
    lattice = Lattice.around(coords, stride)
    step = lattice.step(kernel_offsets(kernel).to(coords.device))
    return lattice.coords(torch.unique(lattice.number(coords) + step[:, None]))


def up_map(coords: Int[Tensor, "V 4"], fine: VoxelIndex, kernel: int) -> KernelMap:
    """The map of a transposed convolution from `coords` onto the voxels of `fine`.

    `y[c + offset_k * stride] += x[c] W[k]`; targets outside `fine` are dropped.
    """
    lattice = fine.lattice
    is_inside = _inside(coords, lattice)
    step = lattice.step(kernel_offsets(kernel).to(coords.device))
    numbers = lattice.number(coords)
    numbers = torch.where(is_inside, numbers, 0) + step[:, None]
    seen = fine.rows(numbers.clamp_(0, lattice.num_cells - 1))
    seen = torch.where(is_inside, seen, -1)
    return KernelMap(seen, len(fine.numbers)).transposed


def _inside(coords: Int[Tensor, "V 4"], lattice: Lattice) -> Tensor:
    """Which voxels lie at least one cell inside the block, so that their neighbours are in it."""
    cells = coords - lattice.origin
    last = [(n - 1) * lattice.stride for n in lattice.shape[1:]]
    is_in = (cells[:, 0] >= 0) & (cells[:, 0] < lattice.shape[0])
    for axis, end in enumerate(last, start=1):
        is_in &= (cells[:, axis] >= lattice.stride) & (cells[:, axis] <= end - lattice.stride)
    return is_in


def _floor(coords: Int[Tensor, "V 4"], stride: int) -> Int[Tensor, "V 4"]:
    """Each voxel's cell at a coarser stride, in finest voxels."""
    cells = coords.clone()
    cells[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
    return cells
