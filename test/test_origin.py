"""The local origin of clouds in map coordinates."""

from __future__ import annotations

import pytest
import torch

from sr3d_core.geometry.origin import is_on_earth, local_origin, moved, reach
from sr3d_core.structures import Boxes3D

SURVEY = torch.tensor([[499_999.6, 5_600_000.2, 3.0], [500_000.4, 5_600_001.4, 4.0]]).double()


def test_only_far_axes_are_moved_by_whole_metres() -> None:
    assert local_origin(SURVEY).tolist() == [500_000.0, 5_600_000.0, 0.0]


@pytest.mark.parametrize("xyz", [torch.zeros(0, 3), torch.full((4, 3), -1000.0)])
def test_near_and_empty_clouds_stay(xyz: torch.Tensor) -> None:
    assert local_origin(xyz).tolist() == [0.0, 0.0, 0.0]


def test_impossible_coordinates_are_not_on_earth() -> None:
    xyz = torch.tensor([[1e7, 0, 0], [1.1e7, 0, 0], [0, float("nan"), 0], [0, 0, -float("inf")]])
    assert is_on_earth(xyz).tolist() == [True, False, False, False]


def test_reach_is_the_farthest_point_of_each_axis() -> None:
    assert reach(torch.tensor([[1.0, -2.0, 0.0], [-3.0, 1.0, 0.0]])).tolist() == [3.0, 2.0, 0.0]
    assert reach(torch.zeros(0, 3)).tolist() == [0.0, 0.0, 0.0]


def test_reach_tells_of_a_point_that_is_nan() -> None:
    assert not bool((reach(torch.tensor([[1.0, float("nan"), 2.0], [0, 0, 0]])) < 9).all())


def test_boxes_are_moved_in_double_precision() -> None:
    boxes = Boxes3D.from_array(torch.tensor([[0.125, 0.25, 0.5, 1, 2, 3, 0.5]]))
    back = moved(boxes, torch.tensor([500_000.0, 5_600_000.0, 0.0]).double())
    assert back.array.tolist() == [[500_000.125, 5_600_000.25, 0.5, 1, 2, 3, 0.5]]
    assert moved(boxes, torch.zeros(3)) is boxes
