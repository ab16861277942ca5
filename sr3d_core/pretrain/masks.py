"""Which part of a view is hidden from the student.

Points are hidden, then the rest becomes voxels: nothing of a hidden point, neither where it is nor
its color, reaches the student.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor


class MaskCounts(NamedTuple):
    """How many cells an inverse block mask hides and shows."""

    hidden: int
    visible: int
    block: int  # cells of a block
    blocks: int


def grid_cells(
    xyz: Float[Tensor, "N 3"], block_m: float
) -> tuple[Int[Tensor, "C 3"], Int[Tensor, " N"]]:
    """The occupied blocks of a grid from the cloud's lowest corner, sorted, and each point's."""
    if not len(xyz):
        return torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    return different_cells(torch.floor((xyz - xyz.amin(dim=0)) / block_m).long())


def different_cells(
    cells: Int[Tensor, "N 3"],
) -> tuple[Int[Tensor, "C 3"], Int[Tensor, " N"]]:
    """The rows without repetitions, sorted, and which of them each was.

    As torch.unique of rows, but by one number for each, which takes a twentieth of the time.
    """
    if not len(cells):
        return cells, torch.zeros(0, dtype=torch.int64)
    low, high = cells.amin(dim=0), cells.amax(dim=0)
    if float((high.double() - low.double() + 1.0).prod()) >= 2.0**62:  # stray points
        unique, row = torch.unique(cells, dim=0, return_inverse=True)
        return unique, row
    _, width, height = (high - low + 1).tolist()
    x, y, z = (cells - low).unbind(dim=1)
    numbers, row = torch.unique((x * width + y) * height + z, return_inverse=True)
    y = numbers // height
    unique = torch.stack([y // width, y % width, numbers % height], dim=1)
    return unique + low, row


def num_hidden(num_cells: int, ratio: float) -> int:
    """How many cells of a grid a ratio hides: never all of them."""
    return min(math.floor(ratio * num_cells + 1e-9), max(num_cells - 1, 0))


def hide_blocks(
    xyz: Float[Tensor, "N 3"], block_m: float, ratio: float, generator: Generator
) -> Bool[Tensor, " N"]:
    """Which points stay visible where a share of a grid's blocks is hidden (DOS).

    A part of the scene cannot be guessed from its neighbourhood alone where blocks are large.
    """
    cells, row = grid_cells(xyz, block_m)
    order = torch.randperm(len(cells), generator=generator)
    visible = torch.ones(len(cells), dtype=torch.bool)
    visible[order[: num_hidden(len(cells), ratio)]] = False
    return visible[row]


def inverse_block_counts(
    num_cells: int, ratio: float, block: float, adjust: float = 0.1
) -> MaskCounts:
    """The counts of AsymDSD's inverse block mask: `ratio` of the cells is hidden; blocks of the
    share `block` that together cover `adjust` more than what is visible, as they overlap."""
    hidden = min(round(ratio * num_cells), max(num_cells - 1, 0))
    size = max(1, math.floor(block * num_cells + 1e-9))
    blocks = max(1, round(num_cells * (1.0 - ratio + adjust) / size))
    return MaskCounts(hidden, num_cells - hidden, size, blocks)


def hide_all_but_blocks(
    centers: Float[Tensor, "C 3"],
    ratio: float,
    block: float,
    generator: Generator,
    adjust: float = 0.1,
) -> Bool[Tensor, " C"]:
    """Which cells stay visible where some compact blocks do (AsymDSD, sec 3.2).

    A block is the cells nearest to a random one; single cells at random then make the number
    exact.
    """
    num = len(centers)
    counts = inverse_block_counts(num, ratio, block, adjust)
    visible = torch.zeros(num, dtype=torch.bool)
    if not num:
        return visible
    chosen = torch.randperm(num, generator=generator)[: counts.blocks]
    distances = torch.cdist(centers[chosen], centers)
    visible[distances.topk(min(counts.block, num), largest=False).indices.flatten()] = True
    surplus = int(visible.sum()) - counts.visible
    others = torch.nonzero(visible == (surplus > 0)).flatten()
    flipped = others[torch.randperm(len(others), generator=generator)[: abs(surplus)]]
    visible[flipped] = surplus < 0
    return visible
