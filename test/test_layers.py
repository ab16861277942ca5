"""Batch norm folded into what follows a convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sr3d_core.sparse.layers import BatchNorm, Conv3d, conv_norm
from sr3d_core.sparse.tensor import MapCache, SparseTensor


def voxels() -> SparseTensor:
    generator = torch.Generator().manual_seed(0)
    cells = torch.cartesian_prod(*[torch.arange(4)] * 3)
    coords = torch.nn.functional.pad(cells, (1, 0))
    return SparseTensor(coords, torch.randn(64, 3, generator=generator), 1, MapCache())


def refill(norm: BatchNorm) -> None:
    state = {name: torch.rand_like(value.float()) + 0.5 for name, value in norm.bn.named_buffers()}
    state |= {name: torch.rand_like(value) for name, value in norm.bn.named_parameters()}
    norm.bn.load_state_dict(state)


def learn(norm: BatchNorm) -> None:
    norm.train()(voxels().replaced(torch.randn(64, 8)))
    norm.eval()


def step(norm: BatchNorm) -> None:
    optimiser = torch.optim.SGD(norm.parameters(), lr=1.0)
    norm(voxels().replaced(torch.randn(64, 8))).features.square().sum().backward()
    optimiser.step()


def to_double(norm: BatchNorm) -> None:
    norm.double()


@pytest.mark.parametrize("change", [refill, learn, step, to_double])
@pytest.mark.slow
def test_inference_follows_every_change_of_the_norm(change: Callable[[BatchNorm], None]) -> None:
    torch.manual_seed(0)
    conv, norm, x = Conv3d(3, 8, kernel=3), BatchNorm(8).eval(), voxels()

    def inferred() -> Tensor:
        with torch.inference_mode():
            return conv_norm(conv, norm, x).features

    before = inferred()
    change(norm)
    expected = norm.float()(conv(x)).features.relu()
    torch.testing.assert_close(inferred(), expected.detach(), rtol=1e-5, atol=1e-5)
    if change is not to_double:
        assert not torch.allclose(inferred(), before)
