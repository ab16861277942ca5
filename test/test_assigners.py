"""What holds for every assigner that a configuration can name."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_harness import sr3d
from pydantic import TypeAdapter
from small_scenes import room
from torch import Tensor

from sr3d_core.geometry import pairs
from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision import matching
from sr3d_core.supervision.criterion import Assigner, Criterion
from sr3d_core.supervision.losses import Focal
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS, part

ALL: dict[str, Assigner] = {name: part(ASSIGNERS, name)() for name in ASSIGNERS}
ALL["spota, all candidates"] = part(ASSIGNERS, "spota")(candidates="all")
ALL["spota, classes"] = part(ASSIGNERS, "spota")(classification=1.0, vertex_distance=False)
ALL["spota, levels"] = part(ASSIGNERS, "spota")(level_filter=(0, 1, 0, 1))
ALL["center_topk, nearest"] = part(ASSIGNERS, "center_topk")(only_nearest_box=True)
every = pytest.mark.parametrize("assigner", ALL.values(), ids=ALL)
looks_at_boxes = pytest.mark.parametrize(
    "name", [name for name in ALL if not name.startswith(("center_topk", "fcaf3d"))]
)


def at_origin(num: int = 5) -> Predictions:
    """Predictions of a unit cube at the origin, from anchors ever farther away along x."""
    anchors = torch.zeros(num, 3)
    anchors[:, 0] = 0.03 + 0.08 * torch.arange(num)
    cubes = Boxes3D(torch.zeros(num, 3), torch.ones(num, 3), torch.zeros(num))
    level = torch.zeros(num, dtype=torch.int64)
    logits = torch.zeros(num, 4)
    return Predictions(anchors, cubes, logits, level, level, level_stride_m=(0.16,))


def cubes(num: int) -> Targets:
    truth = Boxes3D(torch.zeros(num, 3), torch.ones(num, 3), torch.zeros(num))
    return Targets(truth, torch.zeros(num, dtype=torch.int64))


@every
@pytest.mark.parametrize("rotated", [False, True])
def test_boxes_get_anchors_and_no_anchor_has_a_box_that_is_not_there(
    assigner: Assigner, rotated: bool
) -> None:
    predictions, targets = room(rotated=rotated)
    assignment = assigner(predictions, targets)
    assert assignment.target.shape == (len(predictions),)
    assert assignment.target.dtype == torch.int64
    assert len(assignment.target[assignment.is_positive].unique()) >= 4
    assert -1 <= int(assignment.target.min()) <= int(assignment.target.max()) < len(targets)
    assert assignment.weight.tolist() == [1.0] * len(predictions)


@every
def test_no_boxes_gives_background_only(assigner: Assigner) -> None:
    predictions, targets = room()
    assert (assigner(predictions, targets[:0]).target == -1).all()


@every
@pytest.mark.parametrize("num_boxes", [0, 3])
def test_no_predictions_give_an_empty_assignment(assigner: Assigner, num_boxes: int) -> None:
    predictions, targets = room()
    assignment = assigner(predictions[:0], targets[:num_boxes])
    assert len(assignment.target) == len(assignment.weight) == 0


@every
def test_a_box_far_from_all_anchors_changes_nothing_for_the_others(assigner: Assigner) -> None:
    predictions, targets = room()
    far = Boxes3D.from_array(torch.tensor([[90.0, 90, 90, 1, 1, 1]], dtype=torch.float64))
    both = Targets(
        Boxes3D.cat([targets.boxes, far]), torch.cat([targets.labels, targets.labels[:1]])
    )
    alone, beside = assigner(predictions, targets).target, assigner(predictions, both).target
    assert torch.equal(beside.where(beside < len(targets), -1), alone.where(beside < 6, -1))


@every
def test_the_first_of_two_identical_boxes_gets_all_anchors_and_the_second_none(
    assigner: Assigner,
) -> None:
    predictions = at_origin(40)
    alone = assigner(predictions, cubes(1)).target
    assert (alone == 0).any()
    assert assigner(predictions, cubes(2)).target.max() == 0
    assert torch.equal(assigner(predictions, cubes(2)).target >= 0, alone >= 0) or isinstance(
        assigner, part(ASSIGNERS, "ota")
    )


@every
def test_one_anchor_inside_one_box_is_its_positive(assigner: Assigner) -> None:
    predictions, targets = at_origin(2), cubes(1)
    # The strict limits of TR3D and FCAF3D need a second anchor, which drops out.
    assert assigner(predictions, targets).target.tolist()[0] == 0


@every
def test_autocast_changes_no_assignment(assigner: Assigner) -> None:
    """Distances of half precision would find other anchors than the nearest."""
    predictions, targets = room()
    alone = assigner(predictions, targets).target
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(assigner(predictions, targets).target, alone)


@every
@pytest.mark.parametrize("rotated", [False, True])
def test_the_order_of_the_predictions_does_not_matter(assigner: Assigner, rotated: bool) -> None:
    predictions, targets = room(1, rotated=rotated)
    order = torch.randperm(len(predictions), generator=torch.Generator().manual_seed(1))
    shuffled = assigner(predictions[order], targets).target
    assert torch.equal(shuffled, assigner(predictions, targets).target[order])


@every
@pytest.mark.parametrize("rotated", [False, True])
def test_the_order_of_the_boxes_does_not_matter(assigner: Assigner, rotated: bool) -> None:
    predictions, targets = room(2, rotated=rotated)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(2))
    shuffled = assigner(predictions, targets[order]).target
    assert torch.equal(
        torch.where(shuffled >= 0, order[shuffled], -1), assigner(predictions, targets).target
    )


@every
def test_boxes_taken_one_by_one_give_the_same(
    assigner: Assigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a scene has so many anchors that one box fills a block."""
    predictions, targets = room(3)
    together = assigner(predictions, targets).target
    monkeypatch.setitem(pairs.PAIRS_AT_ONCE, "cpu", 1)
    assert torch.equal(assigner(predictions, targets).target, together)


