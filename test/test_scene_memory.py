"""A scene in memory: what is kept, what is forgotten, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sr3d_core.memory.scene import Added, SceneMemory
from sr3d_core.memory.settings import MemorySettings
from sr3d_core.structures import PointCloud

SECOND = 1_000_000_000
EYE = (0.0, 0.0, 1.0)
EVERY = MemorySettings(key_m=0.0, key_rad=0.0, key_s=0.0)


def wall(
    x: float, width: float = 2.0, low: float = 0.0, high: float = 2.0, step: float = 0.015
) -> torch.Tensor:
    """A wall across the x axis, seen from the front."""
    y, z = np.meshgrid(np.arange(-width / 2, width / 2, step), np.arange(low, high, step))
    return torch.from_numpy(
        np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1).astype(np.float32)
    )


def cloud(*parts: torch.Tensor, rgb: float | None = None) -> PointCloud:
    xyz = torch.cat(parts)
    return PointCloud.single(xyz, None if rgb is None else torch.full_like(xyz, rgb))


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)


def share_at(memory: SceneMemory, x: float) -> int:
    """Points remembered within 10 cm of the plane at x, seen from the origin."""
    return int(((memory.cloud(pose()).xyz[:, 0] - x).abs() < 0.1).sum())


def add(memory: SceneMemory, *parts: torch.Tensor, at_s: float, x: float = 0.0) -> Added:
    return memory.add(cloud(*parts), pose(x), int(at_s * SECOND), EYE)


def test_a_cloud_is_remembered_in_voxels() -> None:
    memory = SceneMemory()
    dense = wall(2.01, step=0.005) + 0.0025  # off the sides of the voxels
    assert memory.add(cloud(dense), pose(), 0, EYE).is_kept
    voxels = torch.floor(dense / 0.02).unique(dim=0)
    remembered = memory.cloud(pose())
    assert len(remembered) == memory.num_points == len(voxels)
    assert torch.equal(torch.floor(remembered.xyz / 0.02).unique(dim=0), voxels)


def test_the_cloud_comes_back_as_the_robot_sees_it_now() -> None:
    memory = SceneMemory()
    add(memory, wall(2.0), at_s=0)
    seen = memory.cloud(pose(1.0, 0.0, math.pi / 2))  # turned left: the wall is to the right
    torch.testing.assert_close(seen.xyz[:, 1], torch.full((len(seen),), -1.0))


def test_far_from_the_origin_nothing_is_rounded() -> None:
    far = pose(5_000_000.0, -3_000_000.0)
    memory = SceneMemory()
    memory.add(cloud(wall(2.0)), far, 0, EYE)
    seen = memory.cloud(pose(5_000_001.0, -3_000_000.0)).xyz
    torch.testing.assert_close(seen[:, 0], torch.full((len(seen),), 1.0), atol=1e-4, rtol=0)


def test_a_long_drive_stays_precise() -> None:
    memory = SceneMemory(MemorySettings(seconds=math.inf, metres=20.0, max_speed_m_s=100.0))
    for second in range(60):
        add(memory, wall(2.0), at_s=second, x=10.0 * second)
    seen = memory.cloud(pose(590.0)).xyz
    near = seen[seen[:, 0] > 1.0]
    torch.testing.assert_close(near[:, 0], torch.full((len(near),), 2.0), atol=1e-4, rtol=0)
    assert memory.num_frames == 3  # 20 m


def test_a_robot_at_rest_does_not_pile_up() -> None:
    memory = SceneMemory()
    kept = [add(memory, wall(2.0), at_s=k / 10).is_kept for k in range(50)]
    assert sum(kept) == 10  # twice a second
    assert memory.num_points == len(memory_of(wall(2.0)).cloud(pose()))


def memory_of(*parts: torch.Tensor) -> SceneMemory:
    memory = SceneMemory()
    add(memory, *parts, at_s=0)
    return memory


def test_moving_and_turning_make_key_frames() -> None:
    memory = SceneMemory()
    add(memory, wall(2.0), at_s=0.0)
    assert not add(memory, wall(2.0), at_s=0.1, x=0.05).is_kept
    assert add(memory, wall(2.0), at_s=0.2, x=0.12).is_kept
    assert memory.add(cloud(wall(2.0)), pose(0.12, yaw=0.25), SECOND * 3 // 10, EYE).is_kept


def test_what_was_seen_before_the_window_is_forgotten() -> None:
    memory = SceneMemory(MemorySettings(seconds=3.0))
    add(memory, wall(2.0), at_s=0)
    for second in (1, 2, 3):
        add(memory, wall(4.0, low=3.0), at_s=second)
    assert share_at(memory, 2.0) > 0
    add(memory, wall(4.0, low=3.0), at_s=4)
    assert share_at(memory, 2.0) == 0


def test_what_rays_pass_through_is_forgotten() -> None:
    memory = SceneMemory(EVERY)
    add(memory, wall(2.0, 0.5, 0.7, 1.3), wall(4.0, width=4.0), at_s=0)
    before = share_at(memory, 2.0)
    for second in (1, 2):
        add(memory, wall(4.0, width=4.0), at_s=second)
    assert before > 500
    assert share_at(memory, 2.0) < 0.02 * before


def test_one_look_through_is_not_enough() -> None:
    memory = SceneMemory(EVERY)
    add(memory, wall(2.0, 0.5, 0.7, 1.3), wall(4.0, width=4.0), at_s=0)
    before = share_at(memory, 2.0)
    for second in (1, 2, 3, 4):  # missing, seen, missing, seen
        parts = [wall(2.0, 0.5, 0.7, 1.3)] if second % 2 == 0 else []
        add(memory, *parts, wall(4.0, width=4.0), at_s=second)
    assert share_at(memory, 2.0) == before


def test_without_depth_there_is_no_evidence() -> None:
    memory = SceneMemory(EVERY)
    add(memory, wall(2.0, width=0.5), at_s=0)
    before = share_at(memory, 2.0)
    for second in range(1, 6):
        add(memory, wall(4.0, 8.0, 3.2, 4.0), at_s=second)  # nothing behind it
    assert share_at(memory, 2.0) == before


def test_what_is_hidden_stays() -> None:
    memory = SceneMemory(EVERY)
    add(memory, wall(3.0), at_s=0)
    before = share_at(memory, 3.0)
    for second in range(1, 6):
        add(memory, wall(1.5, width=4.0), at_s=second)
    assert share_at(memory, 3.0) == before


def test_noise_that_grows_with_the_distance_is_no_evidence() -> None:
    memory = SceneMemory(EVERY)
    rng = np.random.default_rng(0)
    exact = wall(4.0, width=3.0)
    add(memory, exact, at_s=0)
    before = share_at(memory, 4.0)
    for second in range(1, 8):
        noisy = exact.clone()
        noisy[:, 0] += torch.from_numpy(rng.normal(0, 0.0025 * 16, len(exact))).float()
        add(memory, noisy, at_s=second)
    in_first = memory.cloud(pose()).xyz[:, 0]
    assert int(((in_first - 4.0).abs() < 0.01).sum()) >= 0.98 * before


def test_a_thin_leg_in_front_of_a_wall_stays() -> None:
    memory = SceneMemory(EVERY)
    leg, back = wall(2.0, width=0.04), wall(4.0, width=3.0)
    add(memory, leg, back, at_s=0)
    before = share_at(memory, 2.0)
    for second in range(1, 8):  # by drifting odometry, up to 2 cm aside
        memory.add(cloud(leg, back), pose(0.0, 0.02 * (-1) ** second), second * SECOND, EYE)
    assert share_at(memory, 2.0) >= before


def test_rays_from_several_places_forget_nothing() -> None:
    memory = SceneMemory(EVERY)
    add(memory, wall(2.0, width=0.5), at_s=0)
    before = share_at(memory, 2.0)
    for second in (1, 2, 3):
        memory.add(cloud(wall(4.0, width=4.0)), pose(), second * SECOND, None)
    assert share_at(memory, 2.0) == before


@pytest.mark.parametrize(
    ("at_s", "x", "reason"),
    [(1.0, 0.3, ""), (1.0, 5.0, "jump"), (-3.0, 0.0, "clock_back"), (60.0, 0.0, "clock_gap")],
)
def test_a_jump_of_frame_or_clock_forgets_all_and_says_why(
    at_s: float, x: float, reason: str
) -> None:
    memory = SceneMemory()
    add(memory, wall(2.0), at_s=0)
    added = add(memory, wall(2.0), at_s=at_s, x=x)
    assert added.forgot == reason
    assert bool(added.text) == bool(reason)
    assert memory.num_frames == (1 if reason else 2)


def test_a_jump_in_heading_forgets_all() -> None:
    memory = SceneMemory()
    add(memory, wall(2.0), at_s=0)
    assert memory.add(cloud(wall(2.0)), pose(yaw=2.0), SECOND // 10, EYE).forgot == "jump"


def test_a_frame_that_is_a_little_late_is_left_out() -> None:
    memory = SceneMemory()
    add(memory, wall(2.0), at_s=10)
    late = add(memory, wall(3.0), at_s=9.5)
    assert late == Added(is_kept=False, is_late=True)
    assert share_at(memory, 2.0) > 0


def test_too_many_points_leave_oldest_first() -> None:
    memory = SceneMemory(MemorySettings(max_points=12_000))
    add(memory, wall(2.0), at_s=0)
    added = add(memory, wall(3.0), at_s=1)
    assert 10_000 < memory.num_points <= 12_000
    assert added.num_over > 0
    assert share_at(memory, 3.0) > share_at(memory, 2.0) > 0


def test_the_nearest_observation_of_each_voxel_stays_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    memory = SceneMemory(replace(EVERY, free_space=False))
    nearest: dict[tuple[int, ...], tuple[float, list[float]]] = {}
    for second in range(4):
        xyz = rng.uniform(0.2, 0.6, (5000, 3)).astype(np.float32)
        memory.add(cloud(torch.from_numpy(xyz)), pose(), second * SECOND)
        taken: set[tuple[int, ...]] = set()
        for row in xyz:
            voxel = tuple(np.floor(row * np.float32(1 / 0.02)).astype(int).tolist())
            away = float(np.linalg.norm(row.astype(np.float64)))
            if voxel in taken:
                continue  # of a frame, the first point of a voxel
            taken.add(voxel)
            if voxel not in nearest or away <= nearest[voxel][0]:
                nearest[voxel] = (away, row.tolist())
    remembered = memory.cloud(pose()).xyz.tolist()
    assert len(nearest) > 5000  # of 8000; many seen twice or more
    assert sorted(remembered) == sorted(row for _, row in nearest.values())


def test_nearer_observations_win() -> None:
    memory = SceneMemory(EVERY)
    memory.add(cloud(wall(4.0), rgb=0.2), pose(), 0, EYE)
    memory.add(cloud(wall(2.0), rgb=0.8), pose(2.0), SECOND, EYE)
    memory.add(cloud(wall(5.0), rgb=0.2), pose(-1.0), 2 * SECOND, EYE)
    seen = memory.cloud(pose())
    assert float((seen.features[:, 0] > 0.7).float().mean()) > 0.9


def test_the_mean_lies_between_and_unknown_colors_give_way() -> None:
    settings = MemorySettings(fusion="mean", key_s=0.0, free_space=False)
    memory = SceneMemory(settings)
    for second, rgb in enumerate((None, 0.2, 0.4)):
        memory.add(cloud(wall(2.01), rgb=rgb), pose(), second * SECOND, EYE)
    color = memory.cloud(pose()).features
    torch.testing.assert_close(color, torch.full_like(color, 0.2 * 2 / 3 + 0.4 / 3))


def test_only_what_is_near_is_given_out() -> None:
    memory = memory_of(wall(2.0), wall(4.0))
    assert float(memory.cloud(pose(), radius_m=3.0).xyz[:, 0].max()) < 3.0
    assert len(memory.cloud(pose(50.0))) == 0


def test_empty_clouds_are_normal() -> None:
    memory = SceneMemory()
    empty = PointCloud.single(torch.zeros(0, 3), None)
    assert not memory.add(empty, pose(), 0, EYE).is_kept
    assert len(memory.cloud(pose())) == 0
    nowhere = PointCloud.single(torch.full((5, 3), math.nan), None)
    memory.add(nowhere, pose(), SECOND, EYE)
    assert memory.num_points == 0


def test_a_pose_that_is_no_rigid_transform_is_refused() -> None:
    memory = SceneMemory()
    for broken in (np.full((4, 4), np.nan), 2.0 * np.eye(4), np.eye(3)):
        with pytest.raises(ValueError, match="rigid 4x4"):
            memory.add(cloud(wall(2.0)), broken, 0, EYE)


@pytest.mark.parametrize("name", ["seconds", "voxel_m", "radius_m", "max_points"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"memory.{name}: 0"):
        MemorySettings(**{name: 0})
