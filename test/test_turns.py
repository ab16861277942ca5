"""Quarter turns and mirrors: worked by hand, undone to the last bit."""

from __future__ import annotations

import math

import pytest
import torch

from sr3d_core.geometry.boxes import bev_corners, corners
from sr3d_core.geometry.turns import Turn, turns
from sr3d_core.structures import Boxes3D, PointCloud

ALL = turns(8)


def boxes(num: int = 20) -> Boxes3D:
    rows = torch.rand(num, 7, generator=torch.Generator().manual_seed(1))
    return Boxes3D.from_array(rows * torch.tensor([5, 5, 2, 2, 2, 2, 6.0]) + 0.1)


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (Turn(0), [2, 1, 3]),
        (Turn(1), [-1, 2, 3]),
        (Turn(2), [-2, -1, 3]),
        (Turn(3), [1, -2, 3]),
        (Turn(0, is_mirrored=True), [2, -1, 3]),
        (Turn(1, is_mirrored=True), [1, 2, 3]),
    ],
)
def test_a_point_goes_where_it_is_drawn_by_hand(turn: Turn, expected: list[float]) -> None:
    assert turn.points(torch.tensor([[2.0, 1.0, 3.0]])).tolist() == [expected]


@pytest.mark.parametrize("turn", ALL)
def test_a_box_goes_where_its_corners_go(turn: Turn) -> None:
    given = boxes().array.double()
    given = Boxes3D.from_array(given)
    moved = turn.points(corners(given).reshape(-1, 3)).reshape(-1, 8, 3)
    found = corners(turn.boxes(given))
    distance = (moved[:, :, None] - found[:, None]).norm(dim=-1)
    assert float(distance.amin(dim=2).max()) < 1e-9  # each has its corner, in another order
    assert float(distance.amin(dim=1).max()) < 1e-9


@pytest.mark.parametrize("turn", ALL)
def test_the_inverse_gives_points_and_boxes_back_to_the_last_bit(turn: Turn) -> None:
    given = boxes()
    back = turn.inverse.boxes(turn.boxes(given))
    assert torch.equal(back.array, given.array)
    cloud = PointCloud.single(given.center, given.size)
    again = turn.inverse.cloud(turn.cloud(cloud))
    assert torch.equal(again.xyz, cloud.xyz)
    assert torch.equal(again.features, cloud.features)


def test_eight_views_are_eight_different_ones() -> None:
    points = torch.tensor([[2.0, 1.0, 0.0]])
    assert len({tuple(turn.points(points)[0].tolist()) for turn in ALL}) == 8


def test_fewer_views_are_the_first_of_more() -> None:
    assert turns(1) == (Turn(0),)
    assert turns(4) == ALL[:4]
    assert not any(turn.is_mirrored for turn in turns(4))


@pytest.mark.parametrize("num", [0, 3, 16, -1])
def test_other_numbers_of_views_are_refused(num: int) -> None:
    with pytest.raises(ValueError, match=str(num)):
        turns(num)


def test_boxes_without_yaw_stay_without() -> None:
    row = torch.tensor([[1.0, 2.0, 0.5, 1.0, 2.0, 1.0, 0.0]])
    turned = Turn(1).boxes(Boxes3D.from_array(row))
    assert turned.array.tolist() == [[-2.0, 1.0, 0.5, 2.0, 1.0, 1.0, 0.0]]


def test_a_mirrored_yaw_is_that_of_the_mirrored_side() -> None:
    given = Boxes3D.from_array(torch.tensor([[0, 0, 0, 1.0, 3.0, 1.0, math.radians(30)]]))
    mirrored = Turn(0, is_mirrored=True).boxes(given)
    expected = bev_corners(given)[0] * torch.tensor([1.0, -1.0])
    found = bev_corners(mirrored)[0]
    assert float((expected[:, None] - found[None]).norm(dim=-1).amin(dim=1).max()) < 1e-6
