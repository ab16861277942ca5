"""Boxes fitted to the points of a box-shaped object, in a room whose size is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from jaxtyping import Float
from test_walls import about_z, room
from torch import Tensor, nn

from sr3d_core.detector import Detector, Postprocess
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions

CLASSES = ("chair", "night_stand")
CENTER, SIZE = (2.0, 1.5, 0.4), (0.6, 1.0, 0.8)


def crate(num: int = 6000) -> Float[Tensor, "N 3"]:
    """Points on the sides and the top of a box that stands on the floor."""
    generator = torch.Generator().manual_seed(5)
    u = torch.rand(num, 3, generator=generator) - 0.5
    for face, rows in enumerate(torch.arange(num).chunk(5)):
        axis, sign = (2, 0.5) if face == 4 else (face // 2, 0.5 - face % 2)
        u[rows, axis] = sign
    return u * torch.tensor(SIZE) + torch.tensor(CENTER)


def scene() -> PointCloud:
    return PointCloud.single(torch.cat([room(), crate()]), None)


def found(row: list[float], label: int = 0) -> Detections:
    boxes = Boxes3D.from_array(torch.tensor([row]))
    return Detections(boxes, torch.tensor([0.9]), torch.tensor([label]))


def refined(
    row: list[float], cloud: PointCloud | None = None, **knobs: tuple[str, ...]
) -> list[float]:
    given = found(row)
    return rows_of(Refinement(**knobs).fitted(given, cloud or scene(), CLASSES))[0]


def rows_of(detections: Detections) -> list[list[float]]:
    rows: list[list[float]] = detections.boxes.array.tolist()
    return rows


def test_sides_and_top_move_half_way_to_the_points() -> None:
    """4 cm too wide in x on both sides, 6 cm too narrow in y on one, 8 cm too low."""
    given = [2.0, 1.5 - 0.03, 0.36, 0.68, 0.94, 0.72, 0.0]
    x, y, z, dx, dy, dz, yaw = refined(given, size=("chair",))
    assert dx == pytest.approx(0.64, abs=0.01)
    assert dy == pytest.approx(0.97, abs=0.01)
    assert (x, y) == pytest.approx((2.0, 1.485), abs=0.01)
    assert z - dz / 2 == pytest.approx(0.0, abs=1e-5)  # the bottom stays
    assert z + dz / 2 == pytest.approx(0.76, abs=0.01)
    assert yaw == 0.0


def test_a_turned_box_is_fitted_in_its_own_frame() -> None:
    angle = math.radians(30)
    cloud = PointCloud.single(about_z(scene().xyz, angle), None)
    center = about_z(torch.tensor([CENTER]), angle)[0].tolist()
    row = [*center, SIZE[0] + 0.08, SIZE[1] - 0.08, SIZE[2], angle]
    out = refined(row, cloud, size=("all",))
    assert out[3:6] == pytest.approx([0.64, 0.96, 0.8], abs=0.02)
    assert out[:3] == pytest.approx(center, abs=0.01)


def test_the_bottom_moves_to_the_floor_and_the_top_stays() -> None:
    x, y, z, dx, dy, dz, _ = refined([2.0, 1.5, 0.5, 0.6, 1.0, 0.7, 0.0], floor=("chair",))
    assert z - dz / 2 == pytest.approx(0.0, abs=0.01)
    assert z + dz / 2 == pytest.approx(0.85, abs=1e-5)
    assert (x, y, dx, dy) == pytest.approx((2.0, 1.5, 0.6, 1.0))


def test_what_hangs_on_the_wall_is_not_put_on_the_floor() -> None:
    row = [2.0, 1.5, 1.4, 0.6, 1.0, 0.7, 0.0]
    assert refined(row, floor=("all",)) == pytest.approx(row)


@pytest.mark.parametrize(("given", "expected"), [(12, 0), (-80, -90), (100, 90), (35, 0)])
def test_sides_turn_along_the_walls_by_the_shorter_way(given: float, expected: float) -> None:
    row = [*CENTER, *SIZE, math.radians(given)]
    out = refined(row, yaw=("chair",))
    assert math.degrees(out[6]) == pytest.approx(expected, abs=0.5)
    assert out[:6] == pytest.approx(row[:6])


def test_a_yaw_that_leaves_half_a_turn_comes_back_on_the_other_side() -> None:
    """A front that points along -x is turned to the walls past 180 degrees."""
    out = refined([*CENTER, *SIZE, math.radians(170)], cloud=tilted_by(-10), yaw=("chair",))
    assert math.degrees(out[6]) == pytest.approx(170, abs=0.5)
    out = refined([*CENTER, *SIZE, math.radians(170)], cloud=tilted_by(10), yaw=("chair",))
    assert math.degrees(out[6]) == pytest.approx(-170, abs=0.5)


def tilted_by(degrees: float) -> PointCloud:
    return PointCloud.single(about_z(room(), math.radians(degrees)), None)


@pytest.mark.parametrize("height", [0.02, 0.06, 0.1])
def test_a_thin_thing_over_a_table_keeps_half_of_its_height(height: float) -> None:
    """All points near it lie below its bottom; they are not its top."""
    table = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) * 0.4
    table[:, 2] = 0.7
    table += torch.tensor([2.0, 1.5, 0.0])
    row = [2.2, 1.7, 0.78 + height / 2, 0.4, 0.4, height, 0.0]
    cloud = PointCloud.single(torch.cat([room(), table]), None)
    _, _, z, _, _, dz, _ = refined(row, cloud, size=("all",))
    assert dz == pytest.approx(height / 2, abs=1e-6)
    assert z - dz / 2 == pytest.approx(0.78, abs=1e-6)


def test_classes_that_are_not_named_stay_to_the_last_bit() -> None:
    knobs = Refinement(size=("chair",), floor=("chair",), yaw=("chair",))
    row = [2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2]
    boxes = knobs.fitted(found(row, label=1), scene(), CLASSES).boxes
    assert torch.equal(boxes.array, found(row).boxes.array)


def test_no_switch_and_no_detection_change_nothing() -> None:
    given = found([2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2])
    assert NONE.fitted(given, scene(), CLASSES) is given
    assert NONE.voting(CLASSES) is None
    assert len(EVERYTHING.fitted(given[:0], scene(), CLASSES)) == 0


EVERYTHING = Refinement(size=("all",), floor=("all",), yaw=("all",))


@pytest.mark.parametrize("num", [0, 3, 60])
def test_a_cloud_that_shows_nothing_changes_nothing(num: int) -> None:
    row = [2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2]
    cloud = PointCloud.single(torch.full((num, 3), 0.5), None)
    assert rows_of(EVERYTHING.fitted(found(row), cloud, CLASSES))[0] == pytest.approx(row)


@pytest.mark.parametrize("height", [-1.7, 1.3])
def test_the_floor_is_that_of_the_cloud_wherever_its_origin_is(height: float) -> None:
    """A camera's origin hangs above the floor; that of a map may lie below."""
    up = torch.tensor([0.0, 0.0, height])
    cloud = PointCloud.single(scene().xyz + up, None)
    _, _, z, _, _, dz, _ = refined(
        [2.0, 1.5, 0.5 + height, 0.6, 1.0, 0.7, 0.0], cloud, floor=("all",)
    )
    assert z - dz / 2 == pytest.approx(height, abs=0.01)


