"""The numba engine with convolutions of bytes at inference, for x86 CPUs with VNNI.

Weights become signed bytes with a scale per output channel, features unsigned bytes with a scale
per voxel, measured on the spot: any weights run without calibration. What cannot be bytes, or
would not gain, is float32: gradients, features below zero, few channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from sr3d_core.sparse.backends.numba_cpu import byte_products, threads
from sr3d_core.sparse.backends.numba_cpu.engine import NumbaEngine
from sr3d_core.sparse.backends.numba_cpu.kernel_map import MAX_BLOCK, list_pairs
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import LANES
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap

MIN_CHANNELS = 16
"""With fewer input channels, such as the first convolution has, bytes gain nothing."""
SINGLE_THREAD_WORK = 3e7
"""Below so many operations, waking another thread costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class _ByteRows:
    """Features that are not negative: about `rows * scales[:, None]`."""

    rows: NDArray  # (N, C) uint8, the largest number of a row is 255
    scales: NDArray  # (N,) float32

    @classmethod
    def empty(cls, num_rows: int, channels: int) -> _ByteRows:
        """Room for so many rows."""
        return cls(np.empty((num_rows, channels), np.uint8), np.empty(num_rows, np.float32))

    @classmethod
    def of(cls, features: Tensor) -> _ByteRows | None:
        """Round features; None where some are negative."""
        x = features.detach().contiguous().numpy()
        bytes_ = cls.empty(*x.shape)
        num_negative: list[int] = []  # of each thread

        def work(counter: NDArray) -> None:
            found = byte_products.to_bytes(counter, x, MAX_BLOCK, bytes_.rows, bytes_.scales)
            num_negative.append(found)

        threads.share(work, len(x) // (8 * MAX_BLOCK))
        return None if any(num_negative) else bytes_


@dataclass(frozen=True, slots=True, eq=False)
class _ByteWeight:
    """A convolution's weight as bytes."""

    version: int  # of the tensor it was made of
    matrices: NDArray  # (K, Cin / 4, Cout, 4) int8
    scale: Float[Tensor, " Cout"]

    @classmethod
    def of(cls, weight: Float[Tensor, "K Cin Cout"], version: int) -> _ByteWeight:
        """Round a weight: the largest number of an output channel becomes 127."""
        weight = weight.detach()
        scale = weight.abs().amax((0, 1)).clamp(min=1e-30) / 127
        rounded = (weight / scale).round().to(torch.int8)
        quads = rounded.unflatten(1, (-1, 4)).transpose(2, 3).contiguous()
        return cls(version, quads.numpy(), scale)


class ByteEngine(NumbaEngine):
    """Sparse convolution of bytes; gradients are those of the numba engine.

    It remembers, for as long as these tensors live, the bytes of weights and of features that it
    has given or seen; features must not be changed in place.
    """

    name = "int8"

    def __init__(self) -> None:
        super().__init__()
        self._weights = WeakIdKeyDictionary()
        self._features = WeakIdKeyDictionary()

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: KernelMap,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution of bytes, in one go; without gradients."""
        seen = None
        if _is_suited(features, weight, epilogue):
            seen = self._bytes_of(features)
        if seen is None:
            return super().infer(features, weight, kernel_map, epilogue)
        y, rows = _convolve(seen, self._weight_of(weight), kernel_map, epilogue)
        if rows is not None:
            self._features[y] = rows
        return y

    def _bytes_of(self, features: Tensor) -> _ByteRows | None:
        if features not in self._features:
            self._features[features] = _ByteRows.of(features)
        return self._features[features]

    def _weight_of(self, weight: Tensor) -> _ByteWeight:
        version = 0 if weight.is_inference() else weight._version
        known: _ByteWeight | None = self._weights.get(weight)
        if known is None or known.version != version:
            known = self._weights[weight] = _ByteWeight.of(weight, version)
        return known


def _is_suited(features: Tensor, weight: Tensor, epilogue: Epilogue) -> bool:
    _, before, after = weight.shape
    is_single = features.dtype == weight.dtype == epilogue.scale.dtype == torch.float32
    is_even = before % 4 == 0 and after % LANES == 0
    return is_single and is_even and before >= MIN_CHANNELS


def _convolve(
    x: _ByteRows, weight: _ByteWeight, kernel_map: KernelMap, epilogue: Epilogue
) -> tuple[Tensor, _ByteRows | None]:
    """The output and, where it is rectified, its bytes."""
    pairs, matrices = kernel_map.form(list_pairs), weight.matrices
    _, quarter, width, _ = matrices.shape
    y = torch.empty(pairs.num_outputs, width)
    rows = _ByteRows.empty(pairs.num_outputs if epilogue.is_rectified else 0, width)
    shortcut = y if epilogue.shortcut is None else epilogue.shortcut.contiguous()
    args = (
        *(x.rows, x.scales, matrices, pairs.inputs, pairs.outputs, pairs.starts),
        *(pairs.block, y.numpy()),
        *((weight.scale * epilogue.scale).detach().numpy(), epilogue.shift.detach().numpy()),
        *(shortcut.detach().numpy(), shortcut is not y, epilogue.is_rectified),
        *(rows.rows, rows.scales),
    )
    work = 8.0 * pairs.num_pairs * quarter * width
    num_tasks = len(pairs.starts) if work > SINGLE_THREAD_WORK else 1
    threads.share(byte_products.convolve_bytes, num_tasks, *args)
    return y, rows if epilogue.is_rectified else None
