from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from sr3d_core.structures import Boxes3D
from sr3d_core.supervision.losses import Focal, Matches
from sr3d_core.supervision.ras import (
    Ras,
    Reading,
    grouped_soft_rank,
    rank_aware_distillation,
    soft_rank,
)

EXAMPLES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())["examples"]
RANKS = EXAMPLES["soft_rank"]
VARIANTS = EXAMPLES["rdl_variants"]
FULL = EXAMPLES["L_cls_full"]
NAME_IN_EXAMPLES: dict[Reading, str] = {
    "literal": "literal",
    "neg": "rank_on_negative_term",
    "pos_r": "r_on_positive_term",
}


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def boxes_of_iou(iou: Tensor) -> tuple[Boxes3D, Boxes3D]:
    """Pairs with the given overlap: unit cubes, and slices of them of height `iou`."""
    center, one = torch.zeros(len(iou), 3, dtype=iou.dtype), torch.ones_like(iou)
    slices = Boxes3D(center, torch.stack([one, one, iou], dim=1), torch.zeros_like(iou))
    return slices, Boxes3D(center, torch.ones_like(center), torch.zeros_like(iou))


def matches(
    row: list[int], label: list[int], box: list[int], iou: list[float], num: int
) -> Matches:
    predicted, truth = boxes_of_iou(tensor(iou))
    return Matches(
        weight=torch.ones(num, dtype=torch.float64),
        row=torch.tensor(row, dtype=torch.int64),
        label=torch.tensor(label, dtype=torch.int64),
        box=torch.tensor(box, dtype=torch.int64),
        predicted=predicted,
        truth=truth,
    )


def full_example() -> tuple[Tensor, Matches]:
    """Five predictions, three classes: three positives of one box, one of another."""
    inputs = FULL["inputs"]
    label = [inputs["gt_class"][box] for box in inputs["assigned"][:4]]
    matched = matches([0, 1, 2, 3], label, inputs["assigned"][:4], inputs["iou_q"][:4], num=5)
    return tensor(inputs["logits"]).requires_grad_(), matched


def single_positive(logit: float, iou: float) -> tuple[Tensor, Matches]:
    return tensor([[logit]]).requires_grad_(), matches([0], [0], [0], [iou], num=1)


@pytest.mark.parametrize("tau", ["0.01", "0.1", "1"])
@pytest.mark.parametrize("of", ["q", "p"])
def test_soft_rank_matches_the_worked_numbers(of: str, tau: str) -> None:
    rank = soft_rank(tensor(RANKS["inputs"][of]), float(tau))
    worked = tensor(RANKS["expected"][f"{of}_tau_{tau}"]["r"])
    torch.testing.assert_close(rank, worked, atol=1e-6, rtol=0)  # the inputs p have 6 decimals


def test_soft_rank_of_equal_scores_is_equal() -> None:
    rank = soft_rank(torch.full((6,), 0.4, dtype=torch.float64), tau=0.1)
    worked = tensor(RANKS["expected"]["all_equal_n6"]["r"])
    torch.testing.assert_close(rank, worked, atol=1e-8, rtol=0)


def test_soft_rank_of_a_single_score_is_one() -> None:
    assert soft_rank(torch.tensor([0.3]), tau=0.1).tolist() == [1.0]


def test_soft_rank_of_no_scores_is_empty() -> None:
    assert soft_rank(torch.zeros(0), tau=0.1).shape == (0,)


def test_soft_rank_of_clear_winners_spans_its_range() -> None:
    rank = soft_rank(tensor([0.0, 5.0, 10.0]), tau=0.01)
    torch.testing.assert_close(rank, tensor([-2 / 3, -1 / 3, 0.0]).exp())


def test_scores_of_other_groups_do_not_change_a_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(40, generator=generator, dtype=torch.float64)
    group = torch.randint(0, 7, (40,), generator=generator) * 3 - 5
    rank = grouped_soft_rank(scores, group, tau=0.1)
    for one in group.unique():
        alone = soft_rank(scores[group == one], tau=0.1)
        torch.testing.assert_close(rank[group == one], alone)


