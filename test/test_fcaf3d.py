"""FCAF3D's assigner: worked numbers, and all pairs looked at one by one."""

from __future__ import annotations

import math

import pytest
import torch
from small_scenes import EXAMPLES, boxes, room

from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.fcaf3d import Fcaf3d
from sr3d_core.supervision.regions import centerness

WORKED = EXAMPLES["fcaf3d_assigner"]


def of_points(points: list[list[float]], levels: list[int]) -> Predictions:
    anchors = torch.tensor(points, dtype=torch.float64)
    found = Boxes3D(anchors, torch.ones_like(anchors), torch.zeros(len(anchors)))
    level = torch.tensor(levels)
    return Predictions(anchors, found, torch.zeros(len(anchors), 18), level, level * 0)


def of_rows(rows: list[list[float]]) -> Targets:
    return Targets(boxes(rows), torch.zeros(len(rows), dtype=torch.int64))


def central(point: list[float], row: list[float]) -> float:
    """Centre-ness, -1 where the point is not strictly inside."""
    x, y, z, dx, dy, dz, yaw = row
    u = (point[0] - x) * math.cos(yaw) + (point[1] - y) * math.sin(yaw)
    v = -(point[0] - x) * math.sin(yaw) + (point[1] - y) * math.cos(yaw)
    product = 1.0
    for offset, size in ((u, dx), (v, dy), (point[2] - z, dz)):
        low, high = size / 2 + offset, size / 2 - offset
        if min(low, high) <= 0:
            return -1.0
        product *= min(low, high) / max(low, high)
    return math.sqrt(product)


def by_hand(predictions: Predictions, targets: Targets, k: int, min_inside: int) -> list[int]:
    points, rows = predictions.anchors.tolist(), targets.boxes.array.tolist()
    levels = predictions.level.tolist()
    target, smallest = [-1] * len(points), [math.inf] * len(points)
    for g, row in enumerate(rows):
        values = [central(point, row) for point in points]
        best = max(levels)
        for level in range(max(levels) + 1):
            inside = sum(v >= 0 and at == level for v, at in zip(values, levels, strict=True))
            if inside < min_inside:
                best = max(0, level - 1)
                break
        values = [v if at == best else -1.0 for v, at in zip(values, levels, strict=True)]
        limit = sorted(values, reverse=True)[min(k, len(values) - 1)]
        volume = row[3] * row[4] * row[5]
        for a, value in enumerate(values):
            if value > limit and volume < smallest[a]:
                target[a], smallest[a] = g, volume
    return target


def worked() -> tuple[Predictions, Targets, Fcaf3d]:
    inputs = WORKED["inputs"]
    rule = Fcaf3d(k=inputs["pts_center_threshold"], min_inside=inputs["pts_assign_threshold"])
    return of_points(inputs["points"], inputs["levels"]), of_rows(inputs["gt_boxes"]), rule


def test_assignment_matches_the_worked_numbers() -> None:
    predictions, targets, rule = worked()
    assert rule(predictions, targets).target.tolist() == WORKED["expected"]["assigned"]
    assert by_hand(predictions, targets, rule.k, rule.min_inside) == WORKED["expected"]["assigned"]


def test_centerness_matches_the_worked_numbers() -> None:
    predictions, targets, _ = worked()
    table = torch.tensor(WORKED["expected"]["centerness_minus1_if_not_eligible"])
    anchor, box = (table > 0).nonzero(as_tuple=True)
    found = centerness(targets.boxes[box], predictions.anchors[anchor])
    torch.testing.assert_close(found, table[anchor, box].double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("k", "min_inside"), [(18, 27), (4, 6), (200, 1)])
def test_assignment_is_that_of_all_pairs_one_by_one(
    rotated: bool, k: int, min_inside: int
) -> None:
    for seed in range(3):
        predictions, targets = room(seed, num=300, rotated=rotated)
        expected = by_hand(predictions, targets, k, min_inside)
        found = Fcaf3d(k=k, min_inside=min_inside)(predictions, targets).target
        assert found.tolist() == expected
        assert len(set(expected)) > 3


def test_the_smaller_box_wins_by_hand() -> None:
    # Both boxes hold x = .1 and .2; the far anchor is the one that drops out.
    predictions = of_points([[0.1, 0, 0], [0.2, 0, 0], [9, 0, 0]], [0, 0, 0])
    targets = of_rows([[0, 0, 0, 2, 2, 2], [0, 0, 0, 1, 1, 1]])
    assert Fcaf3d(k=2)(predictions, targets).target.tolist() == [1, 1, -1]


def test_an_anchor_on_a_face_is_not_inside() -> None:
    predictions = of_points([[0.5, 0, 0], [0.4, 0, 0], [9, 0, 0]], [0, 0, 0])
    target = Fcaf3d()(predictions, of_rows([[0, 0, 0, 1, 1, 1]])).target
    assert target.tolist() == [-1, 0, -1]


def test_a_large_box_uses_the_coarse_level() -> None:
    points = [[0.1 * i - 0.4, 0, 0] for i in range(9)]
    predictions = of_points([*points, *points], [0] * 9 + [1] * 9)
    large, small = [0, 0, 0, 1, 1, 1], [0, 0, 0, 0.3, 1, 1]  # hold 9 and 3 of each level
    rule = Fcaf3d(k=30, min_inside=5)
    is_positive = rule(predictions, of_rows([large])).is_positive
    assert (is_positive[:9].any(), is_positive[9:].any()) == (False, True)
    is_positive = rule(predictions, of_rows([small])).is_positive
    assert (is_positive[:9].any(), is_positive[9:].any()) == (True, False)
