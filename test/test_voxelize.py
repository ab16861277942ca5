"""From metres to voxels."""

from __future__ import annotations

import pytest
import torch

from sr3d_core.sparse.tensor import voxelize
from sr3d_core.structures import PointCloud


def cloud(*points: tuple[float, float, float]) -> PointCloud:
    xyz = torch.tensor(points).reshape(-1, 3)
    rgb = torch.arange(len(points)).float()[:, None].expand(-1, 3) / 10
    return PointCloud.single(xyz, rgb)


def test_negative_coordinates_are_floored() -> None:
    x = voxelize(cloud((-0.005, 0.005, 0.025)), 0.01)
    assert x.coords.tolist() == [[0, -1, 0, 2]]


def test_the_first_point_of_a_voxel_stays_and_rows_follow_the_points() -> None:
    x = voxelize(cloud((0.031, 0, 0), (0.001, 0, 0), (0.039, 0, 0), (0.002, 0, 0)), 0.01)
    assert x.coords.tolist() == [[0, 3, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(x.features[:, 0], torch.tensor([0.0, 0.1]))


def test_equal_places_in_two_scenes_are_two_voxels() -> None:
    points = PointCloud(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]))
    assert voxelize(points, 0.01).coords[:, 0].tolist() == [0, 1]


def test_no_points_give_no_voxels() -> None:
    assert len(voxelize(cloud(), 0.01)) == 0


@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e9])
def test_points_that_cannot_be_indexed_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite metres"):
        voxelize(cloud((0, 0, 0), (bad, 0, 0)), 0.01)
