"""The engine that needs nothing beyond torch: gather, multiply, sum; on any device, with autograd.

For every kernel offset the input rows of its pairs are gathered and multiplied with its matrix
into one buffer of products; one `embedding_bag` then sums the products of each output.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse import kernel_map
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex
from sr3d_core.sparse.lattice import Lattice


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
    """Backward gathers each pair's two rows once and uses them for both gradients."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        products = features.new_empty(len(kernel_map.inputs), weight.shape[2])
        rows = kernel_map.inputs.split(kernel_map.sizes)
        parts = products.split(kernel_map.sizes)
        for row, part, matrix in zip(rows, parts, weight.unbind(), strict=True):
            if len(row):
                torch.mm(features.index_select(0, row), matrix, out=part)
        return _sum_rows(products, kernel_map.by_output, kernel_map.output_starts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        grad = grads[0].contiguous()
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        products = grad.new_empty(len(kernel_map.inputs), weight.shape[1])
        grad_weight = torch.zeros_like(weight)
        by_offset = zip(
            kernel_map.inputs.split(kernel_map.sizes),
            kernel_map.outputs.split(kernel_map.sizes),
            products.split(kernel_map.sizes),
            weight.unbind(),
            grad_weight.unbind(),
            strict=True,
        )
        for seen, written, part, matrix, grad_matrix in by_offset:
            if not len(seen):
                continue
            above = grad.index_select(0, written)
            if needs_features:
                torch.mm(above, matrix.T, out=part)
            if needs_weight:
                torch.mm(features.index_select(0, seen).T, above, out=grad_matrix)
        grad_features = _sum_rows(products, *kernel_map.by_input) if needs_features else None
        return grad_features, grad_weight if needs_weight else None, None


def _sum_rows(
    products: Float[Tensor, "P C"], order: Tensor, starts: Tensor
) -> Float[Tensor, "O C"]:
    """Sum the products of each row; `order` lists them by row, `starts` where a row begins."""
    if not len(products):
        return products.new_zeros(len(starts) - 1, products.shape[1])
    return F.embedding_bag(order, products, starts, mode="sum", include_last_offset=True)
