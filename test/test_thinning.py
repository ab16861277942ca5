"""Thinning: even, rising, always the same."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d_core.geometry.thinning import even_rows, thinned
from sr3d_core.structures import PointCloud


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_rows_rise_evenly_and_are_no_more_than_wanted(num: int, most: int) -> None:
    rows = even_rows(num, most)
    assert len(rows) == min(num, most)
    if len(rows):
        gaps = np.diff(np.append(rows, num))
        assert rows[0] == 0
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


def test_a_small_cloud_is_the_same_cloud() -> None:
    cloud = PointCloud.single(torch.rand(5, 3), None)
    assert thinned(cloud, 5) is cloud
    assert thinned(cloud, None) is cloud


def test_every_second_point_is_half_of_a_cloud() -> None:
    cloud = PointCloud.single(torch.arange(30.0).reshape(10, 3), None)
    torch.testing.assert_close(thinned(cloud, 5).xyz, cloud.xyz[::2])


def test_no_points_may_be_wanted() -> None:
    assert len(thinned(PointCloud.single(torch.rand(5, 3), None), 0)) == 0
