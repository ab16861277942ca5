from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field, TypeAdapter, ValidationError
from small_scenes import room
from torch import Tensor

from sr3d_core.geometry import pairs
from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision import spota
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.matching import cheapest_box
from sr3d_core.supervision.spota import Spota, center_prior, vertex_distance

EXAMPLES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())["examples"]
AXIS_ALIGNED = EXAMPLES["spota_axis_aligned"]
ROTATED = EXAMPLES["rotated_geometry"]
WORKED_COSTS = [
    ("iou", "cost_creg_1_minus_iou"),
    ("diou", "cost_creg_diou_loss"),
    ("neg_log_iou", "cost_creg_neg_log_iou_eps1e7"),
]
CHOICE: TypeAdapter[Any] = TypeAdapter(Annotated[Spota | CenterTopK, Field(discriminator="name")])


def boxes(rows: list[list[float]]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64))


def expected(example: dict[str, Any], key: str) -> Tensor:
    return torch.tensor(example["expected"][key], dtype=torch.float64)


def toy_scene() -> tuple[Predictions, Targets]:
    """The scene that the worked numbers share: a chair, a table, five anchors, two levels."""
    inputs = AXIS_ALIGNED["inputs"]
    found = boxes(inputs["pred_boxes"])
    scene = predictions(torch.tensor(inputs["points"], dtype=torch.float64), found)
    level = torch.tensor(inputs["levels"])
    scene = Predictions(scene.anchors, found, scene.logits, level, scene.scene)
    return scene, Targets(boxes(inputs["gt_boxes"]), torch.tensor(inputs["gt_labels"]))


def predictions(anchors: Tensor, found: Boxes3D) -> Predictions:
    num = len(anchors)
    index = torch.zeros(num, dtype=torch.int64)
    return Predictions(anchors, found, torch.zeros(num, 18), index, index)


def targets(rows: list[list[float]]) -> Targets:
    return Targets(boxes(rows), torch.zeros(len(rows), dtype=torch.int64))


def random_room(*, rotated: bool, num: int = 3000, num_boxes: int = 20) -> tuple[Any, Targets]:
    """A room of 6 x 5 x 2.5 m whose predictions lie near boxes only where anchors do."""
    generator = torch.Generator().manual_seed(0)
    room = torch.tensor([6.0, 5.0, 2.5])
    turn = 3.0 if rotated else 0.0

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    anchors = (uniform(num, 3) * room / 0.16).floor() * 0.16
    center = anchors + 0.1 * torch.randn(num, 3, generator=generator)
    found = Boxes3D(center, uniform(num, 3) + 0.3, turn * uniform(num))
    center, size = uniform(num_boxes, 3) * room, uniform(num_boxes, 3) + 0.3
    truth = Boxes3D(center, size, turn * uniform(num_boxes))
    labels = torch.zeros(num_boxes, dtype=torch.int64)
    return predictions(anchors, found), Targets(truth, labels)


def test_vertex_distance_of_axis_aligned_boxes_matches_the_worked_numbers() -> None:
    scene, truth = toy_scene()
    distance = vertex_distance(scene.boxes, truth.boxes)
    torch.testing.assert_close(distance, expected(AXIS_ALIGNED, "R_VD"), atol=1e-8, rtol=0)


def test_vertex_distance_of_cubes_side_by_side() -> None:
    # Corners are 1 m apart, the box around both has the diagonal of 2 x 1 x 1.
    a, b = boxes([[0, 0, 0, 1, 1, 1]]), boxes([[1, 0, 0, 1, 1, 1]])
    assert vertex_distance(a, b).item() == pytest.approx(2 / (2 * math.sqrt(6)))


def test_vertex_distance_of_rotated_boxes_takes_the_best_of_four_descriptions() -> None:
    distance = vertex_distance(boxes(ROTATED["inputs"]["pred"]), boxes(ROTATED["inputs"]["gt"]))
    worked = expected(ROTATED, "R_VD_min_over_4_equivalent_corner_labelings")
    torch.testing.assert_close(distance, worked, atol=1e-8, rtol=0)


@pytest.mark.parametrize("same", ["equivalent_swap", "equivalent_pi"])
def test_vertex_distance_of_two_descriptions_of_one_box_is_zero(same: str) -> None:
    inputs = EXAMPLES["rotated_symmetry"]["inputs"]
    assert vertex_distance(boxes([inputs["a"]]), boxes([inputs[same]])).item() < 1e-8


def test_vertex_distance_does_not_depend_on_the_other_pairs() -> None:
    straight, tilted = [0, 0, 0, 0.2, 1, 1], [2, 2, 0, 1, 0.5, 1, 0.7]
    a, b = boxes([[*straight, 0], tilted]), boxes([[1, 1, 0, 0.7, 1, 1, 0], tilted])
    torch.testing.assert_close(vertex_distance(a, b)[0, 0], vertex_distance(a[:1], b[:1])[0, 0])


