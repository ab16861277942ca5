"""What an engine does, and how the one that is asked for is loaded.

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
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.sparse.engine_list import BACKENDS, ENGINES, FASTEST

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
    is_short_faster: bool
    """Whether it multiplies bfloat16, summed in float32, faster than float32, as was measured."""

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


def engine_for(backend: str, device: torch.device) -> Engine:
    """The engine of this name for tensors on this device.

    Raises ValueError where the name is unknown, or the engine does not run on the device or is not
    installed.
    """
    return _engine(backend, device.type)


@cache
def _engine(backend: str, device: str) -> Engine:
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown, expected one of {', '.join(BACKENDS)}")
    if backend != "auto":
        return _load(backend, device)
    try:
        return _load(FASTEST.get(device, "torch"), device)
    except ValueError as error:
        _log.warning("%s; convolutions run on torch alone, which is slower", error)
        return _load("torch", device)


def _load(backend: str, device: str) -> Engine:
    entry = ENGINES[backend]
    if device not in _devices(backend):
        kinds = {"cpu": "a CPU", "cuda": "a GPU"}
        where = " or ".join(kinds[kind] for kind in entry.devices)
        raise ValueError(
            f"backend {backend!r} runs on {where}, not on {device}; use auto or torch"
        )
    if entry.package and importlib.util.find_spec(entry.package) is None:
        raise ValueError(f"backend {backend!r} needs the package {entry.package}: {entry.install}")
    module, name = entry.place.rsplit(".", 1)
    try:
        engine: Engine = getattr(
            importlib.import_module(f"sr3d_core.sparse.backends.{module}"), name
        )()
    except Exception as error:  # some packages ask for a GPU as they are imported
        raise ValueError(
            f"backend {backend!r} is installed but does not start: {type(error).__name__}: "
            f"{error}; use auto or torch, or install it again: {entry.install}"
        ) from error
    return engine


def _devices(backend: str) -> tuple[str, ...]:
    """Triton's interpreter, which is for tests, runs kernels on a CPU."""
    if backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1":
        return ("cpu", "cuda")
    return ENGINES[backend].devices
