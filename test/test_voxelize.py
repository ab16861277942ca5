"""From metres to voxels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.tensor import SparseTensor, voxelize, voxelize_mean
from sr3d_core.structures import PointCloud

Pool = Callable[[PointCloud, float], SparseTensor]


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


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_a_mean_voxel_is_the_mean_of_its_points_and_where_it_lies(engine: str) -> None:
    generator = torch.Generator().manual_seed(0)
    points = PointCloud(
        torch.rand(300, 3, generator=generator) - 0.5,
        torch.rand(300, 3, generator=generator),
        torch.arange(300) % 2,
    )
    x = voxelize_mean(points, 0.25, engine_for(engine, torch.device("cpu")))
    cells = torch.cat([points.scene[:, None], torch.floor(points.xyz / 0.25).long()], dim=1)
    assert x.coords.tolist() == cells.unique(dim=0).tolist()
    for coords, features in zip(x.coords, x.features, strict=True):
        mine = (cells == coords).all(1)
        torch.testing.assert_close(features[:3], points.features[mine].mean(0))
        place = points.xyz[mine].mean(0) / 0.25 - coords[1:] - 0.5
        torch.testing.assert_close(features[3:], place, rtol=0, atol=1e-5)


def test_a_mean_voxel_with_a_point_of_unknown_color_has_none() -> None:
    points = PointCloud.single(torch.zeros(2, 3), torch.tensor([[0.5] * 3, [float("nan")] * 3]))
    features = voxelize_mean(points, 0.1).features
    assert features[:, :3].isnan().all()
    assert features[:, 3:].tolist() == [[-0.5, -0.5, -0.5]]


@pytest.mark.parametrize("pool", [voxelize, voxelize_mean])
def test_no_points_give_no_voxels(pool: Pool) -> None:
    assert len(pool(cloud(), 0.01)) == 0


@pytest.mark.parametrize("pool", [voxelize, voxelize_mean])
@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e9])
def test_points_that_cannot_be_indexed_are_refused(pool: Pool, bad: float) -> None:
    with pytest.raises(ValueError, match="expected finite metres"):
        pool(cloud((0, 0, 0), (bad, 0, 0)), 0.01)