def test_vertex_distance_stays_within_0_and_1() -> None:
    scene, truth = random_room(rotated=True, num=200)
    distance = vertex_distance(scene.boxes, truth.boxes)
    assert distance.min() >= 0
    assert distance.max() <= 1


def test_vertex_distance_of_points_in_one_place_is_zero() -> None:
    point = boxes([[1, 2, 3, 0, 0, 0]])
    assert vertex_distance(point, point).item() == 0


@pytest.mark.parametrize(("num", "num_truth"), [(0, 0), (3, 0), (0, 2)])
def test_vertex_distance_of_no_boxes_is_empty(num: int, num_truth: int) -> None:
    row = [0.0, 0, 0, 1, 1, 1, 0]
    a = Boxes3D.from_array(torch.tensor([row]).repeat(num, 1))
    b = Boxes3D.from_array(torch.tensor([row]).repeat(num_truth, 1))
    assert vertex_distance(a, b).shape == (num, num_truth)


def test_center_prior_matches_the_worked_numbers() -> None:
    scene, truth = toy_scene()
    prior = center_prior(scene.anchors, truth.boxes.center, mu=1.0)
    torch.testing.assert_close(prior, expected(AXIS_ALIGNED, "gamma_c"), atol=1e-8, rtol=0)


def test_center_prior_of_small_distances_keeps_its_digits() -> None:
    prior = center_prior(torch.tensor([[1e-5, 0.0, 0.0]]), torch.zeros(1, 3), mu=1.0)
    assert prior.item() == pytest.approx(1e-10, rel=1e-5)


@pytest.mark.parametrize(("regression", "key"), WORKED_COSTS)
def test_the_cost_orders_pairs_as_the_worked_numbers_do(regression: Any, key: str) -> None:
    scene, truth = toy_scene()
    cost = expected(AXIS_ALIGNED, key)
    for k in range(1, 6):
        claims = cost.topk(k, dim=0, largest=False)
        worked = cheapest_box(claims.values.T, claims.indices.T, 5)
        assignment = Spota(k=k, regression=regression)(scene, truth)
        assert assignment.target.tolist() == worked.tolist()


@pytest.mark.parametrize(("regression", "key"), WORKED_COSTS)
def test_the_cost_has_the_worked_values(regression: Any, key: str) -> None:
    scene, truth = toy_scene()
    cost = Spota(regression=regression).cost(scene, truth)
    torch.testing.assert_close(cost, expected(AXIS_ALIGNED, key), atol=2e-6, rtol=0)


def test_the_cost_of_rotated_boxes_has_the_worked_values() -> None:
    inputs = ROTATED["inputs"]
    anchors = torch.tensor(inputs["points"], dtype=torch.float64)
    cost = Spota().cost(predictions(anchors, boxes(inputs["pred"])), targets(inputs["gt"]))
    worked = expected(ROTATED, "cost_min4_creg_1_minus_iou")
    torch.testing.assert_close(cost, worked, atol=1e-8, rtol=0)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("filtered", [False, True])
def test_assignment_matches_the_worked_numbers(k: int, filtered: bool) -> None:
    example = EXAMPLES["spota_assignment"]
    levels = tuple(example["inputs"]["scannet_label2level"]) if filtered else None
    rule = "with_scannet_label2level" if filtered else "no_level_filter"
    assignment = Spota(k=k, level_filter=levels)(*toy_scene())
    worked = example["expected"][f"k{k}_{rule}"]["assigned_gt_per_anchor"]
    assert assignment.target.tolist() == worked
    assert assignment.weight.tolist() == [1.0] * 5


def test_a_prediction_that_two_boxes_claim_goes_to_the_cheaper_one() -> None:
    scene, truth = toy_scene()
    only_a2 = scene[2:3]  # costs .078 for the chair, .417 for the table
    assert Spota()(only_a2, truth).target.tolist() == [0]
    assert Spota()(only_a2, truth[torch.tensor([1, 0])]).target.tolist() == [1]


def test_a_box_that_loses_its_claim_takes_no_further_prediction() -> None:
    scene, truth = toy_scene()
    # k = 1 and two equal boxes: both claim a0, the second ends with nothing.
    twins = truth[torch.tensor([0, 0])]
    assert Spota(k=1)(scene, twins).target.tolist() == [0, -1, -1, -1, -1]


def test_fewer_predictions_than_k_are_all_claimed() -> None:
    assert (Spota(k=50, candidates=50)(*toy_scene()).target >= 0).all()


def test_the_level_filter_also_holds_when_a_level_has_too_few_anchors() -> None:
    scene, truth = toy_scene()
    levels = (1,) * 18
    assert Spota(k=4, level_filter=levels)(scene, truth).target.tolist()[:3] == [-1, -1, -1]


