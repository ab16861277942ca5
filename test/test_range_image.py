"""What a frame measured in the directions of points, ahead and behind."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from sr3d_core.memory.range_image import RangeImage


def wall_ahead(x: float = 2.0) -> ndarray:
    """Rays to a wall across the x axis, 53 degrees to both sides."""
    y, z = np.meshgrid(np.linspace(-x / 2, x / 2, 200), np.linspace(-x / 2, x / 2, 200))
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()]).astype(np.float32)


def image_of(offset: ndarray) -> RangeImage:
    return RangeImage.of(offset, np.linalg.norm(offset, axis=0).astype(np.float32))


def around(num: int = 20_000) -> ndarray:
    """Points 1 m away on all sides, evenly."""
    points = np.random.default_rng(0).normal(size=(3, num))
    return (points / np.linalg.norm(points, axis=0)).astype(np.float32)


def test_a_camera_says_nothing_of_what_is_behind_it() -> None:
    image = image_of(wall_ahead())
    points = around()
    cell = image.cells(points)
    is_behind = points[0] < 0
    assert is_behind.sum() > 9_000
    assert np.isinf(image.near[cell[is_behind]]).all()
    assert (image.passed[cell[is_behind]] == 0).all()


def test_a_camera_measured_what_its_rays_went_to() -> None:
    image = image_of(wall_ahead())
    points = around()
    sideways = np.abs(points[1:]).max(axis=0)
    is_in = (points[0] > 0) & (sideways < 0.45 * points[0])  # well inside of 0.5
    is_out = (points[0] > 0) & (sideways > 0.55 * points[0])
    measured = image.near[image.cells(points)]
    true = np.linalg.norm(2.0 * points / points[0], axis=0)
    np.testing.assert_allclose(measured[is_in], true[is_in], atol=0.05)
    assert np.isinf(measured[is_out]).all()


def test_a_scanner_measures_to_all_sides() -> None:
    image = image_of(3.0 * around(400_000))
    measured = image.near[image.cells(around())]
    is_measured = np.isfinite(measured)  # a few cells are hit by no ray
    assert is_measured.mean() > 0.99
    np.testing.assert_allclose(measured[is_measured], 3.0, atol=1e-5)


def test_without_points_nothing_was_measured() -> None:
    image = image_of(np.zeros((3, 0), np.float32))
    cell = image.cells(around())
    assert np.isinf(image.near[cell]).all()
    assert not image.passed[cell].any()
