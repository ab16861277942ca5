"""Stretched objects: their points go with them, others stay, and no place holds two things."""

from __future__ import annotations

import math

import pytest
import torch

from sr3d_core.data.augment import Augment
from sr3d_core.data.object_stretch import stretch_objects
from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

WARDROBE = [1.0, 2.0, 0.5, 2.0, 1.0, 1.0, math.pi / 2]
"""On the floor; its dx runs along y: x from 0.5 to 1.5, y from 1 to 3."""


def boxes(*rows: list[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))


def cloud(*points: tuple[float, float, float]) -> PointCloud:
    xyz = torch.tensor(points).reshape(-1, 3)
    return PointCloud.single(xyz, torch.linspace(0, 1, xyz.numel()).reshape(-1, 3))


def grid(*rows: list[float]) -> Sample:
    """A room of 6 x 6 x 2 m full of points, 20 cm apart, with the boxes of `rows`."""
    axis = torch.arange(0.01, 6.0, 0.2)
    xyz = torch.cartesian_prod(axis, axis, torch.arange(0.0, 2.0, 0.2))
    found = boxes(*rows)
    return Sample(PointCloud.single(xyz, xyz / 6), Targets(found, torch.arange(len(rows))), "grid")


def test_points_go_with_their_box_along_its_own_axes_about_its_foot() -> None:
    inside = cloud((1.0, 2.5, 0.25), (1.5, 1.0, 1.0), (1.2, 2.0, 0.0))
    moved, stretched = stretch_objects(inside, boxes(WARDROBE), torch.tensor([[1.2, 0.5, 1.5]]))
    expected = torch.tensor([[1.0, 2.6, 0.375], [1.25, 0.8, 1.5], [1.1, 2.0, 0.0]])
    torch.testing.assert_close(moved.xyz, expected)
    assert torch.equal(moved.features, inside.features)
    row = torch.tensor([[1.0, 2.0, 0.75, 2.4, 0.5, 1.5, math.pi / 2]])
    torch.testing.assert_close(stretched.array, row)


def test_points_just_outside_of_a_box_are_its_own() -> None:
    moved, _ = stretch_objects(
        cloud((1.0, 3.02, 0.5)), boxes(WARDROBE), torch.tensor([[1.5, 1.0, 1.0]])
    )
    torch.testing.assert_close(moved.xyz, torch.tensor([[1.0, 3.53, 0.5]]))


def test_what_a_grown_object_covers_is_gone_and_the_rest_stays() -> None:
    behind, beside, below = (1.0, 3.2, 0.5), (1.0, 3.6, 0.5), (1.0, 3.2, -0.2)
    around = cloud(behind, beside, below)
    left, _ = stretch_objects(around, boxes(WARDROBE), torch.tensor([[1.5, 1.0, 1.0]]))
    assert torch.equal(left.xyz, around.xyz[1:])
    assert torch.equal(left.features, around.features[1:])


def test_a_shrunk_object_takes_no_points_away() -> None:
    sample = grid(WARDROBE)
    moved, _ = stretch_objects(sample.cloud, sample.targets.boxes, torch.full((1, 3), 0.8))
    assert len(moved) == len(sample.cloud)


NEIGHBOUR = [1.0, 3.6, 0.5, 0.8, 0.8, 1.0, 0.0]  # from y = 3.2
ABOVE = [1.0, 2.0, 1.6, 2.0, 1.0, 0.4, math.pi / 2]  # from z = 1.4


@pytest.mark.parametrize(
    ("other", "factor", "is_moved"),
    [
        (NEIGHBOUR, (1.1, 1.0, 1.0), True),  # to y = 3.1
        (NEIGHBOUR, (1.3, 1.0, 1.0), False),  # to y = 3.3
        (NEIGHBOUR, (1.0, 1.5, 1.5), True),
        (ABOVE, (1.5, 1.0, 1.2), True),  # to z = 1.2
        (ABOVE, (0.9, 1.0, 1.5), False),  # to z = 1.5
        ([1.0, 2.9, 0.5, 0.8, 0.8, 1.0, 0.3], (0.5, 0.5, 0.5), False),  # they share points now
    ],
)
def test_an_object_keeps_its_size_where_another_box_is_in_the_way(
    other: list[float], factor: tuple[float, float, float], is_moved: bool
) -> None:
    sample = grid(WARDROBE, other)
    factors = torch.tensor([factor, (1.0, 1.0, 1.0)])
    moved, stretched = stretch_objects(sample.cloud, sample.targets.boxes, factors)
    before = sample.targets.boxes
    torch.testing.assert_close(stretched.size[0] / before.size[0], factors[0] ** float(is_moved))
    assert torch.equal(stretched.array[1], before.array[1])
    assert is_moved or torch.equal(moved.xyz, sample.cloud.xyz)


