"""Which points are kept: limits that can be checked by hand, and a budget."""

from __future__ import annotations

import math

import pytest
import torch

from sr3d_core.structures import PointCloud
from sr3d_ros.sensors.crop import Crop, thinned

POINTS = torch.tensor([[0.0, 0.0, 0.5], [0.0, 3.0, 4.0], [1.0, 0.0, -0.2], [2.0, 2.0, 2.0]])


def test_a_crop_without_limits_has_nothing_to_do() -> None:
    crop = Crop()
    assert not crop.has_range
    assert not crop.has_region
    assert crop.in_range(POINTS).all()
    assert crop.in_region(POINTS).all()


def test_range_is_the_distance_from_the_sensor_and_limits_are_inside() -> None:
    crop = Crop(min_range_m=1.0, max_range_m=5.0)
    assert crop.in_range(POINTS).tolist() == [False, True, True, True]
    assert Crop(max_range_m=4.9).in_range(POINTS).tolist() == [True, False, True, True]


def test_height_is_z_in_the_detection_frame() -> None:
    crop = Crop(min_height_m=0.5, max_height_m=2.0)
    assert crop.in_region(POINTS).tolist() == [True, False, False, True]


def test_the_origin_of_the_points_counts() -> None:
    crop = Crop(max_height_m=2.0)
    assert crop.in_region(POINTS, (0.0, 0.0, 1.8)).tolist() == [False, False, True, False]


def test_the_region_is_a_box_in_the_detection_frame() -> None:
    crop = Crop(roi=(-1, -1, -1, 1, 1, 1))
    assert crop.in_region(POINTS).tolist() == [True, False, True, False]
    assert crop.in_region(POINTS, (10.0, 0.0, 0.0)).tolist() == [False] * 4


def test_region_and_height_apply_together() -> None:
    crop = Crop(roi=(-1, -1, -1, 1, 1, 1), min_height_m=0.0)
    assert crop.in_region(POINTS).tolist() == [True, False, False, False]


def test_no_points_are_kept_as_no_points() -> None:
    crop = Crop(max_range_m=1.0, roi=(0, 0, 0, 1, 1, 1))
    assert crop.in_range(torch.zeros(0, 3)).tolist() == []
    assert crop.in_region(torch.zeros(0, 3)).tolist() == []


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"min_range_m": 2.0, "max_range_m": 1.0}, "filter.min_range_m is 2, filter.max_range_m"),
        ({"min_range_m": -1.0}, "expected metres of 0 or more"),
        ({"min_height_m": 1.0, "max_height_m": 1.0}, "expected the minimum below the maximum"),
        ({"min_height_m": math.nan}, "expected the minimum below the maximum"),
        ({"roi": (0, 0, 0, 1, 1)}, "expected no number or six"),
        ({"roi": (0, 0, 0, 1, -1, 1)}, "each of the first three below its partner"),
    ],
)
def test_limits_that_leave_nothing_are_refused(limits: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Crop(**limits)


def test_the_budget_keeps_evenly_spaced_points_always_the_same() -> None:
    rows = torch.arange(10.0)[:, None].expand(10, 3)
    cloud = PointCloud.single(rows, None)
    assert thinned(cloud, 4).xyz[:, 0].tolist() == [0, 2, 5, 7]
    assert torch.equal(thinned(cloud, 4).xyz, thinned(cloud, 4).xyz)


@pytest.mark.parametrize("budget", [None, 4, 100])
def test_a_cloud_within_the_budget_is_left_alone(budget: int | None) -> None:
    cloud = PointCloud.single(POINTS, None)
    assert thinned(cloud, budget) is cloud
