"""Sparse convolution on every engine against dense convolution, and hand-made cases."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from engine_cases import LOOKUPS, engine_with_lookup
from torch import Tensor

from sr3d_core.sparse.engine import Engine
from sr3d_core.sparse.kernel_map import kernel_offsets
from sr3d_core.sparse.layers import BatchNorm, Conv3d, GenerativeUpConv3d, MaxPool3d, ResidualBlock
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add

SIZE = 12  # cells along each axis of the dense volume
LOW = -5  # its first cell, so that coordinates are negative too


@pytest.fixture(params=LOOKUPS)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return engine_with_lookup(request.param, monkeypatch)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["fp32", "fp64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Engines have their own code for float32."""
    return request.param


def random_voxels(
    engine: Engine,
    stride: int = 1,
    channels: int = 4,
    scenes: int = 2,
    share: float = 0.2,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> SparseTensor:
    generator = torch.Generator().manual_seed(seed)
    filled = torch.rand(scenes, SIZE, SIZE, SIZE, generator=generator) < share
    coords = filled.nonzero()
    coords = coords[torch.randperm(len(coords), generator=generator)]
    coords[:, 1:] += LOW
    coords[:, 1:] *= stride
    features = torch.randn(len(coords), channels, generator=generator, dtype=dtype)
    return SparseTensor(coords, features, stride, MapCache(engine))


def dense(x: SparseTensor, low: int = LOW, size: int = SIZE) -> Tensor:
    """(scenes, C, z, y, x) with zeros where no voxel is."""
    cells = x.coords[:, 1:] // x.stride - low
    scenes = int(x.coords[:, 0].max()) + 1
    volume = x.features.new_zeros(scenes, size, size, size, x.features.shape[1])
    volume[x.coords[:, 0], cells[:, 2], cells[:, 1], cells[:, 0]] = x.features
    return volume.permute(0, 4, 1, 2, 3)


def at(volume: Tensor, x: SparseTensor, low: int) -> Tensor:
    cells = x.coords[:, 1:] // x.stride - low
    return volume[x.coords[:, 0], :, cells[:, 2], cells[:, 1], cells[:, 0]]


def dense_weight(layer: Conv3d | GenerativeUpConv3d) -> Tensor:
    """(out, in, z, y, x) of a sparse weight: x fastest in the kernel index."""
    k = layer.kernel_size
    _, c_in, c_out = layer.kernel.shape
    return layer.kernel.reshape(k, k, k, c_in, c_out).permute(4, 3, 0, 1, 2)


def test_k3_stride_1_equals_dense_convolution_on_the_occupied_voxels(
    engine: Engine, dtype: torch.dtype
) -> None:
    x, layer = random_voxels(engine, dtype=dtype), Conv3d(4, 5, kernel=3).to(dtype)
    y = layer(x)
    expected = F.conv3d(dense(x), dense_weight(layer), padding=1)
    torch.testing.assert_close(y.features, at(expected, y, LOW))
    assert y.coords is x.coords


def test_k3_stride_2_equals_dense_convolution_on_the_coarse_cells(
    engine: Engine, dtype: torch.dtype
) -> None:
    x, layer = random_voxels(engine, dtype=dtype), Conv3d(4, 5, kernel=3, stride=2).to(dtype)
    y = layer(x)
    # the dense volume gets one more low cell, so that it starts at an even cell, -6
    padded = F.pad(dense(x), (2, 1, 2, 1, 2, 1))  # now cells -7 .. 7
    expected = F.conv3d(padded, dense_weight(layer), stride=2)  # centres -6, -4, ...
    torch.testing.assert_close(y.features, at(expected, y, -3))
    assert y.stride == 2


def test_k2_stride_2_equals_dense_convolution(engine: Engine, dtype: torch.dtype) -> None:
    x, layer = random_voxels(engine, dtype=dtype), Conv3d(4, 5, kernel=2, stride=2).to(dtype)
    y = layer(x)
    expected = F.conv3d(F.pad(dense(x), (1, 1, 1, 1, 1, 1)), dense_weight(layer), stride=2)
    torch.testing.assert_close(y.features, at(expected, y, -3))


def test_strides_count_in_finest_voxels(engine: Engine, dtype: torch.dtype) -> None:
    fine, coarse = (random_voxels(engine, stride=s, dtype=dtype) for s in (1, 4))
    layer = Conv3d(4, 5, kernel=3, stride=2).to(dtype)
    a, b = layer(fine), layer(coarse)
    torch.testing.assert_close(a.features, b.features)
    assert torch.equal(a.coords[:, 1:] * 4, b.coords[:, 1:])
    assert b.stride == 8


def test_output_cells_are_the_floored_inputs(engine: Engine) -> None:
    x = random_voxels(engine)
    y = Conv3d(4, 5, kernel=3, stride=2).double()(x)
    cells = torch.cat([x.coords[:, :1], x.coords[:, 1:].div(2, rounding_mode="floor") * 2], 1)
    assert torch.equal(y.coords, torch.unique(cells, dim=0))


def test_generative_up_convolution_equals_dense_transposed_convolution(
    engine: Engine, dtype: torch.dtype
) -> None:
    x = random_voxels(engine, stride=2, share=0.05, dtype=dtype)
    layer = GenerativeUpConv3d(4, 5).to(dtype)
    y = layer(x)
    weight = dense_weight(layer).transpose(0, 1)
    expected = F.conv_transpose3d(dense(x), weight, stride=2)  # first cell is 2 LOW - 1
    torch.testing.assert_close(y.features, at(expected, y, 2 * LOW - 1))
    offsets = kernel_offsets(3)
    reached = x.coords[:, None, 1:] + offsets
    scene = x.coords[:, None, :1].expand(-1, 27, -1)
    every = torch.unique(torch.cat([scene, reached], 2).flatten(0, 1), dim=0)
    assert torch.equal(y.coords, every)
    assert y.stride == 1


def test_up_convolution_onto_voxels_keeps_what_falls_on_them(
    engine: Engine, dtype: torch.dtype
) -> None:
    x = random_voxels(engine, stride=2, share=0.05, dtype=dtype)
    skip = random_voxels(engine, stride=1, share=0.3, seed=1, dtype=dtype)
    layer = GenerativeUpConv3d(4, 5).to(dtype)
    y, everywhere = layer(x, onto=skip), layer(x)
    grown = {
        tuple(c): f for c, f in zip(everywhere.coords.tolist(), everywhere.features, strict=True)
    }
    zero = torch.zeros(5, dtype=dtype)
    expected = torch.stack([grown.get(tuple(c), zero) for c in skip.coords.tolist()])
    torch.testing.assert_close(y.features, expected)
    assert y.coords is skip.coords


def test_max_pool_is_the_maximum_of_each_cell(engine: Engine) -> None:
    x = random_voxels(engine)
    y = MaxPool3d()(x)
    for row, feature in zip(y.coords[:50], y.features[:50], strict=True):
        low = row[1:]
        inside = ((x.coords[:, 1:] >= low) & (x.coords[:, 1:] < low + 2)).all(1)
        inside &= x.coords[:, 0] == row[0]
        torch.testing.assert_close(feature, x.features[inside].amax(0))


@pytest.mark.parametrize(
    "layer",
    [
        Conv3d(2, 3, kernel=3),
        Conv3d(2, 3, kernel=3, stride=2),
        Conv3d(2, 3, kernel=2, stride=2),
        Conv3d(2, 3, kernel=1, stride=2),
        GenerativeUpConv3d(2, 3),
    ],
    ids=["k3s1", "k3s2", "k2s2", "k1s2", "up"],
)
def test_gradients_of_convolutions(layer: Conv3d | GenerativeUpConv3d, engine: Engine) -> None:
    layer = layer.double()
    x = random_voxels(engine, stride=2, channels=2, share=0.01)

    def run(features: Tensor, kernel: Tensor) -> Tensor:
        return torch.func.functional_call(
            layer, {"kernel": kernel}, (x.replaced(features),)
        ).features

    features = x.features.clone().requires_grad_()
    kernel = layer.kernel.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (features, kernel), fast_mode=True)


