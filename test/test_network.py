"""The network: sizes, semantics, decoders."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from sr3d_core.model.box_coding import decode, decode_axis_aligned, decode_rotated
from sr3d_core.model.network import PRESETS, SR3D, Architecture
from sr3d_core.structures import PointCloud

TINY = Architecture(
    num_classes=3,
    rotated=True,
    voxel_size_m=0.05,
    color=False,
    stem_channels=8,
    stem_pool=False,
    widths=(8, 8, 8, 8),
    depths=(1, 1, 1, 1),
    neck_channels=8,
)


def points(num: int = 400, scenes: int = 1, seed: int = 0) -> PointCloud:
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(num, 3, generator=generator) * 2 - 1
    rgb = torch.rand(num, 3, generator=generator)
    return PointCloud(xyz, rgb, torch.arange(num) % scenes)


@pytest.mark.parametrize(
    ("preset", "key"),
    [("scannet", "learnable_params"), ("sunrgbd", "params_sunrgbd"), ("s3dis", "params_s3dis")],
)
def test_exact_presets_have_the_published_number_of_parameters(
    worked: dict[str, Any], preset: str, key: str
) -> None:
    network = SR3D.from_preset(preset)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == worked["tr3d_state_dict"]["expected"][key]


@pytest.mark.slow
def test_exact_network_puts_anchors_on_16_and_32_voxels() -> None:
    fine, coarse = SR3D.from_preset("s3dis").eval().raw(points(60))
    assert (fine.coords[:, 1:] % 16 == 0).all()
    assert (coarse.coords[:, 1:] % 32 == 0).all()
    assert fine.logits.shape[1] == 5
    assert fine.regression.shape[1] == 6
    assert (fine.coords[:, 1:] % 32 != 0).any()


def test_axis_aligned_decoder_worked_example(worked: dict[str, Any]) -> None:
    example = worked["decode_axis_aligned"]
    coords = torch.tensor(example["inputs"]["anchor_voxel_coords"]).double()
    anchors = coords * example["inputs"]["voxel_size"]
    boxes = decode_axis_aligned(anchors, torch.tensor(example["inputs"]["raw_reg"]).double())
    expected = torch.tensor(example["expected"]["boxes_cxcyczdxdydz"]).double()
    torch.testing.assert_close(boxes.array[:, :6], expected, atol=1e-7, rtol=0)


def test_rotated_decoder_worked_example(worked: dict[str, Any]) -> None:
    example = worked["decode_rotated"]
    anchors = torch.tensor(example["inputs"]["points"]).double()
    boxes = decode_rotated(anchors, torch.tensor(example["inputs"]["raw_reg8"]).double())
    expected = torch.tensor(example["expected"]["boxes_cxcyczdxdydz_yaw"]).double()
    torch.testing.assert_close(boxes.array, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("width", [6, 8])
def test_boxes_are_decoded_one_by_one(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, raw = (
        torch.rand(9, 3, generator=generator),
        torch.randn(9, width, generator=generator),
    )
    together = decode(anchors, raw).array
    single = [decode(anchors[i : i + 1], raw[i : i + 1]).array for i in range(9)]
    torch.testing.assert_close(together, torch.cat(single))


def test_no_anchors_give_no_boxes() -> None:
    assert len(decode(torch.zeros(0, 3), torch.zeros(0, 8))) == 0


def test_rotated_decoder_has_finite_gradients_at_a_square_box() -> None:
    regression = torch.zeros(2, 8, requires_grad=True)
    decode_rotated(torch.zeros(2, 3), regression).array.sum().backward()
    assert regression.grad is not None
    assert torch.isfinite(regression.grad).all()


@pytest.mark.parametrize("decoder", [decode_axis_aligned, decode_rotated])
def test_wild_regressions_give_finite_boxes_and_gradients(decoder: Any) -> None:
    width = 6 if decoder is decode_axis_aligned else 8
    regression = torch.full((4, width), 200.0).diff(dim=0, prepend=torch.zeros(1, width))
    regression = (regression + torch.tensor([[0.0], [90.0], [-90.0], [300.0]])).requires_grad_()
    boxes = decoder(torch.zeros(4, 3), regression)
    boxes.array.sum().backward()
    assert regression.grad is not None
    assert torch.isfinite(boxes.array).all()
    assert torch.isfinite(regression.grad).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"grow_fine": True},
        {"grow_fine": False},
        {"grow_coarse": False, "grow_fine": False},
        {"average": True},
        {"stem_kernel": 1, "neck_depth": 1},
    ],
)
@pytest.mark.slow
def test_a_scene_alone_is_predicted_as_in_a_batch(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = SR3D(replace(TINY, **changes)).eval()
    cloud = points(scenes=2)
    in_batch = network(cloud).of_scene(1)
    mine = cloud.scene == 1
    alone = network(PointCloud.single(cloud.xyz[mine], cloud.features[mine]))
    torch.testing.assert_close(in_batch.anchors, alone.anchors)
    torch.testing.assert_close(in_batch.logits, alone.logits)
    torch.testing.assert_close(in_batch.boxes.array, alone.boxes.array)


def test_order_of_points_does_not_matter() -> None:
    torch.manual_seed(0)
    network = SR3D(TINY).eval()
    xyz = torch.unique(torch.randint(-20, 20, (300, 3)), dim=0) * 0.05 + 0.02  # one per voxel
    cloud = PointCloud.single(xyz, torch.rand_like(xyz))
    a, b = network(cloud), network(cloud[torch.randperm(len(cloud))])
    torch.testing.assert_close(a.anchors, b.anchors)
    torch.testing.assert_close(a.logits, b.logits)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("is_training", [False, True])
def test_no_points_give_no_predictions(preset: str, is_training: bool) -> None:
    network = SR3D.from_preset(preset).train(is_training)
    assert len(network(points(0))) == 0


@pytest.mark.parametrize("is_training", [False, True])
def test_one_point_gives_finite_predictions(is_training: bool) -> None:
    predictions = SR3D(TINY).train(is_training)(points(1))
    assert len(predictions) > 0
    assert torch.isfinite(predictions.boxes.array).all()
    assert torch.isfinite(predictions.logits).all()


def test_unknown_colors_are_grey_to_the_exact_network_and_nothing_to_the_lite_one() -> None:
    cloud = points(50)
    unknown = PointCloud.single(cloud.xyz, None)
    exact = SR3D.from_preset("s3dis").voxels(unknown)
    lite = SR3D(TINY).voxels(unknown)
    assert exact.features.unique().tolist() == [0.5]
    assert lite.features.unique(dim=0).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_levels_that_do_not_grow_have_their_anchors_where_points_are() -> None:
    network = SR3D(replace(TINY, grow_coarse=False, grow_fine=False)).eval()
    cloud = points(30)
    for level, size_m in zip(network.raw(cloud), (0.4, 0.8), strict=True):
        seen = torch.floor(cloud.xyz / size_m).unique(dim=0).tolist()
        assert sorted((level.coords[:, 1:] * 0.05 / size_m).round().tolist()) == seen


def test_a_stem_of_single_voxels_keeps_the_finest_resolution() -> None:
    network = SR3D(replace(TINY, stem_kernel=1)).eval()
    fine, coarse = network.raw(points())
    assert (fine.coords[:, 1:] % 4 == 0).all()
    assert (fine.coords[:, 1:] % 8 != 0).any()
    assert (coarse.coords[:, 1:] % 8 == 0).all()


def test_an_averaging_network_is_told_where_the_points_lie() -> None:
    network = SR3D(replace(TINY, average=True, voxel_size_m=0.1))
    cloud = PointCloud.single(torch.tensor([[0.01, 0.02, 0.03], [0.03, 0.02, 0.05]]), None)
    expected = torch.tensor([[1.0, 0.0, 0.0, 0.0, -0.3, -0.3, -0.1]])
    torch.testing.assert_close(network.voxels(cloud).features, expected)


def test_untrained_confidence_is_the_focal_prior() -> None:
    predictions = SR3D(TINY)(points())
    assert predictions.logits.sigmoid().mean().item() == pytest.approx(0.01, abs=0.005)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'huge' is unknown, expected one of \['lite'"):
        SR3D.from_preset("huge")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"voxel_size_m": 0.0}, "voxel_size_m is 0.0"),
        ({"widths": (0, 1, 1, 1)}, "expected at least 1 each"),
        ({"stem_kernel": 5}, "expected 1, 2 or 3"),
        ({"neck_depth": 3}, "neck_depth is 3, expected 1 or 2"),
        ({"box_coding": "own_height"}, "box_coding is own_height"),
        ({"quality_exponent": 1.5}, "quality_exponent is 1.5"),
        ({"rivalry": -1.0}, "rivalry is -1.0"),
        ({"rivalry": math.inf}, "rivalry is inf"),
    ],
)
def test_sizes_that_build_no_network_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Architecture(**{"num_classes": 3, **changes})
