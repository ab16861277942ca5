"""A room's furniture, then what is in every room: odd pieces, people, clutter."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.clutter import floor, people
from sr3d_core.data.rooms.clutter.lists import FLOOR, SOFT, any_of, as_piece
from sr3d_core.data.rooms.furniture.classes import LABELS, ON_FLOOR
from sr3d_core.data.rooms.furniture.mesh import turn_x, turn_y, turn_z
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made, offered
from sr3d_core.data.rooms.scene.footprints import heights_below
from sr3d_core.data.rooms.scene.layout import Layout, Placed
from sr3d_core.data.rooms.scene.programmes.groups import Programme, chance

Rng = np.random.Generator

_RARE = (
    "toilet",
    "bathtub",
    "refrigerator",
    "night_stand",
    "dresser",
    "desk",
    "bookshelf",
    "counter",
    "sink",
    "garbage_bin",
)


def furnish(room: Layout, programme: Programme, supply: FurnitureSupply, rng: Rng) -> None:
    """The programme's furniture, then rare pieces from other rooms, oddities and clutter."""
    programme(room, supply, rng)
    _odd_pieces(room, supply, rng)
    for part in room.parts or [room]:
        _on_seats(part, rng)
        for _ in range(int(rng.integers(0, 8 if part is room else 5))):
            piece = any_of(FLOOR, rng)
            if chance(rng, 0.5):
                part.put_at_wall(piece)
            else:
                part.put_anywhere(piece, aligned=0.3)
        if chance(rng, 0.4):
            part.put_anywhere(as_piece(floor.rug(rng)), aligned=0.8)


def _odd_pieces(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """What does not belong here, has fallen over, or stands anyhow."""
    rare = offered(supply, _RARE)
    if rare and chance(rng, 0.3):
        room.put_at_wall(supply.make(rare[rng.integers(len(rare))], rng))
    if chance(rng, 0.12):
        kind = "swivel_chair" if chance(rng, 0.4) else None
        chair = made(supply, "chair", rng, kind)
        if chair is not None:
            room.put_anywhere(_toppled(chair, rng))
    names = offered(supply, ON_FLOOR)
    if names and chance(rng, 0.1):
        room.put_anywhere(supply.make(names[rng.integers(len(names))], rng), aligned=0.0)


def _toppled(piece: Piece, rng: Rng) -> Piece:
    """The piece lying on its back, front or side, still boxed tightly about the vertical."""
    tip = turn_x(np.pi / 2) if chance(rng, 0.4) else turn_y(float(rng.choice([-1, 1])) * np.pi / 2)
    wobble = turn_z(rng.uniform(-np.pi, np.pi)) @ turn_y(rng.normal(0, 0.15))
    mesh = piece.mesh.turned(wobble @ tip)
    return Piece(mesh.squared().grounded(), piece.label)


def _on_seats(part: Layout, rng: Rng) -> None:
    """Cushions, clothes and bags on beds, sofas and chairs; people who sit on them."""
    most = {LABELS.index("bed"): 4, LABELS.index("sofa"): 3, LABELS.index("chair"): 1}
    seats = [p for p in part.placed if p.label in most and part.floor.contains(p.center[None, :2])]
    for seat in seats:
        name = LABELS[seat.label]
        if name != "bed" and chance(rng, 0.07):
            _sit_down(part, seat, rng)
        elif name != "chair" or chance(rng, 0.15):
            for _ in range(int(rng.integers(0, most[seat.label] + 1))):
                part.put_on(any_of(SOFT, rng), seat, tries=2)


def _sit_down(part: Layout, seat: Placed, rng: Rng) -> None:
    """Somebody on a seat, the feet before it."""
    height = float(heights_below(seat.mesh, seat.center[None, :2])[0])
    if not 0.3 < height < 0.75:
        return
    figure = as_piece(people.sitting(rng, height))
    x = figure.size[0] / 2 - 0.12 - rng.uniform(0.0, 0.1)  # hips in the middle or farther back
    c, s = np.cos(seat.yaw), np.sin(seat.yaw)
    at = (float(seat.center[0] + c * x), float(seat.center[1] + s * x))
    part.put(figure, at, seat.yaw, into=seat, reach=np.inf, slack=0.12)
