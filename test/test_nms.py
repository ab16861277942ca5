from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sr3d_core.geometry.iou import pairwise_bev_iou, pairwise_iou
from sr3d_core.geometry.nms import Overlap, nms
from sr3d_core.structures import Boxes3D

OVERLAPS: list[Overlap] = ["bev", "3d"]


def unit_boxes(*x: float) -> Boxes3D:
    """Unit cubes in a row along x."""
    return Boxes3D.from_array(torch.tensor([[value, 0, 0, 1, 1, 1] for value in x]))


def of_one_class(num: int) -> Tensor:
    return torch.zeros(num, dtype=torch.int64)


def greedy_by_definition(
    boxes: Boxes3D, scores: Tensor, labels: Tensor, iou: float, overlap: Overlap
) -> list[int]:
    """Take the best box, drop what it overlaps, again; no vector, no shortcut."""
    ratio = (pairwise_bev_iou if overlap == "bev" else pairwise_iou)(boxes, boxes)
    waiting = sorted(range(len(boxes)), key=lambda index: (-float(scores[index]), index))
    kept: list[int] = []
    for index in waiting:
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(float(ratio[other, index]) <= iou for other in rivals):
            kept.append(index)
    return kept


def random_scene(seed: int, num: int) -> tuple[Boxes3D, Tensor, Tensor]:
    """Crowded boxes of three classes; some appear in two classes, some scores are equal."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(num, 7, generator=generator) * torch.tensor([2, 2, 1, 1, 1, 1, 6.3]) + 0.2
    rows = rows[torch.randint(num, (num,), generator=generator)]
    scores = torch.randint(20, (num,), generator=generator) / 20
    return Boxes3D.from_array(rows), scores, torch.randint(3, (num,), generator=generator)


@pytest.mark.parametrize(
    ("overlap", "key"), [("bev", "keep_bev_as_mmcv_nms3d_normal"), ("3d", "keep_true_3d")]
)
def test_kept_boxes_are_those_of_the_worked_example(
    worked: dict[str, Any], overlap: Overlap, key: str
) -> None:
    inputs = worked["nms"]["inputs"]
    boxes = Boxes3D.from_array(torch.tensor(inputs["boxes"]))
    scores = torch.tensor(inputs["scores"])
    kept = nms(boxes, scores, of_one_class(len(boxes)), inputs["iou_thr"], overlap)
    assert kept.tolist() == worked["nms"]["expected"][key]


def test_rotated_footprints_agree_with_published_values(real_data: Path) -> None:
    oracle = json.loads((real_data / "oracles" / "iou_nms.json").read_text())["nms_bev_rotated"]
    x0, y0, x1, y1, yaw = torch.tensor(oracle["boxes"], dtype=torch.float64).unbind(dim=1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    rows = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, zero, x1 - x0, y1 - y0, one, yaw], dim=1)
    scores = torch.tensor(oracle["scores"])
    kept = nms(Boxes3D.from_array(rows), scores, of_one_class(len(rows)), oracle["iou_thr"])
    assert kept.tolist() == oracle["keep"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(0.05, 0.95), st.sampled_from(OVERLAPS))
def test_kept_boxes_are_those_of_the_definition(
    seed: int, num: int, iou: float, overlap: Overlap
) -> None:
    boxes, scores, labels = random_scene(seed, num)
    expected = greedy_by_definition(boxes, scores, labels, iou, overlap)
    assert nms(boxes, scores, labels, iou, overlap).tolist() == expected


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("seed", range(3))
def test_blocks_change_nothing(
    seed: int, overlap: Overlap, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, scores, labels = random_scene(seed, num=150)
    expected = greedy_by_definition(boxes, scores, labels, 0.2, overlap)
    monkeypatch.setattr("sr3d_core.geometry.nms.FIRST_BLOCK", 3)
    monkeypatch.setattr("sr3d_core.geometry.nms.LARGEST_BLOCK", 24)
    assert nms(boxes, scores, labels, 0.2, overlap).tolist() == expected


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.slow
def test_a_crowd_in_many_classes_is_that_of_the_definition(overlap: Overlap) -> None:
    boxes, _, _ = random_scene(7, num=100)
    place = torch.arange(len(boxes)).repeat(6)
    labels = torch.arange(6).repeat_interleave(len(boxes))
    scores = torch.rand(len(labels), generator=torch.Generator().manual_seed(8))
    expected = greedy_by_definition(boxes[place], scores, labels, 0.3, overlap)
    assert nms(boxes[place], scores, labels, 0.3, overlap).tolist() == expected


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_limit_of_zero_keeps_only_boxes_that_share_nothing(overlap: Overlap) -> None:
    kept = nms(unit_boxes(0, 0.99, 2), torch.tensor([0.9, 0.8, 0.7]), of_one_class(3), 0, overlap)
    assert kept.tolist() == [0, 2]


def test_kept_boxes_come_by_falling_score_across_classes() -> None:
    labels = torch.tensor([1, 0, 1, 0])
    kept = nms(unit_boxes(0, 5, 10, 15), torch.tensor([0.2, 0.9, 0.7, 0.4]), labels, iou=0.5)
    assert kept.tolist() == [1, 2, 3, 0]


def test_of_equal_scores_the_lower_index_wins() -> None:
    kept = nms(unit_boxes(0, 0.1, 9), torch.tensor([0.5, 0.5, 0.5]), of_one_class(3), iou=0.5)
    assert kept.tolist() == [0, 2]


def test_classes_do_not_suppress_each_other() -> None:
    same_place = unit_boxes(0, 0, 0)
    kept = nms(same_place, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 7, 7]), iou=0.5)
    assert kept.tolist() == [0, 1]


def test_a_dropped_box_drops_no_other() -> None:
    chain = unit_boxes(0, 0.3, 0.6)  # neighbours overlap by 0.54, the ends by 0.25
    kept = nms(chain, torch.tensor([0.9, 0.8, 0.7]), of_one_class(3), iou=0.5)
    assert kept.tolist() == [0, 2]


def test_overlap_equal_to_the_limit_keeps_both() -> None:
    halves = Boxes3D.from_array(
        torch.tensor([[0, 0, 0, 1, 1, 1], [0.25, 0, 0, 0.5, 1, 1]], dtype=torch.float64)
    )
    scores = torch.tensor([0.9, 0.8])
    assert nms(halves, scores, of_one_class(2), iou=0.5).tolist() == [0, 1]
    assert nms(halves, scores, of_one_class(2), iou=0.49).tolist() == [0]


def test_yaw_counts() -> None:
    rows = torch.tensor([[0, 0, 0, 2, 0.2, 1, 0], [0, 0, 0, 2, 0.2, 1, math.pi / 2]])
    kept = nms(Boxes3D.from_array(rows), torch.tensor([0.9, 0.8]), of_one_class(2), iou=0.5)
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_no_boxes_keep_nothing(overlap: Overlap) -> None:
    kept = nms(Boxes3D.empty(), torch.zeros(0), of_one_class(0), iou=0.5, overlap=overlap)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_boxes_that_need_gradients_are_accepted() -> None:
    rows = torch.rand(4, 7, requires_grad=True)
    kept = nms(Boxes3D.from_array(rows), rows[:, 0], of_one_class(4), iou=1.0)
    assert len(kept) == 4


def test_missing_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="2 boxes, 1 scores and 2 labels"):
        nms(unit_boxes(0, 1), torch.zeros(1), of_one_class(2), iou=0.5)


def test_unknown_overlap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"overlap 'side', expected \"bev\" \(footprints\)"):
        nms(
            unit_boxes(0),
            torch.zeros(1),
            of_one_class(1),
            iou=0.5,
            overlap="side",  # type: ignore[arg-type]
        )
