"""A detector of color images: arrays in, boxes out, how sure the depth is, weights on disk."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d_core.arrays import as_images
from sr3d_core.checkpoint import CheckpointError, Manifest, load_checkpoint, save_checkpoint
from sr3d_core.detector import Detector, Postprocess, SeenImage, std_of_boxes
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.network import LITE
from sr3d_core.structures import Boxes3D, Images

SMALL = replace(LITE, num_classes=2, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), neck_channels=8)
CAMERA = CameraArchitecture(size=(64, 48), channels=8)
MANIFEST = Manifest(architecture=SMALL, classes=("chair", "table"), camera=CAMERA)
K = [[110.0, 0.0, 63.5], [0.0, 110.0, 47.5], [0.0, 0.0, 1.0]]
FORWARD = [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.2], [0, 0, 0, 1.0]]
"""Looks along +x from 1.2 m."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("camera") / "weights.safetensors"
    save_checkpoint(path, CameraSR3D(SMALL, CAMERA), MANIFEST)
    return path


@pytest.fixture(scope="module")
def detector(weights: Path) -> Detector:
    return Detector.from_checkpoint(weights, postprocess=Postprocess(score_threshold=0.0))


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def test_boxes_are_found_in_an_image_of_any_size(detector: Detector, pixels: Any) -> None:
    assert detector.takes_images
    assert detector.classes == ("chair", "table")
    found = detector(image=pixels, K=K, world_from_camera=FORWARD, height_m=1.2)
    assert len(found) > 0
    assert found.depth_std_m is not None
    assert found.depth_std_m.shape == found.scores.shape
    seen = found.depth_std_m[~found.depth_std_m.isnan()]
    assert bool((seen > 0).all())
    assert found[:1].depth_std_m is not None


def test_numbers_in_0_to_1_say_what_bytes_say(detector: Detector, pixels: Any) -> None:
    of_bytes = detector(image=pixels, K=K, world_from_camera=FORWARD)
    of_numbers = detector(image=pixels / 255.0, K=K, world_from_camera=FORWARD)
    torch.testing.assert_close(of_bytes.scores, of_numbers.scores)


def test_boxes_move_with_the_camera_also_far_from_the_origin(
    detector: Detector, pixels: Any
) -> None:
    near = detector(image=pixels, K=K, world_from_camera=FORWARD)
    far = np.array(FORWARD)
    far[:2, 3] += [512_000.0, 4_096_000.0]
    found = detector(image=pixels, K=K, world_from_camera=far)
    assert len(found) == len(near)
    shift = torch.tensor([512_000.0, 4_096_000.0, 0.0], dtype=torch.float64)
    best = torch.stack([found.boxes.center[0] - shift, near.boxes.center[0].double()])
    torch.testing.assert_close(best[0], best[1], rtol=0, atol=0.05)


def test_the_deviation_of_a_box_is_that_of_the_cells_in_its_middle() -> None:
    seen = Images(torch.zeros(1, 3, 96, 128), torch.tensor([K]), torch.tensor([FORWARD]))
    std_m = torch.full((12, 16), 0.2)
    std_m[4:8, 6:10] = 0.5  # in the middle of the image
    ahead = [2.0, 0.0, 1.2, 0.4, 0.6, 0.4, 0.0]
    behind = [-2.0, 0.0, 1.2, 0.4, 0.6, 0.4, 0.0]
    beside = [2.0, 30.0, 1.2, 0.4, 0.6, 0.4, 0.0]
    boxes = Boxes3D.from_array(torch.tensor([ahead, behind, beside]))
    found = std_of_boxes(boxes, SeenImage(seen, std_m, torch.full_like(std_m, 2.0)))
    assert float(found[0]) == pytest.approx(0.5)
    assert all(math.isnan(each) for each in found[1:].tolist())
    assert len(std_of_boxes(boxes[:0], SeenImage(seen, std_m, torch.full_like(std_m, 2.0)))) == 0


