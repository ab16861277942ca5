"""Products of bfloat16 on a CPU: exact but for their sums, also in gradients."""

from __future__ import annotations

import pytest
import torch
from engine_cases import voxels
from torch import Tensor

from sr3d_core.sparse.backends import native
from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.kernel_map import KernelMap

pytest.importorskip("llvmlite")
machine_code = pytest.importorskip("sr3d_core.sparse.backends.numba_cpu.machine_code")
launch = pytest.importorskip("sr3d_core.sparse.backends.numba_cpu.launch")

CPU = torch.device("cpu")
needs_short = pytest.mark.skipif(
    not machine_code.has_short_products(), reason="a CPU without AVX-512 BF16"
)
SUM_TOLERANCE = 1e-5  # of the largest: sums are float32, of what is exact
CHANNELS = [(1, 1), (3, 16), (6, 32), (33, 20), (64, 100), (128, 64)]


def case(before: int, after: int, num: int = 600) -> tuple[Tensor, Tensor, Tensor, KernelMap]:
    """Features, weight and the gradient of the output, all of bfloat16, and their map."""
    engine = engine_for("numba", CPU)
    x = voxels(engine, before, num=num)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(27, before, after, generator=generator)
    above = torch.randn(len(x), after, generator=generator)
    kernel_map = engine.same_map(engine.index(x.coords, x.stride), 3)
    return x.features.detach().bfloat16(), weight.bfloat16(), above.bfloat16(), kernel_map


def assert_equals(found: Tensor, exact: Tensor) -> None:
    assert found.dtype == torch.float32
    assert found.shape == exact.shape
    assert float((found - exact).abs().max()) <= SUM_TOLERANCE * float(exact.abs().max())


@needs_short
@pytest.mark.parametrize(("before", "after"), CHANNELS)
def test_products_are_exact_but_for_their_sum(before: int, after: int) -> None:
    x, weight, above, kernel_map = case(before, after)
    exact = native.products(x.double(), weight.double(), kernel_map)
    assert_equals(launch.short_products(x, weight, kernel_map), exact)
    exact = native.weight_gradient(x.double(), above.double(), kernel_map)
    assert_equals(launch.short_weight_gradient(x, above, kernel_map), exact)


@needs_short
def test_offsets_without_a_pair_and_with_an_odd_number_of_them() -> None:
    """Two voxels apart see themselves alone, three in a row are 3 + 2 + 2 pairs."""
    engine = engine_for("numba", CPU)
    for cells in ([[0, 0, 0], [9, 9, 9]], [[0, 0, 0], [0, 0, 1], [0, 0, 2]], [[4, 4, 4]]):
        coords = torch.nn.functional.pad(torch.tensor(cells), (1, 0))
        kernel_map = engine.same_map(engine.index(coords, 1), 3)
        x, above = torch.randn(2, len(cells), 8, generator=torch.Generator().manual_seed(2))
        weight = torch.randn(27, 8, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
        x, above = x.bfloat16(), above.bfloat16()
        exact = native.products(x.double(), weight.double(), kernel_map)
        assert_equals(launch.short_products(x, weight, kernel_map), exact)
        exact = native.weight_gradient(x.double(), above.double(), kernel_map)
        assert_equals(launch.short_weight_gradient(x, above, kernel_map), exact)


@needs_short
def test_several_threads_find_what_one_does() -> None:
    x, weight, above, kernel_map = case(64, 64, num=4000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = launch.short_products(x, weight, kernel_map)
        alone_gradient = launch.short_weight_gradient(x, above, kernel_map)
        torch.set_num_threads(3)
        assert torch.equal(launch.short_products(x, weight, kernel_map), alone)
        assert torch.equal(launch.short_weight_gradient(x, above, kernel_map), alone_gradient)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("has_instruction", [True, False])
def test_gradients_are_those_of_what_is_multiplied(
    has_instruction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the CPU lacks the instruction torch multiplies; either way within bfloat16's 2^-8."""
    if has_instruction and not machine_code.has_short_products():
        pytest.skip("a CPU without AVX-512 BF16")
    monkeypatch.setattr(
        "sr3d_core.sparse.backends.numba_cpu.engine.NumbaEngine.is_short_faster", has_instruction
    )
    x, weight, above, kernel_map = case(33, 20)
    short, exact = (
        [each.detach().to(dtype).requires_grad_() for each in (x, weight)]
        for dtype in (torch.bfloat16, torch.float64)
    )
    y = engine_for("numba", CPU).convolve(*short, kernel_map)
    y.backward(above.to(y.dtype))
    expected = native.convolve(*exact, kernel_map)
    expected.backward(above.double())
    pairs = [(y, expected), *((a.grad, b.grad) for a, b in zip(short, exact, strict=True))]
    for found, truth in pairs:
        assert found is not None
        assert truth is not None
        error = float((found.detach() - truth.detach()).abs().max())
        assert error <= 2**-7 * float(truth.detach().abs().max())
