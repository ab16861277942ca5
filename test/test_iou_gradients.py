"""Gradients of overlap: those of finite differences, and finite where boxes degenerate."""

from __future__ import annotations

import pytest
import torch
from test_iou import boxes, random_rows
from torch import Tensor

from sr3d_core.geometry.iou import DiouNumerator, aligned_diou, aligned_iou, pairwise_iou
from sr3d_core.structures import Boxes3D


@pytest.mark.parametrize("numerator", ["center", "tr3d_compat"])
@pytest.mark.slow
def test_gradients_of_rotated_diou_are_those_of_finite_differences(
    numerator: DiouNumerator,
) -> None:
    a, b = random_rows(12, seed=8), random_rows(12, seed=9)

    def diou(rows_a: Tensor, rows_b: Tensor) -> Tensor:
        return aligned_diou(Boxes3D.from_array(rows_a), Boxes3D.from_array(rows_b), numerator)

    assert torch.autograd.gradcheck(diou, (a.requires_grad_(), b.requires_grad_()))


def test_gradients_of_axis_aligned_and_pairwise_iou_are_those_of_finite_differences() -> None:
    a, b = random_rows(5, seed=10)[:, :6], random_rows(4, seed=11)[:, :6]

    def iou(rows_a: Tensor, rows_b: Tensor) -> Tensor:
        return pairwise_iou(Boxes3D.from_array(rows_a), Boxes3D.from_array(rows_b))

    assert torch.autograd.gradcheck(iou, (a.requires_grad_(), b.requires_grad_()))


def test_yaw_zero_does_not_lose_the_other_gradients() -> None:
    rows_a = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    b = boxes([[0.3, 0.4, 0.1, 1.2, 1.7, 0.8, 0.0]])
    general, shortcut = rows_a.clone().requires_grad_(), rows_a.clone().requires_grad_()
    aligned_iou(Boxes3D.from_array(general), b).backward()
    aligned_iou(Boxes3D.from_array(shortcut[:, :6]), b).backward()
    assert general.grad is not None
    assert shortcut.grad is not None
    torch.testing.assert_close(general.grad[:, :6], shortcut.grad[:, :6])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("turned", [0.0, 0.6])
@pytest.mark.parametrize(
    ("center", "size"),
    [
        ((0.0, 0.0, 0.0), (1.0, 2.0, 1.0)),
        ((1.0, 0.0, 0.0), (1.0, 2.0, 1.0)),
        ((0.0, 0.0, 1.0), (1.0, 2.0, 1.0)),
        ((0.0, 0.0, 0.0), (0.0, 2.0, 1.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((90.0, 0.0, 0.0), (1.0, 2.0, 1.0)),
    ],
    ids=["identical", "beside", "above", "flat", "point", "far"],
)
def test_degenerate_pairs_have_finite_values_and_gradients(
    dtype: torch.dtype,
    turned: float,
    center: tuple[float, ...],
    size: tuple[float, ...],
) -> None:
    rows = torch.tensor([[*center, *size, turned]], dtype=dtype, requires_grad=True)
    other = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0, 1.0, turned]], dtype=dtype)
    other.requires_grad_()
    found = aligned_diou(Boxes3D.from_array(rows), Boxes3D.from_array(other))
    found.sum().backward()
    assert rows.grad is not None
    assert other.grad is not None
    assert torch.isfinite(torch.cat([found, rows.grad.flatten(), other.grad.flatten()])).all()
