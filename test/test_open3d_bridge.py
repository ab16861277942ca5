"""Clouds and boxes to Open3D and back."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np
import pytest
import torch

from sr3d_core import open3d_bridge
from sr3d_core.geometry.boxes import corners
from sr3d_core.machine.extras import how_to_install
from sr3d_core.open3d_bridge import (
    Open3DError,
    boxes_from_open3d,
    boxes_to_open3d,
    cloud_from_open3d,
    cloud_to_open3d,
    load_open3d,
)
from sr3d_core.structures import Boxes3D, PointCloud

BOXES = Boxes3D.from_array(
    torch.tensor([[1.0, 2.0, 0.5, 0.6, 0.4, 1.0, 0.3], [500_000.25, -3.0, 1.0, 2.0, 1.0, 0.5, -3]])
)


@pytest.fixture
def o3d() -> Any:
    return pytest.importorskip("open3d", exc_type=ImportError)


def about_x(angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def test_boxes_come_back_as_they_went(o3d: Any) -> None:
    back = boxes_from_open3d(boxes_to_open3d(BOXES))
    assert back.array.dtype == torch.float64
    torch.testing.assert_close(back.array, BOXES.array.double())


def test_a_box_has_the_same_corners_in_open3d(o3d: Any) -> None:
    box = boxes_to_open3d(BOXES[:1])[0]
    theirs = np.array(sorted(np.round(np.asarray(box.get_box_points()), 5).tolist()))
    ours = np.array(sorted(np.round(corners(BOXES[:1])[0].double().numpy(), 5).tolist()))
    np.testing.assert_allclose(theirs, ours, atol=2e-5)


def test_no_boxes_are_no_boxes(o3d: Any) -> None:
    assert boxes_to_open3d(Boxes3D.empty()) == []
    assert boxes_from_open3d([]).array.shape == (0, 7)


def test_any_axis_of_a_box_may_be_the_vertical_one(o3d: Any) -> None:
    lying = o3d.geometry.OrientedBoundingBox((0, 0, 0), about_x(math.pi / 2), (0.6, 1.0, 0.4))
    row = boxes_from_open3d([lying]).array[0]
    torch.testing.assert_close(row[3:], torch.tensor([0.6, 0.4, 1.0, 0.0], dtype=torch.float64))


def test_axis_aligned_boxes_have_no_yaw(o3d: Any) -> None:
    box = o3d.geometry.AxisAlignedBoundingBox((0, 0, 0), (1, 2, 3))
    assert boxes_from_open3d([box]).array.tolist() == [[0.5, 1.0, 1.5, 1.0, 2.0, 3.0, 0.0]]


def test_a_tilted_box_is_refused_with_its_number_and_tilt(o3d: Any) -> None:
    tilted = o3d.geometry.OrientedBoundingBox((0, 0, 0), about_x(math.radians(12)), (1, 2, 3))
    with pytest.raises(Open3DError, match=r"box 2 .*12\.00 degrees"):
        boxes_from_open3d([*boxes_to_open3d(BOXES), tilted])


def test_things_that_are_no_boxes_or_clouds_are_refused(o3d: Any) -> None:
    with pytest.raises(Open3DError, match=r"box 0.*LineSet"):
        boxes_from_open3d([o3d.geometry.LineSet()])
    with pytest.raises(Open3DError, match="to_legacy"):
        cloud_from_open3d(o3d.t.geometry.PointCloud())


def test_a_cloud_comes_back_with_points_and_colors(o3d: Any) -> None:
    xyz = torch.tensor([[500_000.125, 0.0, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    rgb = torch.tensor([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0]])
    back = cloud_from_open3d(cloud_to_open3d(PointCloud.single(xyz, rgb)))
    assert torch.equal(back.xyz, xyz)
    torch.testing.assert_close(back.features, rgb.double())


def test_unknown_colors_stay_unknown(o3d: Any) -> None:
    there = cloud_to_open3d(PointCloud.single(torch.zeros(2, 3), None))
    assert not there.has_colors()
    assert cloud_from_open3d(there).features.isnan().all()


def test_a_point_of_unknown_color_among_others_is_grey(o3d: Any) -> None:
    rgb = torch.tensor([[1.0, 0.0, 0.0], [torch.nan] * 3])
    there = cloud_to_open3d(PointCloud.single(torch.zeros(2, 3), rgb))
    assert np.asarray(there.colors).tolist() == [[1, 0, 0], [0.5, 0.5, 0.5]]


def test_a_batch_of_scenes_is_refused() -> None:
    cloud = PointCloud(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(Open3DError, match="2 scenes, expected one"):
        cloud_to_open3d(cloud)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(Open3DError, match=re.escape(how_to_install("open3d"))):
        load_open3d()


def test_a_missing_library_of_the_system_names_the_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_library(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(open3d_bridge, "import_module", no_library)
    with pytest.raises(Open3DError, match=r"libGL\.so\.1.* libgl1 libgomp1 .*libx11-6"):
        load_open3d()
