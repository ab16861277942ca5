"""OTA: worked numbers, the dense iteration, and the linear program that it approximates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from small_scenes import EXAMPLES, STRIDES_M, boxes, room, scene_of

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.ota import Ota, Transport

WORKED = EXAMPLES["ota_sinkhorn"]


def focal(p: NDArray, is_target: NDArray) -> NDArray:
    up, down = -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)
    return np.where(is_target, up, down)


def dense_costs(predictions: Predictions, targets: Targets) -> tuple[NDArray, NDArray]:
    """The costs of all pairs and the background with the published constant, and the supply."""
    p = predictions.logits.sigmoid().numpy()
    num_classes = p.shape[1]
    iou = pairwise_iou(targets.boxes, predictions.boxes).numpy()
    inside = points_in_boxes(predictions.anchors, targets.boxes).T.numpy()  # none is on a face
    edge = 2.5 * np.array(STRIDES_M)[predictions.level]
    offset = (predictions.anchors[None] - targets.boxes.center[:, None]).abs().amax(dim=2).numpy()
    both = inside & (offset < edge)
    cost = [
        focal(p, np.arange(num_classes) == label).sum(axis=1) - 1.5 * np.log(i.clip(1e-7))
        for label, i in zip(targets.labels.tolist(), iou, strict=True)
    ]
    background = focal(p, np.zeros(num_classes, bool)).sum(axis=1)
    top = np.sort(iou * both, axis=1)[:, ::-1][:, :20].sum(axis=1)
    supply = np.maximum(1, np.floor(top))
    rows = np.vstack([np.array(cost) + 1e6 * ~both, background])
    return rows, np.append(supply, iou.shape[1] - supply.sum())


def dense_plan(
    cost: NDArray, supply: NDArray, entropy: float = 0.1, iterations: int = 50
) -> NDArray:
    """Sinkhorn's iteration over all pairs, in the log domain."""
    u = np.ones(len(cost))
    for _ in range(iterations):
        v = -entropy * np.logaddexp.reduce((u[:, None] - cost) / entropy, axis=0)
        rows = np.logaddexp.reduce((v - cost) / entropy, axis=1)
        u = entropy * (np.log(supply) - rows)
    return np.exp((u[:, None] + v - cost) / entropy)


def winners(plan: NDArray) -> list[int]:
    best = (plan / plan.max(axis=1, keepdims=True)).argmax(axis=0)
    return np.where(best == len(plan) - 1, -1, best).tolist()


def worked_problem() -> tuple[Transport, torch.Tensor]:
    expected = WORKED["expected"]
    cost = torch.tensor(expected["cost"], dtype=torch.float64)
    box, anchor = (cost[:-1] < 1e5).nonzero(as_tuple=True)
    problem = Transport(box, anchor, cost[:-1][box, anchor], cost[-1], num_anchors=5)
    return problem, torch.tensor(expected["supply"][:2])


def test_the_plan_has_the_worked_values() -> None:
    problem, supply = worked_problem()
    pairs, background, others = problem.log_plan(supply, entropy=0.1, iterations=50)
    plan = torch.tensor(WORKED["expected"]["plan"], dtype=torch.float64)
    torch.testing.assert_close(pairs.exp(), plan[[0, 0, 0, 1, 1], range(5)], atol=1e-6, rtol=0)
    torch.testing.assert_close(background.exp(), plan[2], atol=1e-6, rtol=0)
    assert others is None
    row = problem.winners(supply, entropy=0.1, iterations=50)
    assert row.where(row >= 0, 2).tolist() == WORKED["expected"]["matched_row"]


def test_assignment_of_the_worked_scene() -> None:
    """The same scene as the worked numbers, from its boxes and logits."""
    scene = scene_of(EXAMPLES["simota_alignota"]["inputs"], "gt_class_of_3")
    cost, supply = dense_costs(*scene)
    np.testing.assert_allclose(cost, WORKED["expected"]["cost"], atol=1e-6)
    assert supply.tolist() == WORKED["expected"]["supply"]
    assert Ota()(*scene).target.tolist() == [0, -1, -1, 1, -1]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_impossible_pairs_gives_the_plan_of_all(rotated: bool, seed: int) -> None:
    predictions, targets = room(seed, num=200, rotated=rotated)
    expected = winners(dense_plan(*dense_costs(predictions, targets)))
    assert Ota()(predictions, targets).target.tolist() == expected
    assert len(set(expected)) > 4


