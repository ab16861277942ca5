"""Numbering the voxels of a region, so that a neighbour is always the same distance away.

A voxel is a row `scene, x, y, z` in finest voxels; a cell is `stride` of them along x, y and z.
Numbers grow with scene, then x, then y, then z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

MARGIN = 3
"""Empty cells kept around the occupied region, in voxels of the level: room for a 3^3 kernel."""
MAX_CELLS = 2**62
"""So many cells still have distinct int64 numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A block of cells around a set of voxels."""

    origin: Int[Tensor, " 4"]
    shape: tuple[int, int, int, int]  # cells along scene, x, y, z
    stride: int

    @classmethod
    def around(cls, coords: Int[Tensor, "V 4"], stride: int) -> Lattice:
        """The smallest block with `MARGIN` cells around those that hold a voxel.

        Raises ValueError if the voxels lie so far apart that they cannot be numbered.
        """
        return cls.between(coords.amin(0), coords.amax(0), stride)

    @classmethod
    def between(cls, low: Int[Tensor, " 4"], high: Int[Tensor, " 4"], stride: int) -> Lattice:
        """The block with `MARGIN` cells around voxels between these; errors as in `around`."""
        low = low.clone()
        low[1:] = (low[1:] // stride - MARGIN) * stride
        spans = (high - low).tolist()
        cells = [spans[0] + 1] + [span // stride + 1 + MARGIN for span in spans[1:]]
        if math.prod(cells) > MAX_CELLS:
            raise ValueError(
                f"voxels span {cells[1:]} cells in {cells[0]} scenes, too many to number; "
                "expected metres: is the cloud in millimetres, or does it hold stray points?"
            )
        return cls(low, (cells[0], cells[1], cells[2], cells[3]), stride)

    @property
    def num_cells(self) -> int:
        """How many cells the block has, occupied or not."""
        return math.prod(self.shape)

    def number(self, coords: Int[Tensor, "V 4"]) -> Int[Tensor, " V"]:
        """The number of each voxel's cell; voxels of one cell have one number."""
        _, nx, ny, nz = self.shape
        scene, x, y, z = (coords - self.origin).unbind(1)
        if self.stride > 1:
            x, y, z = x // self.stride, y // self.stride, z // self.stride
        return ((scene * nx + x) * ny + y) * nz + z

    def coords(self, numbers: Int[Tensor, " V"]) -> Int[Tensor, "V 4"]:
        """The lowest corners of the cells of these numbers."""
        _, nx, ny, nz = self.shape
        column, z = numbers // nz, numbers % nz
        plane, y = column // ny, column % ny
        cells = torch.stack([plane // nx, plane % nx, y, z], dim=1)
        cells[:, 1:] *= self.stride
        return cells + self.origin

    def step(self, offsets: Int[Tensor, "K 3"]) -> Int[Tensor, " K"]:
        """How far the number of a neighbour lies from a voxel's own; offsets in cells."""
        _, _, ny, nz = self.shape
        return (offsets[:, 0] * ny + offsets[:, 1]) * nz + offsets[:, 2]


def found_among(
    coords: Int[Tensor, "V 4"], cells: Int[Tensor, "W 4"], stride: int
) -> Int[Tensor, " V"]:
    """For each voxel the row of the cell of this stride that holds it, -1 where none does."""
    if not len(coords) or not len(cells):
        return torch.full((len(coords),), -1, dtype=torch.int64, device=coords.device)
    lattice = Lattice.around(torch.cat([coords, cells]), stride)
    known, order = lattice.number(cells).sort()
    wanted = lattice.number(coords)
    place = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
    return torch.where(known[place] == wanted, order[place], -1)
