"""How large clouds are, and what is odd about that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sr3d_core.geometry.scale import extent_of, scale_doubt


def room(scale: float = 1.0, away: float = 0.0) -> Tensor:
    """A 5 x 4 x 2.5 m box full of points whose nearest face is `away` metres along x."""
    points = torch.rand(5000, 3, generator=torch.Generator().manual_seed(0))
    return scale * (points * torch.tensor([5.0, 4.0, 2.5]) + torch.tensor([away, 0.0, 0.0]))


def test_the_extent_leaves_stray_points_out() -> None:
    xyz = torch.cat([room(), torch.full((5, 3), 1e6)])
    assert extent_of(xyz) == pytest.approx((5.0, 4.0, 2.5), rel=0.05)


def test_no_points_have_no_extent_and_raise_no_doubt() -> None:
    assert extent_of(torch.zeros(0, 3)) == (0.0, 0.0, 0.0)
    assert scale_doubt(torch.zeros(0, 3), is_upright=True, is_from_sensor=True) is None


def test_one_point_has_no_size() -> None:
    assert scale_doubt(torch.ones(1, 3)) is None


@pytest.mark.parametrize(
    ("scale", "kind"),
    [
        (1.0, None),
        (1000.0, "millimetres"),
        (100.0, "millimetres"),
        (20.0, "large"),
        (0.001, "small"),
    ],
)
def test_the_unit_shows_in_the_extent(scale: float, kind: str | None) -> None:
    doubt = scale_doubt(room(scale))
    assert (doubt.kind if doubt else None) == kind


@pytest.mark.parametrize(
    ("scale", "words"),
    [(1000.0, ("millimetres", "0.001")), (100.0, ("centimetres", "0.01"))],
)
def test_the_unit_and_its_remedy_are_named(scale: float, words: tuple[str, str]) -> None:
    doubt = scale_doubt(room(scale))
    assert doubt is not None
    assert all(word in doubt.advice for word in words)


def test_the_size_of_a_small_cloud_in_map_coordinates_is_exact() -> None:
    away = torch.tensor([5e5, 4e6, 300.0], dtype=torch.float64)
    here, there = extent_of(0.1 * room().double()), extent_of(0.1 * room().double() + away)
    assert there == pytest.approx(here, abs=1e-6)


def test_only_upright_clouds_can_be_too_high() -> None:
    tower = room() * torch.tensor([1.0, 1.0, 10.0])
    assert scale_doubt(tower) is None
    doubt = scale_doubt(tower, is_upright=True)
    assert doubt is not None
    assert doubt.kind == "millimetres"


def test_a_table_top_in_millimetres_shows_by_its_distance() -> None:
    table = 1000.0 * (0.04 * room() + torch.tensor([0.0, 0.0, 0.6]))
    doubt = scale_doubt(table, is_from_sensor=True)
    assert doubt is not None
    assert doubt.kind == "millimetres"


def test_a_map_far_from_its_origin_is_as_large_as_it_is() -> None:
    assert scale_doubt(room(away=5e5)) is None
