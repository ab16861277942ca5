"""What tests of engines share: the engines that run here, voxels, how near is near enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sr3d_core.sparse import engine as engines
from sr3d_core.sparse import kernel_map
from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.engine import Engine, engine_for
from sr3d_core.sparse.engine_list import ENGINES
from sr3d_core.sparse.tensor import MapCache, SparseTensor

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4  # of the largest value
NAMES = [name for name in ENGINES if name not in ("torch", "int8")]
"""Every engine but torch's, which is the reference; int8 rounds: see test_byte_engine.py."""

LOOKUPS = ["torch-table", "torch-search", "numba-bits", "numba-search"]
"""Engines, and their ways of finding a voxel's row."""


def engine_on_cpu(name: str) -> Engine:
    """The engine of this name; the test is skipped where it cannot run."""
    if "cpu" not in engines._devices(name):
        pytest.skip(f"{name} does not run on a CPU")
    pytest.importorskip(name)
    return engine_for(name, torch.device("cpu"))


def compiled_engine_on_cpu(name: str) -> Engine:
    """Only engines that are fast enough for whole networks on a CPU."""
    engine = engine_on_cpu(name)
    if engine.name == "triton":
        pytest.skip("too slow in Triton's interpreter")
    return engine


def engine_with_lookup(name: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """One of `LOOKUPS`; the test is skipped where the engine is missing."""
    name, lookup = name.split("-")
    pytest.importorskip(name)
    if name == "numba" and lookup == "search":
        monkeypatch.setattr("sr3d_core.sparse.backends.numba_cpu.kernel_map.MAX_BITS", 0)
    if lookup == "search":
        monkeypatch.setattr(kernel_map, "MAX_TABLE_CELLS", 0)
    return engine_for(name, torch.device("cpu"))


def voxels(
    engine: Engine, channels: int, stride: int = 2, num: int = 600, reach: int = 7, seed: int = 0
) -> SparseTensor:
    """Voxels of three scenes, at most `num`, and at most `reach` from the origin on each axis."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-reach, reach + 1, (num, 3), generator=generator) * stride
    scene = torch.randint(3, (num, 1), generator=generator)
    coords = torch.unique(torch.cat([scene, cells], 1), dim=0)
    coords = coords[torch.randperm(len(coords), generator=generator)]
    features = torch.randn(len(coords), channels, generator=generator)
    return SparseTensor(coords, features.requires_grad_(), stride, MapCache(engine))


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert found.is_contiguous()
    if len(expected):
        error, largest = (found - expected).abs().max(), expected.abs().max()
        assert float(error.detach()) <= tolerance * float(largest.detach())


def assert_agrees(
    engine: Engine, run: Callable[[Engine], tuple[SparseTensor, list[Tensor]]]
) -> None:
    """`run` gives an output and the leaves whose gradients count."""
    (y, leaves), (expected, expected_leaves) = run(engine), run(TorchEngine())
    assert torch.equal(y.coords, expected.coords)
    assert y.engine is engine
    assert_near(y.features, expected.features, OUTPUT_TOLERANCE)
    above = torch.randn(y.features.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(y.features, leaves, above)
    expected_gradients = torch.autograd.grad(expected.features, expected_leaves, above)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert_near(gradient, wanted, GRADIENT_TOLERANCE)
