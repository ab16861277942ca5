"""Launching the kernels: the order of rows, tile sizes by channels and rows, gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse.backends.triton_cuda import kernels
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap

PRECISIONS = (torch.float16, torch.bfloat16, torch.float32)
"""What features and weights may be; sums are float32."""
ROWS_PER_PART = 4096
"""The weight's gradient is summed over so many rows at least in one go."""
MAX_PARTS = 16


@dataclass(frozen=True, slots=True)
class Tile:
    """How much of the result one program computes, by how many warps."""

    rows: int
    columns: int
    depth: int  # input channels per step
    warps: int


def tile_for(num_rows: int, in_channels: int, out_channels: int, bytes_each: int) -> Tile:
    """Few rows are cut small, so that every processor of the GPU gets some.

    Chosen by reasoning for GPUs with 100 KiB of shared memory or more per processor; the table is
    small so that few kernels have to be compiled.
    """
    depth = min(_power(in_channels), 32 if bytes_each == 4 else 64)
    columns = _power(out_channels)
    if num_rows >= 16_384:
        return Tile(128, min(columns, 128), depth, 8 if columns >= 128 else 4)
    if num_rows >= 2048:
        return Tile(64, min(columns, 64), depth, 4)
    return Tile(32, min(columns, 32), depth, 2)


def gradient_tile_for(in_channels: int, out_channels: int) -> Tile:
    """A tile of one offset's matrix, and how many rows are multiplied per step."""
    return Tile(64, min(_power(out_channels), 64), min(_power(in_channels), 64), 4)


def _power(channels: int) -> int:
    """The power of two that holds the channels; tensor cores take 16 at least."""
    return max(16, 1 << (channels - 1).bit_length())


@dataclass(frozen=True, slots=True, eq=False)
class RowOrder:
    """Output rows by the offsets they use; rows that use the same stay in order."""

    order: Int[Tensor, " O"]
    masks: Int[Tensor, " O"]


def order_rows(kernel_map: KernelMap) -> RowOrder:
    """One pass over the table and one sort; the device is not waited for."""
    seen = kernel_map.neighbours
    masks = torch.empty(kernel_map.num_outputs, dtype=torch.int32, device=seen.device)
    grid = (-(-kernel_map.num_outputs // 256),)
    kernels.row_masks[grid](seen, masks, kernel_map.num_outputs, OFFSETS=len(seen), ROWS=256)
    return RowOrder(masks.sort(stable=True).indices.int(), masks)


def products(
    features: Float[Tensor, "I Cin"],
    weight: Float[Tensor, "K Cin Cout"],
    kernel_map: KernelMap,
    epilogue: Epilogue | None = None,
) -> Float[Tensor, "O Cout"]:
    """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`, then the epilogue if there is one."""
    num_kernel, before, after = weight.shape
    num_rows = kernel_map.num_outputs
    y = features.new_empty(num_rows, after)
    if not num_rows:
        return y
    rows = kernel_map.form(order_rows)
    tile = tile_for(num_rows, before, after, features.element_size())
    shortcut = None if epilogue is None else epilogue.shortcut
    kernels.convolve[(-(-num_rows // tile.rows), -(-after // tile.columns))](
        *(features.contiguous(), weight.contiguous(), kernel_map.neighbours),
        *(rows.order, rows.masks, y),
        y if epilogue is None else epilogue.scale.contiguous(),
        y if epilogue is None else epilogue.shift.contiguous(),
        y if shortcut is None else shortcut.contiguous(),
        num_rows,
        **_constants(before, after, num_kernel, tile),
        IS_SCALED=epilogue is not None,
        HAS_SHORTCUT=shortcut is not None,
        IS_RECTIFIED=epilogue is not None and epilogue.is_rectified,
    )
    return y


def weight_gradient(
    features: Float[Tensor, "I Cin"], above: Float[Tensor, "O Cout"], kernel_map: KernelMap
) -> Float[Tensor, "K Cin Cout"]:
    """The outer products of every offset's pairs; the order of the sums is always the same."""
    before, after = features.shape[1], above.shape[1]
    num_kernel, num_rows = kernel_map.neighbours.shape
    rows = kernel_map.form(order_rows)
    num_parts = min(max(-(-num_rows // ROWS_PER_PART), 1), MAX_PARTS)
    tile = gradient_tile_for(before, after)
    per_part = -(-num_rows // (num_parts * tile.rows)) * tile.rows
    parts = features.new_empty(num_parts, num_kernel, before, after, dtype=torch.float32)
    num_tiles = -(-before // tile.depth) * -(-after // tile.columns)
    kernels.weight_gradient[(num_kernel, num_tiles, num_parts)](
        *(features.contiguous(), above.contiguous(), kernel_map.neighbours),
        *(rows.order, rows.masks, parts, num_rows, per_part),
        **_constants(before, after, num_kernel, tile),
    )
    return parts.sum(0).to(features.dtype)


def _constants(before: int, after: int, num_kernel: int, tile: Tile) -> dict[str, Any]:
    """What a kernel is compiled for."""
    is_exact = torch.get_float32_matmul_precision() == "highest"
    return {
        "IN": before,
        "OUT": after,
        "OFFSETS": num_kernel,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "DEPTH": tile.depth,
        "PRECISION": "ieee" if is_exact else "tf32",
        "num_warps": tile.warps,
    }
