"""The Triton engine: tables of neighbours as the torch engine makes them, own kernels on them.

Maps stay on the GPU. Their host waits are the torch engine's: one per numbered region (its size
decides the numbers) and one wherever the count of voxels is not known before, which is in
`first_rows`, `occupied_cells` and `grown_coords`. Maps, orders of rows, convolutions,
pooling and gradients wait for nothing. float64 goes to the torch engine, on the same maps.

The kernels are compiled when first used, once per channel counts, precision and tile; Triton
keeps them on disk. They were proven with Triton's interpreter on a CPU (TRITON_INTERPRET=1), not
yet on a GPU; so where there is one, the engine starts with a small trial against the torch
engine, and does not start where that fails.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.sparse.backends.autograd import Convolution
from sr3d_core.sparse.backends.native import TorchEngine, require_agreement
from sr3d_core.sparse.backends.triton_cuda.cache import find_room_for_kernels
from sr3d_core.sparse.backends.triton_cuda.launch import (
    PRECISIONS,
    products,
    weight_gradient,
)
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap


class TritonEngine(TorchEngine):
    """Sparse convolution on a GPU; for the methods see `Engine`."""

    name = "triton"

    def __init__(self) -> None:
        find_room_for_kernels()
        if torch.cuda.is_available():
            require_agreement(self, torch.device("cuda"))

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""
        if features.dtype == weight.dtype and features.dtype in PRECISIONS:
            return Convolution.apply(features, weight, kernel_map, products, weight_gradient)
        return super().convolve(features, weight, kernel_map)

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution, in one go; without gradients."""
        if features.dtype == weight.dtype and features.dtype in PRECISIONS:
            return products(features, weight, kernel_map, epilogue)
        return super().infer(features, weight, kernel_map, epilogue)
