"""Engines agree with the torch engine, and one is chosen as asked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from sr3d_core.config import Network
from sr3d_core.detector import Detector
from sr3d_core.model.network import SR3D
from sr3d_core.sparse import engine as engines
from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.engine import Engine, engine_for
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d, MaxPool3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add
from sr3d_core.structures import PointCloud
from sr3d_ros.params import specifications

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4  # of the largest value
SIZES = [(1, 1), (3, 16), (4, 20), (16, 7), (33, 65), (64, 64), (70, 96), (128, 131)]


INTERPRETED = (33, 65)
"""Of `SIZES`, the one that Triton's interpreter, which is slow, runs too."""


@pytest.fixture(params=[name for name in engines.ENGINE_NAMES if name not in ("torch", "int8")])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Every engine but torch's, where it can run; int8 rounds: see test_byte_engine.py."""
    if "cpu" not in engines._devices(request.param):
        pytest.skip(f"{request.param} does not run on a CPU")
    pytest.importorskip(request.param)
    engine = engine_for(request.param, CPU)
    if engine.name == "triton":
        from sr3d_core.sparse.backends.triton_cuda import launch

        large = launch.Tile(rows=1024, columns=128, depth=64, warps=4)  # fewer steps to interpret
        monkeypatch.setattr(launch, "tile_for", lambda *_: large)
        monkeypatch.setattr(launch, "gradient_tile_for", lambda *_: large)
    return engine


@pytest.fixture
def compiled_engine(engine: Engine) -> Engine:
    """Those that are fast enough for whole networks on a CPU."""
    if engine.name == "triton":
        pytest.skip("too slow in Triton's interpreter")
    return engine


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
    if engine.name == "triton" and (before, after) != INTERPRETED:
        pytest.skip("too slow in Triton's interpreter")
    torch.manual_seed(0)
    layer = make(before, after)
    num = 40 if engine.name == "triton" else 600

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, before, num=num)
        return layer(x), [x.features, layer.kernel]

    assert_agrees(engine, run)


def test_strides_that_are_no_powers_of_two_agree(compiled_engine: Engine) -> None:
    down, up = Conv3d(4, 4, kernel=3, stride=2), GenerativeUpConv3d(4, 4)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 4, stride=6)
        return up(down(x)), [x.features, down.kernel, up.kernel]

    assert_agrees(compiled_engine, run)


def test_up_convolution_onto_voxels_agrees(engine: Engine) -> None:
    layer = GenerativeUpConv3d(5, 6)

    def run(engine: Engine) -> tuple[SparseTensor, list[Tensor]]:
        x = voxels(engine, 5, stride=4, num=100)
        skip = voxels(engine, 3, stride=2, num=300, seed=1)
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
        x = voxels(engine, 8, num=100)
        return layer(x.replaced(x.features[:, ::2])), [x.features, layer.kernel]

    assert_agrees(engine, run)


@pytest.mark.parametrize("preset", ["lite", "scannet"])
def test_networks_agree(compiled_engine: Engine, preset: str) -> None:
    torch.manual_seed(0)
    network = SR3D.from_preset(preset).eval()
    xyz = torch.rand(300, 3)
    cloud = PointCloud(xyz, torch.rand(300, 3), (xyz[:, 0] > 0.5).long())
    with torch.no_grad():
        network.backend = "torch"
        expected = network.raw(cloud)
        network.backend = compiled_engine.name  # type: ignore[assignment]
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
    network.backend = compiled_engine.name  # type: ignore[assignment]
    cloud = PointCloud.single(torch.rand(300, 3), torch.rand(300, 3))
    expected = network.raw(cloud)
    with torch.no_grad():
        found = network.raw(cloud)
    for level, wanted in zip(found, expected, strict=True):
        assert_near(level.logits, wanted.logits, OUTPUT_TOLERANCE)
        assert_near(level.regression, wanted.regression, OUTPUT_TOLERANCE)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_exactly_what_one_gives(compiled_engine: Engine) -> None:
    layer = Conv3d(64, 64, kernel=3)

    def run() -> list[Tensor]:
        x = voxels(compiled_engine, 64, num=3000)
        y = layer(x).features
        return [y, *torch.autograd.grad(y.square().sum(), [x.features, layer.kernel])]

    found = run()
    torch.set_num_threads(1)
    # torch's own products, which make spconv's weight gradients, add up in another order.
    tolerance = 0.0 if compiled_engine.name == "numba" else OUTPUT_TOLERANCE
    for each, expected in zip(found, run(), strict=True):
        assert_near(each, expected, tolerance)


