"""Convolution and pooling of float32 tensors, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from sr3d_core.sparse.backends.numba_cpu import products, threads
from sr3d_core.sparse.backends.numba_cpu.kernel_map import NumbaMap, Pairs
from sr3d_core.sparse.engine import Epilogue

SINGLE_THREAD_WORK = 1e6
"""Below so many operations, waking another thread costs more than it saves."""
TASKS_PER_THREAD = 2
"""Of a weight's gradient: more share the work more evenly, fewer read less memory."""
POOL_BLOCK = 256
"""Rows that a thread pools at a time."""


class Convolution(torch.autograd.Function):
    """The features' gradient is a convolution along the swapped pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: NumbaMap) -> Tensor:
        """Multiply; keeps what the gradients need."""
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return _products(features, weight, kernel_map.pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the features and of the weight."""
        features, weight = ctx.saved_tensors
        kernel_map: NumbaMap = ctx.kernel_map
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        grad_features = grad_weight = None
        if needs_features:
            matrices = weight.flip(0) if kernel_map.is_mirrored else weight
            grad_features = _products(grads[0], matrices.transpose(1, 2), kernel_map.transposed)
        if needs_weight:
            grad_weight = _weight_gradient(features, grads[0], weight, kernel_map.pairs)
        return grad_features, grad_weight, None


def infer(features: Tensor, weight: Tensor, kernel_map: NumbaMap, epilogue: Epilogue) -> Tensor:
    """The epilogue of a convolution; without gradients."""
    if weight.shape[2] % products.LANES:
        return epilogue(_products(features, weight, kernel_map.pairs))
    return _products(features, weight, kernel_map.pairs, epilogue)


def _products(
    features: Tensor, weight: Tensor, pairs: Pairs, epilogue: Epilogue | None = None
) -> Tensor:
    """Every output row is the sum of its pairs' input rows times their offset's matrix."""
    out_channels = weight.shape[2]
    weight = _whole_vectors(weight)
    y = features.new_empty(pairs.num_outputs, weight.shape[2])
    arrays = (_array(features), _array(weight), pairs.inputs, pairs.outputs, pairs.starts)
    num_tasks = len(pairs.starts) * -(-weight.shape[2] // products.TILE)
    if pairs.work(weight) < SINGLE_THREAD_WORK:
        num_tasks = 1
    finish = _finish(epilogue)
    threads.share(products.convolve, num_tasks, *arrays, pairs.block, _array(y), *finish)
    return y if y.shape[1] == out_channels else y[:, :out_channels].contiguous()


_NONE, _LOWEST, _ZERO = (np.array(a, np.float32) for a in ([], [-np.inf], [0.0]))


def _finish(epilogue: Epilogue | None) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Scale, shift, shortcut and lower limit; empty where there are none."""
    shortcut = _NONE.reshape(0, 1)
    if epilogue is None:
        return _NONE, _NONE, shortcut, _LOWEST
    if epilogue.shortcut is not None:
        shortcut = _array(epilogue.shortcut)
    low = _ZERO if epilogue.is_rectified else _LOWEST
    return _array(epilogue.scale), _array(epilogue.shift), shortcut, low


def _weight_gradient(features: Tensor, above: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """The outer products of every offset's pairs, summed."""
    above = _whole_vectors(above)
    gradient = weight.new_zeros(*weight.shape[:2], above.shape[1])
    args = (_array(features), _array(above), pairs.inputs, pairs.outputs, pairs.starts)
    num_tasks = 1
    if torch.get_num_threads() > 1 and pairs.work(gradient) > SINGLE_THREAD_WORK:
        num_tasks = min(TASKS_PER_THREAD * torch.get_num_threads(), len(weight))
    threads.share(products.weight_gradient, num_tasks, *args, num_tasks, gradient.numpy())
    if gradient.shape == weight.shape:
        return gradient
    return gradient[:, :, : weight.shape[2]].contiguous()


def _whole_vectors(x: Tensor) -> Tensor:
    """Zeros appended to the last dimension until it is a whole number of vectors."""
    missing = -x.shape[-1] % products.LANES
    return F.pad(x, (0, missing)) if missing else x


def _array(x: Tensor) -> NDArray:
    """A tensor's numbers without gaps between them."""
    return x.detach().contiguous().numpy()


class MaxPool(torch.autograd.Function):
    """Rows that tie share the gradient, as in torch's `amax`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel_map: NumbaMap) -> Tensor:
        """Pool; keeps what the gradient needs."""
        x = features.detach().contiguous()
        y = x.new_empty(kernel_map.neighbours.shape[1], x.shape[1])
        seen = kernel_map.neighbours
        num_tasks = int(seen.size * x.shape[1] / SINGLE_THREAD_WORK)
        threads.share(products.max_pool, num_tasks, x.numpy(), seen, POOL_BLOCK, y.numpy())
        ctx.save_for_backward(x, y)
        ctx.kernel_map = kernel_map
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient of the features."""
        x, y = ctx.saved_tensors
        gradient, above = torch.zeros_like(x), grads[0].contiguous()
        seen = ctx.kernel_map.neighbours
        products.max_pool_gradient(x.numpy(), y.numpy(), above.numpy(), seen, gradient.numpy())
        return gradient, None
