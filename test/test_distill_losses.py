"""What a camera student learns from a teacher: the worked examples, empties, gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D
from sr3d_core.supervision.distill.depth import depth_cross_entropy, laplace_loss, two_hot
from sr3d_core.supervision.distill.feature import (
    Reduction,
    feature_loss,
    literal_feature_loss,
    rows_inside,
    shared_rows,
    spread_of,
)
from sr3d_core.supervision.distill.relation import (
    descriptors,
    gridded_descriptors,
    literal_relation_loss,
    relation_loss,
)
from sr3d_core.supervision.distill.response import soft_score_loss
from sr3d_core.supervision.distill.selection import (
    LITERAL_STD_M,
    Selection,
    automatic_reference,
    need,
    object_std,
    object_weights,
)

EXAMPLES = json.loads((Path(__file__).parent / "camera_examples.json").read_text())["examples"]
SPARSE, COSINE = EXAMPLES["dasfd_sparse"], EXAMPLES["dasrd_cosine"]


def tensor(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def expect(found: Tensor, rows: Any, atol: float = 2e-8) -> None:
    torch.testing.assert_close(found.double(), tensor(rows), rtol=0.0, atol=atol)


def parts(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return EXAMPLES[name]["inputs"], EXAMPLES[name]["expected"]


def test_two_hot_targets_and_their_cross_entropy() -> None:
    inputs, expected = parts("depth_distribution")
    centers = tensor(inputs["bin_centres_m"]).expand(3, 5)
    depth = tensor(inputs["depth_gt_m"])
    expect(two_hot(depth, centers), expected["two_hot_target"])
    found = depth_cross_entropy(tensor(inputs["logits"]), depth, centers)
    expect(found, expected["cross_entropy"])


@given(st.floats(0.01, 20.0))
def test_two_hot_shares_have_the_depth_as_their_mean_within_the_bins(depth_m: float) -> None:
    centers = tensor([0.5, 1.0, 2.0, 4.0])
    shares = two_hot(tensor(depth_m), centers)
    assert float(shares.sum()) == pytest.approx(1.0)
    assert int((shares > 0).sum()) <= 2
    assert float(shares @ centers) == pytest.approx(min(max(depth_m, 0.5), 4.0))


def test_the_laplace_loss_and_its_optimum() -> None:
    inputs, expected = parts("laplace_depth_loss")
    depth, truth = tensor(inputs["depth_pred_m"]), tensor(inputs["depth_gt_m"])
    loss = laplace_loss(depth, truth, tensor(inputs["log_std"]))
    expect(loss, expected["per_object"])
    expect(loss.mean(), expected["mean"])
    best = (2**0.5 * (depth - truth).abs()).log()  # where the file says, the loss is 1 higher
    expect(best, expected["minimum_of_loss_over_log_std"])
    lowest = laplace_loss(depth, truth, best)
    for other in (best - 0.1, best + 0.1):
        assert bool((laplace_loss(depth, truth, other) > lowest).all())


def test_metres_are_a_trap_indoors() -> None:
    inputs, expected = parts("unit_trap")
    std = tensor(inputs["object_depth_std_m"])
    expect(need(std, LITERAL_STD_M), expected["release_weight"])
    expect(need(std, inputs["reference_depth_std_m"]), expected["need_with_reference"])
    assert automatic_reference(std) == pytest.approx(expected["reference_auto_from_these"])
    pairs = 1 / (2 * std.square())
    expect(pairs, expected["release_relation_weight_pair_of_equals"])
    with pytest.raises(ValueError, match="no objects"):
        automatic_reference(std[:0])


def test_the_deviation_of_objects_is_that_of_their_pixels() -> None:
    inputs, expected = parts("depth_distribution")
    variance = tensor(expected["std_m"]).square()
    is_of = torch.zeros(3, 3, dtype=torch.bool)
    for index, pixels in enumerate(inputs["object_pixels"]):
        is_of[pixels, index] = True
    found = object_std(variance, is_of)
    expect(found[:2], expected["object_std_m_rms"])
    assert found[2].isnan()  # no pixels


def test_weights_of_objects_carry_no_gradient_and_unknown_depth_is_full_need() -> None:
    std = tensor([0.3, float("nan"), 0.05]).requires_grad_()
    trust = tensor([0.5, 0.5, 2.0]).requires_grad_()
    rows: dict[Selection, list[float]] = {
        "uniform": [1, 1, 1],
        "need": [2 / 3, 1, 0],
        "trust": [0.5, 0.5, 1],
        "both": [1 / 3, 0.5, 0],
    }
    for selection, expected in rows.items():
        weights = object_weights(selection, std, trust, reference_m=0.1)
        expect(weights, expected)
        assert not weights.requires_grad


@pytest.fixture
def sparse() -> dict[str, Tensor]:
    """The rows that both have, and which objects hold them."""
    inputs = SPARSE["inputs"]
    coords = [
        torch.nn.functional.pad(torch.tensor(inputs[f"{who}_coords_cells"]), (1, 0))
        for who in ("teacher", "student")
    ]
    of_teacher, of_student = shared_rows(*coords)
    xyz = coords[0][of_teacher, 1:].double() * inputs["stride_m"]
    boxes = Boxes3D.from_array(tensor(inputs["boxes_center_size_m"]))
    is_inside = rows_inside(xyz, boxes, inputs["margin_m"])
    kept = is_inside.any(dim=1)
    return {
        "teacher_row": of_teacher[kept],
        "student_row": of_student[kept],
        "is_inside": is_inside[kept],
    }


def test_rows_that_both_networks_have(sparse: dict[str, Tensor]) -> None:
    pairs = torch.stack([sparse["teacher_row"], sparse["student_row"]], dim=1)
    assert pairs.tolist() == SPARSE["expected"]["shared_foreground_rows_teacher_student"]
    none = torch.zeros(0, 4, dtype=torch.int64)
    some = torch.tensor([[0, 1, 2, 3], [1, 1, 2, 3]])
    for first, second in ((none, none), (some, none), (none, some)):
        assert [len(rows) for rows in shared_rows(first, second)] == [0, 0]
    teacher_row, student_row = shared_rows(some, some.flip(0))
    assert (teacher_row.tolist(), student_row.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("selection", "name"),
    [
        ("uniform", "uniform"),
        ("need", "student_need"),
        ("trust", "teacher_trust"),
        ("both", "both"),
    ],
)
@pytest.mark.parametrize("reduction", ["cells", "objects"])
def test_features_of_objects_worth_it(
    sparse: dict[str, Tensor], selection: Selection, name: str, reduction: Reduction
) -> None:
    inputs, expected = SPARSE["inputs"], SPARSE["expected"]
    all_of_student = tensor(inputs["student_features"]).requires_grad_()
    student = all_of_student[sparse["student_row"]]
    teacher = tensor(inputs["teacher_features"])[sparse["teacher_row"]]
    spread = spread_of(teacher)
    expect(spread, expected["teacher_std_per_channel"])
    trust, std = tensor(inputs["teacher_quality"]), tensor(inputs["student_depth_std_m"])
    weights = object_weights(selection, std, trust, inputs["reference_depth_std_m"])
    loss = feature_loss(student, teacher, sparse["is_inside"], weights, spread, reduction)
    expect(loss, expected[f"loss_{name}_{reduction}"])
    if (name, reduction) == ("both", "cells"):
        loss.backward()
        assert all_of_student.grad is not None
        expect(all_of_student.grad, expected["gradient_wrt_student_both_cells"], atol=1e-7)


@pytest.mark.parametrize("reduction", ["cells", "objects"])
@pytest.mark.parametrize(("num_rows", "num_objects"), [(0, 0), (0, 2), (3, 0), (3, 2), (1, 1)])
def test_features_without_rows_or_objects_are_finite_zeros(
    reduction: Reduction, num_rows: int, num_objects: int
) -> None:
    student = torch.rand(num_rows, 4, requires_grad=True)
    is_inside = torch.zeros(num_rows, num_objects, dtype=torch.bool)
    loss = feature_loss(
        student,
        torch.rand(num_rows, 4),
        is_inside,
        torch.ones(num_objects),
        spread_of(torch.rand(num_rows, 4)),
        reduction,
    )
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_the_literal_feature_term(whose: str) -> None:
    inputs, expected = parts("dasfd_release")
    student = tensor(inputs["student"]).permute(2, 0, 1)[None].requires_grad_()
    teacher = tensor(inputs["teacher"]).permute(2, 0, 1)[None]
    confidence = tensor(inputs[f"{whose}_confidence"])
    weights = need(1 / confidence, LITERAL_STD_M) if whose == "student" else confidence.clamp(0, 1)
    boxes = torch.tensor(inputs["boxes_x1y1x2y2_cells"])
    scene = torch.zeros(2, dtype=torch.int64)
    loss = literal_feature_loss(student, teacher, scene, boxes, weights)
    expect(loss, expected[f"loss_{whose}_weight"])
    if whose == "student":
        loss.backward()
        assert student.grad is not None
        rows = expected["gradient_student_weight"]
        expect(student.grad[0].permute(1, 2, 0), rows, atol=1e-7)
        plain = literal_feature_loss(student, teacher, scene, boxes, torch.ones(2))
        expect(plain.detach(), expected["loss_plain_mask"])
    none = literal_feature_loss(student.detach(), teacher, scene[:0], boxes[:0], weights[:0])
    assert float(none) == 0.0


def test_the_literal_feature_term_of_images_is_the_mean_over_the_cells_of_all() -> None:
    student = torch.zeros(2, 3, 4, 5)
    teacher = torch.stack([torch.full((3, 4, 5), 2.0), torch.full((3, 4, 5), 4.0)])
    boxes = torch.tensor([[0, 0, 3, 1], [1, 1, 2, 2]])
    loss = literal_feature_loss(student, teacher, torch.tensor([0, 1]), boxes, torch.ones(2))
    expect(loss, (3 * 2.0 + 1 * 8.0) / 4)
    shared = literal_feature_loss(
        student, teacher, torch.tensor([0, 1]), boxes, torch.ones(2), lambda num: num + 4
    )
    expect(shared, (3 * 2.0 + 1 * 8.0) / 8)


def test_the_literal_relation_term() -> None:
    inputs, expected = parts("dasrd_release")
    student = tensor(inputs["student_descriptor"])
    teacher = tensor(inputs["teacher_descriptor"])
    std = 1 / tensor(inputs["teacher_confidence_unclamped"])
    expect(std, expected["teacher_uncertainty"])
    expect(literal_relation_loss(student, teacher, std), expected["loss"])
    assert float(literal_relation_loss(student[:0], teacher[:0], std[:0])) == 0.0


def test_relations_of_objects() -> None:
    inputs, expected = COSINE["inputs"], COSINE["expected"]
    student = tensor(inputs["student_descriptor"]).requires_grad_()
    teacher, trust = tensor(inputs["teacher_descriptor"]), tensor(inputs["trust"])
    loss = relation_loss(student, teacher, trust)
    expect(loss, expected["loss"])
    loss.backward()
    assert student.grad is not None
    expect(student.grad, expected["gradient_wrt_student"], atol=1e-7)
    student = student.detach()
    expect(relation_loss(student, teacher, torch.ones(3)), expected["loss_full_trust"])
    expect(relation_loss(10 * student, teacher, trust), expected["loss_student_scaled_by_10"])
    without = student * tensor([1.0, 1.0, 0.0])[:, None]
    expect(relation_loss(without, teacher, trust), expected["loss_student_row2_zero"])


@pytest.mark.parametrize("num", [0, 1])
def test_fewer_than_two_objects_have_no_relations(num: int) -> None:
    student = torch.rand(num, 4, requires_grad=True)
    loss = relation_loss(student, torch.rand(num, 4), torch.ones(num))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert student.grad is not None


def test_identical_student_and_teacher_have_nothing_to_learn() -> None:
    features = torch.rand(5, 4, dtype=torch.float64)
    is_inside = torch.rand(5, 3) > 0.3
    spread = spread_of(features)
    assert float(feature_loss(features, features, is_inside, torch.ones(3), spread, "cells")) == 0
    described = descriptors(features, is_inside)
    assert float(relation_loss(described, described, torch.ones(3))) == 0.0


def test_descriptors_are_means_of_rows_and_of_cells_of_a_turned_grid() -> None:
    generator = torch.Generator().manual_seed(3)
    boxes = Boxes3D.from_array(
        tensor([[1.0, 0.5, 0.4, 2.0, 1.0, 0.8, 0.6], [9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 0.0]])
    )
    xyz = torch.rand(200, 3, generator=generator, dtype=torch.float64) * 3 - 0.5
    features = torch.rand(200, 2, generator=generator, dtype=torch.float64)
    is_inside = points_in_boxes(xyz, boxes)
    means = descriptors(features, is_inside)
    expect(means[0], features[is_inside[:, 0]].mean(dim=0).tolist())
    expect(means[1], [0.0, 0.0])
    cells = gridded_descriptors(features, xyz, is_inside, boxes, 3)
    assert cells.shape == (2, 54)
    turn = -boxes.yaw[0]
    shifted = xyz - boxes.center[0]
    x = shifted[:, 0] * turn.cos() - shifted[:, 1] * turn.sin()
    y = shifted[:, 0] * turn.sin() + shifted[:, 1] * turn.cos()
    is_first = is_inside[:, 0] & (x < -1 / 3) & (y < -1 / 6) & (shifted[:, 2] < -0.4 / 3)
    assert int(is_first.sum()) > 0
    expect(cells[0, :2], features[is_first].mean(dim=0).tolist())
    assert bool((cells[1] == 0).all())
    whole = gridded_descriptors(features, xyz, is_inside, boxes, 1)
    expect(whole, means.tolist())


def test_scores_of_the_teacher_are_soft_targets() -> None:
    inputs, expected = parts("response_soft_scores")
    logits, scores = tensor(inputs["student_logits"]), tensor(inputs["teacher_scores"])
    loss = soft_score_loss(logits, scores)
    expect(loss, expected["quality_focal_beta2"])
    expect(loss.sum(dim=1).mean(), expected["sum_qfl_over_rows"])  # of classes, mean of rows
    expect(soft_score_loss(logits, scores, beta=0.0).mean(), expected["mean_bce"])
    assert soft_score_loss(logits[:0], scores[:0]).shape == (0, 2)
