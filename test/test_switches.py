"""The table of what switches gain, against answers whose gains are known beforehand."""

from __future__ import annotations

import pytest
import torch
from sample_boxes import found
from switches import PLAIN, Answered, page

from sr3d_core.structures import Boxes3D, Detections, Targets

ROOMS = 40
CHAIR = [1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 0.0]
WRONG = [1.0, 1.0, 0.5, 0.5, 0.5, 2.5, 0.0]  # its IoU is .4
TRUTH = Targets(Boxes3D.from_array(torch.tensor([CHAIR])), torch.tensor([0]))


def answered(is_right: list[bool]) -> Answered:
    """One chair a scene, in two views: with its height, or with a wrong one."""
    boxes: list[Detections] = [found((0.9, 0, CHAIR if right else WRONG)) for right in is_right]
    return [(boxes, [TRUTH] * len(boxes))] * 2


@pytest.fixture(scope="module")
def table() -> str:
    num = 2 * ROOMS
    answers = {
        PLAIN: answered([False] * num),
        "every room": answered([True] * num),
        "one half": answered([scene // 4 % 2 == 0 for scene in range(num)]),
    }
    return page(answers, ("chair", "bed"), num)


def row(table: str, name: str) -> list[str]:
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return next(cells[1:] for cells in lines if cells[0] == name)


def test_means_are_over_the_classes_that_are_there(table: str) -> None:
    assert row(table, PLAIN) == ["100.0", "0.0", "2"]
    assert row(table, "every room") == ["100.0", "100.0", "2"]


def test_a_gain_counts_where_both_halves_of_the_rooms_show_it(table: str) -> None:
    before, everywhere, half = row(table, "chair")
    assert before == "0.0"
    assert everywhere == "**+100.0**"
    assert half.startswith("+")
    assert "*" not in half


def test_a_class_without_boxes_has_no_row(table: str) -> None:
    assert "bed" not in table


def test_too_few_rooms_are_refused() -> None:
    with pytest.raises(ValueError, match="--num"):
        page({PLAIN: answered([True] * 4)}, ("chair",), 4)
