"""Augmentation: the box maths by hand, and points that stay in their boxes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import shapely
import torch
from shapely import affinity

from sr3d_core.data.augment import (
    Augment,
    SceneTransform,
    enclose_rotated,
    flip_x,
    flip_y,
    rotate_z,
)
from sr3d_core.geometry.boxes import bounds, points_in_boxes
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

WORKED = json.loads(Path(__file__).with_name("worked_examples.json").read_text())
EXAMPLE = WORKED["examples"]["augment_boxes"]
INPUTS, EXPECTED = EXAMPLE["inputs"], EXAMPLE["expected"]


def box(row: list[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor([row], dtype=torch.float64))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(num_points: int = 1000, colored: bool = True) -> Sample:
    """Points all inside one turned box, which is the target."""
    target = Boxes3D.from_array(torch.tensor([[1.0, 2.0, 0.5, 2.0, 1.0, 1.0, 0.4]]))
    local = (torch.rand(num_points, 3, generator=generator(7)) - 0.5) * target.size * 0.98
    xyz = rotate_z(Boxes3D(local, local, local[:, 0]), 0.4).center + target.center
    rgb = torch.rand(num_points, 3, generator=generator(8)) if colored else None
    cloud = PointCloud.single(xyz, rgb)
    return Sample(cloud, Targets(target, torch.tensor([3])), name="made up")


def assert_box(found: Boxes3D, expected: list[float]) -> None:
    torch.testing.assert_close(found.array, box(expected).array, atol=1e-6, rtol=0)


def test_flips_follow_the_worked_example() -> None:
    assert_box(flip_x(box(INPUTS["rotated_box"])), EXPECTED["h_flip"])
    assert_box(flip_y(box(INPUTS["rotated_box"])), EXPECTED["v_flip"])


def test_rotation_follows_the_worked_example() -> None:
    assert_box(rotate_z(box(INPUTS["rotated_box"]), INPUTS["theta"]), EXPECTED["rotate"])


def test_axis_aligned_boxes_are_enclosed_again() -> None:
    turned = enclose_rotated(box(INPUTS["axis_aligned_box"]), INPUTS["theta"])
    assert_box(turned, EXPECTED["rotate_axis_aligned_re_enclosed"])


def test_full_chain_follows_the_worked_example() -> None:
    motion = SceneTransform(
        flip_x=True,
        flip_y=False,
        rotate_rad=INPUTS["theta"],
        tilt_rad=(0.0, 0.0),
        scale=INPUTS["scale"],
        translate_m=torch.tensor(INPUTS["trans"], dtype=torch.float64),
    )
    moved = motion.boxes(box(INPUTS["rotated_box"]), axis_aligned=False)
    assert_box(moved, EXPECTED["full_chain_hflip_rot_scale_trans"])


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("angle_rad", [0.0, 0.7, -2.5, math.pi / 2])
def test_enclosed_boxes_are_the_bounds_that_shapely_finds(
    flips: tuple[bool, bool], angle_rad: float
) -> None:
    row = [1.0, -2.0, 0.5, 2.0, 0.6, 1.0, 0.4]
    motion = SceneTransform(*flips, angle_rad, (0.0, 0.0), 1.5, torch.tensor([0.3, 0.2, 0.1]))
    footprint = shapely.box(-row[3] / 2, -row[4] / 2, row[3] / 2, row[4] / 2)
    footprint = affinity.rotate(footprint, row[6], origin=(0, 0), use_radians=True)
    footprint = affinity.translate(footprint, row[0], row[1])
    mirror = [-1.0 if flip else 1.0 for flip in flips]
    footprint = affinity.scale(footprint, *mirror, origin=(0, 0))
    footprint = affinity.rotate(footprint, angle_rad, origin=(0, 0), use_radians=True)
    footprint = affinity.translate(affinity.scale(footprint, 1.5, 1.5, origin=(0, 0)), 0.3, 0.2)
    moved = motion.boxes(box(row), axis_aligned=True)
    low, high = bounds(moved)
    expected = torch.tensor(footprint.bounds, dtype=torch.float64)
    found = torch.cat([low[0, :2], high[0, :2]])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert moved.yaw.item() == 0.0
    assert moved.size[0, 2].item() == pytest.approx(1.5)


def test_turned_axis_aligned_boxes_stay_what_they_were_to_the_last_bit() -> None:
    size = torch.tensor([[2.0, 0.6, 1.1], [0.3, 1.7, 0.9]])
    boxes = Boxes3D(torch.zeros(2, 3), size, torch.zeros(2))
    cos, sin = abs(math.cos(0.7)), abs(math.sin(0.7))
    dx, dy, dz = size.unbind(dim=1)
    expected = torch.stack([dx * cos + dy * sin, dx * sin + dy * cos, dz], dim=1)
    for flip in (False, True):
        motion = SceneTransform(flip, False, 0.7, (0.0, 0.0), 1.0, torch.zeros(3))
        assert torch.equal(motion.boxes(boxes, axis_aligned=True).size, expected)


def test_flipped_axis_aligned_boxes_keep_yaw_zero() -> None:
    motion = SceneTransform(True, True, 0.0, (0.0, 0.0), 1.0, torch.zeros(3))
    assert motion.boxes(box(INPUTS["axis_aligned_box"]), axis_aligned=True).yaw.item() == 0.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("axis_aligned", [False, True])
def test_points_stay_in_their_boxes(seed: int, axis_aligned: bool) -> None:
    augment = Augment(
        flip_x=0.5,
        flip_y=0.5,
        rotate_rad=(-3.0, 3.0),
        scale=(0.6, 1.4),
        translate_m=0.3,
        axis_aligned=axis_aligned,
    )
    original = sample()
    if axis_aligned:
        tight = original.targets.boxes
        size = enclose_rotated(tight, 0.4).size
        around = Boxes3D(tight.center, size, torch.zeros(1))
        original = Sample(original.cloud, Targets(around, original.targets.labels), "made up")
    changed = augment(original, generator(seed))
    assert points_in_boxes(changed.cloud.xyz, changed.targets.boxes).all()


def test_tilt_turns_points_and_moves_centres_but_boxes_stay_upright() -> None:
    motion = SceneTransform(False, False, 0.0, (math.pi / 2, 0.0), 1.0, torch.zeros(3))
    torch.testing.assert_close(
        motion.points(torch.tensor([[0.0, 1.0, 0.0]])), torch.tensor([[0.0, 0.0, 1.0]])
    )
    moved = motion.boxes(box([0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 0.5]), axis_aligned=False)
    assert_box(moved, [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 0.5])


def test_defaults_change_nothing() -> None:
    original = sample()
    changed = Augment()(original, generator())
    torch.testing.assert_close(changed.cloud.xyz, original.cloud.xyz)
    torch.testing.assert_close(changed.cloud.features, original.cloud.features)
    torch.testing.assert_close(changed.targets.boxes.array, original.targets.boxes.array)


def test_same_seed_gives_the_same_sample() -> None:
    augment = Augment(flip_x=0.5, rotate_rad=(-1, 1), keep_fraction=(0.3, 1.0), jitter_color=0.2)
    first, second = augment(sample(), generator(3)), augment(sample(), generator(3))
    torch.testing.assert_close(first.cloud.xyz, second.cloud.xyz)
    torch.testing.assert_close(first.cloud.features, second.cloud.features)


def test_keep_fraction_and_max_points_limit_the_points() -> None:
    assert len(Augment(keep_fraction=(0.25, 0.25))(sample(1000), generator()).cloud) == 250
    assert len(Augment(max_points=100)(sample(1000), generator()).cloud) == 100
    assert len(Augment(keep_fraction=(0.1, 0.1))(sample(1), generator()).cloud) == 1


def test_points_keep_their_own_colors() -> None:
    original = sample()
    painted = PointCloud(original.cloud.xyz, original.cloud.xyz.clone(), original.cloud.scene)
    chosen = Augment(keep_fraction=(0.5, 0.5))(
        Sample(painted, original.targets, "painted"), generator()
    )
    torch.testing.assert_close(chosen.cloud.features, chosen.cloud.xyz)


def test_dropped_colors_are_unknown() -> None:
    assert Augment(drop_color=1.0)(sample(), generator()).cloud.features.isnan().all()


def test_jittered_colors_stay_in_range_and_unknown_ones_unknown() -> None:
    augment = Augment(jitter_color=0.5)
    colors = augment(sample(), generator()).cloud.features
    assert 0.0 <= colors.min() <= colors.max() <= 1.0
    assert not torch.equal(colors, sample().cloud.features)
    assert augment(sample(colored=False), generator()).cloud.features.isnan().all()


def test_empty_cloud_without_boxes_is_normal() -> None:
    empty = Sample(
        PointCloud.single(torch.zeros(0, 3), None),
        Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64)),
        name="empty",
    )
    changed = Augment(flip_x=1.0, keep_fraction=(0.3, 1.0), jitter_color=0.1)(empty, generator())
    assert len(changed.cloud) == 0
    assert len(changed.targets) == 0


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"flip_x": 1.5}, r"augment.flip_x: 1.5, expected 0\.\.1"),
        ({"scale": (0.0, 1.0)}, r"augment.scale: .*expected a range low\.\.high above 0"),
        ({"rotate_rad": (1.0, -1.0)}, r"augment.rotate_rad: .*expected a range"),
        ({"keep_fraction": (0.5, 1.5)}, "augment.keep_fraction: .*at most 1"),
        ({"max_points": 0}, "augment.max_points: 0, expected at least 1"),
        ({"translate_m": -0.1}, "augment.translate_m: -0.1, expected at least 0"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Augment(**knobs)
