"""The first point of each voxel, against numpy's own sorting."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d_core.memory.voxels import first_in_each_voxel, keys_of


@pytest.mark.parametrize(
    "side_m", [0.1, 1.5, 40.0, 600.0], ids=["2^16", "2^24", "2^37", "2^51"]
)  # so many voxels in the box around the points: 1, 2, 3 and 4 digits of 16 bits
def test_the_first_point_of_each_voxel_stays_by_rising_key(side_m: float) -> None:
    rng = np.random.default_rng(0)
    few = rng.uniform(-side_m / 2, side_m / 2, (3, 800)).astype(np.float32)
    xyz = np.concatenate([few, few[:, ::2], few[:, ::-1]], axis=1)  # each voxel twice or more
    place = np.floor(xyz * np.float32(1 / 0.005)).astype(np.int64)
    expected, first = np.unique(place.T, axis=0, return_index=True)
    keys, found = first_in_each_voxel(xyz, 0.005)
    assert found.tolist() == first.tolist()
    assert keys.tolist() == keys_of(expected.T).tolist()


def test_no_points_take_no_voxels() -> None:
    keys, first = first_in_each_voxel(np.zeros((3, 0), np.float32), 0.02)
    assert len(keys) == len(first) == 0