def test_soft_rank_has_the_gradient_of_its_formula() -> None:
    scores = tensor(RANKS["inputs"]["q"]).requires_grad_()
    group = torch.tensor([0, 1, 0, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda s: grouped_soft_rank(s, group, 0.1), scores)


@pytest.mark.parametrize("tau", ["0.01", "0.1", "1"])
@pytest.mark.parametrize("reading", ["literal", "neg", "pos_r"])
def test_distillation_matches_the_worked_numbers(reading: Reading, tau: str) -> None:
    worked = VARIANTS["expected"][f"tau_{tau}"]
    quality, logits = tensor(VARIANTS["inputs"]["q"]), tensor(VARIANTS["inputs"]["p"]).logit()
    loss = rank_aware_distillation(logits, quality, soft_rank(quality, float(tau)), 1.0, reading)
    torch.testing.assert_close(loss, tensor(worked[NAME_IN_EXAMPLES[reading]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("beta", [0, 2])
def test_distillation_of_other_strengths_matches_the_worked_numbers(beta: int) -> None:
    example = EXAMPLES["rdl_single_gt_6_positives"]
    quality, logits = tensor(example["inputs"]["q"]), tensor(example["inputs"]["p"]).logit()
    loss = rank_aware_distillation(logits, quality, soft_rank(quality, 0.1), beta, "literal")
    worked = tensor(example["expected"][f"RDL_beta_{beta}"])
    torch.testing.assert_close(loss, worked, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tau", ["0.1", "1"])
@pytest.mark.parametrize("reading", ["literal", "neg", "pos_r"])
def test_distillation_has_no_slope_at_the_worked_confidence(reading: Reading, tau: str) -> None:
    quality = tensor(VARIANTS["inputs"]["q"])
    stationary = VARIANTS["expected"][f"tau_{tau}"][f"{NAME_IN_EXAMPLES[reading]}_sigma_star"]
    logits = tensor(stationary).logit().requires_grad_()
    rank = soft_rank(quality, float(tau))
    rank_aware_distillation(logits, quality, rank, 1.0, reading).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(6, dtype=torch.float64), atol=1e-7, rtol=0)


def test_the_rank_of_eq_9_pulls_the_best_box_most() -> None:
    """Its confidence without slope is w / (w + 1 - q) with w = (1 - R)^beta, R as worked out."""
    quality = tensor(VARIANTS["inputs"]["q"])
    worked = tensor([0.086054, 0.168850, 0.378817, 0.452326, 0.645536, 0.768417])
    for beta in (1.0, 2.0):
        factor = (1 - worked).pow(beta)
        logits = (factor / (factor + 1 - quality)).logit().requires_grad_()
        rank = soft_rank(quality, 0.1)
        rank_aware_distillation(logits, quality, rank, beta, "one_minus_R").sum().backward()
        none = torch.zeros(6, dtype=torch.float64)
        torch.testing.assert_close(logits.grad, none, atol=1e-6, rtol=0)
        assert bool((logits.diff() < 0).all())  # inputs are sorted by quality


def test_pos_r_wants_more_confidence_for_better_boxes() -> None:
    quality = tensor([0.9, 0.7, 0.5, 0.3])
    rank = soft_rank(quality, 0.1)
    factor = rank
    wanted = (factor / (factor + 1 - quality)).logit().requires_grad_()
    rank_aware_distillation(wanted, quality, rank, 1.0, "pos_r").sum().backward()
    torch.testing.assert_close(wanted.grad, torch.zeros(4, dtype=torch.float64))
    assert (wanted.diff() < 0).all()


@pytest.mark.parametrize("reading", ["literal", "neg", "pos_r", "one_minus_R"])
def test_distillation_has_the_gradient_of_its_formula(reading: Reading) -> None:
    logits = tensor(FULL["inputs"]["logits"]).flatten().requires_grad_()
    quality = torch.linspace(0.05, 0.95, 15, dtype=torch.float64)
    rank = soft_rank(quality, 0.1)
    assert torch.autograd.gradcheck(
        lambda x: rank_aware_distillation(x, quality, rank, 1.0, reading), logits
    )


def test_distillation_stays_finite_at_extreme_logits() -> None:
    logits = torch.tensor([-300.0, 300.0], requires_grad=True)
    loss = rank_aware_distillation(
        logits, torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.5]), 1.0, "neg"
    )
    loss.sum().backward()
    assert logits.grad is not None
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def with_guard(blend: Literal["row", "channel"], key: str) -> Tensor:
    """The worked sum, with the focal loss alone for the box that has one positive.

    The worked number has r_cls = 1 there, which is what the guard for single positives replaces.
    """
    expected = FULL["expected"]
    focal = expected["focal_row_sum"][3] if blend == "row" else expected["focal_elementwise"][3][2]
    return tensor(expected[key] * 4 - expected["rdl"][3] + focal) / 4


@pytest.mark.parametrize(
    ("blend", "key"),
    [
        ("row", "L_cls_row_weighted_div_npos"),
        ("channel", "L_cls_gt_channel_weighted_div_npos"),
    ],
)
def test_the_term_matches_the_worked_numbers(blend: Literal["row", "channel"], key: str) -> None:
    loss = Ras(reading="literal", blend=blend)(*full_example())
    torch.testing.assert_close(loss, with_guard(blend, key), atol=2e-8, rtol=0)


def test_the_gradient_matches_the_worked_numbers() -> None:
    logits, matched = full_example()
    Ras(reading="literal", blend="row")(logits, matched).backward()
    worked = tensor(FULL["expected"]["grad_logits_row_weighted_detached"])
    groups_and_background = torch.tensor([0, 1, 2, 4])
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad[groups_and_background], worked[groups_and_background], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("reading", ["literal", "neg", "pos_r", "one_minus_R"])
def test_a_single_positive_has_the_focal_loss_alone(reading: Reading) -> None:
    scene = single_positive(logit=-0.85, iou=0.6)
    torch.testing.assert_close(Ras(reading=reading)(*scene), Focal()(*scene))


def test_a_single_positive_is_trained_up() -> None:
    logits, matched = single_positive(logit=-0.85, iou=0.6)
    Ras(reading="literal")(logits, matched).backward()
    assert logits.grad is not None
    assert logits.grad.item() < 0


def test_unguarded_distillation_of_a_single_positive_trains_it_down() -> None:
    # Why the guard is there: the worked number for q = 0.6, p = 0.3 and rank 1.
    worked = VARIANTS["expected"]["single_positive_N1"]
    logits = tensor([worked["p"]]).logit().requires_grad_()
    rank = tensor([worked["r_reg"]])
    loss = rank_aware_distillation(logits, tensor([worked["q"]]), rank, 1.0, "literal")
    loss.sum().backward()
    assert loss.item() == pytest.approx(worked["literal"], abs=1e-8)
    assert logits.grad is not None
    assert logits.grad.item() > 0


def test_quality_and_ranks_carry_no_gradient() -> None:
    logits, matched = full_example()
    matched.predicted.size.requires_grad_()
    Ras()(logits, matched).backward()
    assert matched.predicted.size.grad is None


def test_no_positives_leaves_the_focal_loss_of_the_background() -> None:
    logits = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    background = matches([], [], [], [], num=3)
    loss = Ras()(logits, background)
    loss.backward()
    assert loss.item() == pytest.approx(6 * 0.75 * 0.25 * math.log(2))
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_no_predictions_cost_nothing() -> None:
    logits = torch.zeros(0, 2, dtype=torch.float64, requires_grad=True)
    loss = Ras()(logits, matches([], [], [], [], num=0))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"tau": 0.0}, "Ras.tau is 0.0, expected a number above 0"),
        ({"beta": -1.0}, "Ras.beta is -1.0, expected a number of at least 0"),
        ({"alpha": 1.5}, "Ras.alpha is 1.5, expected a number in 0..1"),
        ({"gamma": -1.0}, "Ras.gamma is -1.0, expected a number of at least 0"),
    ],
)
def test_values_out_of_range_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ras(**knobs)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Ras).validate_python(knobs)


def test_an_unknown_reading_is_refused() -> None:
    with pytest.raises(ValidationError, match="one_minus_R"):
        TypeAdapter(Ras).validate_python({"reading": "positive"})
