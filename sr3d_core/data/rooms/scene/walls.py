"""What any room gets once its furniture stands, on walls and beside them, labelled or not."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.clutter.lists import on_wall
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.scene.layout import Layout, Placed

Rng = np.random.Generator

_BATHTUB = LABELS.index("bathtub")


def decorate(room: Layout, height: float, supply: FurnitureSupply, rng: Rng) -> None:
    """Shower curtains at tubs, bins, pictures, odd curtains, unlabelled things; as they fit."""
    if supply.kinds("shower_curtain"):
        for tub in [placed for placed in room.placed if placed.label == _BATHTUB]:
            if rng.random() < 0.5:
                _shower_curtain(room, tub, height, supply, rng)
    if supply.kinds("garbage_bin"):
        for _ in range(int(rng.choice(3, p=(0.5, 0.35, 0.15)))):
            trash = supply.make("garbage_bin", rng)
            room.put_at_wall(trash) if rng.random() < 0.7 else room.put_anywhere(trash)
    for _ in range(int(rng.integers(1, 8))):
        kind = rng.random()
        if kind < 0.5 and supply.kinds("picture"):
            picture = supply.make("picture", rng)
            middle = rng.uniform(1.3, 1.75)
            low = float(max(0.3, min(middle, height - 0.05) - picture.size[2] / 2))
            _on_wall(room, picture, low, height)
        elif kind < 0.58 and supply.kinds("curtain"):
            curtain = supply.make("curtain", rng)
            _on_wall(room, curtain, max(0.02, height - 0.05 - curtain.size[2]), height)
        else:
            piece, low = on_wall(rng)
            _on_wall(room, piece, low, height)


def _on_wall(room: Layout, piece: Piece, low: float, height: float) -> None:
    """Hang a piece so that the back of its mesh touches the wall, whatever its box grew by."""
    if low + piece.size[2] < height:
        room.put_at_wall(piece, gap=(piece.extents[0] - piece.size[0]) / 2, z=low)


def _shower_curtain(
    room: Layout, tub: Placed, height: float, supply: FurnitureSupply, rng: Rng
) -> None:
    """Along the side of a tub that looks into the room, inside or outside its rim."""
    curtain = supply.make("shower_curtain", rng)
    deep, wide, tall = curtain.size
    top = min(height - 0.03, rng.uniform(1.9, 2.2))
    is_inside = rng.random() < 0.3
    low = max(top - tall, tub.size[2] * 0.5 if is_inside else 0.02)
    free = max(0.0, (tub.size[1] - wide) / 2)
    side = float(rng.choice([-1, 1])) if wide < 0.7 else rng.uniform(-1, 1)
    out = tub.size[0] / 2 + (-0.02 - deep / 2 if is_inside else 0.01 + deep / 2)
    c, s = np.cos(tub.yaw), np.sin(tub.yaw)
    x, y = tub.center[:2] + np.array([[c, -s], [s, c]]) @ (out, side * free)
    if room.floor.contains(np.array([[x, y]])).all():
        room.add(curtain, (float(x), float(y)), tub.yaw, z=float(low))
