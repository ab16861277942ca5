"""Which points are kept: limits that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sr3d_core.structures import PointCloud
from sr3d_ros.sensors.crop import joined, within_range, within_region

INF = math.inf
POINTS = torch.tensor([[0.0, 0.0, 0.5], [0.0, 3.0, 4.0], [1.0, 0.0, -0.2], [2.0, 2.0, 2.0]])
CLOUD = PointCloud.single(POINTS, None)


def rows(cloud: PointCloud) -> list[int]:
    """Which of `POINTS` a cloud holds."""
    return [(point == POINTS).all(dim=1).nonzero().item() for point in cloud.xyz]  # type: ignore[misc]


def test_without_limits_the_cloud_is_the_same() -> None:
    assert within_range(CLOUD, 0.0, 0.0) is CLOUD
    assert within_region(CLOUD, [-INF] * 3, [INF] * 3) is CLOUD


def test_range_is_the_distance_from_the_sensor_and_limits_are_inside() -> None:
    assert rows(within_range(CLOUD, 1.0, 5.0)) == [1, 2, 3]
    assert rows(within_range(CLOUD, 0.0, 4.9)) == [0, 2, 3]
    assert rows(within_range(CLOUD, 1.0, 0.0)) == [1, 2, 3]


def test_the_region_is_between_two_corners() -> None:
    assert rows(within_region(CLOUD, (-1, -1, -1), (1, 1, 1))) == [0, 2]
    assert rows(within_region(CLOUD, (-INF, -INF, 0.5), (INF, INF, 2.0))) == [0, 3]


@pytest.mark.parametrize(("origin", "kept"), [((0, 0, 1.8), [2]), ((10, 0, 0), [0, 2, 3])])
def test_the_origin_of_the_points_counts(origin: tuple[float, ...], kept: list[int]) -> None:
    assert rows(within_region(CLOUD, [-INF] * 3, (INF, INF, 2.0), origin)) == kept


@pytest.mark.parametrize("points", [torch.zeros(0, 3)])
def test_no_points_are_kept_as_no_points(points: Tensor) -> None:
    empty = PointCloud.single(points, None)
    assert len(within_range(empty, 0.0, 1.0)) == 0
    assert len(within_region(empty, (0, 0, 0), (1, 1, 1))) == 0


def test_clouds_are_joined_in_order() -> None:
    both = joined([CLOUD, CLOUD[:1]])
    torch.testing.assert_close(both.xyz, torch.cat([POINTS, POINTS[:1]]))
    assert joined([CLOUD]) is CLOUD