def square(low: float, high: float, z: float, num: int = 6000) -> Float[Tensor, "N 3"]:
    """Points on a level square, from (low, low) to (high, high)."""
    generator = torch.Generator().manual_seed(9)
    xy = low + (high - low) * torch.rand(num, 2, generator=generator)
    return torch.cat([xy, torch.full((num, 1), z)], dim=1)


def test_what_stands_on_a_stage_is_not_put_on_the_floor_below() -> None:
    """A stage of 2 x 2 m, 20 cm above a floor that goes on around it."""
    around = square(-4, 4, 0.0, 40_000)
    around = around[(around[:, :2].abs() > 1).any(dim=1)]
    cloud = PointCloud.single(torch.cat([around, square(-1, 1, 0.2)]), None)
    on_stage = [0.2, 0.1, 0.62, 0.5, 0.6, 0.8, 0.0]
    assert refined(on_stage, cloud, floor=("all",)) == pytest.approx(on_stage)
    beside = [2.5, 0.1, 0.62, 0.5, 0.6, 0.8, 0.0]
    assert refined(beside, cloud, floor=("all",))[2] == pytest.approx(0.51, abs=0.01)


def test_a_gallery_keeps_what_stands_on_it() -> None:
    cloud = PointCloud.single(torch.cat([square(-4, 4, 0.0), square(0, 2, 2.4)]), None)
    row = [1.0, 1.0, 2.85, 0.5, 0.6, 0.8, 0.0]
    assert refined(row, cloud, floor=("all",)) == pytest.approx(row)