def test_two_that_grow_towards_each_other_both_keep_their_size() -> None:
    sample = grid(WARDROBE, NEIGHBOUR)
    factors = torch.full((2, 3), 1.15)  # either alone would have room
    _, stretched = stretch_objects(sample.cloud, sample.targets.boxes, factors)
    assert torch.equal(stretched.array, sample.targets.boxes.array)


def test_nothing_to_stretch_is_normal() -> None:
    nothing = stretch_objects(cloud(), boxes(), torch.ones(0, 3))
    assert (len(nothing[0]), len(nothing[1])) == (0, 0)
    no_points, stretched = stretch_objects(cloud(), boxes(WARDROBE), torch.full((1, 3), 2.0))
    assert len(no_points) == 0
    assert stretched.size.tolist() == [[4.0, 2.0, 2.0]]


SPREAD = ([1.0, 1.0, 0.5, 0.8, 0.9, 1.0, 0.4], [3.0, 1.2, 0.5, 1.0, 0.7, 1.1, -2.0],
          [1.2, 4.0, 0.6, 1.1, 0.8, 1.2, 3.0], [4.5, 4.2, 0.5, 0.9, 0.9, 1.0, 1.2])  # fmt: skip


def augmented(sample: Sample, **knobs: object) -> Sample:
    return Augment(**knobs)(sample, torch.Generator().manual_seed(3))  # type: ignore[arg-type]


def test_augmentation_stretches_all_four_each_in_its_own_way_and_in_range() -> None:
    sample = grid(*SPREAD)
    changed = augmented(sample, stretch_objects=1.0, stretch_range=(0.9, 1.2))
    factor = changed.targets.boxes.size / sample.targets.boxes.size
    assert ((factor > 0.9) & (factor < 1.2)).all()
    assert factor.flatten().unique().numel() == 12
    assert torch.equal(changed.targets.boxes.yaw, sample.targets.boxes.yaw)
    assert torch.equal(changed.targets.labels, sample.targets.labels)
    inside = points_in_boxes(changed.cloud.xyz, changed.targets.boxes).any(dim=0)
    assert inside.all()


def test_augmentation_with_the_same_seed_is_the_same() -> None:
    first, second = (augmented(grid(*SPREAD), stretch_objects=0.5) for _ in range(2))
    assert torch.equal(first.cloud.xyz, second.cloud.xyz)
    assert torch.equal(first.targets.boxes.array, second.targets.boxes.array)


def test_all_other_draws_are_the_same_with_and_without_stretch() -> None:
    knobs = {"rotate_rad": (-3.0, 3.0), "translate_m": 0.2, "jitter_color": 0.2}
    plain = augmented(grid(*SPREAD), **knobs)
    stretched = augmented(grid(*SPREAD), stretch_objects=1.0, **knobs)
    assert torch.equal(plain.targets.boxes.yaw, stretched.targets.boxes.yaw)
    corner = -1  # a point of no object
    torch.testing.assert_close(plain.cloud.xyz[corner], stretched.cloud.xyz[corner])
    assert torch.equal(plain.cloud.features[corner], stretched.cloud.features[corner])


def test_heights_grow_alone_and_points_stay_in_their_boxes() -> None:
    sample = grid(*SPREAD)
    inside = points_in_boxes(sample.cloud.xyz, sample.targets.boxes)
    changed = augmented(sample, scale_z=(1.3, 1.3), rotate_rad=(1.0, 1.0), flip_x=1.0)
    ratio = changed.targets.boxes.size / sample.targets.boxes.size
    torch.testing.assert_close(ratio, torch.tensor([[1.0, 1.0, 1.3]]).expand(4, 3))
    grown = Boxes3D(changed.targets.boxes.center, changed.targets.boxes.size + 1e-4,
                    changed.targets.boxes.yaw)  # fmt: skip
    assert (points_in_boxes(changed.cloud.xyz, grown) >= inside).all()


@pytest.mark.parametrize(
    ("knobs", "found"),
    [
        ({"stretch_objects": 1.5}, r"augment.stretch_objects: 1\.5, expected 0\.\.1"),
        ({"stretch_range": (0.0, 1.0)}, "augment.stretch_range: .*above 0"),
        ({"scale_z": (1.2, 0.8)}, "augment.scale_z: .*a range"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs: dict, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        Augment(**knobs)
