"""The gradients of a convolution, from the two kernels in which engines differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from sr3d_core.sparse.kernel_map import KernelMap

Products = Callable[[Tensor, Tensor, KernelMap], Tensor]
"""Of features, weight and map: the sums of all pairs' products."""
WeightGradient = Callable[[Tensor, Tensor, KernelMap], Tensor]
"""Of features, the gradient of the output, and map: the outer products of each offset's pairs."""


class Convolution(Function):
    """`Convolution.apply(features, weight, kernel_map, products, weight_gradient)`.

    The features' gradient is a convolution along the swapped pairs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        kernel_map: KernelMap,
        products: Products,
        weight_gradient: WeightGradient,
    ) -> Tensor:
        """Multiply; keeps what the gradients need."""
        ctx.save_for_backward(features, weight)
        ctx.of = kernel_map, products, weight_gradient
        return products(features, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """Gradients of the features and of the weight."""
        features, weight = ctx.saved_tensors
        kernel_map, products, weight_gradient = ctx.of
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        grad_features = grad_weight = None
        if needs_features:
            swapped = kernel_map.transposed_weight(weight)
            grad_features = products(grads[0], swapped, kernel_map.transposed)
        if needs_weight:
            grad_weight = weight_gradient(features, grads[0], kernel_map)
        return grad_features, grad_weight, None, None, None
