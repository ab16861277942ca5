"""Sparse convolution on every engine against worked examples of MinkowskiEngine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_cases import LOOKUPS, engine_with_lookup

from sr3d_core.sparse.engine import Engine
from sr3d_core.sparse.kernel_map import kernel_offsets
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d, MaxPool3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add


@pytest.fixture(params=LOOKUPS)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return engine_with_lookup(request.param, monkeypatch)


def _tensor(engine: Engine, rows: list[Any], stride: int = 1) -> SparseTensor:
    coords = torch.tensor([[0, *cell] for cell, _ in rows])
    features = torch.tensor([[value] for _, value in rows])
    return SparseTensor(coords, features, stride, MapCache(engine))


def _values(x: SparseTensor) -> dict[tuple[int, ...], float]:
    return {
        tuple(c[1:]): v for c, (v,) in zip(x.coords.tolist(), x.features.tolist(), strict=True)
    }


def _expected(rows: list[Any]) -> dict[tuple[int, ...], float]:
    return {tuple(cell): value for cell, value in rows}


def _counting(layer: Any) -> Any:
    volume = layer.kernel.shape[0]
    layer.kernel.data = torch.arange(1.0, volume + 1).reshape(volume, 1, 1)
    return layer


@pytest.mark.parametrize(
    ("key", "layer"),
    [
        ("conv_k3_s1", _counting(Conv3d(1, 1, kernel=3))),
        ("conv_k3_s2", _counting(Conv3d(1, 1, kernel=3, stride=2))),
        ("maxpool_k2_s2", MaxPool3d()),
    ],
)
def test_worked_examples_of_the_reference_engine(
    worked: dict[str, Any], key: str, layer: Any, engine: Engine
) -> None:
    example = worked["me_sparse_ops"]
    y = layer(_tensor(engine, example["inputs"]["X_stride1"]))
    assert _values(y) == _expected(example["expected"][key])


def test_k1_stride_2_sees_only_the_corner_of_its_cell(
    engine: Engine, worked: dict[str, Any]
) -> None:
    example = worked["me_sparse_ops"]
    layer = Conv3d(1, 1, kernel=1, stride=2)
    layer.kernel.data.fill_(10)
    y = layer(_tensor(engine, example["inputs"]["X_stride1"]))
    assert _values(y) == _expected(example["expected"]["conv_k1_s2_weight10"])


def test_generative_worked_examples(engine: Engine, worked: dict[str, Any]) -> None:
    example = worked["me_sparse_ops"]
    z = _tensor(engine, example["inputs"]["Z_stride2"], stride=2)
    k3 = _values(_counting(GenerativeUpConv3d(1, 1, kernel=3))(z))
    expected = _expected(example["expected"]["generative_transpose_k3_s2_selected"])
    assert len(k3) == example["expected"]["generative_transpose_k3_s2_num_out"]
    assert {cell: k3[cell] for cell in expected} == expected
    k2 = _values(_counting(GenerativeUpConv3d(1, 1, kernel=2))(z))
    assert k2 == _expected(example["expected"]["generative_transpose_k2_s2"])


def test_union_add_worked_example(engine: Engine, worked: dict[str, Any]) -> None:
    example = worked["me_sparse_ops"]
    lone, x = (_tensor(engine, example["inputs"][name]) for name in ("L_stride1", "X_stride1"))
    assert _values(union_add(lone, x)) == _expected(example["expected"]["union_add_L_plus_X"])


def test_kernel_offsets_have_x_fastest(worked: dict[str, Any]) -> None:
    expected = worked["me_kernel_offsets"]["expected"]
    assert kernel_offsets(3).tolist() == expected["k3"]
    assert kernel_offsets(2).tolist() == expected["k2"]
