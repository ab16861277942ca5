from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sr3d_core.data.rooms.camera.noise import (
    FLIGHT,
    KINECT,
    STEREO,
    DepthNoise,
    measure,
    smooth_field,
)
from sr3d_core.data.rooms.camera.rasterise import (
    Hits,
    inside_image,
    rasterise,
    visible_share,
)
from sr3d_core.data.rooms.camera.sensor import orientation
from sr3d_core.geometry.camera import Pinhole

CAMERA = Pinhole(width=40, height=30, fx=35.0, fy=35.0, cx=19.5, cy=14.5)
SHAPE = (240, 320)


def ray_cast(corners: np.ndarray, camera: Pinhole) -> np.ndarray:
    """Depth of every pixel by Moeller and Trumbore's test, one triangle at a time."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    ray = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fx, u * 0 + 1],
        axis=-1,
    )
    depth = np.full(u.shape, np.inf)
    for a, b, c in corners:
        across = np.cross(ray, c - a)
        scale = across @ (b - a)
        scale = np.where(np.abs(scale) < 1e-12, np.nan, scale)
        first = across @ -a / scale
        side = np.cross(-a, b - a)
        second = ray @ side / scale
        z = (c - a) @ side / scale
        hit = (first >= 0) & (second >= 0) & (first + second <= 1) & (z > 0.05)
        depth = np.where(hit & (z < depth), z, depth)
    return np.where(np.isfinite(depth), depth, 0.0)


def render(corners: np.ndarray) -> Hits:
    return rasterise(corners, np.arange(len(corners)), len(corners), CAMERA)


def wall(z: float) -> np.ndarray:
    low, high = -50.0, 50.0
    return np.array(
        [
            [(low, low, z), (high, low, z), (high, high, z)],
            [(low, low, z), (high, high, z), (low, high, z)],
        ]
    )


def exact(noise: DepthNoise) -> DepthNoise:
    """Only the axial part of a noise model."""
    return replace(noise, disparity_step=0.0, baseline=0.0, edge_jitter=0.0, flying=0.0, holes=0.0)


def flat(depth: float, noise: DepthNoise, range_m: float = 20.0) -> np.ndarray:
    """Measurements of a wall that faces the camera."""
    true = np.full(SHAPE, depth)
    ones, rng = np.ones(SHAPE), np.random.default_rng(3)
    return measure(true, ones, np.zeros(SHAPE), noise, range_m, rng)


def test_rasterising_equals_ray_casting() -> None:
    rng = np.random.default_rng(0)
    middle = rng.uniform((-1, -1, 0.5), (1, 1, 4), (40, 3))
    corners = middle[:, None] + rng.normal(0, 0.6, (40, 3, 3))
    ours, truth = render(corners).depth, ray_cast(corners, CAMERA)
    is_same = np.isclose(ours, truth, rtol=1e-5, atol=1e-5)
    assert is_same.mean() > 0.999  # a pixel centre on an edge may round either way


def test_a_floor_that_passes_below_the_camera_is_seen_to_the_horizon() -> None:
    floor = np.array([[(-40.0, 1.0, -40.0), (40.0, 1.0, -40.0), (0.0, 1.0, 200.0)]])
    depth = render(floor).depth
    row = np.arange(16, 30)
    np.testing.assert_allclose(depth[row, 20], 35.0 / (row - 14.5), rtol=1e-5)
    assert (depth[:14] == 0).all()


def test_the_nearer_of_two_walls_hides_the_other() -> None:
    hits = render(np.concatenate([wall(3.0), wall(2.0)]))
    np.testing.assert_allclose(hits.depth, 2.0, rtol=1e-6)
    assert set(np.unique(hits.face)) <= {2, 3}


def test_what_lies_behind_the_camera_is_not_seen() -> None:
    assert (render(wall(-2.0)).face == -1).all()


def test_no_triangles_give_no_hits() -> None:
    hits = rasterise(np.zeros((0, 3, 3)), np.zeros(0, dtype=np.int64), 0, CAMERA)
    assert (hits.depth == 0).all()


def test_half_hidden_silhouette_is_half_visible() -> None:
    back, front = wall(3.0), wall(2.0)
    front[..., 0] = np.minimum(front[..., 0], 0.0)  # covers the left half of the image
    corners = np.concatenate([back, front])
    owner = np.array([0, 0, 1, 1])
    share, thing = visible_share(rasterise(corners, owner, 2, CAMERA), owner)
    np.testing.assert_allclose(share, [0.5, 1.0])
    assert (thing[:, 30] == 0).all()


def test_points_outside_the_range_are_not_in_the_image() -> None:
    points = np.array([(0, 0, 1.0), (0, 0, 9.0), (0, 0, -1.0), (5.0, 0, 1.0)])
    assert inside_image(points, CAMERA, range_m=4.0).tolist() == [True, False, False, False]


def test_a_camera_pitched_down_looks_down() -> None:
    turn = orientation(heading=0.3, pitch=np.deg2rad(-30), roll=0.0)
    np.testing.assert_allclose(turn[2, 2], -0.5, atol=1e-12)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-12)
    assert turn[2, 0] == pytest.approx(0.0)  # the image's x axis is level
    assert np.linalg.det(turn) == pytest.approx(1.0)


@pytest.mark.parametrize("noise", [KINECT, STEREO, FLIGHT])
@pytest.mark.parametrize("depth", [1.0, 3.0])
def test_axial_noise_has_the_standard_deviation_of_the_formula(
    noise: DepthNoise, depth: float
) -> None:
    measured = flat(depth, exact(noise))
    error = measured[measured > 0] - depth
    sigma = noise.constant_m + noise.quadratic * (depth - 0.4) ** 2
    assert error.std() == pytest.approx(sigma, rel=0.06)
    assert abs(error.mean()) < 0.1 * sigma


def test_kinect_noise_is_that_of_nguyen() -> None:
    sigma = KINECT.axial_sigma(np.array([[2.0]]))
    assert sigma[0, 0] == pytest.approx(0.0012 + 0.0019 * 1.6**2)


def test_disparity_comes_in_whole_steps() -> None:
    noise = replace(exact(KINECT), baseline=KINECT.baseline, disparity_step=1 / 5120)
    measured = flat(3.0, noise)
    steps = noise.baseline * 5120 / measured[measured > 0]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert len(np.unique(np.rint(steps))) < 20


def test_a_grazing_surface_is_not_measured() -> None:
    true = np.full(SHAPE, 2.0)
    rng = np.random.default_rng(0)
    got = measure(true, np.full(SHAPE, 0.05), np.zeros(SHAPE), exact(FLIGHT), 8.0, rng)
    assert (got == 0).all()


def test_a_surface_that_swallows_light_is_not_measured() -> None:
    true = np.full(SHAPE, 2.0)
    rng = np.random.default_rng(0)
    got = measure(true, np.ones(SHAPE), np.ones(SHAPE), exact(FLIGHT), 8.0, rng)
    assert (got == 0).all()


def test_depth_beyond_the_range_is_missing() -> None:
    assert (flat(6.0, exact(KINECT), range_m=4.0) == 0).all()


def test_holes_take_their_share_of_the_image() -> None:
    noise = replace(exact(FLIGHT), holes=0.1)
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        ones = np.ones(SHAPE)
        got = measure(2 * ones, ones, 0 * ones, noise, 8.0, rng)
        shares.append((got[12:-12, 16:-16] == 0).mean())
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)


def test_the_emitter_leaves_a_shadow_as_wide_as_the_difference_of_disparities() -> None:
    true = np.full(SHAPE, 3.0)
    true[:, :160] = 1.5
    noise = replace(exact(KINECT), constant_m=0.0, quadratic=0.0, baseline=0.068)
    rng = np.random.default_rng(1)
    got = measure(true, np.ones(SHAPE), np.zeros(SHAPE), noise, 8.0, rng)
    shadow = (got[120, 150:180] == 0).sum()
    assert 0 <= 0.068 * 320 * (1 / 1.5 - 1 / 3.0) - shadow < 2


def test_flying_pixels_lie_between_both_sides_of_an_edge() -> None:
    true = np.full(SHAPE, 3.0)
    true[:, :160] = 2.0
    noise = replace(exact(FLIGHT), constant_m=0.0, quadratic=0.0, flying=1.0, edge_jitter=1.0)
    rng = np.random.default_rng(1)
    got = measure(true, np.ones(SHAPE), np.zeros(SHAPE), noise, 8.0, rng)
    seen = got[got > 0]
    flying = (seen > 2.001) & (seen < 2.999)
    assert seen.min() >= 1.999
    assert seen.max() <= 3.001
    assert 0 < flying.sum() < 0.05 * seen.size


def test_a_smooth_field_has_unit_variance_and_is_smooth() -> None:
    field = smooth_field((480, 640), 10, np.random.default_rng(0))
    assert field.std() == pytest.approx(1.0, abs=0.05)
    assert np.diff(field, axis=1).std() < 0.2


def test_fusing_scales_the_noise_down() -> None:
    fused = KINECT.scaled(0.5)
    assert fused.axial_sigma(np.full((1, 1), 2.0)) == pytest.approx(
        0.5 * KINECT.axial_sigma(np.full((1, 1), 2.0))
    )
    assert fused.disparity_step == 0.0
