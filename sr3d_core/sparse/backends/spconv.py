"""An adapter for spconv 2: our coordinates and maps, its products.

Only its indice-pair convolution is used, with the pairs of our own map, so every kernel, stride
and up-convolution means what it means elsewhere; its own rules for output voxels never apply.
Its weights are `(Cout, k0, k1, k2, Cin)`; since the pairs name the offsets, the three kernel axes
may hold ours in our order. The weight's gradient is the torch engine's.

With more than one OpenMP thread its CPU code writes wrong sums (seen with 2.3.8), so on a CPU it
runs under one thread. The CUDA builds take the same calls; that path has not been run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse.backends.autograd import Convolution
from sr3d_core.sparse.backends.native import TorchEngine, weight_gradient
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
        return Convolution.apply(features, weight, kernel_map, products, weight_gradient)


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
    """spconv's form of a map."""
    seen = kernel_map.neighbours
    is_pair = seen >= 0
    sizes = is_pair.sum(1, dtype=torch.int32)
    offset, row = is_pair.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=seen.device) - (sizes.cumsum(0) - sizes)[offset]
    pairs = seen.new_full((2, *seen.shape), -1)
    pairs[0, offset, place] = seen[offset, row]
    pairs[1, offset, place] = row.int()
    return IndicePairs(pairs, sizes)


def products(
    features: Float[Tensor, "I Cin"], weight: Float[Tensor, "K Cin Cout"], kernel_map: KernelMap
) -> Float[Tensor, "O Cout"]:
    """Every output row is the sum of its pairs' input rows times their offset's matrix."""
    pairs, num_rows = kernel_map.form(indice_pairs), kernel_map.num_outputs
    num_kernel, before, after = weight.shape
    if not bool(pairs.sizes.any()):
        return features.new_zeros(num_rows, after)
    filters = weight.permute(2, 0, 1).reshape(after, num_kernel, 1, 1, before).contiguous()
    with _one_thread(features.device):
        return ops.indice_conv(
            *(features.contiguous(), filters, pairs.pairs, pairs.sizes, num_rows),
            *(False, False, ConvAlgo.Native),
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