@pytest.mark.slow
def test_gradients_of_pooling_and_union(engine: Engine) -> None:
    x, other = (random_voxels(engine, channels=2, share=0.02, seed=seed) for seed in (0, 3))

    def run(features: Tensor) -> Tensor:
        return MaxPool3d()(union_add(x.replaced(features), other)).features

    assert torch.autograd.gradcheck(run, x.features.clone().requires_grad_())


def test_a_scene_alone_equals_the_scene_in_a_batch(engine: Engine) -> None:
    x, layer = random_voxels(engine, scenes=3), ResidualBlock(4, 6, stride=2).double().eval()
    both = layer(x)
    mine = x.coords[:, 0] == 1
    alone = layer(SparseTensor(x.coords[mine], x.features[mine], 1, MapCache(engine)))
    in_batch = both.coords[:, 0] == 1
    assert torch.equal(both.coords[in_batch], alone.coords)
    torch.testing.assert_close(both.features[in_batch], alone.features)


def test_order_of_voxels_does_not_matter(engine: Engine) -> None:
    x, layer = random_voxels(engine), ResidualBlock(4, 6, stride=2).double().eval()
    order = torch.randperm(len(x))
    shuffled = SparseTensor(x.coords[order], x.features[order], 1, MapCache(engine))
    a, b = layer(x), layer(shuffled)
    assert torch.equal(a.coords, b.coords)
    torch.testing.assert_close(a.features, b.features)


