"""Targets over prototypes: the worked examples, marginals, limits, gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sr3d_core.pretrain.diagnostics import perplexity
from sr3d_core.pretrain.prototypes import (
    Centering,
    cross_entropy,
    log_softmap,
    most_prototypes,
    pairs_cross_entropy,
    softmap_loss,
    spread_loss,
    zipf_prior,
    zipf_sinkhorn,
)

EXAMPLES = json.loads((Path(__file__).parent / "pretraining_examples.json").read_text())
SINKHORN = EXAMPLES["zipf_sinkhorn_4x3"]
MANY = 500


def tensor(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def expect(found: Tensor, rows: Any, atol: float = 2e-8) -> None:
    torch.testing.assert_close(found.double(), tensor(rows), rtol=0.0, atol=atol)


@pytest.fixture
def logits() -> Tensor:
    return tensor(SINKHORN["cosine"]) / SINKHORN["tau"]


@pytest.mark.parametrize("case", SINKHORN["cases"].values(), ids=SINKHORN["cases"])
def test_zipf_sinkhorn_gives_the_worked_softmaps(logits: Tensor, case: dict[str, Any]) -> None:
    prior = zipf_prior(3, case["alpha"])
    expect(prior, case["w"])
    expect(zipf_sinkhorn(logits, prior, 3), case["T3_softmap"])
    converged = zipf_sinkhorn(logits, prior, MANY)
    expect(converged, case["converged_softmap"])
    expect(perplexity(converged), case["softmap_perplexity_per_prototype"], atol=1e-6)


@pytest.mark.parametrize("case", SINKHORN["cases"].values(), ids=SINKHORN["cases"])
def test_each_point_has_one_weight_in_all_prototypes(logits: Tensor, case: dict[str, Any]) -> None:
    ratio = zipf_sinkhorn(logits, zipf_prior(3, case["alpha"]), MANY) / logits.exp()
    ratio = ratio / ratio[0]
    key = "point_weight_u_relative(row ratio within every column is the same)"
    for column in ratio.T:
        torch.testing.assert_close(column, tensor(case[key]), rtol=1e-6, atol=1e-7)


def test_a_shift_of_all_cosines_changes_nothing(logits: Tensor) -> None:
    prior = zipf_prior(3, 1.3)
    torch.testing.assert_close(
        zipf_sinkhorn(logits + 7.0, prior, 3), zipf_sinkhorn(logits, prior, 3)
    )


def test_logarithms_give_what_multiplying_gives(logits: Tensor) -> None:
    prior = zipf_prior(3, 1.3)
    q = logits.exp() / logits.exp().sum()
    for _ in range(3):
        q = q / (len(q) * q.sum(dim=1, keepdim=True))
        q = q * prior / q.sum(dim=0)
    torch.testing.assert_close(zipf_sinkhorn(logits, prior, 3), q / q.sum(dim=0))


def test_low_temperatures_stay_finite_in_single_precision() -> None:
    cosines = torch.rand(50, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    balanced = zipf_sinkhorn(cosines / 0.004, zipf_prior(8, 1.3), 3)
    assert balanced.dtype == torch.float32
    assert bool(balanced.isfinite().all())
    torch.testing.assert_close(balanced.sum(dim=0), torch.ones(8))


def test_without_balance_the_softmap_is_that_of_the_student(logits: Tensor) -> None:
    torch.testing.assert_close(
        zipf_sinkhorn(logits, zipf_prior(3, 1.3), 0), log_softmap(logits).exp()
    )
    expect(log_softmap(logits).exp(), EXAMPLES["softmap_vs_cluster"]["softmap_over_points"])


def test_permuted_points_have_permuted_softmaps(logits: Tensor) -> None:
    order = torch.tensor([2, 0, 3, 1])
    prior = zipf_prior(3, 1.3)
    torch.testing.assert_close(
        zipf_sinkhorn(logits[order], prior, 3), zipf_sinkhorn(logits, prior, 3)[order]
    )


def test_what_all_prototypes_share_is_removed() -> None:
    case = EXAMPLES["common_mode_removed"]
    cosines = tensor(case["cosine (same in every column)"]) / 0.1
    expect(log_softmap(cosines).exp()[:, 0], case["raw_softmap_column"])
    balanced = zipf_sinkhorn(cosines, zipf_prior(3, 1.3), 3)
    expect(balanced[:, 0], case["zipf_sinkhorn_softmap_column"])


def test_constant_features_are_a_fixed_point_of_no_loss() -> None:
    case = EXAMPLES["collapsed_fixed_point"]
    logits = tensor(case["cosine"]) / 0.1
    target = zipf_sinkhorn(logits, zipf_prior(3, 1.3), 3)
    expect(target, case["target"])
    assert float(softmap_loss(target, logits)) == pytest.approx(0.0, abs=1e-12)
    expect(perplexity(target), case["perplexity"])


def test_near_a_flat_state_the_target_grows_what_prototypes_differ_by() -> None:
    case = EXAMPLES["small_signal_rule"]
    logits = tensor(case["cosine_deviation"]) / case["tau"]
    balanced = zipf_sinkhorn(logits, zipf_prior(3, case["alpha"]), MANY)
    expect(balanced, case["softmap_converged"])
    deviation = logits - (logits * tensor(case["w"])).sum(dim=1, keepdim=True)
    deviation = deviation - deviation.mean(dim=0)
    expect(balanced, case["first_order"], atol=1e-6)
    torch.testing.assert_close(balanced, (1 + deviation) / 4, rtol=0, atol=1e-6)


def test_clusters_of_a_long_tail_are_found_by_their_prior() -> None:
    case = EXAMPLES["toy_long_tail_2000x8"]
    draw = np.random.default_rng(0)
    prior = zipf_prior(8, 1.3)
    label = draw.choice(8, 2000, p=prior.numpy())
    rows = np.eye(8)[label] + 0.1 * draw.normal(size=(2000, 8))
    cosines = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    balanced = zipf_sinkhorn(cosines / 0.1, prior, 50)
    expected = tensor(case["zipf"]["perplexity"])
    torch.testing.assert_close(perplexity(balanced), expected, rtol=0.05, atol=0.0)
    flat = perplexity(zipf_sinkhorn(cosines / 0.1, zipf_prior(8, 0.0), 50))
    torch.testing.assert_close(flat, tensor(case["uniform"]["perplexity"]), rtol=0.05, atol=0.0)


def test_the_loss_and_its_gradient_are_the_worked_ones(logits: Tensor) -> None:
    case = EXAMPLES["softmap_kl"]
    student = (tensor(case["student_cosine"]) / case["tau_s"]).requires_grad_()
    target = tensor(SINKHORN["cases"]["alpha_1.3"]["T3_softmap"])
    expect(log_softmap(student).exp(), case["student_softmap"])
    loss = softmap_loss(target, student)
    assert float(loss.detach()) == pytest.approx(case["loss_mean"], abs=1e-7)
    (gradient,) = torch.autograd.grad(loss, student)
    expect(gradient, case["dloss_dlogit (logit = cos/tau_s)"], atol=1e-7)
    expect(gradient.sum(dim=0), case["grad_column_sums"], atol=1e-7)


def test_no_points_have_no_loss() -> None:
    empty = torch.zeros(0, 3)
    target = zipf_sinkhorn(empty, zipf_prior(3, 1.3), 3)
    assert target.shape == (0, 3)
    assert float(softmap_loss(target, empty)) == 0.0


@pytest.mark.parametrize(("num", "case"), EXAMPLES["zipf_prior_alpha_1.3"].items())
def test_the_prior_is_zipfs(num: str, case: dict[str, float]) -> None:
    prior = zipf_prior(int(num), 1.3)
    assert float(prior.sum()) == pytest.approx(1.0)
    assert float(prior[0]) == pytest.approx(case["w1"], rel=1e-5)
    assert float(prior[-1]) == pytest.approx(case["wK"], rel=2e-4)
    points = case["points_needed_for_one_per_tail_prototype"]
    assert most_prototypes(int(points), 1.3) >= int(num)
    assert most_prototypes(int(points) - 1, 1.3) < int(num)


@pytest.mark.parametrize(("setting", "num"), EXAMPLES["largest_K_with_N_wK_ge_1"].items())
def test_there_are_as_many_prototypes_as_points_can_feed(setting: str, num: int) -> None:
    alpha, points = (float(part.split("=")[1]) for part in setting.split(","))
    assert most_prototypes(int(points), alpha) == num


def test_there_is_a_prototype_also_without_points() -> None:
    assert most_prototypes(0, 1.3) == 1
    with pytest.raises(ValueError, match="0 prototypes"):
        zipf_prior(0, 1.3)


def test_centred_targets_use_the_old_centre_and_move_it_then() -> None:
    case = EXAMPLES["centered_cross_entropy"]
    teacher, student = tensor(case["teacher_logits"]), tensor(case["student_logits"])
    centering = Centering(4, case["center_momentum"]).double()
    for step in ("step1", "step2"):
        expect(centering.center, case[step]["center_used"])
        target = centering.targets(teacher, case["tau_t"])
        expect(target, case[step]["target"])
        expect(centering.center, case[step]["center_after"])
        found = cross_entropy(target, student, case["tau_s"])
        expect(found, case[step]["ce"])
        assert float(found.mean()) == pytest.approx(case[step]["mean"], abs=1e-7)


def test_a_centre_without_points_stays() -> None:
    centering = Centering(3)
    assert centering.targets(torch.zeros(0, 3), 0.07).shape == (0, 3)
    assert not centering.center.any()


def test_all_pairs_of_crops_are_compared() -> None:
    case = EXAMPLES["multi_crop_pairs"]
    target = torch.softmax(tensor(case["teacher_logits"]) / case["tau_t"], dim=1)
    pairs = pairs_cross_entropy(target, tensor(case["student_logits"]), case["tau_s"])
    expect(pairs, case["pair_matrix"], atol=1e-6)
    assert float(pairs.mean()) == pytest.approx(case["mean_all_pairs"], abs=1e-6)
    others = ~torch.eye(2, 3, dtype=torch.bool)
    assert float(pairs[others].mean()) == pytest.approx(case["mean_without_same_index"], abs=1e-6)


def test_koleo_is_the_worked_one() -> None:
    case = EXAMPLES["koleo"]
    found = spread_loss(tensor(case["x"]))
    assert float(found) == pytest.approx(case["loss_mean_neg_log(d+1e-6)"], abs=1e-6)
    assert float(spread_loss(torch.ones(1, 4))) == 0.0
    assert float(spread_loss(torch.ones(0, 4))) == 0.0
