from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.matching import cheapest_box, squared_distance

EXAMPLES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())["examples"]
WORKED = EXAMPLES["tr3d_assigner"]


def predictions(anchors: Tensor, level: list[int]) -> Predictions:
    num = len(anchors)
    index = torch.zeros(num, dtype=torch.int64)
    found = Boxes3D(anchors, torch.ones(num, 3), torch.zeros(num))
    return Predictions(anchors, found, torch.zeros(num, 18), torch.tensor(level), index)


def on_a_line(x: list[float]) -> Predictions:
    anchors = torch.tensor([[value, 0.0, 0.0] for value in x])
    return predictions(anchors, [0] * len(x))


def at_x(*x: float) -> Targets:
    center = torch.zeros(len(x), 3)
    center[:, 0] = torch.tensor(x)
    cubes = Boxes3D(center, torch.ones(len(x), 3), torch.zeros(len(x)))
    return Targets(cubes, torch.zeros(len(x), dtype=torch.int64))


def toy_scene() -> tuple[Predictions, Targets]:
    """The scene of the worked numbers: a chair and a table, eight anchors on two levels."""
    inputs = WORKED["inputs"]
    scene = predictions(torch.tensor(inputs["points"], dtype=torch.float64), inputs["levels"])
    truth = Boxes3D.from_array(torch.tensor(inputs["gt_boxes"], dtype=torch.float64))
    return scene, Targets(truth, torch.tensor(inputs["gt_labels"]))


@pytest.mark.parametrize("k", [2, 6])
@pytest.mark.parametrize("release", ["samsung_fork", "mmdet3d_1x"])
def test_assignment_matches_the_worked_numbers(k: int, release: str) -> None:
    assigner = CenterTopK(
        k=k,
        level_filter=tuple(WORKED["inputs"]["label2level"]),
        only_nearest_box=release == "samsung_fork",
    )
    assert assigner(*toy_scene()).target.tolist() == WORKED["expected"][f"k{k}_{release}"]


def test_squared_distances_match_the_worked_numbers() -> None:
    scene, truth = toy_scene()
    distance = squared_distance(truth.boxes.center, scene.anchors).T
    worked = torch.tensor(WORKED["expected"]["sqdist"], dtype=torch.float64)
    torch.testing.assert_close(distance, worked, atol=1e-12, rtol=0)


def test_a_box_claims_its_k_nearest_anchors() -> None:
    scene = on_a_line([0.4, 0.1, 0.3, 0.2])
    assert CenterTopK(k=2)(scene, at_x(0.0)).target.tolist() == [-1, 0, -1, 0]


def test_anchors_as_far_as_the_first_one_left_out_drop_out_too() -> None:
    scene = on_a_line([0.0, 0.5, -0.5, 1.0])
    assert CenterTopK(k=2)(scene, at_x(0.0)).target.tolist() == [0, -1, -1, -1]


def test_the_farthest_anchor_drops_out_when_there_are_no_more_than_k() -> None:
    assert CenterTopK(k=6)(on_a_line([0.0, 0.5, 1.0]), at_x(0.0)).target.tolist() == [0, 0, -1]


def test_anchors_need_not_lie_inside_the_box() -> None:
    assert CenterTopK(k=1)(on_a_line([5.0, 6.0]), at_x(0.0)).target.tolist() == [0, -1]


def test_an_anchor_that_two_boxes_claim_goes_to_the_nearer_one() -> None:
    scene = on_a_line([0.0, 0.4, 1.0, 9.0])
    assert CenterTopK(k=3)(scene, at_x(0.0, 1.0)).target.tolist() == [0, 0, 1, -1]


def test_an_anchor_of_another_level_is_never_claimed() -> None:
    scene = predictions(torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.7, 0, 0]]), [1, 0, 0])
    assert CenterTopK(k=6, level_filter=(0,))(scene, at_x(0.0)).target.tolist() == [-1, 0, 0]


def test_without_a_level_filter_every_level_counts() -> None:
    scene = predictions(torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.7, 0, 0]]), [1, 0, 0])
    assert CenterTopK(k=2)(scene, at_x(0.0)).target.tolist() == [0, 0, -1]


def test_no_boxes_gives_background_only() -> None:
    assignment = CenterTopK(level_filter=(0,))(on_a_line([0.0, 1.0]), at_x())
    assert assignment.target.tolist() == [-1, -1]
    assert assignment.weight.tolist() == [1.0, 1.0]


def test_no_anchors_gives_an_empty_assignment() -> None:
    assert len(CenterTopK()(on_a_line([0.0])[:0], at_x(0.0)).target) == 0


def test_the_cheapest_claim_wins_and_equal_ones_go_to_the_first_box() -> None:
    cost = torch.tensor([[3.0, 1.0], [2.0, 1.0], [torch.inf, torch.inf]])
    anchor = torch.tensor([[0, 2], [0, 2], [1, 3]])
    assert cheapest_box(cost, anchor, 4).tolist() == [1, -1, 0, -1]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"k": 0}, "CenterTopK.k is 0, expected at least 1"),
        ({"level_filter": (-1,)}, r"CenterTopK.level_filter is \(-1,\), expected one level >= 0"),
    ],
)
def test_values_out_of_range_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CenterTopK(**knobs)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(CenterTopK).validate_python(knobs)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"anchors\n.*Unexpected keyword argument"):
        TypeAdapter(CenterTopK).validate_python({"anchors": 6})
