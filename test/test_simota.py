"""simOTA and AlignOTA: worked numbers, and all pairs looked at one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_scenes import EXAMPLES, STRIDES_M, boxes, room, scene_of

from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.alignota import AlignOta
from sr3d_core.supervision.simota import SimOta

WORKED = EXAMPLES["simota_alignota"]
BOTH = {"simota": SimOta(), "alignota": AlignOta()}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def entropy(p: float, t: float) -> float:
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


def class_cost(name: str, scores: list[float], label: int, iou: float) -> float:
    total = 0.0
    for c, p in enumerate(scores):
        if name == "simota":
            total += entropy(p, float(c == label))
        else:
            t = iou if c == label else 0.0
            total += entropy(p, t) * abs(t - p) ** 2
    return total


def by_hand(name: str, predictions: Predictions, targets: Targets) -> list[int]:
    """The rule of method, pair by pair, in plain Python."""
    num, num_boxes = len(predictions), len(targets)
    iou = pairwise_iou(predictions.boxes, targets.boxes).tolist()
    inside, central = [], []
    for a, point in enumerate(predictions.anchors.tolist()):
        half_edge = 2.5 * STRIDES_M[int(predictions.level[a])]
        rows: tuple[list[bool], list[bool]] = ([], [])
        for x, y, z, dx, dy, dz, yaw in targets.boxes.array.tolist():
            ox, oy, oz = point[0] - x, point[1] - y, point[2] - z
            u = ox * math.cos(yaw) + oy * math.sin(yaw)
            v = -ox * math.sin(yaw) + oy * math.cos(yaw)
            rows[0].append(2 * abs(u) < dx and 2 * abs(v) < dy and 2 * abs(oz) < dz)
            rows[1].append(max(abs(ox), abs(oy), abs(oz)) < half_edge)
        inside.append(rows[0])
        central.append(rows[1])
    scores = [[sigmoid(x) for x in row] for row in predictions.logits.tolist()]
    candidates = [a for a in range(num) if any(inside[a]) or any(central[a])]
    cost = {}
    for a in candidates:
        for g in range(num_boxes):
            of_class = class_cost(name, scores[a], int(targets.labels[g]), iou[a][g])
            outside = 0.0 if inside[a][g] and central[a][g] else 1e6
            cost[a, g] = of_class - 3 * math.log(iou[a][g] + 1e-7) + outside
    claims: dict[int, list[int]] = {}
    for g in range(num_boxes):
        best = sorted((iou[a][g] for a in candidates), reverse=True)[:10]
        k = min(max(1, int(sum(best))), len(candidates))
        for a in sorted(candidates, key=lambda a: cost[a, g])[:k]:
            claims.setdefault(a, []).append(g)
    target = [-1] * num
    for a, claimants in claims.items():
        every_box = range(num_boxes) if len(claimants) > 1 else claimants
        target[a] = min(every_box, key=lambda g: cost[a, g])
    return target


@pytest.mark.parametrize("name", BOTH)
def test_assignment_matches_the_worked_numbers(name: str) -> None:
    scene = scene_of(WORKED["inputs"], "gt_class_of_3")
    expected = WORKED["expected"][f"{name}_assigned"]
    assert BOTH[name](*scene).target.tolist() == expected
    assert by_hand(name, *scene) == expected  # the oracle below is right


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_assignment_is_that_of_all_pairs_one_by_one(name: str, rotated: bool, seed: int) -> None:
    predictions, targets = room(seed, num=150, num_boxes=7, rotated=rotated)
    expected = by_hand(name, predictions, targets)
    assert BOTH[name](predictions, targets).target.tolist() == expected
    assert len(set(expected)) > 5


@pytest.mark.parametrize("name", BOTH)
def test_a_box_without_anchors_near_its_centre_still_takes_one(name: str) -> None:
    """It costs more than any other pair, but a box takes at least one candidate."""
    predictions, targets = room(num_boxes=1)
    flat = Boxes3D(
        targets.boxes.center + 0.01,
        targets.boxes.size * torch.tensor([1.0, 1.0, 1e-6]),
        targets.boxes.yaw,
    )
    both = Targets(Boxes3D.cat([targets.boxes, flat]), torch.cat([targets.labels, targets.labels]))
    target = BOTH[name](predictions, both).target
    assert target.tolist() == by_hand(name, predictions, both)
    assert (target == 0).any()


def test_two_good_predictions_by_hand() -> None:
    """IoUs 1, 1 and 1/2 sum up to 2.5: two anchors, those of the highest scores.

    -ln IoU is 0 for the first two and .69 for the third; cross-entropy of one class: ln(1 + e^-x).
    """
    rows = [[0.0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0.5]]
    anchors = torch.tensor([[0.1, 0, 0], [0.2, 0, 0], [0.05, 0, 0]], dtype=torch.float64)
    level = torch.zeros(3, dtype=torch.int64)
    truth = Targets(boxes(rows[:1]), level[:1])
    found = Predictions(
        anchors,
        boxes(rows),
        torch.tensor([[0.0], [1.0], [2.0]]),
        level,
        level,
        level_stride_m=(0.16,),
    )
    # Costs: ln 2 = .69, ln(1 + e^-1) = .31, ln(1 + e^-2) + 3 ln 2 = 2.21.
    assert SimOta()(found, truth).target.tolist() == [0, 0, -1]
    # With a heavy enough score against little weight of the overlap the third one wins.
    assert SimOta(iou_weight=0.1)(found, truth).target.tolist() == [-1, 0, 0]
    # Far from the centre's cube they are still taken, as there are no others.
    assert SimOta(center_radius=0.1)(found, truth).target.tolist() == [0, 0, -1]
    assert SimOta()(replace(found, anchors=anchors + 9), truth).target.tolist() == [-1] * 3
