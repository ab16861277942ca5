"""Doors and windows in the walls of a room, and the curtains before them; all from the supply.

They come before the furniture: what is in front of them stays free, and under a window stands only
what is lower than its sill. A door hangs on the end of it that is -y in its own frame.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture.mesh import box
from sr3d_core.data.rooms.furniture.piece import NO_LABEL, Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.shell import Opening, Wall, walls_of

Rng = np.random.Generator

_MARGIN_M = 0.12
"""Wall that stays beside an opening."""

_WIDEST_LEAF_M = 1.15
"""A door that is wider does not swing: it slides, or has two leaves."""


def open_walls(
    room: Layout, height: float, supply: FurnitureSupply, rng: Rng
) -> list[list[Opening]]:
    """Doors and windows for an empty room; returns the openings of each of its walls."""
    walls = walls_of(room.floor)
    openings: list[list[Opening]] = [[] for _ in walls]
    around = sum(wall.length for wall in walls)
    for k in range(int(rng.integers(1, 3 + int(around / 6)))):
        index = int(rng.choice(len(walls), p=[wall.length / around for wall in walls]))
        add = _doorway if k == 0 or rng.random() < 0.35 else _window
        opening = add(room, walls[index], openings[index], height, supply, rng)
        if opening is not None:
            openings[index].append(opening)
    return openings


def _span(
    wall: Wall, taken: list[Opening], wide: float, rng: Rng, tries: int = 6
) -> tuple[float, float] | None:
    """A free part of a wall, `wide` metres long."""
    for _ in range(tries):
        if wall.length < wide + 2 * _MARGIN_M:
            return None
        start = float(rng.uniform(_MARGIN_M, wall.length - wide - _MARGIN_M))
        end = start + wide
        if all(start > o.end + _MARGIN_M or end < o.start - _MARGIN_M for o in taken):
            return start, end
    return None


def _doorway(
    room: Layout,
    wall: Wall,
    taken: list[Opening],
    height: float,
    supply: FurnitureSupply,
    rng: Rng,
) -> Opening | None:
    """A way through, mostly with a door in it, closed or ajar."""
    door = supply.make("door", rng) if supply.kinds("door") and rng.random() < 0.75 else None
    if door is not None and door.size[2] > height - 0.05:
        return None
    wide = rng.uniform(0.75, 1.6) if door is None else door.size[1] + 0.02
    span = _span(wall, taken, float(wide), rng)
    if span is None:
        return None
    top = rng.uniform(1.95, min(2.4, height - 0.05)) if door is None else door.size[2] + 0.01
    behind = float(rng.uniform(0.8, 3.0)) if rng.random() < 0.6 else 0.0
    casing = float(rng.uniform(0.04, 0.1)) if rng.random() < 0.7 else 0.0
    if door is not None:
        _hang(room, wall, span, door, rng)
    middle = wall.point(sum(span) / 2, 0.4)
    room.block(middle, (0.8, float(wide)), wall.yaw)
    depth = 0.0 if door is None and behind else float(rng.uniform(0.06, 0.2))
    return Opening(*span, 0.0, float(top), depth, behind, casing)


def _hang(room: Layout, wall: Wall, span: tuple[float, float], door: Piece, rng: Rng) -> None:
    """A door in its opening: closed, or turned about its hinge at either end."""
    recess = float(rng.uniform(0.0, 0.06))
    if door.size[1] > _WIDEST_LEAF_M or rng.random() < 0.5:
        room.add(door, wall.point(sum(span) / 2, -recess), wall.yaw)
        return
    hinge, away = (span[0] + 0.01, 1.0) if rng.random() < 0.5 else (span[1] - 0.01, -1.0)
    swing = rng.uniform(0.08, 0.6) * np.pi * (1.0 if rng.random() < 0.7 else -1.0)
    leaf = np.cos(swing) * away * wall.along + np.sin(swing) * wall.inward
    x, y = wall.point(hinge, -recess) + leaf * door.size[1] / 2
    room.add(door, (float(x), float(y)), float(np.arctan2(leaf[1], leaf[0])) - np.pi / 2)


def _window(
    room: Layout,
    wall: Wall,
    taken: list[Opening],
    height: float,
    supply: FurnitureSupply,
    rng: Rng,
) -> Opening | None:
    """A window, flush with the wall or deep in it, and its curtains."""
    if not supply.kinds("window"):
        return None
    window = supply.make("window", rng)
    deep, wide, tall = window.size
    top = rng.uniform(1.95, height - 0.08)
    span = _span(wall, taken, wide, rng)
    if span is None or tall > height - 0.1:
        return None
    low = float(np.clip(top - tall, 0.0, 1.5))
    recess = float(rng.uniform(0.0, 0.25)) if rng.random() < 0.8 else 0.0
    room.add(window, wall.point(sum(span) / 2, -recess - deep / 2), wall.yaw, z=low)
    room.block(wall.point(sum(span) / 2), (0.2, wide), wall.yaw, heights=(low, low + tall))
    casing = float(rng.uniform(0.03, 0.08)) if rng.random() < 0.5 else 0.0
    opening = Opening(*span, low, low + tall, recess + deep, casing=casing)
    if supply.kinds("curtain") and rng.random() < 0.5:
        _curtains(room, wall, opening, height, supply, rng)
    return opening


def _curtains(
    room: Layout, wall: Wall, window: Opening, height: float, supply: FurnitureSupply, rng: Rng
) -> None:
    """Two at the sides of a window, or one across it, down to its sill or to the floor."""
    head = min(height - 0.02, window.high + rng.uniform(0.03, 0.35))
    is_long = window.low < 0.3 or rng.random() < 0.65
    low = rng.uniform(0.01, 0.1) if is_long else max(0.05, window.low - rng.uniform(0.02, 0.3))
    wide = window.end - window.start
    out, seed = float(rng.uniform(0.03, 0.1)), int(rng.integers(2**31))
    is_pair = rng.random() < 0.65
    ends = (window.start, window.end) if is_pair else ((window.start + window.end) / 2,)
    for at in ends:
        kind = "open_curtain" if is_pair else "drawn_curtain"
        cloth = supply.make("curtain", np.random.default_rng(seed), kind)
        target = cloth.extents[1] if is_pair else wide * rng.uniform(0.5, 1.2)
        cloth = _stretched(cloth, target, float(head - low))
        where = at + rng.normal(0, 0.05)
        middle = wall.point(where, out + cloth.size[0] / 2)
        room.put(cloth, middle, wall.yaw, z=max(0.01, float(head) - cloth.size[2]))
    if rng.random() < 0.6:
        rod = Piece(box((0.025, wide + 0.4, 0.025), (0, 0, 0), (0.4, 0.4, 0.4)), NO_LABEL)
        room.add(rod, wall.point((window.start + window.end) / 2, out + 0.05), wall.yaw, z=head)


def _stretched(piece: Piece, wide: float, tall: float) -> Piece:
    """As wide and as tall as wished, by no more than a half of what it was."""
    factor = np.clip(np.array([wide, tall]) / piece.extents[1:], 0.6, 1.5)
    return Piece(piece.mesh.scaled((1.0, *factor)), piece.label)