def test_a_sharp_plan_is_the_solution_of_the_linear_program() -> None:
    generator = np.random.default_rng(0)
    cost = generator.random((4, 12))  # three boxes and the background
    supply = np.array([2.0, 3.0, 1.0, 6.0])
    serves = np.kron(np.eye(4), np.ones(12)), np.tile(np.eye(12), 4)
    answer = linprog(cost.ravel(), A_eq=np.vstack(serves), b_eq=np.append(supply, np.ones(12)))
    exact = answer.x.reshape(4, 12).argmax(axis=0)
    box, anchor = np.indices((3, 12)).reshape(2, -1)
    problem = Transport(
        torch.tensor(box),
        torch.tensor(anchor),
        torch.tensor(cost[:3].ravel()),
        torch.tensor(cost[3]),
        num_anchors=12,
    )
    found = problem.winners(torch.tensor(supply[:3]), entropy=0.002, iterations=3000)
    assert found.tolist() == np.where(exact == 3, -1, exact).tolist()
    assert len(set(exact)) == 4


def test_anchors_that_only_the_background_can_serve_need_not_be_listed() -> None:
    generator = np.random.default_rng(1)
    cost, background = generator.random(3), generator.random(40)
    full = np.full((1, 40), 1e6)
    full[0, :3] = cost
    plan = dense_plan(np.vstack([full, background]), np.array([2.0, 38.0]))
    problem = Transport(
        torch.zeros(3, dtype=torch.int64),
        torch.arange(3),
        torch.tensor(cost),
        torch.tensor(background[:3]),
        num_anchors=40,
    )
    pairs, of_background, others = problem.log_plan(torch.tensor([2.0]), 0.1, 50)
    np.testing.assert_allclose(pairs.exp(), plan[0, :3], rtol=1e-9)
    np.testing.assert_allclose(of_background.exp(), plan[1, :3], rtol=1e-9)
    assert others is not None
    np.testing.assert_allclose(others.exp(), plan[1, 3:], rtol=1e-9)


def test_large_costs_do_not_vanish() -> None:
    """exp(-500 / .1) is 0 in any precision; its logarithm is not."""
    problem = Transport(
        torch.tensor([0, 0]),
        torch.tensor([0, 1]),
        torch.tensor([500.0, 501.0]),
        torch.tensor([500.5, 499.0]),
        num_anchors=2,
    )
    assert problem.winners(torch.tensor([1.0]), entropy=0.1, iterations=50).tolist() == [0, -1]


def test_a_box_without_anchors_inside_is_offered_what_overlaps_it() -> None:
    anchors = torch.tensor([[0.3, 0, 0], [0.4, 0, 0], [3, 0, 0]], dtype=torch.float64)
    rows = [[0.05, 0, 0, 0.2, 0.2, 0.2], [0.1, 0, 0, 0.2, 0.2, 0.2], [3, 0, 0, 1, 1, 1]]
    level = torch.zeros(3, dtype=torch.int64)
    found = Predictions(
        anchors, boxes(rows), torch.zeros(3, 1), level, level, level_stride_m=(0.16,)
    )
    truth = Targets(boxes([[0, 0, 0, 0.2, 0.2, 0.2]]), level[:1])
    assert Ota()(found, truth).target.tolist() == [0, -1, -1]
    away = Targets(boxes([[0, 9, 0, 0.2, 0.2, 0.2]]), level[:1])
    assert Ota()(found, away).target.tolist() == [-1, -1, -1]


def test_boxes_that_want_more_than_there_is_leave_something_to_the_background() -> None:
    """Five boxes, two anchors: nothing is infinite, and each anchor goes to one box at most."""
    anchors = torch.tensor([[0.01, 0, 0], [0.02, 0, 0]], dtype=torch.float64)
    level = torch.zeros(2, dtype=torch.int64)
    cubes = boxes([[0, 0, 0, 1, 1, 1]] * 5)
    found = Predictions(
        anchors, cubes[:2], torch.zeros(2, 1), level, level, level_stride_m=(0.16,)
    )
    target = Ota()(found, Targets(cubes, level.new_zeros(5))).target
    assert set(target.tolist()) <= {-1, 0, 1, 2, 3, 4}


def test_of_identical_boxes_the_first_has_the_anchors() -> None:
    predictions, targets = room(num_boxes=1)
    twice = Targets(
        Boxes3D.cat([targets.boxes, targets.boxes]), torch.cat([targets.labels, targets.labels])
    )
    target = Ota()(predictions, twice).target
    assert (target == 0).any()
    assert (target < 1).all()
