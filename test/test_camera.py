"""Rays, pixels and points of pinhole cameras, and their intrinsics when an image changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from sr3d_core.geometry.camera import (
    Pinhole,
    cropped_intrinsics,
    flipped_intrinsics,
    pinhole_matrix,
    pixel_centers,
    project,
    rays,
    resized_intrinsics,
    unproject,
)

EXAMPLES = json.loads((Path(__file__).parent / "camera_examples.json").read_text())["examples"]


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix(k: object) -> Tensor:
    return tensor(k)[None]


def check(found: Tensor, expected: object) -> None:
    torch.testing.assert_close(found, tensor(expected), atol=1e-6, rtol=0)  # its turn has 8 digits


def test_flipped_and_resized_intrinsics_of_the_worked_example() -> None:
    given_, expected = (
        EXAMPLES["flip_and_resize"]["inputs"],
        EXAMPLES["flip_and_resize"]["expected"],
    )
    k, here = tensor(given_["K"]), torch.eye(4).double()[None]
    point = tensor([[given_["point_optical"]]])
    flipped = flipped_intrinsics(k, given_["width"])
    resized = resized_intrinsics(k, given_["resize"], given_["resize"])
    check(flipped, expected["K_flipped"])
    check(resized, expected["K_resized"])
    check(project(point, k[None], here)[0][0, 0], expected["pixel"])
    mirrored = point * tensor([-1, 1, 1])
    check(project(mirrored, flipped[None], here)[0][0, 0], expected["pixel_flipped"])
    check(project(point, resized[None], here)[0][0, 0], expected["pixel_resized"])


def test_cells_rays_and_points_of_the_worked_example() -> None:
    given_, expected = EXAMPLES["lift_one_cell"]["inputs"], EXAMPLES["lift_one_cell"]["expected"]
    place = torch.eye(4).double()
    place[:3, :3] = tensor(given_["world_from_optical_R"])
    place[:3, 3] = tensor(given_["world_from_optical_t"])
    k = matrix(given_["K"])
    column, row = given_["feature_cell_x_y"]
    pixel = pixel_centers(30, 40, given_["feature_stride_px"])[row * 40 + column].double()
    check(pixel, expected["pixel_u_v"])
    depths = tensor([given_["depths_m"]])
    points = unproject(pixel.expand(1, 4, 2), depths, k, place[None])
    check(points[0], expected["points_world"])
    pixels, found = project(points, k, place[None])
    check(pixels[0], expected["reprojected"])
    torch.testing.assert_close(found, depths)
    ahead = place[:3, :3] @ tensor(expected["ray_optical"])
    check(rays(pixel.expand(1, 1, 2), k, place[None])[0, 0], (ahead / ahead.norm()).tolist())


def test_pixels_are_counted_row_by_row_from_zero() -> None:
    assert pixel_centers(2, 3).tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    assert pixel_centers(0, 3).shape == (0, 2)


def test_what_is_behind_a_camera_has_no_pixel() -> None:
    here, k = torch.eye(4)[None], pinhole_matrix(Pinhole(8, 6, 5.0, 5.0, 3.5, 2.5)).float()[None]
    points = torch.tensor([[[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    pixels, depth = project(points, k, here)
    assert pixels[0, :2].isnan().all()
    assert pixels[0, 2].tolist() == [3.5, 2.5]
    assert depth.tolist() == [[-1.0, 0.0, 2.0]]


def test_an_unknown_depth_has_no_point() -> None:
    here, k = torch.eye(4)[None], torch.eye(3)[None]
    points = unproject(torch.zeros(1, 2, 2), torch.tensor([[0.0, 1.0]]), k, here)
    assert points[0, 0].isnan().all()
    assert points[0, 1].tolist() == [0.0, 0.0, 1.0]


def test_gradients_are_finite_where_pixels_and_points_are_not() -> None:
    here, k = torch.eye(4)[None], torch.eye(3)[None]
    points = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 2.0]]], requires_grad=True)
    project(points, k, here)[0].nansum().backward()
    assert points.grad is not None
    assert points.grad[0].tolist() == [[0.0, 0.0, 0.0], [0.5, 0.5, -0.25]]
    depth = torch.tensor([[0.0, 2.0]], requires_grad=True)
    unproject(torch.ones(1, 2, 2), depth, k, here).nansum().backward()
    assert depth.grad is not None
    assert depth.grad.tolist() == [[0.0, 3.0]]


def test_no_points_are_normal() -> None:
    here, k = torch.eye(4)[None], torch.eye(3)[None]
    assert project(torch.zeros(1, 0, 3), k, here)[0].shape == (1, 0, 2)
    assert unproject(torch.zeros(1, 0, 2), torch.zeros(1, 0), k, here).shape == (1, 0, 3)
    assert rays(torch.zeros(1, 0, 2), k, here).shape == (1, 0, 3)


def pose(turn: Tensor, place: Tensor) -> Tensor:
    """A rigid transform from any three numbers as an axis times an angle."""
    x, y, z = turn.tolist()
    skew = tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    made = torch.eye(4).double()
    made[:3, :3] = torch.linalg.matrix_exp(skew)
    made[:3, 3] = place
    return made


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_points_go_to_pixels_and_back(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=draw, dtype=torch.float64)

    places = torch.stack(
        [pose(uniform(3, low=-3, high=3), uniform(3, low=-5, high=5)) for _ in range(2)]
    )
    k = torch.zeros(2, 3, 3).double()
    k[:, 0, 0], k[:, 1, 1], k[:, 2, 2] = (
        uniform(2, low=50, high=900),
        uniform(2, low=50, high=900),
        1,
    )
    k[:, :2, 2] = uniform(2, 2, low=-100, high=700)
    pixels, depth = uniform(2, 5, 2, low=-50, high=700), uniform(2, 5, low=0.1, high=9)
    points = unproject(pixels, depth, k, places)
    again, found = project(points, k, places)
    torch.testing.assert_close(again, pixels, atol=1e-6, rtol=0)
    torch.testing.assert_close(found, depth)
    # A ray starts at the camera and goes through the points of its pixel.
    ahead = rays(pixels, k, places)
    to_points = points - places[:, None, :3, 3]
    torch.testing.assert_close(ahead.norm(dim=-1), torch.ones(2, 5).double())
    torch.testing.assert_close(ahead * to_points.norm(dim=-1, keepdim=True), to_points)


CAMERA = Pinhole(width=12, height=8, fx=9.0, fy=10.0, cx=5.2, cy=3.9)
SLOPES = (pixel_centers(8, 12) - torch.tensor([5.2, 3.9])) / torch.tensor([9.0, 10.0])
PICTURE = SLOPES.T.reshape(1, 2, 8, 12)
"""An image whose two channels are the slopes x/z and y/z of its pixels' rays."""


