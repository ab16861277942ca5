"""The engine of bytes: exact where numbers are bytes, close elsewhere, else float32."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sr3d_core.detector import Detector
from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.engine import Engine, Epilogue, engine_for
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor

binding = pytest.importorskip("llvmlite.binding")
machine_code = pytest.importorskip("sr3d_core.sparse.backends.numba_cpu.machine_code")

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
needs_vnni = pytest.mark.skipif(not machine_code.has_byte_products(), reason="a CPU without VNNI")
LAYERS = {
    "k3s1": lambda before, after: Conv3d(before, after, kernel=3),
    "k1s2": lambda before, after: Conv3d(before, after, kernel=1, stride=2),
    "k3s2": lambda before, after: Conv3d(before, after, kernel=3, stride=2),
    "up3": lambda before, after: GenerativeUpConv3d(before, after),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def voxels(features: Tensor, engine: Engine) -> SparseTensor:
    cells = torch.cartesian_prod(*(torch.arange(13) for _ in range(3)))
    rows = torch.randperm(len(cells), generator=generator())[: len(features)]
    coords = torch.nn.functional.pad(2 * cells[rows], (1, 0))
    return SparseTensor(coords, features, 2, MapCache(engine))


def epilogue(channels: int, shortcut: Tensor | None = None, is_rectified: bool = True) -> Epilogue:
    scale, shift = torch.rand(2, channels, generator=generator(1))
    return Epilogue(scale + 0.5, shift, shortcut, is_rectified)


def byte_like(num: int, channels: int) -> Tensor:
    """Features that bytes hold exactly: whole numbers, the largest of each row 255."""
    features = torch.randint(0, 256, (num, channels), generator=generator()).float()
    features[:, 0] = 255
    return features * 0.125


def make_byte_like(layer: Conv3d | GenerativeUpConv3d) -> None:
    """Weights that bytes hold exactly: whole numbers, the largest of each output channel 127."""
    shape = layer.kernel.shape
    weight = torch.randint(-127, 128, shape, generator=generator()).float()
    weight[0, 0] = 127
    layer.kernel.data = weight / 64


def output(
    layer: Conv3d | GenerativeUpConv3d, features: Tensor, engine: Engine, after: Epilogue
) -> Tensor:
    with torch.no_grad():
        return layer(voxels(features, engine), epilogue=after).features


def error(found: Tensor, expected: Tensor) -> float:
    """The largest error as a share of the largest value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@needs_vnni
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("before", "after"), [(16, 16), (32, 64), (64, 96), (100, 48), (64, 20)])
def test_numbers_that_bytes_hold_are_multiplied_exactly(
    layer: str, before: int, after: int
) -> None:
    conv = LAYERS[layer](before, after)
    make_byte_like(conv)
    features = byte_like(700, before)
    found = output(conv, features, engine_for("int8", CPU), epilogue(after))
    assert error(found, output(conv, features, TorchEngine(), epilogue(after))) < 1e-5


@needs_vnni
def test_other_numbers_are_rounded() -> None:
    conv, features = Conv3d(64, 64, kernel=3), torch.rand(1500, 64, generator=generator())
    found = output(conv, features, engine_for("int8", CPU), epilogue(64))
    expected = output(conv, features, TorchEngine(), epilogue(64))
    assert 1e-5 < error(found, expected) < 0.01


@needs_vnni
def test_shortcuts_are_added_and_outputs_may_stay_below_zero() -> None:
    conv, features = Conv3d(32, 32, kernel=3), byte_like(700, 32)
    make_byte_like(conv)
    after = epilogue(32, torch.randn(700, 32, generator=generator()), is_rectified=False)
    found = output(conv, features, engine_for("int8", CPU), after)
    assert float(found.min()) < 0
    assert error(found, output(conv, features, TorchEngine(), after)) < 1e-5


@needs_vnni
def test_a_large_value_costs_precision_in_its_own_voxel_alone() -> None:
    conv, features = Conv3d(32, 32, kernel=1), torch.rand(9, 32, generator=generator())
    found = output(conv, features, engine_for("int8", CPU), epilogue(32))
    features = features.clone()
    features[4, 5] = 1e6
    changed = output(conv, features, engine_for("int8", CPU), epilogue(32))
    is_same = (found == changed).all(dim=1)
    assert is_same.tolist() == [row != 4 for row in range(9)]


