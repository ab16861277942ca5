"""The engine that needs nothing beyond torch: gather, multiply, sum; on any device, with autograd.

Output rows are worked on in blocks: for every kernel offset the input rows of its pairs are
gathered and multiplied with its matrix into one buffer of products; one `embedding_bag` then sums
the products of each output row. Memory is bounded by the block, not by the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse import kernel_map
from sr3d_core.sparse.backends.autograd import Convolution
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex
from sr3d_core.sparse.lattice import Lattice

BLOCK_PAIRS = 32_768
"""So many pairs are multiplied at a time: 16 MiB of products at 128 channels."""
MAX_BLOCK_ROWS = 8192
"""And at most so many output rows, however few pairs these have."""
TRIAL_TOLERANCE = 1e-2
"""Of the largest value: tensor cores may round; a wrong order of offsets is another number."""


class TorchEngine:
    """The reference that every other engine is tested against; for its methods see `Engine`."""

    name = "torch"
    is_short_faster = False
    index = staticmethod(VoxelIndex)
    same_map = staticmethod(kernel_map.same_map)
    occupied_cells = staticmethod(kernel_map.occupied_cells)
    down_map = staticmethod(kernel_map.down_map)
    cell_map = staticmethod(kernel_map.cell_map)
    grown_coords = staticmethod(kernel_map.grown_coords)
    up_map = staticmethod(kernel_map.up_map)

    def first_rows(self, coords: Int[Tensor, "N 4"]) -> Int[Tensor, " V"]:
        """The first row of every distinct coordinate, in row order."""
        ordered, row = Lattice.around(coords, stride=1).number(coords).sort(stable=True)
        is_first = torch.ones_like(ordered, dtype=torch.bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        return row[is_first].sort().values

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""
        return convolve(features, weight, kernel_map)

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution; without gradients."""
        return epilogue(self.convolve(features, weight, kernel_map))

    def max_pool(
        self, features: Float[Tensor, "I C"], kernel_map: KernelMap
    ) -> Float[Tensor, "O C"]:
        """The channel-wise maximum over each output's inputs; every output has at least one."""
        return max_pool(features, kernel_map)


def require_agreement(engine: TorchEngine, device: torch.device) -> None:
    """Raises RuntimeError where an engine convolves a few voxels otherwise than this one.

    For engines that could not be run where they were written, before anything relies on them.
    """
    generator = torch.Generator().manual_seed(0)
    coords = torch.randint(4, (64, 4), generator=generator).unique(dim=0).to(device)
    features = torch.randn(len(coords), 16, generator=generator).to(device)
    weight = torch.randn(27, 16, 16, generator=generator).to(device)
    kernel_map = engine.same_map(engine.index(coords, 1), 3)
    expected = convolve(features, weight, kernel_map)
    error = float((engine.convolve(features, weight, kernel_map) - expected).abs().max())
    largest = float(expected.abs().max())
    if not error <= TRIAL_TOLERANCE * largest:
        raise RuntimeError(
            f"it differs from the torch engine by {error:.3g} on a trial, largest value "
            f"{largest:.3g}; expected less than {TRIAL_TOLERANCE:g} of it"
        )


def convolve(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in features and weight."""
    return Convolution.apply(features, weight, kernel_map, products, weight_gradient)


def max_pool(features: Float[Tensor, "I C"], kernel_map: KernelMap) -> Float[Tensor, "O C"]:
    """The channel-wise maximum over each output's inputs; every output has at least one."""
    lowest = features.new_full((1, features.shape[1]), -torch.inf)
    padded = torch.cat([features, lowest])  # index -1 is the last row
    return padded[kernel_map.neighbours.long()].amax(0)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs by block of output rows, then by kernel offset, then by output row.

    `bag` names the pairs of each output row by their place in its block, from 1; 0 is none.
    """

    inputs: Int[Tensor, " P"]
    outputs: Int[Tensor, " P"]
    sizes: list[list[int]]  # pairs of each block and offset
    bag: Int[Tensor, "O K"]
    rows: int  # output rows per block

    @property
    def most(self) -> int:
        """The pairs of the largest block."""
        return max(map(sum, self.sizes), default=0)


def list_pairs(kernel_map: KernelMap) -> Pairs:
    """List the pairs in blocks of about `BLOCK_PAIRS`; waits for the device three times."""
    seen = kernel_map.neighbours
    num_kernel, num_outputs = seen.shape
    num_pairs = int((seen >= 0).sum())
    rows = min(max(BLOCK_PAIRS * num_outputs // max(num_pairs, 1), 1), MAX_BLOCK_ROWS)
    num_blocks = -(-num_outputs // rows)
    padded = F.pad(seen, (0, num_blocks * rows - num_outputs), value=-1)
    blocks = padded.view(num_kernel, num_blocks, rows).transpose(0, 1).contiguous()
    is_pair = blocks >= 0
    place = is_pair.view(num_blocks, -1).cumsum(1, dtype=torch.int32).view_as(blocks)
    bag = torch.where(is_pair, place, 0).transpose(1, 2).reshape(-1, num_kernel)[:num_outputs]
    flat = is_pair.view(-1).nonzero().view(-1)
    return Pairs(
        inputs=blocks.view(-1).index_select(0, flat),
        outputs=(flat // (num_kernel * rows) * rows + flat % rows).int(),
        sizes=is_pair.sum(2).tolist(),
        bag=bag.contiguous(),
        rows=rows,
    )


def products(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """Every output row is the sum of its pairs' input rows times their offset's matrix.

    Block by block: gather the pairs' rows, multiply those of each offset, sum those of each
    output row. The two buffers are used again by every block, so they stay small and in the cache.
    """
    pairs = kernel_map.form(list_pairs)
    y = features.new_empty(kernel_map.num_outputs, weight.shape[2])
    gathered = features.new_empty(pairs.most, features.shape[1])
    multiplied = features.new_empty(pairs.most + 1, weight.shape[2])
    multiplied[0] = 0.0  # what an output row gets from an offset through which it sees nothing
    blocks = zip(pairs.sizes, y.split(pairs.rows), pairs.bag.split(pairs.rows), strict=True)
    start, matrices = 0, weight.unbind()
    for sizes, sums, bag in blocks:
        end = start + sum(sizes)
        seen = gathered[: end - start]
        torch.index_select(features, 0, pairs.inputs[start:end], out=seen)
        parts = zip(
            seen.split(sizes), multiplied[1 : 1 + end - start].split(sizes), matrices, strict=True
        )
        for rows, part, matrix in parts:
            if len(rows):
                torch.mm(rows, matrix, out=part)
        sums.copy_(F.embedding_bag(bag, multiplied, mode="sum"))
        start = end
    return y


def weight_gradient(
    features: Float[Tensor, "I Cin"], above: Float[Tensor, "O Cout"], kernel_map: KernelMap
) -> Float[Tensor, "K Cin Cout"]:
    """The outer products of every offset's pairs, summed in float32 or wider."""
    pairs = kernel_map.form(list_pairs)
    shape = (len(kernel_map.neighbours), features.shape[1], above.shape[1])
    wide = torch.promote_types(features.dtype, torch.float32)
    gradient = features.new_zeros(shape, dtype=wide)
    start = 0
    for sizes in pairs.sizes:
        end = start + sum(sizes)
        seen = features.index_select(0, pairs.inputs[start:end]).split(sizes)
        written = above.index_select(0, pairs.outputs[start:end]).split(sizes)
        for rows, grads, matrix in zip(seen, written, gradient.unbind(), strict=True):
            if len(rows):
                matrix += rows.T @ grads
        start = end
    return gradient.to(features.dtype)
