"""An adapter for torchsparse 2.1: it multiplies where its rules are ours, on a GPU.

That is where a convolution keeps its voxels and its kernel is odd: outputs are the inputs, in
their order, and kernel offsets run along x first, as ours do. These are most of the work of our
networks. Strided, even and up-convolutions, whose output voxels it chooses by rules of its own,
go to the torch engine. It builds its own map for every call.

No machine with a GPU and torchsparse was at hand when this was written, so nothing is taken on
trust: when the engine is made, it convolves a few voxels both ways and refuses to start where the
results differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchsparse
from jaxtyping import Float, Int
from torch import Tensor
from torchsparse.nn import functional as torchsparse_functional

from sr3d_core.sparse.backends.native import TorchEngine, require_agreement
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex, same_map


@dataclass(slots=True, eq=False)
class SameMap(KernelMap):
    """A map whose outputs are its inputs, with what torchsparse needs to know of them."""

    coords: Int[Tensor, "V 4"] | None = None  # int32 scene, x, y, z, neighbours 1 apart
    kernel: int = 1


class TorchsparseEngine(TorchEngine):
    """Sparse convolution by torchsparse; for the methods see `Engine`."""

    name = "torchsparse"

    def __init__(self, device: str = "cuda") -> None:
        require_agreement(self, torch.device(device))

    def same_map(self, index: VoxelIndex, kernel: int) -> KernelMap:
        """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""
        plain = same_map(index, kernel)
        if kernel % 2 == 0:
            return plain
        coords = index.lattice.coords(index.numbers) - index.lattice.origin
        coords[:, 1:] //= index.lattice.stride
        return SameMap(
            plain.neighbours,
            plain.num_inputs,
            is_mirrored=plain.is_mirrored,
            coords=coords.int(),
            kernel=kernel,
        )

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""
        if not isinstance(kernel_map, SameMap) or features.dtype == torch.float64:
            return super().convolve(features, weight, kernel_map)
        x = torchsparse.SparseTensor(coords=kernel_map.coords, feats=features.contiguous())
        return torchsparse_functional.conv3d(x, weight, kernel_size=kernel_map.kernel).feats
