from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sr3d_core.geometry.boxes import (
    bev_area,
    bev_corners,
    bounds,
    corners,
    points_in_boxes,
    transform_boxes,
    volume,
)
from sr3d_core.structures import Boxes3D


def boxes(*rows: list[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64))


def random_boxes(num: int, seed: int) -> Boxes3D:
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(num, 7, generator=generator, dtype=torch.float64)
    scale = torch.tensor([4.0, 4.0, 2.0, 1.5, 1.5, 1.5, 2 * math.pi], dtype=torch.float64)
    return Boxes3D.from_array(unit * scale + 0.1)


def upright(yaw_rad: float, translation: tuple[float, float, float]) -> Tensor:
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    rotation = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
    rows = [[*row, shift] for row, shift in zip(rotation, translation, strict=True)]
    return torch.tensor([*rows, [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)


def test_footprint_corners_run_counter_clockwise_from_the_lowest() -> None:
    found = bev_corners(boxes([1.0, 2.0, 0.0, 2.0, 4.0, 1.0]))
    expected = [[[0.0, 0.0], [2.0, 0.0], [2.0, 4.0], [0.0, 4.0]]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_positive_yaw_turns_the_heading_from_x_towards_y() -> None:
    found = bev_corners(boxes([0.0, 0.0, 0.0, 4.0, 2.0, 1.0, math.pi / 2]))
    expected = [[[1.0, -2.0], [1.0, 2.0], [-1.0, 2.0], [-1.0, -2.0]]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_corners_are_the_bottom_face_and_then_the_top_face() -> None:
    several = random_boxes(num=5, seed=0)
    found = corners(several)
    footprint = bev_corners(several)
    torch.testing.assert_close(found[:, :4, :2], footprint)
    torch.testing.assert_close(found[:, 4:, :2], footprint)
    half_height = several.size[:, 2:] / 2
    torch.testing.assert_close(found[:, :4, 2], (several.center[:, 2:] - half_height).repeat(1, 4))
    torch.testing.assert_close(found[:, 4:, 2], (several.center[:, 2:] + half_height).repeat(1, 4))


def test_bounds_are_the_extremes_of_the_corners() -> None:
    several = random_boxes(num=50, seed=1)
    low, high = bounds(several)
    torch.testing.assert_close(low, corners(several).amin(dim=1))
    torch.testing.assert_close(high, corners(several).amax(dim=1))


def test_volume_and_area_are_products_of_the_extents() -> None:
    one = boxes([5.0, 5.0, 5.0, 2.0, 3.0, 4.0, 1.0])
    assert volume(one).tolist() == [24.0]
    assert bev_area(one).tolist() == [6.0]


def test_points_on_faces_are_inside_and_touching_boxes_share_them() -> None:
    neighbours = boxes([0.0, 0.0, 0.0, 2.0, 2.0, 2.0], [2.0, 0.0, 0.0, 2.0, 2.0, 2.0])
    xyz = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 1.0], [2.5, 0.0, 0.0], [0.0, 0.0, 1.01]])
    expected = [[True, False], [True, True], [False, True], [False, False]]
    assert points_in_boxes(xyz.double(), neighbours).tolist() == expected


def test_points_follow_the_yaw_of_a_box() -> None:
    long_and_turned = boxes([1.0, 1.0, 0.0, 4.0, 0.5, 1.0, math.pi / 4])
    xyz = torch.tensor([[2.2, 2.2, 0.0], [2.2, -0.2, 0.0]], dtype=torch.float64)
    assert points_in_boxes(xyz, long_and_turned).tolist() == [[True], [False]]


def test_no_points_and_no_boxes_give_empty_masks() -> None:
    one = boxes([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).to("cpu")
    assert points_in_boxes(torch.zeros(0, 3), one).shape == (0, 1)
    assert points_in_boxes(torch.zeros(4, 3), Boxes3D.empty()).shape == (4, 0)


def test_no_boxes_have_no_corners() -> None:
    none = Boxes3D.empty()
    assert corners(none).shape == (0, 8, 3)
    assert bev_corners(none).shape == (0, 4, 2)
    assert bounds(none)[0].shape == (0, 3)
    assert volume(none).shape == (0,)
    assert len(transform_boxes(none, torch.eye(4))) == 0


def test_transformed_boxes_have_the_transformed_corners() -> None:
    several = random_boxes(num=20, seed=2)
    target_from_source = upright(yaw_rad=-2.5, translation=(1.0, -2.0, 0.3))
    expected = corners(several) @ target_from_source[:3, :3].T + target_from_source[:3, 3]
    torch.testing.assert_close(corners(transform_boxes(several, target_from_source)), expected)


def test_transform_keeps_the_precision_of_the_boxes() -> None:
    single = Boxes3D.from_array(torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]]))
    moved = transform_boxes(single, upright(0.1, (0.0, 0.0, 0.0)))
    assert moved.center.dtype == moved.yaw.dtype == torch.float32


@pytest.mark.parametrize(
    "diagonal",
    [(1.0, -1.0, -1.0), (1.0, -1.0, 1.0), (2.0, 2.0, 2.0), (1.0, 1.0, math.nan)],
    ids=["upside down", "mirrored", "scaled", "not a number"],
)
def test_transform_that_is_not_an_upright_rotation_is_refused(
    diagonal: tuple[float, float, float],
) -> None:
    matrix = torch.diag(torch.tensor([*diagonal, 1.0]))
    with pytest.raises(ValueError, match=r"\+z.*gravity-aligned"):
        transform_boxes(boxes([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), matrix)


def test_transform_that_tilts_is_refused() -> None:
    cos, sin = math.cos(0.05), math.sin(0.05)
    matrix = torch.eye(4)
    matrix[1:3, 1:3] = torch.tensor([[cos, -sin], [sin, cos]])
    with pytest.raises(ValueError, match=r"by 0\.05, expected at most 0\.0001"):
        transform_boxes(Boxes3D.empty(), matrix)


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 4),
        torch.tensor([4, 0, 0]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([True, False, False, True, True]),
    ],
)
def test_rows_are_chosen_as_torch_chooses_them(index: torch.Tensor | slice) -> None:
    rows = torch.rand(5, 7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(Boxes3D.from_array(rows)[index].array, rows[index])


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_mask_for_other_boxes_is_refused(length: int) -> None:
    boxes = Boxes3D.from_array(torch.rand(5, 7))
    with pytest.raises(IndexError, match=rf"mask of shape \({length},\), expected .* 5"):
        boxes[torch.ones(length, dtype=torch.bool)]
