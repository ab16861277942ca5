"""Boxes fitted to the points of a box-shaped object, in a room whose size is known."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import Float
from test_walls import about_z, room
from torch import Tensor

from sr3d_core.refinement import Refined, Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud

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


class Fixed:
    """Finds the same box in every cloud."""

    classes = CLASSES

    def __init__(self, row: list[float], label: int = 0) -> None:
        self.found = found(row, label)

    def detect(self, cloud: PointCloud) -> Detections:
        return self.found


def refined(row: list[float], **knobs: tuple[str, ...]) -> list[float]:
    boxes = Refined(Fixed(row), Refinement(**knobs)).detect(scene()).boxes
    return boxes.array[0].tolist()


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
    boxes = Refined(Fixed(row), Refinement(size=("all",))).detect(cloud).boxes
    assert boxes.size[0].tolist() == pytest.approx([0.64, 0.96, 0.8], abs=0.02)
    assert boxes.center[0].tolist() == pytest.approx(center, abs=0.01)


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


def test_classes_that_are_not_named_stay_to_the_last_bit() -> None:
    knobs = Refinement(size=("chair",), floor=("chair",), yaw=("chair",))
    row = [2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2]
    boxes = Refined(Fixed(row, label=1), knobs).detect(scene()).boxes
    assert torch.equal(boxes.array, found(row).boxes.array)


def test_no_switch_and_no_detection_change_nothing() -> None:
    row = [2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2]
    given = found(row)
    assert Refinement()(scene(), given, CLASSES) is given
    none = given[:0]
    assert len(Refinement(size=("all",))(scene(), none, CLASSES)) == 0


@pytest.mark.parametrize("num", [0, 3])
def test_a_cloud_that_shows_nothing_changes_nothing(num: int) -> None:
    row = [2.1, 1.4, 0.5, 0.7, 0.9, 0.7, 0.2]
    knobs = Refinement(size=("all",), floor=("all",), yaw=("all",))
    cloud = PointCloud.single(torch.full((num, 3), 0.5), None)
    assert knobs(cloud, found(row), CLASSES).boxes.array[0].tolist() == pytest.approx(row)


def test_a_far_cloud_is_refined_as_a_near_one() -> None:
    row = [2.0, 1.47, 0.36, 0.68, 0.94, 0.72, 0.1]
    near = refined(row, size=("all",), floor=("all",), yaw=("all",))
    origin = torch.tensor([500_000.0, 5_600_000.0, 0.0], dtype=torch.float64)
    cloud = PointCloud.single(scene().xyz.double() + origin, None)
    given = found(row)
    boxes = Boxes3D(
        given.boxes.center.double() + origin, given.boxes.size.double(), given.boxes.yaw.double()
    )
    knobs = Refinement(size=("all",), floor=("all",), yaw=("all",))
    far = knobs(cloud, Detections(boxes, given.scores, given.labels), CLASSES)
    moved = far.boxes.array[0] - torch.cat([origin, torch.zeros(4, dtype=torch.float64)])
    assert moved.tolist() == pytest.approx(near, abs=0.02)


def test_an_unknown_class_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(ValueError, match=r"'Nightstand'.*night_stand"):
        Refined(Fixed([*CENTER, *SIZE, 0.0]), Refinement(floor=("Nightstand",)))
