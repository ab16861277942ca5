from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from sr3d_core.structures import Boxes3D
from sr3d_core.supervision.losses import BoxDiou, Focal, Matches, focal_loss

EXAMPLES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())["examples"]
FULL = EXAMPLES["L_cls_full"]
ROTATED = EXAMPLES["rotated_geometry"]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matches(row: list[int], label: list[int], num: int) -> Matches:
    """Positives whose boxes do not matter."""
    cubes = Boxes3D.from_array(tensor([[0, 0, 0, 1, 1, 1]]).repeat(len(row), 1))
    index = torch.tensor(row, dtype=torch.int64)
    labels = torch.tensor(label, dtype=torch.int64)
    weight = torch.ones(num, dtype=torch.float64)
    return Matches(weight, index, labels, torch.zeros_like(index), cubes, cubes)


def box_matches(predicted: Tensor, truth: Tensor) -> Matches:
    """All predictions are positives, each of its own box."""
    index = torch.arange(len(predicted))
    weight = torch.ones(len(predicted), dtype=torch.float64)
    return Matches(
        weight, index, index, index, Boxes3D.from_array(predicted), Boxes3D.from_array(truth)
    )


def full_example() -> tuple[Tensor, Matches]:
    return tensor(FULL["inputs"]["logits"]), matches([0, 1, 2, 3], [1, 1, 1, 2], num=5)


def test_focal_loss_matches_the_worked_numbers() -> None:
    logits, matched = full_example()
    loss = focal_loss(logits, matched.is_target(3), alpha=0.25, gamma=2.0)
    worked = tensor(FULL["expected"]["focal_elementwise"])
    torch.testing.assert_close(loss, worked, atol=1e-8, rtol=0)


def test_focal_term_is_the_sum_per_positive() -> None:
    worked = FULL["expected"]["tr3d_cls_loss_focal_only"]
    assert Focal()(*full_example()).item() == pytest.approx(worked, abs=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss_has_the_gradient_of_its_formula(gamma: float) -> None:
    logits, matched = full_example()
    is_target = matched.is_target(3)
    assert torch.autograd.gradcheck(
        lambda x: focal_loss(x, is_target, 0.25, gamma), logits.requires_grad_()
    )


def test_focal_loss_stays_finite_at_extreme_logits() -> None:
    logits = torch.tensor([[-300.0, 300.0], [300.0, -300.0]], requires_grad=True)
    loss = focal_loss(logits, torch.eye(2, dtype=torch.bool), 0.25, 2.0)
    loss.sum().backward()
    assert logits.grad is not None
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_prediction_of_weight_zero_is_left_out_of_the_focal_term() -> None:
    logits, matched = full_example()
    matched.weight[0] = 0
    rows = FULL["expected"]["focal_row_sum"]
    assert Focal()(logits, matched).item() == pytest.approx(sum(rows[1:]) / 4, abs=1e-8)


def test_focal_term_without_positives_is_the_sum_over_the_background() -> None:
    logits = torch.zeros(3, 2, dtype=torch.float64)
    loss = Focal()(logits, matches([], [], num=3))
    assert loss.item() == pytest.approx(6 * 0.75 * 0.25 * math.log(2))


def test_box_term_is_the_mean_of_one_minus_diou() -> None:
    example = EXAMPLES["spota_axis_aligned"]
    truth = tensor(example["inputs"]["gt_boxes"])[[0, 0, 1]]
    loss = BoxDiou()(box_matches(tensor(example["inputs"]["pred_boxes"])[[0, 1, 3]], truth))
    worked = tensor(example["expected"]["diou_loss"])
    expected = (worked[0, 0] + worked[1, 0] + worked[3, 1]) / 3
    torch.testing.assert_close(loss, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("compat", "key"), [(False, "diou_correct"), (True, "diou_tr3d_as_published")]
)
def test_box_term_of_rotated_boxes_matches_the_worked_numbers(compat: bool, key: str) -> None:
    pairs = box_matches(tensor(ROTATED["inputs"]["pred"]), tensor(ROTATED["inputs"]["gt"]))
    worked = 1 - tensor(ROTATED["expected"][key]).diagonal().mean()
    torch.testing.assert_close(BoxDiou(tr3d_compat=compat)(pairs), worked, atol=1e-7, rtol=0)


def test_box_term_moves_a_box_that_does_not_touch_its_truth() -> None:
    predicted = tensor([[3, 0, 0, 1, 1, 1]]).requires_grad_()
    BoxDiou()(box_matches(predicted, tensor([[0, 0, 0, 1, 1, 1]]))).backward()
    assert predicted.grad is not None
    assert predicted.grad[0, 0] > 0


def test_box_term_counts_weights() -> None:
    pairs = box_matches(tensor([[0, 0, 0, 1, 1, 0.5]] * 2), tensor([[0, 0, 0, 1, 1, 1]] * 2))
    pairs.weight[0] = 0
    assert BoxDiou()(pairs).item() == pytest.approx(0.5 / 2)


def test_box_term_without_positives_is_zero_and_keeps_the_graph() -> None:
    predicted = torch.zeros(0, 6, dtype=torch.float64, requires_grad=True)
    loss = BoxDiou()(box_matches(predicted, torch.zeros(0, 6, dtype=torch.float64)))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"alpha": -0.1}, "Focal.alpha is -0.1, expected a number in 0..1"),
        ({"gamma": -1.0}, "Focal.gamma is -1.0, expected a number of at least 0"),
    ],
)
def test_values_out_of_range_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Focal(**knobs)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Focal).validate_python(knobs)
