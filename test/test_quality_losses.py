"""Quality focal loss and varifocal loss: worked numbers, by hand, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_scenes import EXAMPLES
from torch import Tensor

from sr3d_core.structures import Boxes3D
from sr3d_core.supervision.losses import Focal, Matches
from sr3d_core.supervision.parts import CLASSIFICATIONS, part
from sr3d_core.supervision.qfl import Qfl, quality_focal_loss
from sr3d_core.supervision.ras import Ras
from sr3d_core.supervision.vfl import Vfl, varifocal_loss

FULL = EXAMPLES["L_cls_full"]["inputs"]
WORKED = EXAMPLES["qfl_vfl"]["expected"]
EVERY = [part(CLASSIFICATIONS, name)() for name in CLASSIFICATIONS]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matches(row: list[int], label: list[int], iou: list[float], num: int) -> Matches:
    """Positives of one box whose predictions are slices of it, of height `iou`."""
    center = torch.zeros(len(row), 3, dtype=torch.float64)
    size = torch.ones_like(center)
    size[:, 2] = tensor(iou)
    cubes = Boxes3D(center, torch.ones_like(center), center[:, 0])
    index = torch.tensor(row, dtype=torch.int64)
    return Matches(
        weight=torch.ones(num, dtype=torch.float64),
        row=index,
        label=torch.tensor(label, dtype=torch.int64),
        box=torch.zeros_like(index),
        predicted=Boxes3D(center, size, center[:, 0]),
        truth=cubes,
    )


def full_example() -> tuple[Tensor, Matches]:
    label = [FULL["gt_class"][box] for box in FULL["assigned"][:4]]
    return tensor(FULL["logits"]), matches([0, 1, 2, 3], label, FULL["iou_q"][:4], num=5)


def test_terms_match_the_worked_numbers() -> None:
    assert Qfl()(*full_example()).item() == pytest.approx(0.072619, abs=1e-6)
    assert Vfl()(*full_example()).item() == pytest.approx(0.433959, abs=1e-6)
    assert any(abs(v - 0.072619) < 1e-6 for v in _numbers(WORKED))  # as the file has it


def _numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [number for branch in tree for number in _numbers(branch)]
    return [float(tree)] if isinstance(tree, (int, float)) else []


def test_one_positive_by_hand() -> None:
    # p = 1/2 everywhere: BCE is ln 2 whatever the target. The positive has IoU 1/4.
    logits = torch.zeros(2, 1, dtype=torch.float64)
    one = matches([0], [0], [0.25], num=2)
    # |1/4 - 1/2|^2 ln 2 + |0 - 1/2|^2 ln 2
    assert Qfl()(logits, one).item() == pytest.approx((1 / 16 + 1 / 4) * math.log(2))
    # 1/4 ln 2 + .75 (1/2)^2 ln 2
    assert Vfl()(logits, one).item() == pytest.approx((1 / 4 + 3 / 16) * math.log(2))


def test_a_positive_without_overlap_is_background_for_varifocal_loss() -> None:
    logits = torch.zeros(1, 1, dtype=torch.float64)
    found = Vfl()(logits, matches([0], [0], [0.0], num=1)).item()
    assert found == pytest.approx(0.75 * 0.25 * math.log(2))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_losses_have_the_gradients_of_their_formulas(exponent: float) -> None:
    logits, matched = full_example()
    target = matched.target_quality(logits)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: quality_focal_loss(x, target, exponent), logits)
    assert torch.autograd.gradcheck(lambda x: varifocal_loss(x, target, 0.75, exponent), logits)


@pytest.mark.parametrize("term", EVERY)
def test_every_term_is_differentiable_as_a_whole(term: Any) -> None:
    logits, matched = full_example()
    if isinstance(term, Ras):  # its ranks carry no gradient: hold them still by one positive
        matched = matches([0], [1], [0.7], num=5)
    assert torch.autograd.gradcheck(lambda x: term(x, matched), logits.requires_grad_())


@pytest.mark.parametrize("term", EVERY)
def test_the_overlap_carries_no_gradient(term: Any) -> None:
    logits, matched = full_example()
    matched.predicted.size.requires_grad_()
    term(logits.requires_grad_(), matched).backward()
    assert matched.predicted.size.grad is None


@pytest.mark.parametrize("term", EVERY)
def test_half_precision_logits_are_computed_with_in_single(term: Any) -> None:
    logits, matched = full_example()
    half = logits.bfloat16().requires_grad_()
    loss = term(half, matched)
    assert loss.dtype in (torch.float32, torch.float64)
    expected = term(half.detach().double(), matched)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


@pytest.mark.parametrize("term", EVERY)
def test_extreme_logits_stay_finite(term: Any) -> None:
    _, matched = full_example()
    logits = tensor([[-300.0, 300.0, 0.0]] * 5).requires_grad_()
    term(logits, matched).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("term", EVERY)
@pytest.mark.parametrize("num", [0, 3])
def test_no_positives_leave_the_background(term: Any, num: int) -> None:
    logits = torch.zeros(num, 2, dtype=torch.float64, requires_grad=True)
    loss = term(logits, matches([], [], [], num=num))
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()
    # p = 1/2: .75 (1/2)^2 ln 2 of focal and varifocal loss, (1/2)^2 ln 2 of quality focal loss
    share = 1.0 if isinstance(term, Qfl) else 0.75
    assert loss.item() == pytest.approx(2 * num * share * 0.25 * math.log(2))


@pytest.mark.parametrize("term", [Qfl(), Vfl(), Focal()])
def test_a_prediction_of_weight_zero_is_left_out(term: Any) -> None:
    logits, matched = full_example()
    matched.weight[1:] = 0
    only_first = matches([0], [1], FULL["iou_q"][:1], num=1)
    assert (4 * term(logits, matched)).item() == pytest.approx(term(logits[:1], only_first).item())


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Qfl\.beta is -1"):
        Qfl(beta=-1.0)
    with pytest.raises(ValueError, match=r"Vfl\.alpha is 2"):
        Vfl(alpha=2.0)
