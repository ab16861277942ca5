"""Suites: furnished homes and work places of several rooms, open to each other or not.

The floor is divided (`plan`), every region gets a use, the largest ones those that need space. Of
kitchen, dining and living place, pairs that meet are often open to each other; bathrooms never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.plan import Border, borders_of, divided, raised, with_doorways
from sr3d_core.data.rooms.scene.programmes.bathroom import bathroom
from sr3d_core.data.rooms.scene.programmes.groups import Programme, chance
from sr3d_core.data.rooms.scene.programmes.kitchen import kitchen
from sr3d_core.data.rooms.scene.programmes.public import (
    break_room,
    corridor,
    meeting_room,
    student_room,
)
from sr3d_core.data.rooms.scene.programmes.rooms import (
    bedroom,
    dining_room,
    living_room,
    office,
)

Rng = np.random.Generator

_SPACE: tuple[Programme, ...] = (
    living_room,
    meeting_room,
    bedroom,
    break_room,
    kitchen,
    office,
    student_room,
    dining_room,
    bathroom,
    corridor,
)
"""Uses by the space they need, most first."""
_SOCIAL = (living_room, dining_room, kitchen, break_room)
_MORE = (bedroom, bedroom, office, dining_room, living_room, corridor)
"""What a flat has besides a living room, a kitchen and a bedroom."""


def flat(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A living room, a kitchen, a bedroom and more, with walls and doorways between most."""
    uses = [living_room, kitchen, bedroom, *([bathroom] if chance(rng, 0.65) else [])]
    uses += [_MORE[k] for k in rng.permutation(len(_MORE))[: int(rng.integers(0, 2))]]
    _furnished(room, uses, supply, rng, openness=0.6)


def open_plan(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """One large space to cook, eat and live in; perhaps to sleep and work as well."""
    uses = [living_room, kitchen, dining_room]
    uses += [use for use in (bedroom, office) if chance(rng, 0.4)]
    _furnished(room, uses, supply, rng, openness=1.0)


def workplace(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Offices beside a meeting room, a kitchen or a reception."""
    uses = [office, meeting_room]
    others = (office, kitchen, break_room, bathroom, corridor)
    uses += [others[k] for k in rng.permutation(len(others))[: int(rng.integers(1, 3))]]
    _furnished(room, uses, supply, rng, openness=0.5)


def shared_flat(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Rooms of students along a kitchen and a bathroom."""
    uses = [student_room] * 2 + [kitchen, bathroom]
    _furnished(room, uses, supply, rng, openness=0.3)


def _furnished(
    room: Layout,
    uses: Sequence[Programme],
    supply: FurnitureSupply,
    rng: Rng,
    openness: float,
) -> None:
    """Divide the floor among the uses, stand the walls up, furnish each part."""
    regions, cuts = divided(room.floor, len(uses), rng)
    ordered = sorted(uses, key=_SPACE.index)
    ordered += [living_room] * (len(regions) - len(ordered))  # a notch makes two regions at least
    borders = [
        replace(border, is_wall=not _is_open(border, ordered, openness, rng))
        for border in borders_of(regions, cuts)
    ]
    parts = raised(room, regions, cuts, with_doorways(borders, rng), supply, rng)
    for use, part in zip(ordered, parts, strict=False):
        use(part, supply, rng)


def _is_open(border: Border, uses: Sequence[Programme], openness: float, rng: Rng) -> bool:
    """Whether two regions are one space."""
    pair = [uses[k] for k in border.regions]
    if bathroom in pair:
        return False
    likely = openness if all(use in _SOCIAL for use in pair) else openness**3
    return chance(rng, likely)