def test_a_floor_that_is_not_seen_around_a_box_says_nothing_about_it() -> None:
    """The floor is seen over there; what the box stands on may be another one."""
    cloud = PointCloud.single(torch.cat([square(-4, -1, 0.0), crate()]), None)
    row = [2.0, 1.5, 0.5, 0.6, 1.0, 0.7, 0.0]
    assert refined(row, cloud, floor=("all",)) == pytest.approx(row)


def test_the_top_of_a_thing_is_no_floor_for_it() -> None:
    """Of a low table only the top is in view, and it is the lowest that there is."""
    cloud = PointCloud.single(square(-1, 1, 0.22), None)
    row = [0.0, 0.0, 0.12, 1.9, 1.9, 0.24, 0.0]
    assert refined(row, cloud, floor=("all",)) == pytest.approx(row)


def test_an_unknown_class_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(ValueError, match=r"floor.*'Nightstand'.*night_stand"):
        Refinement(floor=("Nightstand",)).check(CLASSES)
    with pytest.raises(ValueError, match=r"vote.*'sofa'"):
        Refinement(vote=("sofa",)).check(CLASSES)


@pytest.mark.parametrize("way", ["vote", "size", "floor", "yaw"])
def test_a_detector_does_not_leave_out_a_misspelt_class_without_a_word(way: str) -> None:
    knobs = Refinement(**{way: ("chiar",)})
    with pytest.raises(ValueError, match=r"chiar.*chair"):
        knobs.voting(CLASSES)
    with pytest.raises(ValueError, match=r"chiar.*chair"):
        knobs.fitted(found([*CENTER, *SIZE, 0.0]), scene(), CLASSES)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_an_overlap_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="vote_iou"):
        Refinement(vote_iou=value)


class TwoChairs(nn.Module):
    """Two boxes of one crate: a chair of .9 that floats a little, and a lower-scored one."""

    def forward(self, cloud: PointCloud) -> Predictions:
        rows = torch.tensor([[2.0, 1.5, 0.5, 0.6, 1.0, 0.7, 0.0], [2.2, 1.5, 0.5, 0.6, 1, 0.7, 0]])
        boxes = Boxes3D.from_array(rows)
        zeros = torch.zeros(2, dtype=torch.int64)
        logits = torch.tensor([[0.9, 0.001], [0.3, 0.001]]).logit()
        return Predictions(boxes.center, boxes, logits, zeros, zeros)


def chairs(**knobs: Any) -> Detector:
    detector = Detector(TwoChairs(), CLASSES, device="cpu", postprocess=Postprocess(iou=0.4))
    detector.refinement = Refinement(**knobs)
    return detector


def test_a_detector_refines_as_its_weights_say() -> None:
    """The mean of both is 5 cm from the better one, and stands on the floor."""
    plain = chairs().detect(scene())
    assert rows_of(plain)[0] == pytest.approx([2.0, 1.5, 0.5, 0.6, 1.0, 0.7, 0.0])
    found = chairs(vote=("chair",), vote_iou=0.4, floor=("chair",)).detect(scene())
    assert found.boxes.center[0, 0].item() == pytest.approx(2.05, abs=1e-6)
    assert (found.boxes.center - found.boxes.size / 2)[0, 2].item() == pytest.approx(0, abs=0.01)
    torch.testing.assert_close(found.scores, plain.scores)


def test_refinement_of_a_detector_can_be_left_out() -> None:
    detector = chairs(vote=("chair",), vote_iou=0.4, floor=("chair",), size=("chair",))
    detector.postprocess = replace(detector.postprocess, refine=False)
    expected = chairs().detect(scene())
    assert torch.equal(detector.detect(scene()).boxes.array, expected.boxes.array)


def test_a_far_cloud_is_refined_as_a_near_one() -> None:
    row = [2.0, 1.47, 0.36, 0.68, 0.94, 0.72, 0.1]
    near = rows_of(EVERYTHING.fitted(found(row), scene(), CLASSES))[0]
    origin = torch.tensor([500_000.0, 5_600_000.0, 0.0], dtype=torch.float64)
    local, at = near_zero(PointCloud.single(scene().xyz.double() + origin, None))
    given = replace(found(row), boxes=moved(found(row).boxes, origin - at))
    out = EVERYTHING.fitted(given, local, CLASSES)
    assert moved(out.boxes, at - origin).array[0].tolist() == pytest.approx(near, abs=0.02)