@every
def test_half_precision_logits_are_computed_with_in_single(assigner: Assigner) -> None:
    predictions, targets = room(4, dtype=torch.float32)
    half = replace(predictions, logits=predictions.logits.bfloat16())
    rounded = replace(predictions, logits=half.logits.float())
    assert torch.equal(assigner(half, targets).target, assigner(rounded, targets).target)


@looks_at_boxes
def test_predictions_that_are_not_numbers_are_never_claimed(name: str) -> None:
    predictions, targets = room(5)
    is_broken = ALL[name](predictions, targets).is_positive
    center = predictions.boxes.center.clone()
    center[is_broken, 0] = math.nan
    size = predictions.boxes.size.clone()
    size[::7] = torch.inf
    broken = replace(predictions, boxes=Boxes3D(center, size, predictions.boxes.yaw))
    target = ALL[name](broken, targets).target
    assert (target[is_broken] == -1).all()
    assert (target[::7] == -1).all()
    assert (target >= 0).any()


@every
def test_assignment_carries_no_gradient(assigner: Assigner) -> None:
    predictions, targets = room()
    for leaf in (predictions.logits, predictions.boxes.center):
        leaf.requires_grad_()
    assert not assigner(predictions, targets).weight.requires_grad


@every
def test_anchors_in_an_ignored_box_are_punished_only_where_they_are_positive(
    assigner: Assigner,
) -> None:
    predictions, targets = room(6)
    predictions.logits.requires_grad_()
    everything = Boxes3D.from_array(torch.tensor([[0.0, 0, 0, 99, 99, 99]], dtype=torch.float64))
    ignored = Targets(everything, targets.labels[:1])
    truth = Targets(targets.boxes, targets.labels, ignored)
    Criterion(assigner=assigner, classification=Focal())(predictions, [truth]).total.backward()
    assert predictions.logits.grad is not None
    is_positive = assigner(predictions, targets).is_positive
    assert torch.equal(predictions.logits.grad.any(dim=1), is_positive)


@every
def test_a_configuration_can_hold_the_assigner(assigner: Assigner) -> None:
    tree = {each.name: getattr(assigner, each.name) for each in fields(assigner)}  # type: ignore[arg-type]
    made = TypeAdapter(Criterion).validate_python({"assigner": tree})
    assert made.assigner == assigner


@pytest.mark.parametrize("places", [ASSIGNERS, CLASSIFICATIONS])
def test_parts_are_called_as_the_list_says(places: dict[str, str]) -> None:
    for name in places:
        assert part(places, name)().name == name


def test_the_help_of_training_names_what_can_be_chosen() -> None:
    text = sr3d("train", "--help").output
    for name in (*ASSIGNERS, *CLASSIFICATIONS):
        assert name in text


def test_the_page_about_training_names_what_can_be_chosen() -> None:
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
    for name in (*ASSIGNERS, *CLASSIFICATIONS):
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", ["simota", "alignota", "ota"])
def test_strides_that_are_not_said_are_asked_for(name: str) -> None:
    predictions, targets = room()
    with pytest.raises(ValueError, match=r"level_stride_m has 1 entries.* 2 levels"):
        ALL[name](replace(predictions, level_stride_m=(0.16,)), targets)


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("fcaf3d", {"k": 0}, "Fcaf3d.k is 0, expected at least 1"),
        ("fcaf3d", {"min_inside": 0}, "Fcaf3d.min_inside is 0, expected at least 1"),
        ("simota", {"center_radius": 0.0}, "SimOta.center_radius is 0.0, expected .* above 0"),
        ("simota", {"num_overlaps": 0}, "SimOta.num_overlaps is 0, expected at least 1"),
        ("alignota", {"iou_weight": -1.0}, "AlignOta.iou_weight is -1.0, expected .* at least 0"),
        ("ota", {"iterations": 0}, "Ota.iterations is 0, expected at least 1"),
        ("ota", {"entropy": 0.0}, "Ota.entropy is 0.0, expected a number above 0"),
        ("ota", {"iou_weight": math.inf}, "Ota.iou_weight is inf, expected"),
        ("spota", {"classification": -1.0}, "Spota.classification is -1.0, expected"),
    ],
)
def test_values_out_of_range_are_refused(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part(ASSIGNERS, name)(**knobs)


def smallest_by_sorting(values: Tensor, num: int) -> tuple[list[Any], list[Any]]:
    rows = [sorted((v, i) for i, v in enumerate(row)) for row in values.tolist()]
    return (
        [[v for v, _ in row[:num]] for row in rows],
        [[i for v, i in row[:num] if v < math.inf] for row in rows],
    )


@pytest.mark.parametrize("num", [1, 7, 300])
def test_the_smallest_values_are_those_of_a_full_sort(num: int) -> None:
    values = torch.randint(0, 900, (3, 2000), generator=torch.Generator().manual_seed(0)).float()
    values[1, 200:] = torch.inf
    values[2] = torch.inf
    found, column = matching.smallest(values, num)
    expected, columns = smallest_by_sorting(values, num)
    assert found.tolist() == expected
    assert [c[: len(e)] for c, e in zip(column.tolist(), columns, strict=True)] == columns
