"""Which way walls run, in rooms that were turned by a known angle."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.geometry.walls import wall_direction


def about_z(xyz: Float[Tensor, "N 3"], angle_rad: float) -> Float[Tensor, "N 3"]:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return xyz @ torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def room(num: int = 30_000) -> Float[Tensor, "N 3"]:
    """Two walls of 4 and 3 m, and a floor; noise of 1 cm."""
    generator = torch.Generator().manual_seed(2)
    u = torch.rand(num, 3, generator=generator)
    u[: num // 3] *= torch.tensor([4.0, 0.0, 2.5])
    u[num // 3 : 2 * num // 3] *= torch.tensor([0.0, 3.0, 2.5])
    u[2 * num // 3 :] *= torch.tensor([4.0, 3.0, 0.0])
    return u + 0.01 * torch.randn(num, 3, generator=generator)


@pytest.mark.parametrize("degrees", [0.0, 0.4, 17.0, 45.0, 72.5, 89.6])
def test_walls_are_found_where_the_room_was_turned_to(degrees: float) -> None:
    found = wall_direction(about_z(room(), math.radians(degrees)) + torch.tensor([30, -70, 2.0]))
    assert found is not None
    off = (math.degrees(found) - degrees + 45) % 90 - 45
    assert abs(off) < 0.5
    assert 0 <= found < math.pi / 2


def test_a_round_room_has_no_direction() -> None:
    generator = torch.Generator().manual_seed(2)
    angle = 2 * math.pi * torch.rand(30_000, generator=generator)
    height = 2.5 * torch.rand(30_000, generator=generator)
    assert wall_direction(torch.stack([3 * angle.cos(), 3 * angle.sin(), height], dim=1)) is None


def test_a_floor_alone_and_no_points_have_none() -> None:
    floor = room()[-10_000:] * torch.tensor([1.0, 1.0, 0.0])
    assert wall_direction(floor) is None
    assert wall_direction(torch.zeros(0, 3)) is None
