"""What hangs on the walls of a room: labelled from the supply, or clutter."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.clutter.lists import on_wall
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, offered
from sr3d_core.data.rooms.scene.layout import Layout

Rng = np.random.Generator

_LABELLED = ("door", "door", "window", "window", "curtain", "picture", "picture")


def decorate(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """Hang some things where they find a place."""
    names = offered(supply, _LABELLED)
    for _ in range(int(rng.integers(1, 8))):
        if names and rng.random() < 0.7:
            name = names[rng.integers(len(names))]
            piece = supply.make(name, rng)
            low = _height(name, piece, rng)
        else:
            piece, low = on_wall(rng)
        room.put_at_wall(piece, gap=_flush(piece), z=low)


def _flush(piece: Piece) -> float:
    """The gap to a wall with which the back of a mesh touches it, whatever its box grew by."""
    return (piece.extents[0] - piece.size[0]) / 2


def _height(name: str, piece: Piece, rng: Rng) -> float:
    """Where the lower edge of a piece hangs above the floor, metres."""
    tall = piece.size[2]
    if name == "door":
        return 0.0
    if name == "window":
        return float(max(0.0, rng.uniform(1.9, 2.2) - tall))
    if name == "curtain":
        return float(max(0.02, rng.uniform(2.1, 2.3) - tall))
    return float(max(0.3, rng.uniform(1.3, 1.75) - tall / 2))
