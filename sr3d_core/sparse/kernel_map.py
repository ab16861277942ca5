"""Which input row meets which kernel offset at which output row.

MinkowskiEngine's semantics (method.md A.2): coordinates in finest voxels; odd kernels are centred,
even ones look at 0..K-1; kernel index = ix + K iy + K^2 iz, x fastest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sr3d_core.sparse.lattice import Lattice

MAX_TABLE_CELLS = 2**23
"""Up to so many cells a dense table (32 MiB) beats a binary search in the sorted numbers."""


@cache
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
    sizes: list[int] = field(init=False)  # pairs of each offset
    by_output: Int[Tensor, " P"] = field(init=False)  # pair indices, sorted by output row
    output_starts: Int[Tensor, " O1"] = field(init=False)
    _by_input: tuple[Tensor, Tensor] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """List the pairs, by offset and by output row; int32 halves the memory traffic."""
        is_pair = self.neighbours >= 0
        self.sizes = is_pair.sum(1).tolist()
        row = torch.arange(self.num_outputs, dtype=torch.int32, device=is_pair.device)
        self.inputs = self.neighbours[is_pair]
        self.outputs = row.expand_as(is_pair)[is_pair]
        number = is_pair.view(-1).cumsum(0, dtype=torch.int32).view_as(is_pair) - 1
        self.by_output = number.T[is_pair.T]
        self.output_starts = _starts(is_pair)

    @property
    def num_outputs(self) -> int:
        """How many rows the convolution writes."""
        return self.neighbours.shape[1]

    @property
    def by_input(self) -> tuple[Int[Tensor, " P"], Int[Tensor, " I1"]]:
        """Pair indices sorted by input row, and where each row's begin: for gradients."""
        if self._by_input is None:
            num_pairs, num_kernel = len(self.inputs), len(self.sizes)
            pair = torch.arange(num_pairs, dtype=torch.int32, device=self.inputs.device)
            offset = torch.arange(num_kernel, device=pair.device)
            sizes = torch.tensor(self.sizes, device=pair.device)
            offset = torch.repeat_interleave(offset, sizes, output_size=num_pairs)
            number = pair.new_full((num_kernel, self.num_inputs), -1)
            number.view(-1)[offset * self.num_inputs + self.inputs] = pair
            is_pair = number >= 0
            self._by_input = number.T[is_pair.T], _starts(is_pair)
        return self._by_input


def _starts(is_pair: Bool[Tensor, "K O"]) -> Int[Tensor, " O1"]:
    """Where the pairs of each row begin in a list that is sorted by row; the end comes last."""
    starts = torch.zeros(is_pair.shape[1] + 1, dtype=torch.int32, device=is_pair.device)
    torch.cumsum(is_pair.sum(0), 0, dtype=torch.int32, out=starts[1:])
    return starts


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
            self._sorted, rows = self.numbers.sort()
            self._rows = rows.int()

    def rows(self, numbers: Int[Tensor, ...]) -> Int[Tensor, ...]:
        """The row of each numbered cell, int32, -1 where empty; numbers lie in the lattice."""
        if self._table is not None:
            return self._table.index_select(0, numbers.reshape(-1)).view_as(numbers)
        place = torch.searchsorted(self._sorted, numbers).clamp_(max=len(self._sorted) - 1)
        return torch.where(self._sorted[place] == numbers, self._rows[place], -1)


def same_map(index: VoxelIndex, kernel: int) -> KernelMap:
    """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""
    step = index.lattice.step(kernel_offsets(kernel).to(index.numbers.device))
    return KernelMap(index.rows(index.numbers + step[:, None]), len(index.numbers))


def down_coords(
    coords: Int[Tensor, "V 4"], stride: int
) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
    """The cells of a coarser stride that hold a voxel, sorted: `floor(c / stride) * stride`.

    Also the row of each voxel's cell.
    """
    cells = coords.clone()
    cells[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
    lattice = Lattice.around(cells, stride)
    numbers, row = torch.unique(lattice.number(cells), return_inverse=True)
    return lattice.coords(numbers), row


def down_map(index: VoxelIndex, coarse: Int[Tensor, "O 4"], kernel: int) -> KernelMap:
    """The map of a strided convolution; `coarse` are its output voxels."""
    step = index.lattice.step(kernel_offsets(kernel).to(coarse.device))
    numbers = index.lattice.number(coarse)
    return KernelMap(index.rows(numbers + step[:, None]), len(index.numbers))


def cell_map(
    coords: Int[Tensor, "V 4"],
    coarse: Int[Tensor, "O 4"],
    row: Int[Tensor, " V"],
    stride: int,
    kernel: int,
) -> KernelMap:
    """The map where kernel and factor are equal: every voxel is seen once, by its own cell.

    `row` is the row of each voxel's cell in `coarse`, `stride` that of `coords`.
    """
    x, y, z = ((coords[:, 1:] - coarse[row, 1:]) // stride).unbind(1)
    offset = x + kernel * (y + kernel * z)
    seen = torch.full((kernel**3, len(coarse)), -1, dtype=torch.int32, device=coords.device)
    voxel = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
    seen[offset, row] = voxel
    return KernelMap(seen, len(coords))


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
    inside = is_inside(coords, lattice)
    step = lattice.step(kernel_offsets(kernel).to(coords.device))
    numbers = torch.where(inside, lattice.number(coords), 0) + step[:, None]
    reached = fine.rows(numbers.clamp_(0, lattice.num_cells - 1))
    is_pair = inside & (reached >= 0)
    seen = reached.new_full((len(step), len(fine.numbers)), -1)
    row = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
    offset = torch.arange(len(step), device=coords.device)[:, None].expand_as(reached)[is_pair]
    seen[offset, reached[is_pair].long()] = row.expand_as(reached)[is_pair]
    return KernelMap(seen, len(coords))


def is_inside(coords: Int[Tensor, "V 4"], lattice: Lattice) -> Bool[Tensor, " V"]:
    """Which voxels lie at least one cell inside the block, so that their neighbours are in it."""
    cells = coords - lattice.origin
    last = [(n - 1) * lattice.stride for n in lattice.shape[1:]]
    is_in = (cells[:, 0] >= 0) & (cells[:, 0] < lattice.shape[0])
    for axis, end in enumerate(last, start=1):
        is_in &= (cells[:, axis] >= lattice.stride) & (cells[:, axis] <= end - lattice.stride)
    return is_in