@needs_vnni
def test_features_of_zero_give_the_shift() -> None:
    conv, after = Conv3d(32, 32, kernel=3), epilogue(32)
    found = output(conv, torch.zeros(9, 32), engine_for("int8", CPU), after)
    assert torch.equal(found, after.shift.expand(9, 32))


@needs_vnni
@pytest.mark.parametrize(("channels", "sign"), [(32, -1), (4, 1)], ids=["below zero", "few"])
def test_what_cannot_be_bytes_is_float32(channels: int, sign: int) -> None:
    conv = Conv3d(channels, 32, kernel=3)
    features = sign * torch.rand(500, channels, generator=generator())
    found = output(conv, features, engine_for("int8", CPU), epilogue(32))
    assert torch.equal(found, output(conv, features, engine_for("numba", CPU), epilogue(32)))


@needs_vnni
def test_outputs_pass_on_the_bytes_that_their_numbers_round_to() -> None:
    conv, engine = Conv3d(32, 32, kernel=3), engine_for("int8", CPU)
    y = output(conv, torch.rand(700, 32, generator=generator()), engine, epilogue(32))
    found = output(conv, y, engine, epilogue(32))
    assert torch.equal(found, output(conv, y.clone(), engine, epilogue(32)))


@needs_vnni
def test_a_weight_that_changes_is_rounded_anew() -> None:
    conv, features = Conv3d(32, 32, kernel=3), torch.rand(700, 32, generator=generator())
    after = Epilogue(torch.ones(32), torch.zeros(32))
    before = output(conv, features, engine_for("int8", CPU), after)
    with torch.no_grad():
        conv.kernel.mul_(2)
    assert torch.equal(output(conv, features, engine_for("int8", CPU), after), 2 * before)


@needs_vnni
def test_gradients_are_those_of_the_numba_engine() -> None:
    conv, found = Conv3d(32, 32, kernel=3), []
    for name in ("int8", "numba"):
        y = conv(voxels(torch.rand(500, 32, generator=generator()), engine_for(name, CPU)))
        found.append(torch.autograd.grad(y.features.square().sum(), conv.kernel)[0])
    assert torch.equal(*found)


@needs_vnni
def test_two_threads_give_exactly_what_one_gives() -> None:
    conv, features = Conv3d(64, 64, kernel=3), torch.rand(2100, 64, generator=generator())
    one = output(conv, features, engine_for("int8", CPU), epilogue(64))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = output(conv, features.clone(), engine_for("int8", CPU), epilogue(64))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, two)


@needs_vnni
def test_the_shipped_weights_find_the_same_objects() -> None:
    detector = Detector.from_checkpoint("default", device="cpu")
    with np.load(ROOT / "sr3d_core" / "data" / "sample" / "room.npz") as room:
        xyz, rgb = room["xyz"], room["rgb"]
    expected = detector(xyz, rgb)
    detector.network.backend = "int8"
    found = detector(xyz, rgb)
    assert int((expected.scores > 0.3).sum()) > 3
    for sure, others in ((expected, found), (found, expected)):
        is_sure = sure.scores > 0.3
        away = torch.cdist(sure.boxes.center[is_sure], others.boxes.center)
        away[sure.labels[is_sure][:, None] != others.labels] = torch.inf
        nearest = away.min(dim=1)
        assert float(nearest.values.max()) < 0.03
        torch.testing.assert_close(
            others.scores[nearest.indices], sure.scores[is_sure], rtol=0, atol=0.02
        )


def run(*arguments: str, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.stdout + process.stderr


ASK = """
import torch
from sr3d_core.sparse.engine import engine_for
engine_for("int8", torch.device("cpu"))
"""


@pytest.mark.slow
def test_a_cpu_without_vnni_is_told_to_use_another_engine() -> None:
    output = run("-c", ASK, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert "VNNI" in output
    assert "use auto" in output


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86 processors")
@pytest.mark.slow
def test_narrower_vectors_are_exact_too() -> None:
    if not binding.get_host_cpu_features().get("avxvnni"):
        pytest.skip("a CPU without AVX-VNNI")
    command = ["-m", "pytest", "-p", "no:cacheprovider", "-x", __file__]
    command += ["-k", "bytes_hold and 64-96 or other_numbers"]
    features = "+avx,+avx2,+fma,+avxvnni"
    output = run(*command, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=features)
    assert "5 passed" in output, output
