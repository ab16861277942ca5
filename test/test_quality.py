"""The expected IoU of boxes: what it learns; what boxes are ranked by."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from test_criterion import room
from test_network import TINY, points
from test_ras import matches, tensor

from sr3d_core.model.network import SR3D
from sr3d_core.model.ranking import ranked_logits
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.quality import quality_loss


def test_the_quality_without_slope_is_the_iou_of_each_positive() -> None:
    iou = [0.9, 0.5, 0.2]
    quality = tensor([0.1, 0.9, 0.5, 0.2, 0.7]).logit().requires_grad_()
    matched = matches([1, 2, 3], [0, 0, 0], [0, 0, 1], iou, num=5)
    matched.predicted.size.requires_grad_()
    quality_loss(quality, matched).backward()
    torch.testing.assert_close(quality.grad, torch.zeros(5, dtype=torch.float64))
    assert matched.predicted.size.grad is None
    raised = quality.detach() + 0.5
    assert quality_loss(raised, matched) > quality_loss(quality.detach(), matched)


def test_nothing_to_learn_from_costs_nothing() -> None:
    quality = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    loss = quality_loss(quality, matches([], [], [], [], num=4))
    loss.backward()
    assert loss.item() == 0


def test_the_criterion_adds_the_term_where_there_is_a_quality() -> None:
    predictions, truth = room(0)
    without = Criterion()(predictions, [truth])
    rated = replace(predictions, quality=torch.zeros(len(predictions), dtype=torch.float64))
    once, twice = (Criterion(quality=weight)(rated, [truth]) for weight in (1.0, 2.0))
    assert without.quality is None
    assert once.quality is not None
    torch.testing.assert_close(once.total, without.total + once.quality)
    torch.testing.assert_close(twice.total - once.total, once.quality)
    torch.testing.assert_close(once.quality, tensor(2.0).log())  # a guess of one half


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0])
def test_scores_are_the_weighted_geometric_mean(exponent: float) -> None:
    score, iou = tensor([[0.01, 0.5, 0.999], [0.3, 0.9, 0.2]]), tensor([0.4, 0.95])
    found = ranked_logits(score.logit(), iou.logit(), exponent).sigmoid()
    torch.testing.assert_close(found, score ** (1 - exponent) * iou[:, None] ** exponent)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
@pytest.mark.parametrize("rivalry", [0.5, 2.0])
def test_rivals_lose_by_their_share_and_the_strongest_keeps_its_score(
    exponent: float, rivalry: float
) -> None:
    score, iou = tensor([[0.01, 0.5, 0.999], [0.3, 0.9, 0.9]]), tensor([0.4, 0.95])
    alone = ranked_logits(score.logit(), iou.logit(), exponent).sigmoid()
    found = ranked_logits(score.logit(), iou.logit(), exponent, rivalry).sigmoid()
    best = alone.max(dim=1, keepdim=True).values
    torch.testing.assert_close(found, alone * (alone / best) ** rivalry)
    torch.testing.assert_close(found.max(dim=1, keepdim=True).values, best)


def test_rivalry_without_quality_with_one_class_and_without_boxes() -> None:
    logits = tensor([[-1.0, 2.0], [0.5, 0.5]])
    expected = logits.sigmoid() ** 2 / logits.sigmoid().amax(dim=1, keepdim=True)
    torch.testing.assert_close(ranked_logits(logits, rivalry=1.0).sigmoid(), expected)
    torch.testing.assert_close(ranked_logits(logits[:, :1], rivalry=1.0), logits[:, :1])
    assert ranked_logits(logits[:0], rivalry=1.0).shape == (0, 2)


def test_extreme_logits_keep_finite_scores_and_their_order() -> None:
    logits = torch.tensor([[-300.0, -20.0, 20.0, 300.0]])
    for quality, rivalry in itertools.product((-200.0, 0.0, 200.0), (0.0, 1.0)):
        scores = ranked_logits(logits, torch.tensor([quality]), 0.5, rivalry)
        assert bool(scores.isfinite().all())
        assert bool((scores.diff() >= 0).all())


def test_a_network_ranks_by_its_quality_in_evaluation_alone() -> None:
    torch.manual_seed(0)
    network = SR3D(replace(TINY, quality_exponent=0.4)).eval()
    with torch.no_grad():
        levels = network.raw(points())
        found = network.predictions(levels)
        learning = network.train().predictions(levels)
    logits, quality = learning.logits, learning.quality
    assert quality is not None
    assert found.quality is not None
    torch.testing.assert_close(logits, torch.cat([level.logits for level in levels]))
    expected = logits.sigmoid() ** 0.6 * quality.sigmoid()[:, None] ** 0.4
    torch.testing.assert_close(found.logits.sigmoid(), expected)
    torch.testing.assert_close(found[3:5].quality, quality[3:5])


def test_a_network_ranks_by_rivals_in_evaluation_alone() -> None:
    torch.manual_seed(0)
    plain = SR3D(TINY).eval()
    network = SR3D(replace(TINY, rivalry=2.0)).eval()
    network.load_state_dict(plain.state_dict())
    with torch.no_grad():
        levels = network.raw(points())
        alone, found = plain.predictions(levels).logits, network.predictions(levels).logits
        learning = network.train().predictions(levels).logits
    torch.testing.assert_close(found, ranked_logits(alone, rivalry=2.0))
    assert torch.equal(learning, alone)
