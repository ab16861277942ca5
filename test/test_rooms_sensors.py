"""How rooms are seen: poses, scans, colors, samplings, and what of an object is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sr3d_core.data.rooms.camera.habits import USUAL, SensorHabits
from sr3d_core.data.rooms.camera.kinds import (
    FRAMES,
    LEVEL,
    ROBOT,
    SCANS,
    VACUUM,
    frame_habits,
    scan_habits,
)
from sr3d_core.data.rooms.camera.noise import FLIGHT, KINECT, STEREO, DepthNoise
from sr3d_core.data.rooms.camera.poses import along_a_path, anywhere
from sr3d_core.data.rooms.camera.response import Response
from sr3d_core.data.rooms.camera.sampling import MOST, Points, thinned, vertices
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.sample import frame_of
from sr3d_core.data.rooms.scan import scan
from sr3d_core.data.rooms.scene.layout import Placed
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.sight import Sight, sight_of

IS_HIT = np.ones((20, 30), dtype=bool)


@pytest.fixture(scope="module")
def room() -> Room:
    return build_room(np.random.default_rng(41))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("kinds", [FRAMES, SCANS])
def test_every_kind_of_sensor_has_a_share(kinds: tuple[tuple[SensorHabits, float], ...]) -> None:
    assert sum(share for _, share in kinds) == pytest.approx(1.0)


@pytest.mark.parametrize("habits", [USUAL, LEVEL, ROBOT, VACUUM])
def test_cameras_are_held_and_pitched_as_their_kind_says(room: Room, habits: SensorHabits) -> None:
    draws = rng()
    for _ in range(25):
        pose = anywhere(room, 0.5, 8.0, habits, draws)
        assert habits.height_m[0] <= pose.position[2] <= habits.height_m[1]
        low, high = habits.pitch_rad or (-np.pi / 2, np.pi / 2)
        assert low <= pose.pitch <= high


def test_a_robot_stands_on_free_floor_also_where_it_goes(room: Room) -> None:
    for pose in along_a_path(room, 40, VACUUM, rng()):
        assert room.layout.is_free(pose.position[:2], 0.1, 1.0)


def test_a_path_has_short_steps_inside_the_room(room: Room) -> None:
    spots = np.array([pose.position for pose in along_a_path(room, 40, LEVEL, rng())])
    assert np.linalg.norm(np.diff(spots[:, :2], axis=0), axis=1).max() <= 0.6 + 1e-9
    assert room.layout.floor.contains(spots[:, :2]).all()
    assert np.ptp(spots[:, :2], axis=0).max() > 1.0


def test_a_loop_parts_beginning_and_end_and_boxes_follow_their_points(room: Room) -> None:
    # No view errs on its own, so the whole error is the loop's: from -half to half of it.
    still = SensorHabits(walks=True, num_views=(8, 8), drift_m=(0.0, 0.0))
    off = replace(still, loop_m=(0.06, 0.06))
    exact, moved = (scan(room, habits, rng()) for habits in (still, off))
    away = moved.capture.xyz - exact.capture.xyz
    assert np.linalg.norm(away[-1] - away[0]) == pytest.approx(0.06)
    assert np.linalg.norm(away, axis=1).max() == pytest.approx(0.03)
    assert any((exact.capture.thing == k).any() for k in range(len(room.things)))
    for k in range(len(room.things)):
        mine = exact.capture.thing == k
        mean = away[mine].mean(axis=0) if mine.any() else np.zeros(3)
        np.testing.assert_allclose(moved.moved[k], mean, atol=1e-9)
    np.testing.assert_allclose(exact.moved, 0, atol=1e-12)


def test_scans_have_few_and_many_views_of_about_the_same_effort(room: Room) -> None:
    few, many = (
        scan(room, replace(USUAL, num_views=(num, num)), rng()).capture.xyz for num in (8, 24)
    )
    assert 0.6 < len(many) / len(few) < 3  # the fewer have 14 views' pixels at most


def test_habits_are_drawn_from_the_seed_alone(room: Room) -> None:
    a, b = (frame_of(room, np.random.default_rng(5), "frame") for _ in range(2))
    assert np.array_equal(a.cloud.xyz.numpy(), b.cloud.xyz.numpy())
    drawn = [scan_habits(np.random.default_rng(seed)) for seed in range(60)]
    assert {habits.walks for habits in drawn} == {True, False}
    assert {habits.sampling for habits in drawn} == {"points", "vertices"}
    assert {habits.warp_m for habits in drawn} == {None, (0.010, 0.015)}
    frames = [frame_habits(np.random.default_rng(seed)) for seed in range(60)]
    assert {habits.height_m for habits in frames} == {kind.height_m for kind, _ in FRAMES}


def test_missing_patches_are_missing_and_the_rest_stays() -> None:
    floor = np.random.default_rng(1).uniform((0, 0, 0), (4, 4, 0.01), (20_000, 3))
    kept = SensorHabits(patches=(4, 4)).present(floor, rng())
    assert 0.6 < kept.mean() < 0.999
    assert USUAL.present(floor, rng()).all()
    assert len(SensorHabits(patches=(4, 4)).present(floor[:0], rng())) == 0


def response(**changes: float) -> Response:
    return Response(**{"balance": np.ones(3), "gamma": 1.0, "grain": 0.0, **changes})  # type: ignore[arg-type]


def test_a_plain_camera_reports_the_light() -> None:
    light = np.random.default_rng(1).uniform(0, 1, (20, 30, 3))
    np.testing.assert_allclose(response().colors(light, IS_HIT, rng()), light)


def test_an_exposed_view_is_as_bright_as_the_camera_wants_whatever_the_light() -> None:
    light = np.random.default_rng(1).uniform(0.1, 0.2, (20, 30, 3))
    camera = response(exposed=1.0, middle=0.4)
    for strength in (0.5, 2.0):
        seen = camera.colors(strength * light, IS_HIT, rng())
        assert seen.mean() == pytest.approx(0.4, abs=0.01)
    assert np.isfinite(camera.colors(0 * light, ~IS_HIT, rng())).all()


def test_a_grey_camera_has_no_color_and_a_gaudy_one_more() -> None:
    light = np.broadcast_to(np.array([0.5, 0.4, 0.3]), (20, 30, 3))
    grey = response(saturation=0.0, grain=0.02).colors(light, IS_HIT, rng())
    np.testing.assert_allclose(np.ptp(grey, axis=2), 0, atol=1e-6)
    gaudy = response(saturation=1.5).colors(light, IS_HIT, rng())
    np.testing.assert_allclose(np.ptp(gaudy, axis=2), 0.3)


def test_contrast_parts_tones_from_the_middle_and_a_vignette_darkens_corners() -> None:
    light = np.full((21, 31, 3), 0.4)
    hit = np.ones((21, 31), dtype=bool)
    np.testing.assert_allclose(response(contrast=1.3).colors(light, hit, rng()), 0.37)
    seen = response(vignette=0.25).colors(light, hit, rng())
    assert seen[0, 0, 0] == pytest.approx(0.3)
    assert seen[10, 15, 0] == pytest.approx(0.4)


def test_views_of_a_flickering_camera_differ_and_colors_stay_colors() -> None:
    light, draws = np.random.default_rng(1).uniform(0, 1.5, (20, 30, 3)), rng()
    camera = response(flicker=0.2)
    first, second = (camera.colors(light, IS_HIT, draws).mean() for _ in range(2))
    assert abs(first - second) > 0.001
    for seed in range(30):
        seen = Response.any(np.random.default_rng(seed)).colors(light, IS_HIT, draws)
        assert 0 <= seen.min() <= seen.max() <= 1


def plane(num: int, noise_m: float = 0.0) -> Points:
    draws = np.random.default_rng(2)
    xyz = draws.uniform((0, 0, 0), (3, 3, 0), (num, 3)) + draws.normal(0, noise_m, (num, 3))
    return Points(xyz, np.full((num, 3), 0.5), np.zeros(num, dtype=np.int64))


def test_vertices_are_less_noisy_than_the_points_and_not_closer_than_a_lattice() -> None:
    points = plane(60_000, noise_m=0.004)
    merged = vertices(points, rng())
    assert len(merged.xyz) < 0.3 * len(points.xyz)
    assert merged.xyz[:, 2].std() < 0.7 * points.xyz[:, 2].std()
    np.testing.assert_allclose(merged.rgb, 0.5)
    assert len(vertices(points[np.zeros(0, dtype=np.int64)], rng()).xyz) == 0


def test_flat_surfaces_lose_more_vertices_than_clutter() -> None:
    # Both fill all cells of the lattice, whose edge is the first number that is drawn.
    floor = plane(60_000)
    solid = replace(floor, xyz=np.random.default_rng(3).uniform(0, 0.3, (60_000, 3)))
    on_floor, inside = (len(vertices(points, rng()).xyz) for points in (floor, solid))
    edge = rng().uniform(0.02, 0.04)
    assert on_floor / (3 / edge) ** 2 < 0.75
    assert inside / (0.3 / edge) ** 3 > 0.95


def test_thinned_clouds_hold_points_that_were_measured_and_not_too_many() -> None:
    points = plane(120_000)
    chosen = thinned(points, rng())
    assert 0 < len(chosen.xyz) <= MOST
    assert np.isin(chosen.xyz[:, 0], points.xyz[:, 0]).all()


def seen(share: float, length: float, top: float, num: int = 200) -> Sight:
    """Of a bed 2 x 1 x 0.5 m, seen by points of its front from x = -1 and from the floor."""
    nothing = Mesh.cat([])
    bed = Placed(nothing, 3, np.array([0.0, 0.0, 0.25]), np.array([2.0, 1.0, 0.5]), 0.0)
    x, z = np.meshgrid(np.linspace(-1, length - 1, 20), np.linspace(0, top, -(-num // 20)))
    xyz = np.stack([x.ravel(), np.full(x.size, -0.5), z.ravel()], axis=1)[:num]
    return sight_of((bed,), np.array([share]), xyz, np.zeros(len(xyz), dtype=np.int64))


@pytest.mark.parametrize(
    ("share", "length", "top", "num", "clear", "ignored"),
    [
        (0.5, 1.6, 0.5, 200, [0], []),
        (0.5, 0.8, 0.5, 200, [], [0]),  # cut off beyond two fifths of its length
        (0.5, 1.6, 0.2, 200, [], [0]),  # cut off below its top
        (0.5, 1.6, 0.5, 20, [], [0]),  # too few points
        (0.04, 1.6, 0.5, 200, [], [0]),  # mostly hidden
        (0.04, 1.6, 0.5, 20, [], [0]),
        (0.02, 1.6, 0.5, 20, [], []),  # as good as not seen
        (0.5, 1.6, 0.5, 0, [], []),
    ],
)
def test_what_tells_its_size_is_asked_for_and_what_is_hardly_seen_is_ignored(
    share: float, length: float, top: float, num: int, clear: list[int], ignored: list[int]
) -> None:
    sight = seen(share, length, top, num)
    assert (sight.clear.tolist(), sight.ignored.tolist()) == (clear, ignored)


@pytest.mark.parametrize("noise", [KINECT, STEREO, FLIGHT])
def test_depth_is_trusted_up_to_an_error_of_six_centimetres(noise: DepthNoise) -> None:
    assert noise.axial_sigma(np.array([[noise.reach_m]]))[0, 0] == pytest.approx(0.06)