def test_the_deviation_is_along_the_line_of_sight_and_not_along_the_optical_axis() -> None:
    """Two metres to the left of what is two metres ahead: a step along the ray is 1.4 of depth."""
    wide = [[60.0, 0.0, 63.5], [0.0, 60.0, 47.5], [0.0, 0.0, 1.0]]
    seen = Images(torch.zeros(1, 3, 96, 128), torch.tensor([wide]), torch.tensor([FORWARD]))
    box = Boxes3D.from_array(torch.tensor([[2.0, 2.0, 1.2, 0.4, 0.4, 0.4, 0.0]]))
    std_m = torch.full((12, 16), 0.3)
    found = std_of_boxes(box, SeenImage(seen, std_m, torch.full_like(std_m, 2.0)))
    assert float(found) == pytest.approx(0.3 * math.sqrt(2))


@pytest.mark.parametrize("y", [0.0, 0.1, 0.2, 0.5, 1.12])
def test_a_box_smaller_than_a_cell_has_the_deviation_of_where_it_is(y: float) -> None:
    seen = Images(torch.zeros(1, 3, 96, 128), torch.tensor([K]), torch.tensor([FORWARD]))
    box = Boxes3D.from_array(torch.tensor([[2.0, y, 1.2, 0.02, 0.02, 0.02, 0.0]]))
    found = std_of_boxes(box, SeenImage(seen, torch.full((12, 16), 0.3), torch.ones(12, 16)))
    assert float(found) == pytest.approx(0.3 * math.hypot(1, y / 2))


def test_several_images_at_once_are_refused(detector: Detector) -> None:
    two = torch.zeros(2, 3, 96, 128), torch.tensor([K, K]), torch.tensor([FORWARD, FORWARD])
    with pytest.raises(ValueError, match="2 images, expected one"):
        detector.detect(Images(*two))


def test_weights_of_images_and_of_clouds_are_told_apart(
    detector: Detector, weights: Path, pixels: Any
) -> None:
    with pytest.raises(ValueError, match="take color images"):
        detector(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="expected image, K and world_from_camera"):
        detector(image=pixels)
    with pytest.raises(CheckpointError, match="of color images"):
        load_checkpoint(weights)
    of_clouds = Detector.from_checkpoint("default")
    with pytest.raises(ValueError, match="take clouds"):
        of_clouds(image=pixels, K=K, world_from_camera=FORWARD)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image": np.zeros((4, 4))}, r"image has shape \(4, 4\)"),
        ({"image": np.zeros((0, 4, 3))}, r"image has shape \(0, 4, 3\)"),
        ({"image": np.full((4, 4, 3), 300.0)}, "image spans 300"),
        ({"image": np.full((4, 4, 3), np.nan)}, "not finite"),
        ({"image": np.zeros((96, 128, 3), dtype=np.uint8)}, "brightness of 0.000"),
        ({"intrinsics": np.eye(4)}, r"K has shape \(4, 4\)"),
        ({"intrinsics": np.zeros((3, 3))}, r"is \[\[0.0, 0.0"),
        ({"intrinsics": np.diag([0.0, 0.0, 1.0])}, "focal lengths above 0"),
        ({"intrinsics": np.array(K).T}, "transposed"),
        ({"intrinsics": np.diag([4.0, 4.0, 4.0]) @ K}, r"expected \[\[fx"),
        (
            {"intrinsics": np.diag([4.0, 4.0, 1.0]) @ K},
            r"centre .* is outside the image of 128 x 96",
        ),
        ({"height_m": math.nan}, "height is nan m"),
        ({"height_m": -1.2}, "height is -1.2 m"),
        ({"height_m": 120.0}, "height is 120 m"),
        ({"world_from_camera": np.eye(3)}, "world_from_camera has shape"),
        ({"world_from_camera": 2 * np.eye(4)}, "no rotation and shift"),
        ({"world_from_camera": np.diag([1.0, 1.0, -1.0, 1.0])}, "no rotation and shift"),
        ({"world_from_camera": np.full((4, 4), np.inf)}, "not finite"),
    ],
)
def test_what_is_no_image_or_no_camera_is_refused(change: dict[str, Any], text: str) -> None:
    fine = {"image": np.full((96, 128, 3), 0.5), "intrinsics": K, "world_from_camera": FORWARD}
    assert len(as_images(**fine)) == 1
    with pytest.raises(ValueError, match=text):
        as_images(**{**fine, **change})