def test_no_boxes_gives_background_only() -> None:
    scene, truth = toy_scene()
    assert Spota()(scene, truth[:0]).target.tolist() == [-1] * 5


def test_no_anchors_gives_an_empty_assignment() -> None:
    scene, truth = toy_scene()
    assignment = Spota()(scene[:0], truth)
    assert len(assignment.target) == len(assignment.weight) == 0


def by_full_search(rule: Spota, scene: Predictions, truth: Targets) -> list[int]:
    """Algorithm 1 from the costs of all pairs, one by one."""
    cost = rule.cost(scene, truth).T.tolist()
    target, best = [-1] * len(scene), [math.inf] * len(scene)
    for box, row in enumerate(cost):
        for anchor in sorted(range(len(row)), key=lambda a: row[a])[: rule.k]:
            if row[anchor] < best[anchor]:
                target[anchor], best[anchor] = box, row[anchor]
    return target


RULES = [
    {},
    {"regression": "diou"},
    {"regression": "neg_log_iou", "mu": 4.0},
    {"vertex_distance": False},
    {"classification": 1.0},
    {"classification": 0.3, "vertex_distance": False, "k": 20},
    {"level_filter": (0, 1, 0, 1)},
]


@pytest.mark.parametrize("knobs", RULES, ids=str)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_ruled_out_unseen_changes_nothing(
    knobs: dict[str, Any], rotated: bool, dtype: torch.dtype
) -> None:
    """Whether predictions are good, or say nothing about the boxes at all."""
    for seed, is_good in ((0, True), (1, False)):
        scene, truth = room(seed, num=900, num_boxes=9, rotated=rotated, dtype=dtype)
        if not is_good:
            boxes = scene.boxes
            order = torch.randperm(900, generator=torch.Generator().manual_seed(0))
            moved = Boxes3D(boxes.center[order], boxes.size.flip(0), boxes.yaw)
            scene = replace(scene, boxes=moved)
        rule = Spota(candidates="all", **knobs)
        expected = by_full_search(rule, scene, truth)
        assert rule(scene, truth).target.tolist() == expected
        assert len(set(expected)) > 8
        limited = Spota(candidates=900, **knobs)
        assert limited(scene, truth).target.tolist() == expected


def test_pairs_are_looked_at_in_pieces_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, truth = room(num_boxes=9)
    expected = by_full_search(Spota(candidates="all"), scene, truth)
    monkeypatch.setitem(pairs.PAIRS_AT_ONCE, "cpu", 1000)
    monkeypatch.setattr(spota, "_FEW_PAIRS", 10)
    assert Spota(candidates="all")(scene, truth).target.tolist() == expected


def test_the_classification_cost_is_the_focal_loss_of_the_boxs_class_by_hand() -> None:
    # Two predictions in the place of the box, .1 m off: C_reg = R_VD = 0, so that the cost is
    # the prior times the focal loss of both classes against (1, 0).
    found = boxes([[0, 0, 0, 1, 1, 1]] * 2)
    scene = predictions(torch.tensor([[0.1, 0, 0], [-0.1, 0, 0]], dtype=torch.float64), found)
    scene = replace(scene, logits=torch.tensor([[0.0, -1.0], [2.0, 3.0]]))
    p, q = 1 / (1 + math.exp(1.0)), 1 / (1 + math.exp(-3.0))  # of the second class
    first = 0.25 * 0.25 * math.log(2) - 0.75 * p**2 * math.log(1 - p)
    r = 1 / (1 + math.exp(-2.0))
    second = -0.25 * (1 - r) ** 2 * math.log(r) - 0.75 * q**2 * math.log(1 - q)
    prior = 1 - math.exp(-0.01)
    cost = Spota(classification=2.0).cost(scene, targets([[0, 0, 0, 1, 1, 1]]))
    worked = torch.tensor([[2 * first * prior], [2 * second * prior]], dtype=torch.float64)
    torch.testing.assert_close(cost, worked, rtol=1e-5, atol=1e-9)


def test_without_the_vertex_distance_the_cost_is_prior_times_regression() -> None:
    scene, truth = toy_scene()
    cost = Spota(vertex_distance=False).cost(scene, truth)
    prior, iou = expected(AXIS_ALIGNED, "gamma_c"), expected(AXIS_ALIGNED, "iou")
    torch.testing.assert_close(cost, prior * (1 - iou), atol=1e-6, rtol=0)


def test_a_box_whose_anchors_are_all_contested_ends_without_any() -> None:
    """Of two identical boxes the first one wins all; nothing is claimed instead."""
    scene, truth = room(num_boxes=1)
    twins = truth[torch.tensor([0, 0])]
    for rule in (Spota(), Spota(candidates="all")):
        target = rule(scene, twins).target
        assert target.tolist() == rule(scene, truth).target.tolist()
        assert (target == 0).sum() == rule.k


