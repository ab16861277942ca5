"""What an engine does, and which one to take.

Layers own weights and decide which voxels come out; an engine finds rows, builds kernel maps and
multiplies. All engines give the same coordinates in the same order and, up to rounding, the same
features and gradients. An index and a kernel map belong to the engine that made them.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Backend = Literal["auto", "torch", "numba", "int8", "triton", "torchsparse", "spconv"]
"""Engines by name; `auto` is numba on a CPU and triton on a GPU where these are installed, else
torch alone. `int8` is numba with products of bytes at inference, on an x86 CPU with VNNI."""

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

    def occupied_cells(
        self, coords: Int[Tensor, "V 4"], stride: int
    ) -> tuple[Int[Tensor, "O 4"], Int[Tensor, " V"]]:
        """The cells of this stride that hold a voxel, sorted, and the row of each voxel's cell."""

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


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an engine is found, where it runs, and how to get what it needs."""

    module: str
    devices: tuple[str, ...]
    install: str = ""
    package: str = ""  # that it needs, where this has another name


_SOURCES = {
    "torch": _Source("native.TorchEngine", ("cpu", "cuda")),
    "numba": _Source("numba_cpu.engine.NumbaEngine", ("cpu",), "pip install numba"),
    "int8": _Source(
        "numba_cpu.byte_engine.ByteEngine", ("cpu",), "pip install numba", package="numba"
    ),
    "triton": _Source(
        "triton_cuda.engine.TritonEngine",
        ("cuda",),
        "pip install triton (Linux; torch's CUDA builds bring it)",
    ),
    "torchsparse": _Source(
        "torchsparse.TorchsparseEngine",
        ("cuda",),
        "build 2.1 from github.com/mit-han-lab/torchsparse (it is on no registry)",
    ),
    "spconv": _Source(
        "spconv.SpconvEngine",
        ("cpu", "cuda"),
        "pip install spconv for a CPU, spconv-cu126 or the like for CUDA (x86-64 Linux)",
    ),
}
ENGINE_NAMES: tuple[str, ...] = tuple(_SOURCES)
"""All engines, present or not."""


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
    if backend != "auto":
        return _load(backend, device)
    fastest = "numba" if device == "cpu" else "triton"
    try:
        return _load(fastest, device)
    except ValueError as error:
        _log.warning("%s; convolutions run on torch alone, which is slower", error)
        return _load("torch", device)


def _load(backend: str, device: str) -> Engine:
    source = _SOURCES[backend]
    if device not in _devices(backend):
        kinds = {"cpu": "a CPU", "cuda": "a GPU"}
        where = " or ".join(kinds[kind] for kind in source.devices)
        raise ValueError(
            f"backend {backend!r} runs on {where}, not on {device}; use auto or torch"
        )
    package = source.package or backend
    if source.install and importlib.util.find_spec(package) is None:
        raise ValueError(f"backend {backend!r} needs the package {package}: {source.install}")
    module, name = source.module.rsplit(".", 1)
    try:
        engine: Engine = getattr(
            importlib.import_module(f"sr3d_core.sparse.backends.{module}"), name
        )()
    except Exception as error:  # some packages ask for a GPU as they are imported
        raise ValueError(
            f"backend {backend!r} is installed but does not start: {type(error).__name__}: "
            f"{error}; use auto or torch, or install it again: {source.install}"
        ) from error
    return engine


def _devices(backend: str) -> tuple[str, ...]:
    """Triton's interpreter, which is for tests, runs kernels on a CPU."""
    if backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1":
        return ("cpu", "cuda")
    return _SOURCES[backend].devices
