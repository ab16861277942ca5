"""An adapter for spconv 2: our coordinates and maps, its products.

Only its indice-pair convolution is used, with the pairs of our own map, so every kernel, stride
and up-convolution means what it means elsewhere; its own rules for output voxels never apply.
Its weights are `(Cout, k0, k1, k2, Cin)`; since the pairs name the offsets, the three kernel axes
may hold ours in our order. The features' gradient is the same operation on the pairs read
backwards; the weight's gradient and what follows a convolution are the torch engine's.

With more than one OpenMP thread its CPU code writes wrong sums (seen with 2.3.8), so on a CPU it
runs under one thread. The CUDA builds take the same calls; that path has not been run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sr3d_core.sparse.backends.native import TorchEngine, weight_gradient
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its dependencies will have to change is not our matter
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

_ONE_AT_A_TIME = Lock()


class SpconvEngine(TorchEngine):
    """Sparse convolution by spconv; for the methods see `Engine`. float32 on a CPU, halves too
    on a GPU; other precisions go to the torch engine."""

    name = "spconv"

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""
        if not _suits(features, weight):
            return super().convolve(features, weight, kernel_map)
        return _Convolution.apply(features, weight, kernel_map)

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution; without gradients."""
        return epilogue(self.convolve(features, weight, kernel_map))


def _suits(features: Tensor, weight: Tensor) -> bool:
    if features.device.type == "cuda" and ops.CPU_ONLY_BUILD:
        raise ValueError(
            "backend 'spconv': this build of spconv has no CUDA code; "
            "install spconv-cu126 or the like, or use auto"
        )
    allowed = [torch.float32] + [torch.float16] * features.is_cuda
    return features.dtype == weight.dtype and features.dtype in allowed


@dataclass(frozen=True, slots=True, eq=False)
class IndicePairs:
    """Pairs as spconv takes them: those of each offset first, then -1."""

    pairs: Int[Tensor, "2 K M"]  # input rows, output rows
    sizes: Int[Tensor, " K"]


def indice_pairs(kernel_map: KernelMap) -> IndicePairs:
    """spconv's form of a map, made without waiting for the device."""
    seen = kernel_map.neighbours
    is_pair = seen >= 0
    num_kernel, num_outputs = seen.shape
    place = torch.where(is_pair, is_pair.cumsum(1) - 1, num_outputs)
    pairs = seen.new_full((2, num_kernel, num_outputs + 1), -1)
    pairs[0].scatter_(1, place, seen)
    row = torch.arange(num_outputs, dtype=seen.dtype, device=seen.device)
    pairs[1].scatter_(1, place, row.expand_as(seen))
    return IndicePairs(pairs[:, :, :num_outputs].contiguous(), is_pair.sum(1, dtype=torch.int32))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        return _products(features, weight, kernel_map, is_backwards=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        needs_features, needs_weight = ctx.needs_input_grad[:2]
        grad_features = grad_weight = None
        if needs_features:
            swapped = weight.transpose(1, 2)
            grad_features = _products(grads[0], swapped, kernel_map, is_backwards=True)
        if needs_weight:
            grad_weight = weight_gradient(features, grads[0], kernel_map)
        return grad_features, grad_weight, None


def _products(
    features: Tensor, weight: Tensor, kernel_map: KernelMap, is_backwards: bool
) -> Tensor:
    """The sums of all pairs, onto the outputs or, backwards, onto the inputs."""
    num_rows = kernel_map.num_inputs if is_backwards else kernel_map.num_outputs
    pairs = kernel_map.form(indice_pairs)
    num_kernel, before, after = weight.shape
    if not bool(pairs.sizes.any()):
        return features.new_zeros(num_rows, after)
    filters = weight.permute(2, 0, 1).reshape(after, num_kernel, 1, 1, before).contiguous()
    with _one_thread(features.device):
        return ops.indice_conv(
            *(features.contiguous(), filters, pairs.pairs, pairs.sizes, num_rows),
            *(is_backwards, False, ConvAlgo.Native),
        )


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU spconv is right under one thread only; callers take turns."""
    if device.type != "cpu":
        yield
        return
    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
