from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon
from torch import Tensor

from sr3d_core.geometry.boxes import bev_corners, transform_boxes
from sr3d_core.geometry.iou import (
    DiouNumerator,
    aligned_bev_iou,
    aligned_diou,
    aligned_iou,
    may_reach,
    pairs_that_touch,
    pairwise_bev_iou,
    pairwise_iou,
)
from sr3d_core.structures import Boxes3D

Rows = list[list[float]]


def boxes(rows: Rows, dtype: torch.dtype = torch.float64) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows, dtype=dtype).reshape(len(rows), -1))


def cube(x: float, y: float, z: float, edge: float = 1.0, yaw: float = 0.0) -> Boxes3D:
    return boxes([[x, y, z, edge, edge, edge, yaw]])


def random_rows(num: int, seed: int) -> Tensor:
    """Boxes in a corner of a room, dense enough that most pairs overlap in some way."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(num, 7, generator=generator, dtype=torch.float64)
    scale = torch.tensor([2.0, 2.0, 1.0, 1.5, 1.5, 1.5, 4 * math.pi], dtype=torch.float64)
    return unit * scale + torch.tensor([0, 0, 0, 0.1, 0.1, 0.1, -2 * math.pi])


def every_pair(a: Boxes3D, b: Boxes3D) -> tuple[Boxes3D, Boxes3D]:
    row = torch.arange(len(a)).repeat_interleave(len(b))
    return a[row], b[torch.arange(len(b)).repeat(len(a))]


def shapely_bev_iou(a: Boxes3D, b: Boxes3D) -> Tensor:
    polygons_a = [Polygon(corners) for corners in bev_corners(a).numpy()]
    polygons_b = [Polygon(corners) for corners in bev_corners(b).numpy()]
    ratio = [[p.intersection(q).area / p.union(q).area for q in polygons_b] for p in polygons_a]
    return torch.tensor(ratio, dtype=torch.float64)


def swapped(some: Boxes3D) -> Boxes3D:
    """The same bodies, described with x and y exchanged and a quarter turn more."""
    return Boxes3D(some.center, some.size[:, [1, 0, 2]], some.yaw + math.pi / 2)


def coordinates(num: int) -> st.SearchStrategy[Rows]:
    """Boxes on and off a coarse grid, so that shared edges and corners are common."""
    place = st.one_of(st.integers(-4, 4).map(lambda n: n / 2), st.floats(-2, 2))
    extent = st.one_of(st.integers(0, 4).map(lambda n: n / 2), st.floats(0.01, 3))
    yaw = st.one_of(st.integers(-8, 8).map(lambda n: n * math.pi / 4), st.floats(-7, 7))
    box = st.tuples(place, place, place, extent, extent, extent, yaw).map(list)
    return st.lists(box, min_size=num, max_size=num)


# Worked by hand


def test_iou_of_cubes_shifted_by_half_is_one_third() -> None:
    found = pairwise_iou(cube(0, 0, 0), cube(0.5, 0, 0))
    torch.testing.assert_close(found, torch.tensor([[1 / 3]], dtype=torch.float64))


def test_iou_of_a_square_and_itself_turned_by_an_eighth_is_that_of_the_octagon() -> None:
    octagon = 2 * (math.sqrt(2) - 1)  # what both unit squares share
    found = aligned_iou(cube(0, 0, 0), cube(0, 0, 0, yaw=math.pi / 4))
    assert float(found) == pytest.approx(octagon / (2 - octagon), abs=1e-12)


def test_a_box_inside_another_has_the_ratio_of_the_volumes() -> None:
    found = aligned_iou(cube(0.1, 0.2, 0.1, yaw=0.7), cube(0, 0, 0, edge=2.0, yaw=0.2))
    assert float(found) == pytest.approx(1 / 8, abs=1e-12)


def test_boxes_one_above_the_other_overlap_in_the_ground_plane_only() -> None:
    below, above = cube(0, 0, 0, yaw=0.3), cube(0, 0, 1.5, yaw=0.3)
    assert float(aligned_iou(below, above)) == 0.0
    assert float(aligned_bev_iou(below, above)) == pytest.approx(1.0, abs=1e-12)
    assert float(pairwise_bev_iou(below, above)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("yaw", [0.0, math.pi / 4, math.pi / 2, 1.0])
def test_boxes_that_only_touch_have_iou_zero(yaw: float) -> None:
    beside = cube(math.cos(yaw), math.sin(yaw), 0, yaw=yaw)
    assert float(aligned_iou(cube(0, 0, 0, yaw=yaw), beside)) == pytest.approx(0.0, abs=1e-12)


# Independent truth


def test_rotated_iou_is_the_worked_example(worked: dict[str, Any]) -> None:
    example = worked["rotated_geometry"]
    found = pairwise_iou(boxes(example["inputs"]["pred"]), boxes(example["inputs"]["gt"]))
    expected = torch.tensor(example["expected"]["iou3d"], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("numerator", "key"), [("center", "diou_correct"), ("tr3d_compat", "diou_tr3d_as_published")]
)
def test_rotated_diou_is_the_worked_example(
    worked: dict[str, Any], numerator: DiouNumerator, key: str
) -> None:
    example = worked["rotated_geometry"]
    a, b = every_pair(boxes(example["inputs"]["pred"]), boxes(example["inputs"]["gt"]))
    expected = torch.tensor(example["expected"][key], dtype=torch.float64).flatten()
    torch.testing.assert_close(aligned_diou(a, b, numerator), expected, rtol=0, atol=1e-8)


def test_axis_aligned_iou_and_diou_are_the_worked_example(worked: dict[str, Any]) -> None:
    example = worked["spota_axis_aligned"]
    predicted, truth = (boxes(example["inputs"][key]) for key in ("pred_boxes", "gt_boxes"))
    iou, diou = (
        torch.tensor(example["expected"][key], dtype=torch.float64) for key in ("iou", "diou")
    )
    torch.testing.assert_close(pairwise_iou(predicted, truth), iou, rtol=0, atol=1e-8)
    found = aligned_diou(*every_pair(predicted, truth))
    torch.testing.assert_close(found, diou.flatten(), rtol=0, atol=1e-8)


def test_other_descriptions_of_the_worked_box_have_iou_one(worked: dict[str, Any]) -> None:
    inputs = worked["rotated_symmetry"]["inputs"]
    same = boxes([inputs["equivalent_swap"], inputs["equivalent_pi"]])
    found = pairwise_iou(boxes([inputs["a"]]), same)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_footprint_overlap_agrees_with_polygon_clipping(
    dtype: torch.dtype, tolerance: float
) -> None:
    a, b = Boxes3D.from_array(random_rows(40, seed=1)), Boxes3D.from_array(random_rows(20, seed=2))
    single_a, single_b = (Boxes3D.from_array(some.array.to(dtype)) for some in (a, b))
    found = pairwise_bev_iou(single_a, single_b)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), shapely_bev_iou(a, b), rtol=0, atol=tolerance)


def test_volume_overlap_is_footprint_overlap_times_height_overlap() -> None:
    a, b = Boxes3D.from_array(random_rows(30, seed=3)), Boxes3D.from_array(random_rows(30, seed=4))
    half_a, half_b = a.size[:, None, 2] / 2, b.size[:, 2] / 2
    bottom = torch.maximum(a.center[:, None, 2] - half_a, b.center[:, 2] - half_b)
    top = torch.minimum(a.center[:, None, 2] + half_a, b.center[:, 2] + half_b)
    area_a, area_b = a.size[:, None, :2].prod(dim=2), b.size[:, :2].prod(dim=1)
    bev = shapely_bev_iou(a, b)
    common = bev * (area_a + area_b) / (1 + bev) * (top - bottom).clamp(min=0)
    union = area_a * a.size[:, None, 2] + area_b * b.size[:, 2] - common
    torch.testing.assert_close(pairwise_iou(a, b), common / union, rtol=0, atol=1e-12)


def test_rotated_iou_agrees_with_published_values(real_data: Path) -> None:
    oracle = json.loads((real_data / "oracles" / "iou_nms.json").read_text())["rotated_iou3d"]
    found = aligned_iou(boxes(oracle["boxes_a"]), boxes(oracle["boxes_b"]))
    expected = torch.tensor(oracle["iou"], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=oracle["atol"])


# Properties


@settings(max_examples=60, deadline=None)
@given(coordinates(num=6))
def test_iou_is_symmetric_and_between_zero_and_one(rows: Rows) -> None:
    some = boxes(rows)
    found = pairwise_iou(some, some)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(found, found.T, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(coordinates(num=6), st.floats(-4, 4), st.floats(-50, 50), st.floats(-50, 50))
def test_iou_does_not_change_when_both_boxes_move_together(
    rows: Rows, yaw_rad: float, x: float, y: float
) -> None:
    some = boxes(rows)
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    matrix = [[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, x], [0, 0, 0, 1]]
    moved = transform_boxes(some, torch.tensor(matrix, dtype=torch.float64))
    expected = aligned_iou(*every_pair(some, some))
    torch.testing.assert_close(aligned_iou(*every_pair(moved, moved)), expected, rtol=0, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(coordinates(num=6))
def test_iou_of_a_solid_box_with_itself_however_described_is_one(rows: Rows) -> None:
    some = boxes(rows)
    solid = some[some.size.amin(dim=1) > 0.02]
    ones = torch.ones(len(solid), dtype=torch.float64)
    torch.testing.assert_close(aligned_iou(solid, solid), ones)
    torch.testing.assert_close(aligned_iou(solid, swapped(solid)), ones, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(coordinates(num=6))
def test_pairs_left_out_by_their_bounds_have_no_overlap(rows: Rows) -> None:
    some = boxes(rows)
    exact = aligned_iou(*every_pair(some, some)).view(len(some), len(some))
    torch.testing.assert_close(pairwise_iou(some, some), exact, rtol=0, atol=1e-9)


def test_equivalent_boxes_agree_in_single_precision() -> None:
    some = Boxes3D.from_array(random_rows(500, seed=5).float())
    found = aligned_iou(some, swapped(some))
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-5)


def test_axis_aligned_shortcut_does_not_change_the_result() -> None:
    flat_a, flat_b = random_rows(200, seed=6), random_rows(200, seed=7)
    flat_a[:, 6] = flat_b[:, 6] = 0
    full_turn = flat_a.clone()
    full_turn[:, 6] = 2 * math.pi  # the same boxes, but not recognised as axis-aligned
    b = Boxes3D.from_array(flat_b)
    shortcut = aligned_iou(Boxes3D.from_array(flat_a), b)
    torch.testing.assert_close(shortcut, aligned_iou(Boxes3D.from_array(full_turn), b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_boxes_without_volume_have_iou_zero_even_with_themselves(dtype: torch.dtype) -> None:
    sizes = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    flat = boxes([[0.1, 0.2, 0.3, *size, 0.4] for size in sizes], dtype)
    solid = boxes([[0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.9]], dtype)
    assert pairwise_iou(flat, flat).eq(0).all()
    assert aligned_iou(*every_pair(flat, solid)).eq(0).all()


# Empties and refusals


@pytest.mark.parametrize(("num_a", "num_b"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_on_either_side_give_an_empty_matrix(num_a: int, num_b: int) -> None:
    a, b = (Boxes3D.from_array(random_rows(num, seed=12)) for num in (num_a, num_b))
    assert pairwise_iou(a, b).shape == (num_a, num_b)
    assert pairwise_bev_iou(a, b).shape == (num_a, num_b)
    assert len(pairs_that_touch(a, b, num_axes=3)[0]) == 0


def test_no_pairs_give_no_values_and_can_be_trained_on() -> None:
    rows = torch.zeros(0, 7, requires_grad=True)
    none = Boxes3D.from_array(rows)
    aligned_diou(none, Boxes3D.empty()).sum().backward()
    assert aligned_iou(none, none).shape == (0,)
    assert rows.grad is not None


def test_row_by_row_overlap_of_unequal_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 and 2 boxes.*pairwise_iou"):
        aligned_iou(cube(0, 0, 0), Boxes3D.cat([cube(0, 0, 0), cube(1, 0, 0)]))


def test_unknown_diou_numerator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"numerator 'corner', expected \"center\" or"):
        aligned_diou(cube(0, 0, 0), cube(0, 0, 0), "corner")  # type: ignore[arg-type]


@pytest.mark.parametrize("iou", [0.0, 0.1, 0.5, 0.9])
def test_pairs_that_are_ruled_out_overlap_by_less(iou: float) -> None:
    generator = torch.Generator().manual_seed(4)
    rows = torch.rand(80, 7, generator=generator, dtype=torch.float64) + 0.3
    boxes = Boxes3D.from_array(torch.cat([rows, rows + 0.02, rows[:5]]))
    row, column = torch.cartesian_prod(*[torch.arange(len(boxes))] * 2).unbind(dim=1)
    is_left = may_reach(boxes[row], boxes[column], iou).reshape(len(boxes), len(boxes))
    overlap = pairwise_iou(boxes, boxes)
    assert bool((overlap[~is_left] < max(iou, 1e-12)).all())
    assert iou == 0.0 or int(is_left.sum()) < is_left.numel() * 0.9
    assert bool(is_left.diag().all())
