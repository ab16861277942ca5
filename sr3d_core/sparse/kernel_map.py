"""Which input row meets which kernel offset at which output row.

MinkowskiEngine's semantics (arXiv 1904.08755, sec 3, eq 3): coordinates in finest voxels; odd
kernels are centred, even ones look at 0..K-1; kernel index = ix + K iy + K^2 iz, x fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.sparse.lattice import Lattice

MAX_TABLE_CELLS = 2**23
"""Up to so many cells a dense table (32 MiB) beats a binary search in the sorted numbers."""

T = TypeVar("T")


@cache
def kernel_offsets(kernel: int) -> Int[Tensor, "K 3"]:
    """Offsets of a cubic kernel in steps of the input's stride, x fastest."""
    first = -(kernel // 2) if kernel % 2 else 0
    axis = torch.arange(first, first + kernel)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), z.flatten()], dim=1)


@dataclass(slots=True, eq=False)
class KernelMap:
    """Which input row each output row sees through each offset: all that a convolution must know.

    Engines that need another form than the table make it once per map (`form`).
    """

    neighbours: Int[Tensor, "K O"]  # int32 input row seen through each offset, -1 for none
    num_inputs: int
    is_mirrored: bool = False  # what row i sees through offset k sees i through K - 1 - k
    by_input: Int[Tensor, "K I"] | None = None  # output row that sees it through each offset
    _forms: dict[Any, Any] = field(init=False, default_factory=dict)

    @property
    def num_outputs(self) -> int:
        """How many rows the convolution writes."""
        return self.neighbours.shape[1]

    def form(self, make: Callable[[KernelMap], T]) -> T:
        """What `make` makes of this map, made when it is first asked for."""
        if make not in self._forms:
            self._forms[make] = make(self)
        return self._forms[make]

    @property
    def transposed(self) -> KernelMap:
        """Inputs and outputs swapped, for the gradient of the features.

        A mirrored map is its own, with the offsets in reverse order: see `transposed_weight`.
        """
        return self if self.is_mirrored else self.form(_transposed)

    def outputs_by_input(self) -> Int[Tensor, "K I"]:
        """The output row that sees each input row through each offset, -1 for none."""
        return transposed_table(self.neighbours, self.num_inputs)

    def transposed_weight(self, weight: Float[Tensor, "K A B"]) -> Float[Tensor, "K B A"]:
        """The matrices that go with `transposed`."""
        return (weight.flip(0) if self.is_mirrored else weight).transpose(1, 2).contiguous()


def _transposed(kernel_map: KernelMap) -> KernelMap:
    table = kernel_map.by_input
    if table is None:
        table = kernel_map.outputs_by_input()
    return KernelMap(table, kernel_map.num_outputs, by_input=kernel_map.neighbours)


def transposed_table(seen: Int[Tensor, "K O"], num_rows: int) -> Int[Tensor, "K {num_rows}"]:
    """The table that names the other side of each pair; the device need not be waited for."""
    table = seen.new_full((len(seen), num_rows + 1), -1)  # the last column takes what is no pair
    row = torch.arange(seen.shape[1], dtype=seen.dtype, device=seen.device)
    table.scatter_(1, torch.where(seen >= 0, seen, num_rows).long(), row.expand_as(seen))
    return table[:, :num_rows].contiguous()


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
    seen = index.rows(index.numbers + step[:, None])
    return KernelMap(seen, len(index.numbers), is_mirrored=kernel % 2 == 1)


def occupied_cells(
    coords: Int[Tensor, "V 4"], stride: int
) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
    """The cells of this stride that hold a voxel, sorted: `floor(c / stride) * stride`.

    Also the row of each voxel's cell.
    """
    lattice = Lattice.around(coords, stride)
    numbers, row = torch.unique(lattice.number(coords), return_inverse=True)
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
    reached = torch.where(inside, reached, -1)
    seen = transposed_table(reached, len(fine.numbers))
    return KernelMap(seen, len(coords), by_input=reached)


def is_inside(coords: Int[Tensor, "V 4"], lattice: Lattice) -> Bool[Tensor, " V"]:
    """Which voxels lie at least one cell inside the block, so that their neighbours are in it."""
    cells = coords - lattice.origin
    last = [(n - 1) * lattice.stride for n in lattice.shape[1:]]
    is_in = (cells[:, 0] >= 0) & (cells[:, 0] < lattice.shape[0])
    for axis, end in enumerate(last, start=1):
        is_in &= (cells[:, axis] >= lattice.stride) & (cells[:, axis] <= end - lattice.stride)
    return is_in