def test_of_equal_costs_the_first_prediction_is_claimed() -> None:
    anchors = torch.tensor([[0.5, 0, 0], [-0.5, 0, 0], [0, 0.5, 0]])
    scene = predictions(anchors, Boxes3D(anchors * 0, anchors * 0 + 1, anchors[:, 0] * 0))
    truth = Targets(scene.boxes[:1], torch.zeros(1, dtype=torch.int64))
    for limit in (3, "all"):
        assert Spota(k=1, candidates=limit)(scene, truth).target.tolist() == [0, -1, -1]


def test_all_candidates_are_a_word_of_the_configuration() -> None:
    assert CHOICE.validate_python({"name": "spota", "candidates": "all"}).candidates == "all"
    with pytest.raises(ValidationError, match="candidates"):
        CHOICE.validate_python({"name": "spota", "candidates": "most"})


@pytest.mark.parametrize("rotated", [False, True])
def test_searching_the_nearest_anchors_equals_searching_all(rotated: bool) -> None:
    scene, truth = random_room(rotated=rotated)
    limited, full = Spota()(scene, truth), Spota(candidates=len(scene))(scene, truth)
    assert full.is_positive.sum() > 100
    assert limited.target.tolist() == full.target.tolist()


def test_the_candidate_limit_keeps_far_predictions_out() -> None:
    # The far prediction is perfect, so it costs less; but only the nearest anchor is asked.
    truth = targets([[0, 0, 0, 1, 1, 1]])
    found = boxes([[5, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]])
    scene = predictions(torch.tensor([[0.5, 0, 0], [2.0, 0, 0]], dtype=torch.float64), found)
    assert Spota(k=1, candidates=1)(scene, truth).target.tolist() == [0, -1]
    assert Spota(k=1, candidates=2)(scene, truth).target.tolist() == [-1, 0]


def test_the_order_of_the_predictions_does_not_matter() -> None:
    scene, truth = random_room(rotated=False, num=500)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    shuffled = Spota()(scene[order], truth).target
    assert shuffled.tolist() == Spota()(scene, truth).target[order].tolist()


def test_a_prediction_that_is_not_a_number_is_never_claimed() -> None:
    scene, truth = toy_scene()
    center = scene.boxes.center.clone()
    center[0] = math.nan
    broken = Boxes3D(center, scene.boxes.size, scene.boxes.yaw)
    scene = Predictions(scene.anchors, broken, scene.logits, scene.level, scene.scene)
    assert Spota(k=2)(scene, truth).target.tolist() == [-1, 0, 0, 1, 1]


def test_assignment_carries_no_gradient() -> None:
    scene, truth = toy_scene()
    scene.boxes.center.requires_grad_()
    assignment = Spota()(scene, truth)
    assert not assignment.weight.requires_grad


def test_a_label_without_a_level_is_explained() -> None:
    scene, truth = toy_scene()
    with pytest.raises(ValueError, match=r"level_filter .*2 entries.* label 4"):
        Spota(level_filter=(0, 1))(scene, truth)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"k": 0}, "Spota.k is 0, expected at least 1"),
        ({"mu": 0.0}, "Spota.mu is 0.0, expected a number above 0"),
        ({"mu": math.nan}, "Spota.mu is nan, expected a number above 0"),
        ({"k": 8, "candidates": 7}, "Spota.candidates is 7, expected at least k = 8"),
        ({"level_filter": (0, -1)}, r"Spota.level_filter is \(0, -1\), expected one level >= 0"),
        ({"level_filter": ()}, r"Spota.level_filter is \(\), expected one level >= 0"),
    ],
)
def test_values_out_of_range_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spota(**knobs)
    with pytest.raises(ValidationError, match=message):
        CHOICE.validate_python({"name": "spota", **knobs})


def test_a_configuration_chooses_the_assigner_by_name() -> None:
    assert CHOICE.validate_python({"name": "spota", "k": 8}) == Spota(k=8)
    assert CHOICE.validate_python({"name": "center_topk", "k": 8}) == CenterTopK(k=8)


def test_a_configuration_reads_levels_from_a_list() -> None:
    assert CHOICE.validate_python({"name": "spota", "level_filter": [0, 1]}).level_filter == (0, 1)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"spota\.topk\n.*Unexpected keyword argument"):
        CHOICE.validate_python({"name": "spota", "topk": 8})


def test_an_unknown_regression_cost_is_refused() -> None:
    with pytest.raises(ValidationError, match="'iou', 'neg_log_iou' or 'diou'"):
        CHOICE.validate_python({"name": "spota", "regression": "giou"})
