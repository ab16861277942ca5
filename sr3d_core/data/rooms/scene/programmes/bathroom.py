"""Bathrooms."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.clutter import floor
from sr3d_core.data.rooms.clutter.lists import as_piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply, made
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.programmes.groups import against_wall, beside, chance
from sr3d_core.data.rooms.scene.programmes.kitchen import let_in

Rng = np.random.Generator


def bathroom(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """A tub or a shower with its curtain, a toilet with a bin beside it, a sink, a cabinet."""
    tub = made(supply, "bathtub", rng) if chance(rng, 0.75) else None
    if tub is not None:
        room.put_at_wall(tub, gap=float(rng.choice([0.0, 0.02, 0.15])), tries=24)
    toilet = made(supply, "toilet", rng) if chance(rng, 0.9) else None
    if toilet is not None:
        seat = room.put_at_wall(toilet, gap=0.01, tries=24)
        if seat is not None and chance(rng, 0.45):
            beside(
                room, made(supply, "garbage_bin", rng, _bin(supply, rng)), seat, rng, (0.03, 0.3)
            )
    _sink(room, supply, rng)
    if tub is None or chance(rng, 0.15):
        curtain = made(supply, "shower_curtain", rng) if chance(rng, 0.7) else None
        if curtain is not None:
            room.put_at_wall(curtain, gap=rng.uniform(0.0, 0.9), z=rng.uniform(0.05, 0.25))
    if chance(rng, 0.35):
        room.put_at_wall(as_piece(floor.washing_machine(rng)))
    if chance(rng, 0.4):
        against_wall(room, supply, rng, "cabinet")


def _bin(supply: FurnitureSupply, rng: Rng) -> str | None:
    """A small kind of bin, where the supply knows some."""
    small = [k for k in supply.kinds("garbage_bin") if k in ("paper_basket", "pedal_bin")]
    return small[rng.integers(len(small))] if small else None


def _sink(room: Layout, supply: FurnitureSupply, rng: Rng) -> None:
    """On a pedestal, on the wall, or let into a vanity."""
    style = rng.random()
    vanity = made(supply, "cabinet", rng, "sideboard") if style < 0.35 else None
    if vanity is not None and vanity.size[2] < 1.0:
        placed = room.put_at_wall(vanity, gap=0.0)
        if placed is not None:
            kind = "inset_sink" if chance(rng, 0.6) else "vessel_sink"
            let_in(room, placed, made(supply, "sink", rng, kind), rng)
            return
    sink = made(supply, "sink", rng, "wall_sink" if style > 0.75 else "pedestal_sink")
    if sink is not None:
        low = max(0.0, rng.uniform(0.8, 0.95) - sink.size[2]) if sink.size[2] < 0.6 else 0.0
        room.put_at_wall(sink, gap=0.0, z=float(low))
