"""How a room stands: which of the six ways along the axes of a cloud is likely up.

A floor is not told from a wall by itself: both are large, and have the room on one side. Gravity
tells them apart. Rooms are wider than high, what is in them lies low, and beneath most of it lies
the floor. These three were weighed (a conditional logit) on 85 scans and 57 frames of procedural
rooms, each in its six orientations. Of 80 scans of rooms with foreign furniture, which they do not
know, none that was upright and 96 % of those on their sides seemed 20 times as likely to stand
another way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_CELL_M = 0.1
_NUM_CELLS = 2**20  # along an axis
_MAX_CELL = _NUM_CELLS - 1
_COLUMN_CELLS = 2
_FLOOR_CELLS = 1  # a floor is this thick beyond the cells that it is in
_LOW_M = 1.0
_RIM = 0.01  # share of the surface that may lie outside the room
_LOWEST = 0.25  # share of the height within which the floor is looked for
_WALL_M = 0.2
_ROOM_M = 2.5  # clouds that are narrower show a part of a room, whose shape says nothing

_WEIGHT_OF_FLATNESS = -1.1  # of the logarithm of height over the smaller side of the footprint
_WEIGHT_OF_LOW = 4.1  # of the share of what stands in the room that lies within a metre
_WEIGHT_OF_FLOOR = 6.0  # of the share of the footprint in which the floor is the lowest


class Way(NamedTuple):
    """A direction along an axis of the cloud."""

    axis: int
    sign: int

    @property
    def text(self) -> str:
        """As `--up` has it: x, -x, y, -y, z or -z."""
        return ("" if self.sign > 0 else "-") + "xyz"[self.axis]

    @classmethod
    def of(cls, text: str) -> Way:
        """The way that is called so."""
        return cls("xyz".index(text[-1]), -1 if text.startswith("-") else 1)


WAYS = tuple(Way(axis, sign) for axis in (2, 1, 0) for sign in (1, -1))


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a room stands with each way up, as log-likelihoods up to a constant."""

    evidence: dict[str, float]

    @property
    def up(self) -> str:
        """The likeliest way up."""
        return max(self.evidence, key=self.evidence.__getitem__)

    def lead_over(self, up: str) -> float:
        """By how much the likeliest way is likelier; 3 is 20 times as likely."""
        return self.evidence[self.up] - self.evidence[up]


def standing_of(xyz: Float[Tensor, "N 3"]) -> Standing | None:
    """How the room in a cloud stands; None where it shows no room, but a piece of one.

    `xyz` is in metres, its lowest corner at zero.
    """
    cells = torch.div(xyz, _CELL_M, rounding_mode="floor").long().clamp(0, _MAX_CELL)
    numbers = _numbered(_numbered(cells[:, 0], cells[:, 1]), cells[:, 2]).unique()
    rest, last = numbers // _NUM_CELLS, numbers % _NUM_CELLS
    cells = torch.stack([rest // _NUM_CELLS, rest % _NUM_CELLS, last], dim=1)
    if not len(cells):
        return None
    standing = Standing({way.text: _evidence(cells, way) for way in WAYS})
    sides = [_reach(side) for side in _ground(cells, Way.of(standing.up)).T]
    is_room = min(last - first for first, last in sides) * _CELL_M >= _ROOM_M
    return standing if is_room else None


def _evidence(cells: Tensor, way: Way) -> float:
    heights = cells[:, way.axis] * way.sign
    ground = _ground(cells, way)
    low, high = _reach(heights)
    sides = [_reach(side) for side in ground.T]
    floor = _floor_level(heights, low, high)
    rim = _WALL_M / _CELL_M
    is_inside = heights > floor + _FLOOR_CELLS
    for side, (first, last) in zip(ground.T, sides, strict=True):
        is_inside &= (side > first + rim) & (side < last - rim)
    above = (heights[is_inside] - floor) * _CELL_M
    share_low = float((above < _LOW_M).double().mean()) if len(above) else 1.0
    narrow = max(1.0, min(last - first for first, last in sides))
    return (
        _WEIGHT_OF_FLATNESS * math.log(max(1.0, high - low) / narrow)
        + _WEIGHT_OF_LOW * share_low
        + _WEIGHT_OF_FLOOR * _share_on_floor(heights, ground, floor)
    )


def _ground(cells: Tensor, way: Way) -> Tensor:
    """The other two coordinates."""
    return cells[:, [axis for axis in range(3) if axis != way.axis]]


def _numbered(first: Tensor, second: Tensor) -> Tensor:
    """One number for two."""
    return first * _NUM_CELLS + second


def _reach(places: Tensor) -> tuple[float, float]:
    """Between which cells the surface lies, but for its outermost."""
    low, high = torch.quantile(places.double(), torch.tensor([_RIM, 1 - _RIM]).double()).tolist()
    return low, high


def _floor_level(heights: Tensor, low: float, high: float) -> float:
    """The fullest layer near the bottom."""
    near = heights[heights <= low + _LOWEST * (high - low)]
    bottom = int(near.min())
    return float(torch.bincount(near - bottom).argmax() + bottom)


def _share_on_floor(heights: Tensor, ground: Tensor, floor: float) -> float:
    """Share of the columns of the footprint whose lowest surface is the floor."""
    column = torch.div(ground, _COLUMN_CELLS, rounding_mode="floor")
    numbers, column = _numbered(*column.T).unique(return_inverse=True)
    lowest = heights.new_full((len(numbers),), torch.iinfo(heights.dtype).max)
    lowest = lowest.scatter_reduce(0, column, heights, "amin")
    return float(((lowest - floor).abs() <= _FLOOR_CELLS).double().mean())
