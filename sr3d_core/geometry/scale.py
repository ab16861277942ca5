"""How large a cloud is, and whether that can be metres.

The one set of limits for all borders: the command line, the node, the doctor, data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

FARTHEST_M = 300.0
"""No depth camera sees as far, and no room is as large."""
HIGHEST_M = 20.0
"""No room is as high."""
ROOM_M = 60.0
"""A flat fits into this; the weights know rooms."""
FAR_AWAY_M = 100.0
"""Half of what a depth camera sees is never farther away than this."""
LONGEST_IN_CENTIMETRES = 1_500.0
"""Rooms in centimetres are rarely longer, rooms in millimetres rarely shorter."""
SMALLEST_M = 0.05
"""Hardly the width of a hand."""

_SAMPLE = 1000  # points that the extent is judged by


@dataclass(frozen=True, slots=True)
class ScaleDoubt:
    """Why a cloud's coordinates may be no metres, or are no room's."""

    kind: Literal["millimetres", "large", "small"]
    """Too large for any sensor (centimetres as well), for a room, too small for a thing."""
    text: str
    """The size that was found, and the question it raises."""
    remedy: str
    """What to do about a file with such coordinates."""

    @property
    def advice(self) -> str:
        """What is odd and what to do, in one line."""
        return f"{self.text}{' ' if self.text.endswith('?') else '; '}{self.remedy}"


def extent_of(xyz: Float[Tensor, "N 3"]) -> tuple[float, float, float]:
    """Lengths along the axes between the first and the last percent of the points; 0 for none."""
    if not len(xyz):
        return 0.0, 0.0, 0.0
    shares = torch.tensor([0.01, 0.99], dtype=torch.float64)
    low, high = torch.quantile(_sample(xyz), shares, dim=0)
    x, y, z = (high - low).tolist()
    return x, y, z


def scale_doubt(
    xyz: Float[Tensor, "N 3"], *, is_upright: bool = False, is_from_sensor: bool = False
) -> ScaleDoubt | None:
    """What is odd about the size of a cloud in metres; None where nothing is, or no points are.

    `is_upright`: z is up, so that the height can be judged. `is_from_sensor`: the origin is the
    sensor, so that distances can be. Points at one place have no size.
    """
    extent = extent_of(xyz)
    size, largest = " x ".join(map(_shown, extent)), max(extent)
    distance = float(_sample(xyz).norm(dim=1).median()) if is_from_sensor else 0.0
    away = f", {_shown(distance)} m away" if is_from_sensor else ""
    is_too_high = is_upright and extent[2] > HIGHEST_M
    if largest > FARTHEST_M or is_too_high or distance > FAR_AWAY_M:
        unit, factor = _unit_of(max(largest, distance))
        text = f"the cloud is {size} m{away}: is it in {unit}?"
        return ScaleDoubt("millimetres", text, f"multiply its coordinates by {factor}")
    if largest > ROOM_M:
        text = f"the cloud is {size} m{away}: larger than a room"
        return ScaleDoubt(
            "large", text, "if it is in centimetres, multiply its coordinates by 0.01"
        )
    if 0.0 < largest < SMALLEST_M or 0.0 < distance < SMALLEST_M:
        text = f"the cloud is {size} m{away}: no room is so small; are its units metres?"
        return ScaleDoubt("small", text, "multiply its coordinates until they are metres")
    return None


def _unit_of(length: float) -> tuple[str, str]:
    """The unit in which so long a thing fits into a flat, and the unit in metres."""
    is_centimetres = length <= LONGEST_IN_CENTIMETRES
    return ("centimetres", "0.01") if is_centimetres else ("millimetres", "0.001")


def _shown(length_m: float) -> str:
    """A length with three digits, or all before the point."""
    return f"{length_m:,.0f}" if length_m >= 100.0 else f"{length_m:.3g}"


def _sample(xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "S 3"]:
    """Points evenly over the cloud, enough to judge it by, as float64 on the CPU.

    Single precision would add half a metre to clouds in map coordinates.
    """
    return xyz[:: max(len(xyz) // _SAMPLE, 1)].detach().double().cpu()