@pytest.mark.parametrize(
    "layer",
    [
        Conv3d(4, 5, kernel=3),
        Conv3d(4, 5, kernel=3, stride=2),
        GenerativeUpConv3d(4, 5),
        MaxPool3d(),
        BatchNorm(4),
        ResidualBlock(4, 4, stride=2),
    ],
)
def test_no_voxels_in_no_voxels_out(layer: torch.nn.Module, engine: Engine) -> None:
    coords = torch.zeros(0, 4, dtype=torch.int64)
    empty = SparseTensor(coords, torch.zeros(0, 4), 2, MapCache(engine))
    assert len(layer(empty)) == 0
    assert layer(empty).engine is engine
    assert len(layer.eval()(empty)) == 0


def test_one_voxel_goes_through_everything(engine: Engine) -> None:
    x = SparseTensor(torch.tensor([[0, -4, 0, 8]]), torch.ones(1, 4), 4, MapCache(engine))
    y = GenerativeUpConv3d(4, 4)(ResidualBlock(4, 4, stride=2)(x))
    assert y.stride == 4
    assert len(y) == 27


def test_voxels_too_far_apart_are_refused(engine: Engine) -> None:
    coords = torch.tensor([[0, 0, 0, 0], [0, 2**29, 2**29, 2**29]])
    with pytest.raises(ValueError, match="millimetres"):
        Conv3d(1, 1, kernel=3)(SparseTensor(coords, torch.ones(2, 1), 1, MapCache(engine)))


def test_an_odd_stride_cannot_be_halved() -> None:
    x = SparseTensor(torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 1), stride=1)
    with pytest.raises(ValueError, match="expected an even stride"):
        GenerativeUpConv3d(1, 1)(x)


def test_union_of_different_strides_is_refused(engine: Engine) -> None:
    a, b = random_voxels(engine, stride=1), random_voxels(engine, stride=2)
    with pytest.raises(ValueError, match="strides 1 and 2"):
        union_add(a, b)
