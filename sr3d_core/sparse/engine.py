"""What an engine does, and which one to take.

Layers own weights and decide which voxels come out; an engine finds rows, builds kernel maps and
multiplies. All engines give the same coordinates in the same order and, up to rounding, the same
features and gradients. An index and a kernel map belong to the engine that made them.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Backend = Literal["auto", "torch", "numba", "int8"]
"""Engines by name; `auto` is numba on a CPU where it is installed, torch elsewhere.

`int8` is numba with products of bytes at inference, on an x86 CPU with VNNI.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Epilogue:
    """What follows a convolution at inference: batch norm, a shortcut, ReLU."""

    scale: Float[Tensor, " C"]
    shift: Float[Tensor, " C"]
    shortcut: Float[Tensor, "O C"] | None = None
    is_rectified: bool = True

    def __call__(self, y: Float[Tensor, "O C"]) -> Float[Tensor, "O C"]:
        """`relu(scale * y + shift + shortcut)`, in y's precision."""
        result = torch.addcmul(self.shift, y, self.scale)
        if self.shortcut is not None:
            result = result + self.shortcut
        if self.is_rectified:
            result = result.relu()
        return result.to(y.dtype)


@runtime_checkable
class Engine(Protocol):
    """Sparse convolution on one kind of device."""

    name: str

    def first_rows(self, coords: Int[Tensor, "N 4"]) -> Int[Tensor, " V"]:
        """The first row of every distinct coordinate, in row order; there is at least one."""

    def index(self, coords: Int[Tensor, "V 4"], stride: int) -> Any:
        """Finds the rows of these voxels; there is at least one."""

    def same_map(self, index: Any, kernel: int) -> Any:
        """The map of a stride-1 convolution: outputs sit exactly where inputs sit."""

    def down_coords(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The cells of a coarser stride that hold a voxel, sorted, and each voxel's cell."""

    def down_map(self, index: Any, coarse: Int[Tensor, "O 4"], kernel: int) -> Any:
        """The map of a strided convolution onto `coarse`."""

    def cell_map(
        self,
        coords: Int[Tensor, "V 4"],
        coarse: Int[Tensor, "O 4"],
        row: Int[Tensor, " V"],
        stride: int,
        kernel: int,
    ) -> Any:
        """The map where kernel and factor are equal; `row` is each voxel's cell in `coarse`."""

    def grown_coords(
        self, coords: Int[Tensor, "V 4"], stride: int, kernel: int
    ) -> Int[Tensor, "O 4"]:
        """The voxels of the finer `stride` that a generative up-convolution creates, sorted."""

    def up_map(self, coords: Int[Tensor, "V 4"], fine: Any, kernel: int) -> Any:
        """The map of a transposed convolution onto the voxels of the index `fine`."""

    def distinct(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The distinct coordinates, sorted, and the row of each voxel among them."""

    def convolve(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: Any,
    ) -> Float[Tensor, "O Cout"]:
        """`y[o] = sum over pairs (k, i, o) of x[i] W[k]`; differentiable in both."""

    def infer(
        self,
        features: Float[Tensor, "I Cin"],
        weight: Float[Tensor, "K Cin Cout"],
        kernel_map: Any,
        epilogue: Epilogue,
    ) -> Float[Tensor, "O Cout"]:
        """The epilogue of a convolution, in one go; without gradients."""

    def max_pool(self, features: Float[Tensor, "I C"], kernel_map: Any) -> Float[Tensor, "O C"]:
        """The channel-wise maximum over each output's inputs; every output has at least one."""


def engine_for(backend: str, device: torch.device) -> Engine:
    """The engine of this name for tensors on this device.

    Raises ValueError where the name is unknown, or the engine does not run on the device or is not
    installed.
    """
    return _engine(backend, device.type)


@cache
def _engine(backend: str, device: str) -> Engine:
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is unknown, expected one of {get_args(Backend)}")
    has_numba = importlib.util.find_spec("numba") is not None
    if backend in ("numba", "int8") and device != "cpu":
        raise ValueError(f"backend {backend!r} runs on a CPU, not on {device}; use auto or torch")
    if backend in ("numba", "int8") and not has_numba:
        raise ValueError(f"backend {backend!r} needs the package numba: pip install numba")
    if backend == "auto" and device == "cpu" and not has_numba:
        _log.warning("numba is not installed: convolutions run on torch alone, at half the speed")
    if backend == "int8":
        return _byte_engine()
    if backend != "torch" and device == "cpu" and has_numba:
        from sr3d_core.sparse.backends.numba_cpu.engine import NumbaEngine

        return NumbaEngine()
    from sr3d_core.sparse.backends.native import TorchEngine

    return TorchEngine()


def _byte_engine() -> Engine:
    from sr3d_core.sparse.backends.numba_cpu.machine_code import has_byte_products

    if not has_byte_products():
        raise ValueError("backend 'int8' needs an x86 CPU with VNNI, this has none; use auto")
    from sr3d_core.sparse.backends.numba_cpu.byte_engine import ByteEngine

    return ByteEngine()
