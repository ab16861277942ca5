"""What one sensor sees of a cloud, against rays through a world of boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from sr3d_core.geometry.viewpoint import Viewpoint, seen_from, spacing_m, viewpoint_of

BOXES = np.array(  # low and high corner
    [
        [2.0, -0.4, 0.0, 2.6, 0.4, 0.9],
        [3.4, 0.6, 0.0, 3.9, 1.5, 1.4],
        [1.2, -1.6, 0.7, 1.8, -0.8, 0.75],  # a table's top
        [4.0, -1.2, 0.0, 4.5, -0.7, 1.8],
        [4.97, -2.5, 0.0, 5.0, 2.5, 2.5],  # the wall
    ]
)
EYE = np.array([0.0, 0.1, 1.2])
SLOPES = (-0.7, 0.7, -0.55, 0.55)
LOOK = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # along x, level


def surfaces(step_m: float) -> Float[ndarray, "N 3"]:
    """Points on the floor and on all boxes, about so far from each other."""
    draw, parts = np.random.default_rng(0), []
    floor = np.array([-1.0, -2.5, -0.02, 5.0, 2.5, 0.0])
    for box in [floor, *BOXES]:
        low, high = box[:3], box[3:]
        for axis in range(3):
            across = [each for each in range(3) if each != axis]
            grid = [np.arange(low[a] + step_m / 3, high[a], step_m) for a in across]
            u, v = (each.ravel() for each in np.meshgrid(*grid))
            for side in (low[axis], high[axis]):
                points = np.full((len(u), 3), side)
                points[:, across[0]], points[:, across[1]] = u, v
                parts.append(points)
    xyz = np.concatenate(parts)
    return xyz + draw.normal(0, 0.002, xyz.shape)


def behind_m(xyz: Float[ndarray, "N 3"]) -> Float[ndarray, " N"]:
    """How far behind the first surface on its ray each point lies, brute force: 0 = it is seen."""
    way = xyz - EYE
    far = np.linalg.norm(way, axis=1)
    way = way / far[:, None]
    first = np.full(len(xyz), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for box in BOXES:
            ends = np.stack([(box[:3] - EYE) / way, (box[3:] - EYE) / way])
            enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
            first = np.minimum(first, np.where((enter <= leave) & (enter > 0), enter, np.inf))
        floor = np.where(way[:, 2] < 0, -EYE[2] / way[:, 2], np.inf)
    return np.maximum(far - np.minimum(first, floor), 0.0)


def in_image(xyz: Float[ndarray, "N 3"]) -> Bool[ndarray, " N"]:
    x, y, z = ((xyz - EYE) @ LOOK).T
    left, right, top, bottom = SLOPES
    with np.errstate(divide="ignore", invalid="ignore"):
        return (z > 0) & (x / z >= left) & (x / z <= right) & (y / z >= top) & (y / z <= bottom)


def viewpoint(slopes: tuple[float, float, float, float] | None = SLOPES) -> Viewpoint:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = torch.from_numpy(LOOK), torch.from_numpy(EYE)
    return Viewpoint(matrix, slopes)


def seen(xyz: ndarray, view: Viewpoint) -> ndarray:
    return seen_from(torch.from_numpy(xyz).float(), view).numpy()


@pytest.mark.parametrize(("step_m", "least"), [(0.02, 0.9), (0.05, 0.8)])
@pytest.mark.parametrize("slopes", [SLOPES, None])
def test_what_is_seen_is_what_rays_reach(
    step_m: float, least: float, slopes: tuple[float, float, float, float] | None
) -> None:
    """Along the rim of what hides something, as wide as points are apart, nobody can know."""
    xyz = surfaces(step_m)
    found = seen(xyz, viewpoint(slopes))
    inside = in_image(xyz) if slopes else np.ones(len(xyz), bool)
    assert found[~inside].sum() < 10  # on the rim of the image itself
    behind = behind_m(xyz)[inside]
    found = found[inside]
    on_surface, close, hidden = behind < 0.01, (behind > 0.1) & (behind < 0.3), behind > 0.3
    assert found[on_surface].mean() > least
    assert found[close].mean() < 0.15
    assert found[hidden].mean() < 0.003
    assert min(close.sum(), hidden.sum()) > 100


def test_what_is_far_behind_a_solid_thing_is_never_seen() -> None:
    """Of the wall, a metre and more behind the big box, not a point but at the box's rim."""
    xyz = surfaces(0.02)
    wall = xyz[:, 0] > 4.96
    shadow = wall & (np.abs(xyz[:, 1]) < 0.6) & (xyz[:, 2] < 0.4)
    assert shadow.sum() > 500
    assert behind_m(xyz[shadow]).min() > 1.0
    assert not seen(xyz, viewpoint())[shadow].any()


