"""Engines agree with the torch engine, and one is chosen as asked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sr3d_core.model.network import SR3D
from sr3d_core.sparse import engine as engines
from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.engine import Engine, engine_for
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d, MaxPool3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add
from sr3d_core.structures import PointCloud

CPU = torch.device("cpu")
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4  # of the largest value
SIZES = [(1, 1), (3, 16), (4, 20), (16, 7), (33, 65), (64, 64), (70, 96), (128, 131)]


@pytest.fixture(params=["numba"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine but torch's, where it is present."""
    pytest.importorskip(request.param)
    return engine_for(request.param, CPU)


def voxels(
    engine: Engine, channels: int, stride: int = 2, num: int = 600, scenes: int = 3, seed: int = 0
) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-7, 8, (num, 3), generator=generator) * stride
    scene = torch.randint(scenes, (num, 1), generator=generator)
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
    make: Callable[[int, int], Conv3d | GenerativeUpConv3d],
    before: int,
    after: int,
) -> None:
    torch.manual_seed(0)
    layer = make(before, after)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, before)
        return layer(x), [x.features, layer.kernel]

    assert_agrees(engine, run)


def test_strides_that_are_no_powers_of_two_agree(engine: Engine) -> None:
    down, up = Conv3d(4, 4, kernel=3, stride=2), GenerativeUpConv3d(4, 4)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 4, stride=6)
        return up(down(x)), [x.features, down.kernel, up.kernel]

    assert_agrees(engine, run)


def test_up_convolution_onto_voxels_agrees(engine: Engine) -> None:
    layer = GenerativeUpConv3d(5, 6)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x, skip = voxels(engine, 5, stride=4), voxels(engine, 3, stride=2, seed=1)
        return layer(x, onto=skip), [x.features, layer.kernel]

    assert_agrees(engine, run)


def test_convolutions_on_made_voxels_agree(engine: Engine) -> None:
    up, same = GenerativeUpConv3d(3, 5), Conv3d(5, 4, kernel=3)
    down = Conv3d(4, 6, kernel=3, stride=2)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x, skip = voxels(engine, 3, stride=4), voxels(engine, 5, stride=2, seed=1)
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


def test_gradients_of_features_that_are_not_contiguous(engine: Engine) -> None:
    layer = Conv3d(4, 4, kernel=3)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 8)
        return layer(x.replaced(x.features[:, ::2])), [x.features, layer.kernel]

    assert_agrees(engine, run)


@pytest.mark.parametrize("preset", ["lite", "scannet"])
def test_networks_agree(engine: Engine, preset: str) -> None:
    torch.manual_seed(0)
    network = SR3D.from_preset(preset).eval()
    xyz = torch.rand(300, 3)
    cloud = PointCloud(xyz, torch.rand(300, 3), (xyz[:, 0] > 0.5).long())
    with torch.no_grad():
        network.backend = "torch"
        expected = network.raw(cloud)
        network.backend = engine.name  # type: ignore[assignment]
        found = network.raw(cloud)
    for level, wanted in zip(found, expected, strict=True):
        assert torch.equal(level.coords, wanted.coords)
        assert_near(level.logits, wanted.logits, OUTPUT_TOLERANCE)
        assert_near(level.regression, wanted.regression, OUTPUT_TOLERANCE)


def test_inference_in_one_go_equals_step_by_step(engine: Engine) -> None:
    network = SR3D.from_preset("lite").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    nn.init.uniform_(tensor, 0.5, 1.5)
    network.backend = engine.name  # type: ignore[assignment]
    cloud = PointCloud.single(torch.rand(300, 3), torch.rand(300, 3))
    expected = network.raw(cloud)
    with torch.no_grad():
        found = network.raw(cloud)
    for level, wanted in zip(found, expected, strict=True):
        assert_near(level.logits, wanted.logits, OUTPUT_TOLERANCE)
        assert_near(level.regression, wanted.regression, OUTPUT_TOLERANCE)


def test_auto_is_numba_on_a_cpu_and_torch_elsewhere() -> None:
    pytest.importorskip("numba")
    assert engine_for("auto", CPU).name == "numba"
    assert engine_for("auto", torch.device("cuda")).name == "torch"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backend 'fast' is unknown, expected one of .*'numba'"):
        engine_for("fast", CPU)


def test_numba_does_not_run_on_a_gpu() -> None:
    with pytest.raises(ValueError, match="runs on a CPU, not on cuda; use auto or torch"):
        engine_for("numba", torch.device("cuda"))


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    engines._engine.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    yield
    engines._engine.cache_clear()


@pytest.mark.usefixtures("without_numba")
def test_without_numba_torch_takes_over_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    assert engine_for("auto", CPU).name == "torch"
    assert engine_for("auto", CPU).name == "torch"
    assert len(caplog.messages) == 1
    assert "numba is not installed" in caplog.messages[0]


@pytest.mark.usefixtures("without_numba")
def test_asking_for_numba_where_it_is_missing_says_what_to_install() -> None:
    with pytest.raises(ValueError, match="pip install numba"):
        engine_for("numba", CPU)


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
def test_narrower_vectors_agree_too() -> None:
    pytest.importorskip("numba")
    tests = ["convolutions_agree and k3s2", "convolutions_agree and up2", "pooling_agrees"]
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-x", __file__, "-k", " or ".join(tests)]
    started = {
        name: in_subprocess(*command, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
        for name, features in TARGETS.items()
    }
    for name, process in started.items():
        output = process.communicate()[0]
        assert process.returncode == 0, f"{name}:\n{output}"