@pytest.mark.usefixtures("two_threads")
def test_several_callers_at_once_do_not_disturb_each_other(compiled_engine: Engine) -> None:
    layer = Conv3d(64, 64, kernel=3)

    def run(seed: int) -> Tensor:
        with torch.no_grad():
            return layer(voxels(compiled_engine, 64, num=3000, seed=seed)).features

    expected = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as callers:
        for _ in range(3):
            for found, wanted in zip(callers.map(run, range(4)), expected, strict=True):
                assert torch.equal(found, wanted)


def test_auto_is_numba_on_a_cpu() -> None:
    pytest.importorskip("numba")
    assert engine_for("auto", CPU).name == "numba"


def test_auto_is_triton_on_a_gpu() -> None:
    pytest.importorskip("triton")
    assert engine_for("auto", GPU).name == "triton"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backend 'fast' is unknown, expected one of .*'numba'"):
        engine_for("fast", CPU)


def test_numba_does_not_run_on_a_gpu() -> None:
    with pytest.raises(ValueError, match="runs on a CPU, not on cuda; use auto or torch"):
        engine_for("numba", GPU)


def test_torchsparse_does_not_run_on_a_cpu() -> None:
    with pytest.raises(ValueError, match="runs on a GPU, not on cpu; use auto or torch"):
        engine_for("torchsparse", CPU)


def test_configuration_and_node_offer_every_engine() -> None:
    offered = get_type_hints(Network)["backend"]
    assert offered == engines.Backend
    (parameter,) = (each for each in specifications() if each.name == "model.backend")
    assert parameter.choices == get_args(engines.Backend)


def test_a_detector_takes_its_engine_by_name() -> None:
    detector = Detector.from_checkpoint(device="cpu", backend="torch")
    assert detector.network.backend == "torch"
    with pytest.raises(ValueError, match="backend 'fast' is unknown"):
        Detector.from_checkpoint(device="cpu", backend="fast")


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    engines._engine.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    yield
    engines._engine.cache_clear()


@pytest.mark.usefixtures("without_packages")
@pytest.mark.parametrize(("device", "missing"), [(CPU, "numba"), (GPU, "triton")])
def test_where_the_fast_engine_is_missing_torch_takes_over_and_says_so_once(
    device: torch.device, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert engine_for("auto", device).name == "torch"
    assert engine_for("auto", device).name == "torch"
    assert len(caplog.messages) == 1
    assert f"needs the package {missing}" in caplog.messages[0]


@pytest.mark.usefixtures("without_packages")
@pytest.mark.parametrize(
    ("backend", "advice"),
    [
        ("numba", "pip install numba"),
        ("triton", "pip install triton"),
        ("spconv", "pip install spconv"),
        ("torchsparse", "build 2.1 from github"),
    ],
)
def test_asking_for_a_missing_engine_says_what_to_install(backend: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        engine_for(backend, CPU if backend in ("numba", "spconv") else GPU)


def test_an_engine_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    engines._engine.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "torchsparse", None)
    with pytest.raises(ValueError, match="installed but does not start: ModuleNotFoundError"):
        engine_for("torchsparse", GPU)


def test_a_torchsparse_that_multiplies_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in: torchsparse needs a GPU to be imported."""
    package, functional = ModuleType("torchsparse"), ModuleType("torchsparse.nn.functional")
    package.SparseTensor = lambda coords, feats: SimpleNamespace(feats=feats)  # type: ignore
    functional.conv3d = lambda x, weight, kernel_size: x  # type: ignore[attr-defined]
    nn_module = ModuleType("torchsparse.nn")
    nn_module.functional = functional  # type: ignore[attr-defined]
    for module in (package, nn_module, functional):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    name = "sr3d_core.sparse.backends.torchsparse"
    monkeypatch.delitem(sys.modules, name, raising=False)
    adapter = import_module(name)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RuntimeError, match="differs from the torch engine"):
        adapter.TorchsparseEngine("cpu")


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
