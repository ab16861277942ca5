"""The Triton kernels, interpreted on a CPU: real tiles, halves, wide kernels, inference."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from sr3d_core.sparse.backends import native
from sr3d_core.sparse.backends.triton_cuda import launch
from sr3d_core.sparse.backends.triton_cuda.engine import TritonEngine
from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.kernel_map import KernelMap, VoxelIndex, same_map

pytestmark = pytest.mark.slow

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def voxel_map(kernel: int, num: int = 70) -> KernelMap:
    generator = torch.Generator().manual_seed(0)
    coords = torch.randint(5, (num, 4), generator=generator) % torch.tensor([2, 5, 5, 5])
    return same_map(VoxelIndex(coords.unique(dim=0).to(DEVICE), stride=1), kernel)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float64, 1e-12)],
)
def test_other_precisions_than_float32(dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.bfloat16 and DEVICE.type == "cpu":
        pytest.skip("Triton's interpreter multiplies bfloat16 as whole numbers")
    kernel_map = voxel_map(kernel=2)
    x = random(kernel_map.num_inputs, 20).to(dtype).requires_grad_()
    w = random(8, 20, 24).to(dtype).requires_grad_()
    y = TritonEngine().convolve(x, w, kernel_map)
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    expected = native.convolve(*wide, kernel_map)
    above = torch.ones_like(y)
    found = [y, *torch.autograd.grad(y, [x, w], above)]
    wanted = [expected, *torch.autograd.grad(expected, wide, above.double())]
    for each, exact in zip(found, wanted, strict=True):
        assert each.dtype == dtype
        error = (each.detach().double() - exact.detach()).abs().max()
        assert float(error) <= tolerance * float(exact.detach().abs().max())


def test_more_than_31_offsets_share_the_bits_of_a_mask() -> None:
    kernel_map = voxel_map(kernel=5, num=30)
    x, w = random(kernel_map.num_inputs, 3), random(125, 3, 5)
    found = TritonEngine().convolve(x, w, kernel_map)
    torch.testing.assert_close(found, native.convolve(x, w, kernel_map), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_rectified", [True, False])
@pytest.mark.parametrize("has_shortcut", [True, False])
def test_inference_in_one_go_equals_step_by_step(is_rectified: bool, has_shortcut: bool) -> None:
    kernel_map = voxel_map(kernel=2)
    x, w = random(kernel_map.num_inputs, 5), random(8, 5, 7)
    shortcut = random(kernel_map.num_outputs, 7) if has_shortcut else None
    epilogue = Epilogue(random(7), random(7) + 1, shortcut, is_rectified)
    expected = epilogue(native.convolve(x, w, kernel_map))
    found = TritonEngine().infer(x, w, kernel_map, epilogue)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_map_without_outputs_gives_no_rows() -> None:
    nothing = KernelMap(torch.empty(8, 0, dtype=torch.int32, device=DEVICE), num_inputs=3)
    x, w = random(3, 4).requires_grad_(), random(8, 4, 6).requires_grad_()
    y = TritonEngine().convolve(x, w, nothing)
    assert y.shape == (0, 6)
    for gradient in torch.autograd.grad(y.sum(), [x, w]):
        assert not gradient.any()


def test_rows_that_use_the_same_offsets_stand_together() -> None:
    seen = torch.tensor([[0, -1, 1, -1], [-1, 2, -1, 3]], dtype=torch.int32, device=DEVICE)
    rows = launch.order_rows(KernelMap(seen, num_inputs=4))
    assert rows.masks.tolist() == [1, 2, 1, 2]
    assert rows.order.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("num_rows", [300, 5000, 50_000])
@pytest.mark.parametrize("channels", [1, 3, 64, 131])
@pytest.mark.parametrize("bytes_each", [2, 4])
def test_tiles_are_powers_of_two_that_tensor_cores_take(
    num_rows: int, channels: int, bytes_each: int
) -> None:
    tile = launch.tile_for(num_rows, channels, channels, bytes_each)
    for size in (tile.rows, tile.columns, tile.depth):
        assert size >= 16
        assert size & (size - 1) == 0
    shared = 3 * bytes_each * tile.depth * (tile.rows + tile.columns)  # three stages
    assert shared <= 100 * 1024
