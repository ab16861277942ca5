"""Pictures: they are written, they show the boxes, and empties are fine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d_core.structures import Boxes3D, Detections, PointCloud, Targets

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from sr3d_core.colors import class_color
from sr3d_core.picture import draw_detections

pytestmark = pytest.mark.slow

CLASSES = ("chair", "table")


def cloud(num: int = 500) -> PointCloud:
    return PointCloud.single(
        torch.rand(num, 3, generator=torch.Generator().manual_seed(0)) * 3, None
    )


def one(label: int) -> Detections:
    boxes = Boxes3D.from_array(torch.tensor([[1.0, 1.0, 0.5, 1.0, 0.6, 1.0, 0.4]]))
    return Detections(boxes, torch.tensor([0.8]), torch.tensor([label]))


def share_of(path: Path, name: str) -> float:
    """Share of the pixels that have a class's color."""
    pixels = imread(path)[:, :, :3]
    return float((np.abs(pixels - class_color(name)).max(axis=2) < 0.02).mean())


def test_boxes_have_the_color_of_their_class(tmp_path: Path) -> None:
    path = draw_detections(cloud(), one(1), CLASSES, tmp_path / "a.png")
    assert share_of(path, "table") > 0.001
    assert share_of(path, "chair") == 0.0


def test_ground_truth_is_drawn_too(tmp_path: Path) -> None:
    truth = Targets(one(0).boxes, one(0).labels)
    path = draw_detections(cloud(), Detections.empty(), CLASSES, tmp_path / "a.png", truth=truth)
    assert share_of(path, "chair") > 0.001
    ignored = Targets(one(0).boxes[:0], one(0).labels[:0], truth)
    path = draw_detections(cloud(), Detections.empty(), CLASSES, tmp_path / "b.png", truth=ignored)
    assert share_of(path, "chair") > 0.0005


@pytest.mark.parametrize("num", [0, 1])
def test_empty_clouds_and_no_detections_are_fine(tmp_path: Path, num: int) -> None:
    path = draw_detections(cloud(num), Detections.empty(), CLASSES, tmp_path / "a.png")
    assert path.stat().st_size > 1000


def test_colored_points_keep_their_hue(tmp_path: Path) -> None:
    red = PointCloud.single(cloud().xyz, torch.tensor([[1.0, 0.0, 0.0]]).repeat(500, 1))
    pixels = imread(draw_detections(red, Detections.empty(), CLASSES, tmp_path / "a.png"))
    is_red = (pixels[:, :, 0] > 0.8) & (pixels[:, :, 1] < 0.5) & (pixels[:, :, 2] < 0.5)
    assert is_red.mean() > 0.001
