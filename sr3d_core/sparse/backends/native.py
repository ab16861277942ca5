"""The engine that needs nothing beyond torch: gather, multiply, sum; on any device, with autograd.

For every kernel offset the input rows of its pairs are gathered and multiplied with its matrix into
one buffer of partial products; one `embedding_bag` then sums the partial products of each output.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sr3d_core.sparse.kernel_map import KernelMap


def convolve(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in features and weight."""
    return _Convolution.apply(features, weight, kernel_map)


def max_pool(features: Float[Tensor, "I C"], kernel_map: KernelMap) -> Float[Tensor, "O C"]:
    """The channel-wise maximum over each output's inputs; every output has at least one."""
    lowest = features.new_full((1, features.shape[1]), -torch.inf)
    padded = torch.cat([features, lowest])  # index -1 is the last row
    return padded[kernel_map.neighbours].amax(0)


class _Convolution(torch.autograd.Function):
    """Backward is a convolution along the transposed map, and one product per kernel offset."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return _gather_multiply_sum(features, weight, kernel_map)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_features = grad_weight = None
        if ctx.needs_input_grad[0]:
            back = weight.transpose(1, 2)
            grad_features = _gather_multiply_sum(grad, back, ctx.kernel_map.transposed)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(features, grad, weight, ctx.kernel_map)
        return grad_features, grad_weight, None


def _gather_multiply_sum(features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    starts = kernel_map.starts
    products = features.new_empty(starts[-1], weight.shape[2])
    for k, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        if end > start:
            rows = features.index_select(0, kernel_map.inputs[start:end])
            torch.mm(rows, weight[k], out=products[start:end])
    if not len(products):
        return features.new_zeros(kernel_map.num_outputs, weight.shape[2])
    return F.embedding_bag(
        kernel_map.by_output,
        products,
        kernel_map.output_starts,
        mode="sum",
        include_last_offset=True,
    )


def _weight_gradient(
    features: Tensor, grad: Tensor, weight: Tensor, kernel_map: KernelMap
) -> Tensor:
    result = torch.zeros_like(weight)
    starts = kernel_map.starts
    for k, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        if end > start:
            rows = features.index_select(0, kernel_map.inputs[start:end])
            seen = grad.index_select(0, kernel_map.outputs[start:end])
            torch.mm(rows.T, seen, out=result[k])
    return result
