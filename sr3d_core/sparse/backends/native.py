"""The engine that needs nothing beyond torch: gather, multiply, sum; on any device, with autograd.

Output rows are worked on in blocks: for every kernel offset the input rows of its pairs are
gathered and multiplied with its matrix into one buffer of products; one `embedding_bag` then sums
the products of each output row. Memory is bounded by the block, not by the number of pairs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sr3d_core.sparse import kernel_map
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex
from sr3d_core.sparse.lattice import Lattice

TRIAL_TOLERANCE = 1e-2
"""Of the largest value: tensor cores may round; a wrong order of offsets is another number."""


class TorchEngine:
    """The reference that every other engine is tested against; for its methods see `Engine`."""

    name = "torch"
    index = staticmethod(VoxelIndex)
    same_map = staticmethod(kernel_map.same_map)
    down_coords = staticmethod(kernel_map.down_coords)
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

    def distinct(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The distinct coordinates, sorted, and the row of each voxel among them."""
        lattice = Lattice.around(coords, stride)
        numbers, row = torch.unique(lattice.number(coords), return_inverse=True)
        return lattice.coords(numbers), row

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
        return epilogue(convolve(features, weight, kernel_map))

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
    return _Convolution.apply(features, weight, kernel_map)


def max_pool(features: Float[Tensor, "I C"], kernel_map: KernelMap) -> Float[Tensor, "O C"]:
    """The channel-wise maximum over each output's inputs; every output has at least one."""
    lowest = features.new_full((1, features.shape[1]), -torch.inf)
    padded = torch.cat([features, lowest])  # index -1 is the last row
    return padded[kernel_map.neighbours.long()].amax(0)


class _Convolution(torch.autograd.Function):
    """The features' gradient is a convolution along the swapped pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return products(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        grad_features = grad_weight = None
        if needs_features:
            matrices = kernel_map.transposed_weight(weight)
            grad_features = products(grads[0], matrices, kernel_map.transposed)
        if needs_weight:
            grad_weight = weight_gradient(features, grads[0], kernel_map)
        return grad_features, grad_weight, None


def products(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """Every output row is the sum of its pairs' input rows times their offset's matrix.

    Block by block: gather the pairs' rows, multiply those of each offset, sum those of each
    output row. The two buffers are used again by every block, so they stay small and in the cache.
    """
    pairs = kernel_map.pairs
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
    pairs = kernel_map.pairs
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