def slopes_by(k: Tensor, height: int, width: int) -> Tensor:
    """The same image, made from intrinsics."""
    ahead = rays(pixel_centers(height, width)[None].double(), k[None], torch.eye(4).double()[None])
    return (ahead[..., :2] / ahead[..., 2:])[0].T.reshape(1, 2, height, width).float()


def test_intrinsics_say_what_the_pixels_of_a_changed_image_see() -> None:
    k = pinhole_matrix(CAMERA)
    torch.testing.assert_close(slopes_by(k, 8, 12), PICTURE)
    part = slopes_by(cropped_intrinsics(k, 3, 2), 5, 7)
    torch.testing.assert_close(part, PICTURE[..., 2:7, 3:10])
    mirrored = PICTURE.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
    torch.testing.assert_close(slopes_by(flipped_intrinsics(k, 12), 8, 12), mirrored)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (2, 3), (16, 36)])
def test_resized_intrinsics_are_those_of_torchs_resizing(height: int, width: int) -> None:
    """Slopes are linear in the pixel, so averages and interpolations of them are exact."""
    k = resized_intrinsics(pinhole_matrix(CAMERA), width / 12, height / 8)
    mode = "area" if width < 12 else "bilinear"
    options = {} if mode == "area" else {"align_corners": False}
    resized = interpolate(PICTURE, (height, width), mode=mode, **options)  # type: ignore[arg-type]
    inner = (..., slice(2, -2), slice(2, -2)) if width > 12 else (...,)  # the rim is repeated
    torch.testing.assert_close(slopes_by(k, height, width)[inner], resized[inner])


def test_intrinsics_of_several_images_change_at_once_and_the_given_ones_stay() -> None:
    k = pinhole_matrix(CAMERA).expand(2, 3, 3).contiguous()
    before = k.clone()
    assert flipped_intrinsics(k, 12).shape == (2, 3, 3)
    assert cropped_intrinsics(k, 1, 1)[1, 0, 2] == pytest.approx(4.2)
    assert resized_intrinsics(k, 2.0, 2.0)[1, 1, 1] == 20.0
    assert torch.equal(k, before)
