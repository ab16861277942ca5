"""Calling the compiled functions on tensors: convolution, pooling, their gradients.

What is called short multiplies bfloat16 and sums in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from sr3d_core.sparse.backends.numba_cpu import products as compiled
from sr3d_core.sparse.backends.numba_cpu import threads
from sr3d_core.sparse.backends.numba_cpu.kernel_map import BlockedPairs, list_pairs
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import LANES, TILE
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap

SINGLE_THREAD_WORK = 1e6
"""Below so many operations, waking another thread costs more than it saves."""
TASKS_PER_THREAD = 2
"""Of a weight's gradient: more share the work more evenly, fewer read less memory."""
POOL_BLOCK = 256
"""Rows that a thread pools at a time."""


def products(
    features: Float[Tensor, "I Cin"],
    weight: Float[Tensor, "K Cin Cout"],
    kernel_map: KernelMap,
    epilogue: Epilogue | None = None,
) -> Float[Tensor, "O Cout"]:
    """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`, then the epilogue if there is one."""
    out_channels = weight.shape[2]
    if epilogue is not None and out_channels % LANES:
        return epilogue(products(features, weight, kernel_map))
    pairs = kernel_map.form(list_pairs)
    weight = _whole_vectors(weight)
    arrays = (_array(features), _array(weight))
    y = _convolved(compiled.convolve, *arrays, pairs, _finish(epilogue))
    return _narrowed(y, out_channels)


def short_products(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """`products` of what is rounded to bfloat16 where it is not; the sums are float32."""
    from sr3d_core.sparse.backends.numba_cpu.short_products import convolve

    odd, out_channels = features.shape[1] % 2, weight.shape[2]
    features, weight = features.bfloat16(), _whole_vectors(weight.bfloat16())
    if odd:
        features, weight = F.pad(features, (0, 1)), F.pad(weight, (0, 0, 0, 1))
    of_pairs = weight.unflatten(1, (-1, 2)).transpose(2, 3).contiguous()
    arrays = (
        _array(features.contiguous().view(torch.float32)),
        _array(of_pairs.view(torch.float32)[..., 0]),
    )
    y = _convolved(convolve, *arrays, kernel_map.form(list_pairs), _finish(None))
    return _narrowed(y, out_channels)


def _convolved(
    function: Callable[..., None],
    x: NDArray,
    weight: NDArray,
    pairs: BlockedPairs,
    finish: tuple[NDArray, NDArray, NDArray, NDArray],
) -> Float[Tensor, "O Cout"]:
    y = torch.empty(pairs.num_outputs, weight.shape[2])
    num_tasks = len(pairs.starts) * -(-weight.shape[2] // TILE)
    if pairs.work(weight) < SINGLE_THREAD_WORK:
        num_tasks = 1
    arrays = (x, weight, pairs.inputs, pairs.outputs, pairs.starts, pairs.block, y.numpy())
    threads.share(function, num_tasks, *arrays, *finish)
    return y


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


def weight_gradient(
    features: Float[Tensor, "I Cin"], above: Float[Tensor, "O Cout"], kernel_map: KernelMap
) -> Float[Tensor, "K Cin Cout"]:
    """The outer products of every offset's pairs, summed."""
    arrays = (_array(features), _array(_whole_vectors(above)))
    gradient = _weight_gradient(compiled.weight_gradient, *arrays, kernel_map)
    return _narrowed(gradient, above.shape[1])


def short_weight_gradient(
    features: Float[Tensor, "I Cin"], above: Float[Tensor, "O Cout"], kernel_map: KernelMap
) -> Float[Tensor, "K Cin Cout"]:
    """`weight_gradient` of what is rounded to bfloat16 where it is not; float32."""
    from sr3d_core.sparse.backends.numba_cpu.short_products import weight_gradient

    x, y = _bits(features.bfloat16()), _bits(_whole_vectors(above.bfloat16()))
    return _narrowed(_weight_gradient(weight_gradient, x, y, kernel_map), above.shape[1])


def _bits(x: Tensor) -> NDArray:
    """The bits of bfloat16, which NumPy does not know."""
    return _array(x.view(torch.int16)).view(np.uint16)


def _weight_gradient(
    function: Callable[..., None], x: NDArray, above: NDArray, kernel_map: KernelMap
) -> Float[Tensor, "K Cin Cout"]:
    pairs, num_kernel = kernel_map.form(list_pairs), len(kernel_map.neighbours)
    gradient = torch.zeros(num_kernel, x.shape[1], above.shape[1])
    num_tasks = 1
    if torch.get_num_threads() > 1 and pairs.work(gradient) > SINGLE_THREAD_WORK:
        num_tasks = min(TASKS_PER_THREAD * torch.get_num_threads(), num_kernel)
    args = (x, above, pairs.inputs, pairs.outputs, pairs.starts)
    threads.share(function, num_tasks, *args, num_tasks, gradient.numpy())
    return gradient


def _whole_vectors(x: Tensor) -> Tensor:
    """Zeros appended to the last dimension until it is a whole number of vectors."""
    missing = -x.shape[-1] % LANES
    return F.pad(x, (0, missing)) if missing else x


def _narrowed(x: Tensor, channels: int) -> Tensor:
    """Without the channels that were appended."""
    return x if x.shape[-1] == channels else x[..., :channels].contiguous()


def _array(x: Tensor) -> NDArray:
    """A tensor's numbers without gaps between them."""
    return x.detach().contiguous().numpy()


class MaxPool(Function):
    """Rows that tie share the gradient, as in torch's `amax`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel_map: KernelMap) -> Tensor:
        """Pool; keeps what the gradient needs."""
        x = features.detach().contiguous()
        y = x.new_empty(kernel_map.num_outputs, x.shape[1])
        seen = kernel_map.neighbours.numpy()
        num_tasks = int(seen.size * x.shape[1] / SINGLE_THREAD_WORK)
        threads.share(compiled.max_pool, num_tasks, x.numpy(), seen, POOL_BLOCK, y.numpy())
        ctx.save_for_backward(x, y)
        ctx.kernel_map = kernel_map
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient of the features."""
        x, y = ctx.saved_tensors
        gradient, above = torch.zeros_like(x), grads[0].contiguous()
        seen = ctx.kernel_map.neighbours.numpy()
        compiled.max_pool_gradient(x.numpy(), y.numpy(), above.numpy(), seen, gradient.numpy())
        return gradient, None