def turned(axis: Float[ndarray, " 3"], angle: float) -> Tensor:
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    matrix[:3, 3] = (5.0, -3.0, 1.0)
    return torch.from_numpy(matrix)


FORWARD = {
    "z": np.eye(3),
    "x": np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),  # as a robot's base has it
    "-z": np.diag([1.0, -1.0, -1.0]),
    "y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


@pytest.mark.parametrize("name", FORWARD)
def test_an_image_is_found_whatever_axis_looks_forward(name: str) -> None:
    draw = np.random.default_rng(1)
    depth = draw.uniform(0.5, 5.0, 3000)
    across, down = draw.uniform(-0.5, 0.6, 3000), draw.uniform(-0.3, 0.4, 3000)
    optical = np.stack([across * depth, down * depth, depth], axis=1)
    cloud_from_sensor = turned(np.array([0.3, 1.0, 0.2]), 0.7)
    sensor = torch.from_numpy(optical @ FORWARD[name].T)
    view = viewpoint_of(sensor, cloud_from_sensor)
    assert view.slopes is not None
    low_x, high_x, low_y, high_y = view.slopes
    area = (high_x - low_x) * (high_y - low_y)
    assert area == pytest.approx(1.1 * 0.7, rel=0.02)
    turn = view.cloud_from_camera[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3).double())
    assert float(torch.linalg.det(turn)) == pytest.approx(1.0)
    cloud = sensor @ cloud_from_sensor[:3, :3].T + cloud_from_sensor[:3, 3]
    looks = cloud_from_sensor[:3, :3] @ torch.from_numpy(FORWARD[name][:, 2].copy())
    torch.testing.assert_close(turn[:, 2], looks)
    is_alone = torch.tensor([seen_from(row[None].float(), view).item() for row in cloud[:100]])
    assert is_alone.all()


def test_a_lidar_sees_all_around() -> None:
    xyz = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (500, 3)))
    assert viewpoint_of(xyz, torch.eye(4).double()).slopes is None
    assert viewpoint_of(xyz[:0], torch.eye(4).double()).slopes is None


def test_next_to_nothing_is_seen_too() -> None:
    assert seen_from(torch.zeros(0, 3), viewpoint()).tolist() == []
    one = torch.tensor([[2.0, 0.1, 1.2]])
    assert seen_from(one, viewpoint()).tolist() == [True]
    assert seen_from(torch.tensor([EYE.tolist()]).float(), viewpoint()).tolist() == [False]


def test_a_moved_cloud_is_seen_from_a_moved_place() -> None:
    xyz = torch.from_numpy(surfaces(0.05)).float()
    shift = torch.tensor([100.0, -50.0, 3.0])
    first = seen_from(xyz, viewpoint())
    second = seen_from(xyz + shift, viewpoint().moved(shift))
    assert float((first == second).float().mean()) > 0.999


@pytest.mark.parametrize("step_m", [0.02, 0.06])
def test_the_gaps_between_points_are_known(step_m: float) -> None:
    y, z = (each.ravel() for each in np.meshgrid(*[np.arange(0, 3, step_m)] * 2))
    wall = torch.from_numpy(np.stack([np.ones_like(y), y, z], axis=1)).float()
    assert spacing_m(wall) == pytest.approx(step_m, rel=0.25)
