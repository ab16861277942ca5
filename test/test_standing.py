"""How a room stands: a room made by hand, and scans of rooms turned on their sides."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from sr3d_core.data.rooms import room_sample
from sr3d_core.geometry.gravity import GravityError, up_rotation
from sr3d_core.geometry.standing import standing_of

SEEDS = range(900_100, 900_106)
TURNS = {
    "y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "-y": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
    "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
}
"""What takes a z-up room to one with another way up."""


def grid(*sides: tuple[float, float]) -> Tensor:
    """A box's points, 10 cm apart, in the middles of cells."""
    axes = [torch.arange(low + 0.05, high, 0.1, dtype=torch.float64) for low, high in sides]
    return torch.cartesian_prod(*axes)


def furnished() -> Tensor:
    """4 x 5 x 2.4 m, four walls, a bed and a table top 0.7 m above the floor."""
    return torch.cat(
        [
            grid((0, 4), (0, 5), (0, 0.1)),
            *(grid((x, x + 0.1), (0, 5), (0, 2.4)) for x in (0, 3.9)),
            *(grid((0, 4), (y, y + 0.1), (0, 2.4)) for y in (0, 4.9)),
            grid((1, 2), (1, 3), (0, 0.5)),
            grid((2.5, 3.5), (3, 4), (0.7, 0.8)),
        ]
    )


def turned(xyz: Tensor, up: str) -> Tensor:
    """With another way up, and its lowest corner at zero."""
    xyz = xyz @ torch.tensor(TURNS[up], dtype=torch.float64).T
    return xyz - xyz.amin(dim=0)


@cache
def scan(seed: int) -> Tensor:
    return room_sample(seed, "scan").cloud.xyz.double()


@pytest.mark.parametrize("up", TURNS)
def test_a_furnished_room_stands_on_its_floor(up: str) -> None:
    upright = standing_of(furnished())
    other = standing_of(turned(furnished(), up))
    assert upright is not None
    assert other is not None
    assert (upright.up, other.up) == ("z", up)
    assert other.lead_over(up) == 0
    # Turned by whole cells it is the same room.
    assert other.lead_over("z") == pytest.approx(upright.lead_over(_back(up)), abs=0.3)


def _back(up: str) -> str:
    """What z was called before the turn."""
    rows = torch.tensor(TURNS[up])
    axis = int(rows[2].abs().argmax())
    return ("-" if rows[2, axis] < 0 else "") + "xyz"[axis]


@pytest.mark.parametrize("num", [0, 1])
def test_without_a_room_nothing_stands(num: int) -> None:
    assert standing_of(torch.zeros(num, 3, dtype=torch.float64)) is None


def test_a_piece_of_a_room_says_nothing() -> None:
    piece = furnished()
    piece = piece[(piece[:, 0] < 2) & (piece[:, 1] < 2)]
    assert standing_of(piece) is None


def test_scans_on_their_sides_are_seldom_called_upright() -> None:
    """Before standing was looked at, two of three were."""
    outcomes = dict.fromkeys(("right", "refused", "wrong"), 0)
    for seed in SEEDS:
        for up in ("y", "-y", "x"):
            turn = torch.tensor(TURNS[up], dtype=torch.float64)
            try:
                rotation, _ = up_rotation(scan(seed) @ turn.T)
            except GravityError:
                outcomes["refused"] += 1
                continue
            is_right = float((rotation @ turn)[2, 2]) > 0.98
            outcomes["right" if is_right else "wrong"] += 1
    assert outcomes["wrong"] <= 4, outcomes
    assert outcomes["right"] >= len(SEEDS), outcomes


def test_upright_scans_are_left_alone() -> None:
    num_refused = 0
    for seed in SEEDS:
        try:
            rotation, _ = up_rotation(scan(seed))
        except GravityError:  # no floor: before standing was looked at, too
            num_refused += 1
            continue
        assert torch.equal(rotation, torch.eye(3, dtype=torch.float64)), seed
    assert num_refused <= 1
