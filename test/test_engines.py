"""Every engine agrees with the torch engine: coordinates, features, gradients, whole networks."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from engine_cases import (
    NAMES,
    OUTPUT_TOLERANCE,
    assert_agrees,
    assert_near,
    compiled_engine_on_cpu,
    engine_on_cpu,
    voxels,
)
from torch import Tensor, nn

from sr3d_core.model.network import SR3D
from sr3d_core.sparse.engine import Engine
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d, MaxPool3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add
from sr3d_core.structures import PointCloud

SIZES = [(1, 1), (3, 16), (4, 20), (16, 7), (33, 65), (64, 64), (70, 96), (128, 131)]
INTERPRETED = (33, 65)
"""Of `SIZES`, the one that Triton's interpreter, which is slow, runs too."""


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.slow) if n == "triton" else n for n in NAMES]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    return engine_on_cpu(request.param)


@pytest.fixture
def some_voxels(engine: Engine) -> Callable[..., SparseTensor]:
    """`voxels`; only a few that touch each other for the interpreter, which is slow."""
    return partial(voxels, num=8, reach=1) if engine.name == "triton" else voxels


@pytest.fixture(params=NAMES)
def compiled_engine(request: pytest.FixtureRequest) -> Engine:
    return compiled_engine_on_cpu(request.param)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize(
    "make",
    [
        lambda before, after: Conv3d(before, after, kernel=1),
        lambda before, after: Conv3d(before, after, kernel=2),
        lambda before, after: Conv3d(before, after, kernel=3),
        lambda before, after: Conv3d(before, after, kernel=1, stride=2),
        lambda before, after: Conv3d(before, after, kernel=2, stride=2),
        lambda before, after: Conv3d(before, after, kernel=3, stride=2),
        lambda before, after: GenerativeUpConv3d(before, after, kernel=2),
        lambda before, after: GenerativeUpConv3d(before, after, kernel=3),
    ],
    ids=["k1s1", "k2s1", "k3s1", "k1s2", "k2s2", "k3s2", "up2", "up3"],
)
def test_convolutions_agree(
    engine: Engine,
    some_voxels: Callable[..., SparseTensor],
    make: Callable[[int, int], Conv3d | GenerativeUpConv3d],
    before: int,
    after: int,
) -> None:
    if engine.name == "triton" and (before, after) != INTERPRETED:
        pytest.skip("too slow in Triton's interpreter")
    torch.manual_seed(0)
    layer = make(before, after)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = some_voxels(engine, before)
        return layer(x), [x.features, layer.kernel]

    assert_agrees(engine, run)


def test_strides_that_are_no_powers_of_two_agree(compiled_engine: Engine) -> None:
    down, up = Conv3d(4, 4, kernel=3, stride=2), GenerativeUpConv3d(4, 4)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 4, stride=6)
        return up(down(x)), [x.features, down.kernel, up.kernel]

    assert_agrees(compiled_engine, run)


def test_up_convolution_onto_voxels_agrees(
    engine: Engine, some_voxels: Callable[..., SparseTensor]
) -> None:
    layer = GenerativeUpConv3d(5, 6)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = some_voxels(engine, 5, stride=4)
        skip = some_voxels(engine, 3, stride=2, seed=1)
        return layer(x, onto=skip), [x.features, layer.kernel]

    assert_agrees(engine, run)


def test_convolutions_on_made_voxels_agree(
    engine: Engine, some_voxels: Callable[..., SparseTensor]
) -> None:
    up, same = GenerativeUpConv3d(3, 5), Conv3d(5, 4, kernel=3)
    down = Conv3d(4, 6, kernel=3, stride=2)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x, skip = some_voxels(engine, 3, stride=4), some_voxels(engine, 5, stride=2, seed=1)
        y = down(same(union_add(skip, up(x))))
        return y, [x.features, skip.features, up.kernel, same.kernel, down.kernel]

    assert_agrees(engine, run)


def test_pooling_agrees_and_ties_share_the_gradient(engine: Engine) -> None:
    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 6)
        features = x.features.detach().relu().requires_grad_()  # half of them are 0
        return MaxPool3d()(x.replaced(features)), [features]

    assert_agrees(engine, run)


def test_union_agrees(engine: Engine) -> None:
    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        a, b = voxels(engine, 6), voxels(engine, 6, seed=1)
        return union_add(a, b), [a.features, b.features]

    assert_agrees(engine, run)


def test_outputs_that_see_nothing_are_zero(engine: Engine) -> None:
    x = SparseTensor(torch.tensor([[0, 1, 1, 1]]), torch.ones(1, 5), 1, MapCache(engine))
    y = Conv3d(5, 3, kernel=1, stride=2)(x)  # the corner of the cell is empty
    assert torch.equal(y.features, torch.zeros(1, 3))


def test_gradients_of_features_that_are_not_contiguous(
    engine: Engine, some_voxels: Callable[..., SparseTensor]
) -> None:
    layer = Conv3d(4, 4, kernel=3)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = some_voxels(engine, 8)
        return layer(x.replaced(x.features[:, ::2])), [x.features, layer.kernel]

    assert_agrees(engine, run)


@pytest.mark.parametrize("preset", ["lite", "scannet"])
@pytest.mark.slow
def test_networks_agree(compiled_engine: Engine, preset: str) -> None:
    torch.manual_seed(0)
    network = SR3D.from_preset(preset).eval()
    xyz = torch.rand(300, 3)
    cloud = PointCloud(xyz, torch.rand(300, 3), (xyz[:, 0] > 0.5).long())
    with torch.no_grad():
        network.backend = "torch"
        expected = network.raw(cloud)
        network.backend = compiled_engine.name
        found = network.raw(cloud)
    for level, wanted in zip(found, expected, strict=True):
        assert torch.equal(level.coords, wanted.coords)
        assert_near(level.logits, wanted.logits, OUTPUT_TOLERANCE)
        assert_near(level.regression, wanted.regression, OUTPUT_TOLERANCE)


def test_inference_in_one_go_equals_step_by_step(compiled_engine: Engine) -> None:
    network = SR3D.from_preset("lite").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    nn.init.uniform_(tensor, 0.5, 1.5)
    network.backend = compiled_engine.name
    cloud = PointCloud.single(torch.rand(300, 3), torch.rand(300, 3))
    expected = network.raw(cloud)
    with torch.no_grad():
        found = network.raw(cloud)
    for level, wanted in zip(found, expected, strict=True):
        assert_near(level.logits, wanted.logits, OUTPUT_TOLERANCE)
        assert_near(level.regression, wanted.regression, OUTPUT_TOLERANCE)


def in_subprocess(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


TARGETS = {"generic": "", "haswell": "+avx,+avx2,+fma"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86 processors")
@pytest.mark.slow
def test_narrower_vectors_agree_too() -> None:
    pytest.importorskip("numba")
    tests = ["convolutions_agree and k3s2", "convolutions_agree and up2", "pooling_agrees"]
    command = [
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-x",
        __file__,
        "-k",
        f"numba and ({' or '.join(tests)})",
    ]
    started = {
        name: in_subprocess(*command, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
        for name, features in TARGETS.items()
    }
    for name, process in started.items():
        output = process.communicate()[0]
        assert process.returncode == 0, f"{name}:\n{output}"
