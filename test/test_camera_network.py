"""The camera student: bins of depth, the lift, and what it has in common with its teacher."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from camera_cases import scene
from torch import Tensor

from sr3d_core.distill.views import told_tilted
from sr3d_core.geometry.camera import pixel_centers, unproject
from sr3d_core.model.camera_network import (
    CameraArchitecture,
    CameraSR3D,
    cell_depth,
    cell_rays,
    fitted,
    seen_size,
)
from sr3d_core.model.camera_told import OF_PIXELS, told_of_pixels
from sr3d_core.model.depth import DepthBins, mean_and_std
from sr3d_core.model.heights import NUM_HEIGHTS, at_heights, heights_of_bins
from sr3d_core.model.image import STRIDE, ImageNetwork
from sr3d_core.model.lift import Lifted, lift
from sr3d_core.model.network import LITE, SR3D
from sr3d_core.sparse.backends.native import TorchEngine
from sr3d_core.sparse.tensor import voxelize
from sr3d_core.structures import Images, PointCloud

EXAMPLES = json.loads((Path(__file__).parent / "camera_examples.json").read_text())["examples"]
SMALL = replace(LITE, num_classes=2, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), neck_channels=8)
CAMERA = CameraArchitecture(size=(64, 48), channels=8)


def tensor(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def expect(found: Tensor, rows: Any, atol: float = 2e-8) -> None:
    torch.testing.assert_close(found.double(), tensor(rows), rtol=0.0, atol=atol)


def images(num: int = 1, width: int = 64, height: int = 48, depth_m: float = 0.0) -> Images:
    """Noise, seen by cameras that look along +x from 1.2 m, 20 degrees down."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor(EXAMPLES["lift_one_cell"]["inputs"]["world_from_optical_R"])
    pose[2, 3] = 1.2
    focal = 0.86 * width
    intrinsics = torch.tensor(
        [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    )
    generator = torch.Generator().manual_seed(0)
    return Images(
        torch.rand(num, 3, height, width, generator=generator),
        intrinsics.expand(num, 3, 3),
        pose.expand(num, 4, 4),
        torch.full((num, height, width), depth_m) if depth_m else None,
    )


@pytest.fixture(scope="module")
def student() -> CameraSR3D:
    torch.manual_seed(0)
    return CameraSR3D(SMALL, CAMERA).eval()


def test_the_mean_and_deviation_of_a_distribution_over_bins() -> None:
    case = EXAMPLES["depth_distribution"]
    probability = tensor(case["inputs"]["logits"]).softmax(dim=1)
    expect(probability, case["expected"]["probability"])
    mean, std = mean_and_std(probability, tensor(case["inputs"]["bin_centres_m"]))
    expect(mean, case["expected"]["mean_m"])
    expect(std, case["expected"]["std_m"])


def test_bins_grow_by_one_factor_and_scale_with_the_focal_length() -> None:
    bins = DepthBins(bins=64, near_m=0.4, far_m=8.0, canonical_focal_px=280.0)
    centers = bins.centers_m(tensor([280.0, 560.0]))
    ratio = centers[0, 1:] / centers[0, :-1]
    expect(ratio, [(8.0 / 0.4) ** (1 / 64)] * 63)
    expect(centers[0, 0] / 0.4, float(ratio[0]) ** 0.5)
    expect(centers[1] / centers[0], [2.0] * 64)
    with pytest.raises(ValueError, match="expected at least 2"):
        DepthBins(bins=1)
    with pytest.raises(ValueError, match="far_m"):
        DepthBins(near_m=2.0, far_m=1.0)


def test_the_worked_lift_of_one_cell() -> None:
    case = EXAMPLES["lift_one_cell"]
    inputs, expected = case["inputs"], case["expected"]
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = (
        tensor(inputs[f"world_from_optical_{part}"]) for part in ("R", "t")
    )
    seen = Images(torch.zeros(1, 3, 240, 320), tensor(inputs["K"])[None], pose[None])
    column, row = inputs["feature_cell_x_y"]
    ray = cell_rays(seen)[0, row, column]
    depths = tensor(inputs["depths_m"])
    points = pose[:3, 3] + depths[:, None] * ray
    expect(points, expected["points_world"])
    chance = tensor(inputs["probability"])
    cloud = PointCloud.single(points, None)
    x = lift(Lifted(cloud, chance, torch.ones(4, 1).double()), 0.02, 8, TorchEngine())
    assert {tuple(c) for c in (x.coords[:, 1:] // 8).tolist()} == {
        tuple(c) for c in expected["voxels"]
    }
    expect(x.features[:, 0].sum(), 1.0)  # one point each: mean of ones times its chance


def test_the_lift_equals_a_loop_over_points() -> None:
    generator = torch.Generator().manual_seed(1)
    xyz = torch.rand(300, 3, generator=generator, dtype=torch.float64) - 0.5
    scene = torch.randint(2, (300,), generator=generator)
    chance = torch.rand(300, generator=generator, dtype=torch.float64)
    context = torch.randn(300, 3, generator=generator, dtype=torch.float64)
    cloud = PointCloud(xyz, xyz.new_zeros(300, 0), scene)
    x = lift(Lifted(cloud, chance, context), 0.02, 8, TorchEngine())
    cells: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in range(300):
        cell = torch.floor(xyz[index] / 0.16).long().tolist()
        cells[(int(scene[index]), *cell)].append(index)
    assert len(x) == len(cells)
    for coords, found in zip(x.coords.tolist(), x.features, strict=True):
        rows = cells[(coords[0], *(c // 8 for c in coords[1:]))]
        own = chance[rows]
        mean = (own[:, None] * context[rows]).sum(dim=0) / own.sum()
        expect(found, (mean * (1 - (1 - own).prod())).tolist(), atol=1e-9)


def test_the_lift_is_differentiable_also_where_a_surface_is_certain() -> None:
    chance = tensor([0.3, 0.6, 0.2]).requires_grad_()
    context = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    cloud = PointCloud.single(tensor([[0.01, 0.01, 0.01], [0.1, 0.1, 0.1], [0.5, 0.0, 0.0]]), None)

    def features(chance: Tensor, context: Tensor) -> Tensor:
        return lift(Lifted(cloud, chance, context), 0.02, 8, TorchEngine()).features

    assert torch.autograd.gradcheck(features, (chance, context))
    certain = torch.ones(3, dtype=torch.float64, requires_grad=True)
    features(certain, context).sum().backward()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()
    expect(features(certain.detach(), context.detach())[-1], context[2].tolist(), atol=1e-5)


def test_a_lift_at_the_true_depth_has_the_voxels_of_the_cloud(
    student: CameraSR3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = images(depth_m=1.7)
    rays, depth = cell_rays(seen), cell_depth(seen)
    xyz = (seen.world_from_camera[0, :3, 3] + rays[0] * depth[0][..., None]).reshape(-1, 3)
    fine = voxelize(PointCloud.single(xyz.float(), None), SMALL.voxel_size_m)
    expected, _ = fine.coarser(SMALL.fine_stride)
    monkeypatch.setattr(student, "sees_depth", True)
    with torch.no_grad():
        lifted = student.raw(seen).lifted
    assert lifted.stride == SMALL.fine_stride
    assert sorted(lifted.coords.tolist()) == sorted(expected.tolist())


def test_depth_that_is_unknown_lifts_nothing(
    student: CameraSR3D, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = images(depth_m=1.7)
    assert seen.depth is not None
    nowhere = replace(seen, depth=torch.where(seen.depth > 0, float("nan"), 0.0))
    monkeypatch.setattr(student, "sees_depth", True)
    with torch.no_grad():
        output = student.raw(nowhere)
    assert len(output.lifted) == 0
    assert len(output.levels[0].coords) == 0
    with pytest.raises(ValueError, match="no depth"):
        student.raw(images())


def test_no_images_give_no_predictions(student: CameraSR3D) -> None:
    none = images(2)[:0]
    with torch.no_grad():
        assert len(student(none)) == 0


def test_the_student_never_reads_depth_where_it_has_to_do_without(student: CameraSR3D) -> None:
    with torch.no_grad():
        plain, poisoned = student(images()), student(images(depth_m=float("nan")))
    torch.testing.assert_close(plain.logits, poisoned.logits, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["distribution", "point", "smear"])
def test_each_kind_of_lift_reaches_boxes_and_learns(kind: Any) -> None:
    torch.manual_seed(0)
    network = CameraSR3D(SMALL, replace(CAMERA, lift=kind)).train()
    output = network.raw(images(2))
    assert len(output.lifted) > 0
    sum(level.logits.sum() for level in output.levels).backward()
    grads = [p.grad for name, p in network.named_parameters() if name.startswith("context")]
    assert any(bool((grad != 0).any()) for grad in grads if grad is not None)
    of_depth = [p.grad for name, p in network.named_parameters() if name.startswith("depth")]
    learns_depth = any(bool((grad != 0).any()) for grad in of_depth if grad is not None)
    assert learns_depth == (kind != "smear")


def test_images_of_a_batch_do_not_meet(student: CameraSR3D) -> None:
    both, first = images(2), images(2)[:1]
    with torch.no_grad():
        together, alone = student(both), student(first)
    of_first = together[together.scene == 0]
    torch.testing.assert_close(of_first.logits, alone.logits, rtol=1e-4, atol=1e-5)


def test_the_student_takes_over_the_later_stages_of_its_teacher() -> None:
    """Fed with the teacher's own voxels of that stage, it says what the teacher says."""
    torch.manual_seed(1)
    teacher, network = SR3D(SMALL).eval(), CameraSR3D(SMALL, CAMERA).eval()
    network.start_from(teacher)
    with torch.no_grad():
        voxels = teacher.voxels(PointCloud.single(torch.rand(400, 3) * 2, None))
        fine, middle, coarse = teacher.backbone(voxels)
        own_middle = network.backbone["layer3"](fine)
        own = network.neck((fine, own_middle, network.backbone["layer4"](own_middle)))
        for mine, theirs in zip(own, teacher.neck((fine, middle, coarse)), strict=True):
            torch.testing.assert_close(mine.features, theirs.features, rtol=0, atol=0)
            for says in zip(
                network.head(mine.features), teacher.head(theirs.features), strict=True
            ):
                torch.testing.assert_close(*says, rtol=0, atol=0)
    with pytest.raises(ValueError, match="built differently"):
        network.start_from(SR3D(replace(SMALL, neck_channels=16)))


def test_what_cells_say_is_taken_over_without_the_later_stages() -> None:
    torch.manual_seed(2)
    other = CameraSR3D(replace(SMALL, num_classes=5), CAMERA).eval()
    network = CameraSR3D(SMALL, CAMERA).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert set(network.take_cells_from(other)) == {"objects", "context"}
    theirs, after = other.state_dict(), network.state_dict()
    for name, tensor in after.items():
        of_cells = name.startswith(("image.", "mix.", "depth.", "height."))
        assert torch.equal(tensor, theirs[name] if of_cells else before[name]), name
    with torch.no_grad():
        seen = images(1)
        own, given = network.raw(seen), other.raw(seen)
    torch.testing.assert_close(own.depth_logits, given.depth_logits)
    alike = CameraSR3D(SMALL, CAMERA)
    assert alike.take_cells_from(network) == ()
    assert torch.equal(alike.state_dict()["context.0.weight"], after["context.0.weight"])


def test_resized_images_have_intrinsics_that_fit() -> None:
    case = EXAMPLES["flip_and_resize"]
    before = Images(
        torch.rand(1, 3, 240, 320),
        tensor(case["inputs"]["K"])[None],
        torch.eye(4)[None],
        torch.rand(1, 240, 320),
    )
    after = fitted(before, (160, 120))
    expect(after.intrinsics[0], case["expected"]["K_resized"])
    assert after.pixels.shape == (1, 3, 120, 160)
    assert after.depth is not None
    assert before.depth is not None
    assert set(after.depth.flatten().tolist()) <= set(before.depth.flatten().tolist())
    assert fitted(after, (160, 120)) is after


def test_pixels_are_told_where_their_rays_meet_the_floor() -> None:
    sample = scene(1)
    assert sample.images is not None
    images = told_tilted(sample.images, 0.1, -0.2)
    bins = DepthBins(near_m=0.4, far_m=8.0, canonical_focal_px=70.0)
    climb, floor, is_known = told_of_pixels(images, bins)[0]
    assert bool((is_known == 1).all())
    assert images.height is not None
    # Walk along the rays to that depth: what is there lies on the floor, as far below the camera
    canonical_m = 0.4 * 20 ** floor.flatten()
    depth_m = canonical_m * images.intrinsics[0, 0, 0] / bins.canonical_focal_px
    pixels, pose = pixel_centers(48, 64)[None], images.world_from_camera
    there = unproject(pixels, depth_m[None], images.intrinsics, pose)
    is_met = ((floor > 0) & (floor < 1)).flatten()
    assert 100 < int(is_met.sum()) < 48 * 64
    below = images.world_from_camera[0, 2, 3] - there[0, is_met, 2]
    torch.testing.assert_close(below, images.height.expand_as(below), rtol=1e-4, atol=1e-4)
    assert bool((floor[climb >= 0] == 1.2).all())  # never
    unknown = told_of_pixels(replace(images, height=None), bins)[0]
    assert not unknown[2].any()
    assert torch.equal(unknown[0], climb)
    torch.testing.assert_close(
        unknown, told_of_pixels(replace(images, height=torch.tensor([torch.nan])), bins)[0]
    )


def test_logits_of_heights_are_read_off_linearly() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, NUM_HEIGHTS, dtype=torch.float64, requires_grad=True)
    asked = torch.tensor([-5.0, -0.1, 0.0, 0.013, 0.424, 1.0, 3.05, 40.0]).double().expand(3, 8)
    found = at_heights(logits, asked)
    known_at = np.linspace(-0.1, 3.05, NUM_HEIGHTS)
    expected = [np.interp(asked[0], known_at, row) for row in logits.detach().numpy()]
    torch.testing.assert_close(found, torch.tensor(np.array(expected)))
    assert torch.autograd.gradcheck(lambda x: at_heights(x, asked), logits)
    unknown = at_heights(logits, torch.full((3, 2), torch.nan, dtype=torch.float64))
    assert not unknown.any()
    unknown.sum().backward()
    assert logits.grad is not None  # so that all processes have one
    assert not logits.grad.any()


def test_bins_are_as_high_as_points_at_their_depth() -> None:
    sample = scene(1)
    assert sample.images is not None
    seen = told_tilted(sample.images, 0.1, -0.2)
    assert seen.height is not None
    rays, centers_m = cell_rays(seen), DepthBins().centers_m(seen.intrinsics[:, 0, 0])
    heights_m = heights_of_bins(seen.height, rays, centers_m)
    pixels = pixel_centers(*rays.shape[1:3], STRIDE)[None]
    for number in (0, 30, 63):
        depth_m = centers_m[:, number].expand(1, pixels.shape[1])
        there = unproject(pixels, depth_m, seen.intrinsics, seen.world_from_camera)
        above = there[0, :, 2] - seen.world_from_camera[0, 2, 3] + seen.height
        torch.testing.assert_close(
            heights_m[0, ..., number].flatten(), above, rtol=1e-4, atol=1e-4
        )


def test_depth_follows_the_height_of_the_camera_where_it_is_known() -> None:
    torch.manual_seed(0)
    bins = DepthBins(canonical_focal_px=0.86 * 64)
    network = CameraSR3D(SMALL, replace(CAMERA, depth=bins)).eval()
    assert network.height is not None
    torch.nn.init.zeros_(network.depth[-1].weight)
    torch.nn.init.zeros_(network.height[-1].weight)
    torch.nn.init.zeros_(network.depth[-1].bias)
    with torch.no_grad():  # what it sees lies on the floor, wherever it is
        network.height[-1].bias.copy_(-40 * (torch.arange(NUM_HEIGHTS) - 2.0).abs())
        for height_m in (0.6, 1.2):
            seen = replace(images(), height=torch.tensor([height_m]))
            output = network.of_cells(seen)
            floor_m = height_m / -output.rays[0, ..., 2]
            likeliest = output.centers_m[0][output.depth_logits[0].argmax(dim=-1)].double()
            is_inside = (floor_m > 0.5) & (floor_m < 2.0)
            assert int(is_inside.sum()) >= 8
            ratio = (likeliest / floor_m)[is_inside]
            assert bool(((ratio > 0.95) & (ratio < 1.05)).all())
        assert not network.of_cells(images()).depth_logits.any()


def test_features_of_images_are_a_cell_for_every_eight_pixels() -> None:
    network = ImageNetwork("res_lite", 16)
    pixels, maps = torch.rand(2, 3, 40, 72), torch.rand(2, OF_PIXELS, 40, 72)
    assert network(pixels, maps).shape == (2, 16, 40 // STRIDE, 72 // STRIDE)
    with pytest.raises(ValueError, match="image network 'vgg' is unknown"):
        ImageNetwork("vgg", 16)
    num = sum(parameter.numel() for parameter in ImageNetwork("res_lite", 64).parameters())
    assert 2.7e6 < num < 3.0e6


def test_an_architecture_of_sizes_that_no_network_has_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        CameraArchitecture(size=(321, 240))
    with pytest.raises(ValueError, match="minimum_probability"):
        CameraArchitecture(minimum_probability=1.0)


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((640, 480), (320, 240)),
        ((730, 530), (320, 240)),  # of a Kinect, cut: nearly 4 : 3
        ((1280, 720), (320, 176)),
        ((848, 480), (320, 184)),
        ((480, 640), (176, 240)),  # a photo taken upright
        ((64, 36), (320, 176)),
        ((4000, 50), (320, 8)),
    ],
)
def test_pixels_stay_square_whatever_the_shape_of_the_image(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    """A network that learnt from 4 : 3 would see one of 16 : 9 squeezed by a quarter otherwise."""
    width, height = size
    camera = CameraArchitecture()
    matrix = torch.tensor([[[500.0, 0, width / 2], [0, 500.0, height / 2], [0, 0, 1]]])
    images = Images(torch.zeros(1, 3, height, width), matrix, torch.eye(4)[None])
    assert seen_size(images, camera) == seen
    focal = fitted(images, seen).intrinsics[0].diagonal()[:2]
    if height > 100:
        assert float(focal[0] / focal[1]) == pytest.approx(1.0, abs=0.04)
    of_timm = seen_size(images, replace(camera, image="timm:resnet18", size=(320, 256)))
    assert all(side % 32 == 0 for side in of_timm)


def test_a_wide_image_is_seen_whole_in_its_own_shape() -> None:
    torch.manual_seed(0)
    student = CameraSR3D(SMALL, CAMERA).eval()
    matrix = torch.tensor([[[100.0, 0, 63.5], [0, 100.0, 35.5], [0, 0, 1]]])
    images = Images(torch.rand(1, 3, 72, 128), matrix, torch.eye(4)[None])
    output = student.of_cells(images)
    assert output.depth_logits.shape[1:3] == (4, 8)  # of 64 x 36 pixels
    across = output.rays[0, 0, 0, :2] + output.rays[0, -1, -1, :2]
    assert across.tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
