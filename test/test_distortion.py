"""Lenses that distort: pixels that OpenCV computed, and rectified images of known scenes.

The figures of OpenCV are those of `projectPoints`, `initUndistortRectifyMap` and their fisheye
namesakes of opencv-python-headless 5.0.0, for the camera, points, turn and P below.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root
from torch import Tensor

from sr3d_core.geometry.camera import Pinhole, pixel_centers
from sr3d_core.geometry.distortion import (
    DistortionError,
    Lens,
    Rectification,
    rectification,
    whole_view,
)

RAW = Pinhole(640, 480, fx=300.0, fy=310.0, cx=330.0, cy=235.0)
P = Pinhole(640, 480, fx=250.0, fy=255.0, cx=315.0, cy=242.0)
R = torch.tensor(
    [
        [0.999500058331, -0.010297631832, -0.029893012156],
        [0.009697701828, 0.999750029165, -0.020145316161],
        [0.030092988824, 0.019845351159, 0.99935007583],
    ],
    dtype=torch.float64,
)
SLOPES = [[0, 0], [0.3, -0.2], [-0.6, 0.45], [0.75, 0.6], [-0.1, -0.55]]
COEFFICIENTS = {
    "plumb_bob": (-0.31, 0.12, 0.0011, -0.0023, -0.021),
    "rational_polynomial": (0.52, -2.68, 0.00061, -0.00043, 1.51, 0.40, -2.49, 1.44),
    "equidistant": (-0.021, 0.011, -0.0052, 0.0013),
}
OPENCV: dict[str, dict[str, Any]] = {
    "plumb_bob": {
        "pixels": [
            [330.0, 235.0],
            [416.297868, 175.532894],
            [174.162759, 355.664878],
            [508.807642, 383.655084],
            [302.380789, 79.362846],
        ],
        "map": [
            [320, 240, 345.001, 238.659],
            [100, 80, 137.82, 91.733],
            [600, 400, 584.549, 376.833],
            [10, 470, 90.198, 428.942],
        ],
    },
    "rational_polynomial": {
        "pixels": [
            [330.0, 235.0],
            [421.052323, 172.288096],
            [144.585402, 378.746446],
            [557.243909, 423.127785],
            [299.294089, 60.776274],
        ],
        "map": [
            [320, 240, 345.022, 238.663],
            [100, 80, 87.976, 53.788],
            [600, 400, 703.649, 441.631],
            [10, 470, -24.84, 522.866],
        ],
    },
    "equidistant": {
        "pixels": [
            [330.0, 235.0],
            [416.174194, 175.635555],
            [176.662556, 353.836519],
            [507.576762, 381.79679],
            [302.775782, 80.275694],
        ],
        "map": [
            [320, 240, 345.004, 238.658],
            [100, 80, 141.786, 93.858],
            [600, 400, 578.177, 371.906],
            [10, 470, 103.008, 419.032],
        ],
    },
}
MODELS = list(COEFFICIENTS)


def lens(model: str, coefficients: tuple[float, ...] | None = None, raw: Pinhole = RAW) -> Lens:
    return Lens(raw, model, COEFFICIENTS[model] if coefficients is None else coefficients)


def raw_pixels(found: Rectification, raw: Pinhole = RAW) -> Tensor:
    """Where each pixel of a rectified image lies in the raw one, u and v."""
    size = torch.tensor([raw.width, raw.height])
    return ((found.grid[0] + 1) * size - 1) / 2


@pytest.mark.parametrize("model", MODELS)
def test_rays_are_seen_where_opencv_sees_them(model: str) -> None:
    slopes = torch.tensor(SLOPES, dtype=torch.float64)
    bent = lens(model).distorted(slopes)
    pixels = bent * torch.tensor([300.0, 310.0]) + torch.tensor([330.0, 235.0])
    expected = torch.tensor(OPENCV[model]["pixels"], dtype=torch.float64)
    torch.testing.assert_close(pixels, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("model", MODELS)
def test_rectified_pixels_lie_in_the_raw_image_where_opencv_has_them(model: str) -> None:
    found = rectification(lens(model), P, R)
    places = raw_pixels(found)
    for u, v, raw_u, raw_v in OPENCV[model]["map"]:
        is_inside = 0 <= raw_u <= 639 and 0 <= raw_v <= 479
        assert bool(found.is_seen[v, u]) == is_inside
        if is_inside:
            assert places[v, u].tolist() == pytest.approx([raw_u, raw_v], abs=2e-3)


def blobs(centres: Tensor, camera: Pinhole, sigma: float = 3.0) -> Tensor:
    """An image, one channel for each of several round spots."""
    u, v = torch.meshgrid(torch.arange(camera.width), torch.arange(camera.height), indexing="xy")
    squared = (u - centres[:, 0, None, None]) ** 2 + (v - centres[:, 1, None, None]) ** 2
    return torch.exp(-squared / (2 * sigma**2))[None].float()


def middles(image: Tensor) -> Tensor:
    """The centre of mass of each channel."""
    height, width = image.shape[-2:]
    places = pixel_centers(height, width)
    mass = image.reshape(image.shape[1], -1)
    return mass @ places / mass.sum(dim=1, keepdim=True)


def test_a_spot_of_the_raw_image_appears_where_its_undistorted_ray_meets_the_rectified_one() -> (
    None
):
    """The ray of a raw pixel is found by SciPy, from a model written down in other words."""
    k1, k2, p1, p2, k3 = COEFFICIENTS["plumb_bob"]

    def brown(slope: np.ndarray) -> np.ndarray:
        r = np.hypot(*slope)
        x, y = slope
        radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6
        return np.array(
            [
                x * radial + (2 * p1 * x * y + p2 * (r**2 + 2 * x**2)),
                y * radial + (p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y),
            ]
        )

    spots = np.array([[200.0, 150.0], [450.0, 120.0], [480.0, 350.0], [330.0, 235.0]])
    seen = (spots - [RAW.cx, RAW.cy]) / [RAW.fx, RAW.fy]
    slopes = np.array([root(lambda s, to=to: brown(s) - to, to).x for to in seen])
    expected = torch.from_numpy(slopes * [P.fx, P.fy] + [P.cx, P.cy]).float()
    rectified = rectification(lens("plumb_bob"), P)(blobs(torch.from_numpy(spots), RAW))
    torch.testing.assert_close(middles(rectified), expected, atol=0.1, rtol=0)


def test_a_pinhole_leaves_an_image_as_it_is() -> None:
    small = Pinhole(7, 5, 6.0, 6.0, 3.0, 2.0)
    straight = Lens(small, "plumb_bob", (0.0,) * 5)
    assert straight.is_straight
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    found = rectification(straight, small)
    assert found.is_seen.all()
    torch.testing.assert_close(found(image), image, atol=1e-5, rtol=0)


def test_what_the_raw_image_does_not_show_is_black_and_marked() -> None:
    small = Pinhole(8, 6, 6.0, 6.0, 3.5, 2.5)
    wide = Pinhole(16, 6, 6.0, 6.0, 7.5, 2.5)  # four columns more on each side
    found = rectification(Lens(small, "plumb_bob", ()), wide)
    assert found.is_seen[0].tolist() == [False] * 4 + [True] * 8 + [False] * 4
    shown = found(torch.ones(1, 3, 6, 8))
    assert shown[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 8 + [0.0] * 4


def test_no_part_of_an_image_is_shown_twice_where_a_polynomial_turns_back() -> None:
    """x (1 - 0.3 x^2) rises up to x = 1/sqrt(0.9) = 1.054 and falls from there on."""
    raw = Pinhole(401, 3, 250.0, 250.0, 200.0, 1.0)
    wide = Pinhole(401, 3, 100.0, 100.0, 200.0, 1.0)  # slopes up to 2
    found = rectification(Lens(raw, "plumb_bob", (-0.3, 0.0, 0.0, 0.0)), wide)
    columns = raw_pixels(found, raw)[1, :, 0][found.is_seen[1]]
    assert (columns.diff() > 0).all()
    last = int(found.is_seen[1].nonzero().max())
    assert last == 200 + math.floor(100 / math.sqrt(0.9))


def test_a_fisheye_without_coefficients_bends_as_well() -> None:
    fisheye = Lens(RAW, "equidistant", (0.0,) * 4)
    assert not fisheye.is_straight
    bent = fisheye.distorted(torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64))
    assert bent[:, 0].tolist() == pytest.approx([0.0, math.pi / 4])


@pytest.mark.parametrize("model", MODELS)
def test_the_whole_view_is_all_seen_and_a_wider_one_is_not(model: str) -> None:
    camera = whole_view(lens(model))
    assert rectification(lens(model), camera).is_seen.all()
    assert camera.fx / RAW.fx == pytest.approx(camera.fy / RAW.fy)
    wider = Pinhole(640, 480, 0.97 * camera.fx, 0.97 * camera.fy, camera.cx, camera.cy)
    assert not rectification(lens(model), wider).is_seen.all()
    assert rectification(lens(model)).camera == camera


def test_the_whole_view_of_a_very_wide_lens_ends_at_63_degrees() -> None:
    wide = Lens(Pinhole(640, 480, 200.0, 200.0, 319.5, 239.5), "equidistant", ())
    camera = whole_view(wide)
    reach = math.hypot(319.5 / camera.fx, 239.5 / camera.fy)
    assert reach == pytest.approx(2.0, rel=1e-3)
    assert rectification(wide).is_seen.all()


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.4, 0.4), st.floats(-0.1, 0.1), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
def test_a_whole_view_is_all_seen_for_any_usual_lens(
    k1: float, k2: float, p1: float, p2: float
) -> None:
    small = Pinhole(64, 48, 40.0, 40.0, 31.0, 24.0)
    found = rectification(Lens(small, "plumb_bob", (k1, k2, p1, p2)))
    assert found.is_seen.all()
    assert found.grid.isfinite().all()


@pytest.mark.parametrize(
    ("model", "coefficients", "text"),
    [
        ("thin_prism", (0.0,) * 5, "'thin_prism', expected one of plumb_bob, rational"),
        ("", (), "distortion model is ''"),
        ("plumb_bob", (0.1, 0.2, 0.3), "3 coefficients, expected 4 or 5"),
        ("plumb_bob", (0.1,) * 8, "8 coefficients, expected 4 or 5; is the model named"),
        ("equidistant", (0.1,) * 5, "5 coefficients, expected 4"),
        ("rational_polynomial", (0.1,) * 5, "5 coefficients, expected 8"),
        ("plumb_bob", (math.nan,) * 5, "finite"),
    ],
)
def test_lenses_that_are_not_known_are_refused(
    model: str, coefficients: tuple[float, ...], text: str
) -> None:
    with pytest.raises(DistortionError, match=text):
        Lens(RAW, model, coefficients)


def test_zeros_after_the_coefficients_change_nothing() -> None:
    longer = lens("rational_polynomial", (*COEFFICIENTS["rational_polynomial"], *[0.0] * 6))
    slopes = torch.tensor(SLOPES, dtype=torch.float64)
    assert torch.equal(longer.distorted(slopes), lens("rational_polynomial").distorted(slopes))


def test_cameras_that_see_nothing_of_each_other_are_refused() -> None:
    beside = Pinhole(640, 480, 250.0, 255.0, 5000.0, 242.0)
    with pytest.raises(DistortionError, match="P and K of one camera"):
        rectification(lens("plumb_bob"), beside)
    with pytest.raises(DistortionError, match=r"centre \(9000"):
        whole_view(lens("plumb_bob", raw=Pinhole(640, 480, 300.0, 300.0, 9000.0, 235.0)))


@pytest.mark.parametrize("coefficients", [(50.0, 0.0, 0.0, 0.0), (-40.0, 0.0, 0.0, 0.0)])
def test_coefficients_that_leave_a_keyhole_are_refused(coefficients: tuple[float, ...]) -> None:
    with pytest.raises(DistortionError, match="calibrate"):
        whole_view(lens("plumb_bob", coefficients))
    with pytest.raises(DistortionError, match="P and K of one camera"):
        rectification(lens("plumb_bob", coefficients), RAW)
