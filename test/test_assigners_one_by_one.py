"""Every assigner against a plain one: loops over pairs, written from the papers alone.

Scenes are random, with what real ones have: predictions that are not numbers, that are there
twice, that overlap nothing, boxes without anchors, boxes one on the other.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.parts import ASSIGNERS, part

STRIDES = (0.16, 0.32)
NUM_CLASSES = 3
Row = list[float]


def scene(seed: int, num: int, num_boxes: int, spoil: float) -> tuple[Predictions, Targets]:
    """Boxes in a corner of a room, anchors on two lattices around them, in double precision."""
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, 1.5, (num_boxes, 3))
    size = rng.uniform(0.3, 1.2, (num_boxes, 3))
    level = rng.integers(0, 2, num)
    stride = np.array(STRIDES)[level][:, None]
    anchors = np.floor(rng.uniform(-0.3, 1.8, (num, 3)) / stride) * stride
    found = np.hstack(
        [
            anchors + rng.normal(0, 0.2, (num, 3)),
            rng.uniform(0.2, 1.3, (num, 3)),
            np.zeros((num, 1)),
        ]
    )
    logits = rng.normal(-1, 2, (num, NUM_CLASSES))
    for index in np.flatnonzero(rng.random(num) < spoil):
        kind = rng.integers(5)
        if kind == 0:
            found[index, rng.integers(6)] = np.nan
        elif kind == 1:
            found[index, 3] = np.inf
        elif kind == 2:
            logits[index] = np.nan
        elif kind == 3:
            found[index, :3] += 50
        else:  # the same once more
            twin = rng.integers(num)
            anchors[index], found[index] = anchors[twin], found[twin]
            logits[index], level[index] = logits[twin], level[twin]
    if num_boxes > 1 and rng.random() < spoil:
        center[1], size[1] = center[0], size[0]
    labels = torch.from_numpy(rng.integers(0, NUM_CLASSES, num_boxes))
    truth = torch.from_numpy(np.hstack([center, size, np.zeros((num_boxes, 1))]))
    levels = torch.from_numpy(level)
    predictions = Predictions(
        torch.from_numpy(anchors),
        Boxes3D.from_array(torch.from_numpy(found)),
        torch.from_numpy(logits),
        levels,
        levels * 0,
        level_stride_m=STRIDES,
    )
    return predictions, Targets(Boxes3D.from_array(truth), labels)


class Plain:
    """A scene as lists of numbers."""

    def __init__(self, predictions: Predictions, targets: Targets) -> None:
        self.anchors: list[Row] = predictions.anchors.tolist()
        self.found: list[Row] = predictions.boxes.array.tolist()
        self.logits: list[Row] = predictions.logits.tolist()
        self.level: list[int] = predictions.level.tolist()
        self.truth: list[Row] = targets.boxes.array.tolist()
        self.labels: list[int] = targets.labels.tolist()
        self.num, self.num_boxes = len(self.anchors), len(self.truth)

    def has_box(self, a: int) -> bool:
        return all(map(math.isfinite, self.found[a]))

    def is_sound(self, a: int) -> bool:
        return self.has_box(a) and all(map(math.isfinite, self.logits[a]))

    def apart(self, a: int, g: int) -> float:
        return sum((self.anchors[a][i] - self.truth[g][i]) ** 2 for i in range(3))

    def iou(self, a: int, g: int) -> float:
        p, t = self.found[a], self.truth[g]
        common = math.prod(
            max(
                0,
                min(p[i] + p[i + 3] / 2, t[i] + t[i + 3] / 2)
                - max(p[i] - p[i + 3] / 2, t[i] - t[i + 3] / 2),
            )
            for i in range(3)
        )
        return common / (math.prod(p[3:6]) + math.prod(t[3:6]) - common)

    def vertex_distance(self, a: int, g: int) -> float:
        p, t = self.found[a], self.truth[g]
        ends = [
            [[box[i] + sign * box[i + 3] / 2 for i in range(3)] for sign in (-1, 1)]
            for box in (p, t)
        ]
        low = [min(ends[0][0][i], ends[1][0][i]) for i in range(3)]
        high = [max(ends[0][1][i], ends[1][1][i]) for i in range(3)]
        return (math.dist(ends[0][0], ends[1][0]) + math.dist(ends[0][1], ends[1][1])) / (
            2 * math.dist(low, high)
        )

    def away(self, a: int, g: int) -> Row:
        return [abs(self.anchors[a][i] - self.truth[g][i]) for i in range(3)]

    def is_inside(self, a: int, g: int) -> bool:
        return all(d < self.truth[g][i + 3] / 2 for i, d in enumerate(self.away(a, g)))

    def is_central(self, a: int, g: int, radius: float) -> bool:
        return max(self.away(a, g)) < radius * STRIDES[self.level[a]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def entropy(x: float, t: float) -> float:
    """Binary cross-entropy of a logit with a target."""
    return -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x))


def claims(costs: dict[tuple[int, int], float], plain: Plain, k: int) -> list[int]:
    """Each box claims its k cheapest; an anchor goes to the cheapest box."""
    claimed: dict[int, list[tuple[float, int]]] = {}
    for g in range(plain.num_boxes):
        mine = sorted((cost, a) for (a, box), cost in costs.items() if box == g)
        for cost, a in mine[:k]:
            claimed.setdefault(a, []).append((cost, g))
    return [min(claimed[a])[1] if a in claimed else -1 for a in range(plain.num)]


def spota(plain: Plain) -> list[int]:
    costs = {
        (a, g): (1 - math.exp(-plain.apart(a, g)))
        * (1 - plain.iou(a, g) + plain.vertex_distance(a, g))
        for a, g in product(range(plain.num), range(plain.num_boxes))
        if plain.has_box(a)
    }
    return claims(costs, plain, 6)


def center_topk(plain: Plain) -> list[int]:
    costs = {}
    for g in range(plain.num_boxes):
        away = sorted(plain.apart(a, g) for a in range(plain.num))
        limit = away[min(6, len(away) - 1)] if away else 0
        costs |= {(a, g): plain.apart(a, g) for a in range(plain.num) if plain.apart(a, g) < limit}
    return claims(costs, plain, plain.num)


def fcaf3d(plain: Plain) -> list[int]:
    def central(a: int, g: int) -> float:
        halves = [plain.truth[g][i + 3] / 2 for i in range(3)]
        away = plain.away(a, g)
        return math.sqrt(math.prod((h - d) / (h + d) for h, d in zip(halves, away, strict=True)))

    costs = {}
    for g in range(plain.num_boxes):
        inside = [a for a in range(plain.num) if plain.is_inside(a, g)]
        counts = [sum(plain.level[a] == level for a in inside) for level in (0, 1)]
        level = 1 if counts[0] >= 27 and counts[1] >= 27 else 0
        mine = [a for a in inside if plain.level[a] == level]
        # All other anchors have a centerness below any inside.
        ranked = sorted((central(a, g) for a in mine), reverse=True)
        ranked += [-1.0] * (plain.num - len(ranked))
        limit = ranked[min(18, plain.num - 1)] if ranked else 0.0
        volume = math.prod(plain.truth[g][3:6])
        costs |= {(a, g): volume for a in mine if central(a, g) > limit}
    return claims(costs, plain, plain.num)


def dynamic_k(plain: Plain, *, is_aligned: bool) -> list[int]:
    boxes = range(plain.num_boxes)

    def class_cost(a: int, g: int, iou: float) -> float:
        total = 0.0
        for c, x in enumerate(plain.logits[a]):
            is_own = c == plain.labels[g]
            target = (iou if is_aligned else 1.0) if is_own else 0.0
            weight = (target - sigmoid(x)) ** 2 if is_aligned else 1.0
            total += entropy(x, target) * weight
        return total

    def cost(a: int, g: int) -> float:
        iou = plain.iou(a, g)
        is_good = plain.is_inside(a, g) and plain.is_central(a, g, 2.5)
        return class_cost(a, g, iou) - 3 * math.log(iou + 1e-7) + 1e8 * (not is_good)

    candidates = [
        a
        for a in range(plain.num)
        if plain.is_sound(a)
        and any(plain.is_inside(a, g) or plain.is_central(a, g, 2.5) for g in boxes)
    ]
    taken: dict[int, list[int]] = {}
    for g in boxes:
        overlaps = sorted((plain.iou(a, g) for a in candidates), reverse=True)
        wanted = max(1, math.floor(sum(overlaps[:10])))
        for _, a in sorted((cost(a, g), a) for a in candidates)[:wanted]:
            taken.setdefault(a, []).append(g)
    result = [-1] * plain.num
    for a, of in taken.items():
        result[a] = of[0] if len(of) == 1 else min((cost(a, g), g) for g in boxes)[1]
    return result


def ota(plain: Plain) -> list[int]:
    """Sinkhorn on the whole matrix; a box without anchors in it is offered what overlaps it."""
    sound = [a for a in range(plain.num) if plain.is_sound(a)]
    rows, supplies = [], []
    for g in range(plain.num_boxes):
        mine = [a for a in sound if plain.is_inside(a, g) and plain.is_central(a, g, 2.5)]
        overlaps = sorted((plain.iou(a, g) for a in mine), reverse=True)
        mine = mine or [a for a in sound if plain.iou(a, g) > 0]
        if mine:
            rows.append((g, mine))
            supplies.append(max(1.0, math.floor(sum(overlaps[:20]))))
    if not rows:
        return [-1] * plain.num

    def focal(x: float, is_target: bool) -> float:
        p = sigmoid(x)
        miss = 1 - p if is_target else p
        return -(0.25 if is_target else 0.75) * miss**2 * math.log(1 - miss)

    cost = np.full((len(rows) + 1, plain.num), np.inf)
    for row, (g, mine) in enumerate(rows):
        for a in mine:
            own = sum(focal(x, c == plain.labels[g]) for c, x in enumerate(plain.logits[a]))
            cost[row, a] = own - 1.5 * math.log(max(plain.iou(a, g), 1e-7))
    for a in range(plain.num):
        is_known = all(map(math.isfinite, plain.logits[a]))
        cost[-1, a] = sum(focal(x, False) for x in plain.logits[a]) if is_known else 0.0
    supply = np.log([*supplies, max(1.0, plain.num - sum(supplies))])
    u, kernel = np.zeros(len(cost)), -cost / 0.1
    for _ in range(50):
        v = -np.logaddexp.reduce(kernel + u[:, None], axis=0)
        u = supply - np.logaddexp.reduce(kernel + v, axis=1)
    plan = kernel + u[:, None] + v
    share = plan - plan.max(axis=1, keepdims=True)
    best = share.argmax(axis=0)
    return [rows[row][0] if row < len(rows) else -1 for row in best]


PLAIN = {
    "spota": spota,
    "center_topk": center_topk,
    "fcaf3d": fcaf3d,
    "simota": lambda plain: dynamic_k(plain, is_aligned=False),
    "alignota": lambda plain: dynamic_k(plain, is_aligned=True),
    "ota": ota,
}


def test_every_assigner_has_a_plain_one() -> None:
    assert PLAIN.keys() == ASSIGNERS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    num=st.sampled_from([0, 1, 2, 7, 40, 120]),
    num_boxes=st.integers(0, 5),
    spoil=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_assignment_is_that_of_the_plain_one(
    name: str, seed: int, num: int, num_boxes: int, spoil: float
) -> None:
    predictions, targets = scene(seed, num, num_boxes, spoil)
    rule = part(ASSIGNERS, name)(**({"candidates": "all"} if name == "spota" else {}))
    assert rule(predictions, targets).target.tolist() == PLAIN[name](Plain(predictions, targets))
