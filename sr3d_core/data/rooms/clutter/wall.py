"""Unlabelled things on walls: their backs in the plane x = 0, heights above the floor built in."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cushion, cylinder, turn_y

Rng = np.random.Generator


def mirror(rng: Rng) -> Mesh:
    """A mirror, of which a depth sensor gets little."""
    size = (0.03, rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.5))
    return box(size, (0.015, 0, rng.uniform(0.5, 1.3)), palette.grey(rng, 0.4, 0.9), 0.8)


def board(rng: Rng) -> Mesh:
    """A white board, black board or pin board."""
    width, height, low = rng.uniform(0.6, 2.4), rng.uniform(0.45, 1.2), rng.uniform(0.8, 1.2)
    tone = palette.white(rng) if rng.random() < 0.6 else palette.fabric(rng)
    frame = box((0.02, width, height), (0.01, 0, low), palette.grey(rng))
    tray = box((0.06, width * 0.5, 0.015), (0.03, 0, low), palette.grey(rng, 0.4, 0.8))
    inner = box((0.024, width - 0.04, height - 0.04), (0.012, 0, low + 0.02), tone)
    return Mesh.cat([frame, inner, tray])


def clock(rng: Rng) -> Mesh:
    """A round clock."""
    radius = rng.uniform(0.1, 0.22)
    face = cylinder(radius, 0.04, (0, 0, 0), palette.white(rng), n=12).turned(turn_y(np.pi / 2))
    hand = box((0.005, 0.012, radius * 0.8), (0.043, 0, 0), (0.05, 0.05, 0.05))
    return Mesh.cat([face, hand]).shifted((0, 0, rng.uniform(1.6, 2.0)))


def radiator(rng: Rng) -> Mesh:
    """A ribbed heater under a window."""
    width, height = rng.uniform(0.5, 1.6), rng.uniform(0.4, 0.7)
    tone = palette.white(rng)
    ribs = np.linspace(-width / 2, width / 2, int(width / 0.12))
    parts = [box((0.1, 0.05, height), (0.07, float(y), 0.12), tone) for y in ribs]
    return Mesh.cat([*parts, box((0.05, width, height * 0.9), (0.06, 0, 0.15), tone)])


def television(rng: Rng) -> Mesh:
    """A flat screen on the wall."""
    width = rng.uniform(0.7, 1.5)
    return box(
        (0.06, width, width * 0.57), (0.05, 0, rng.uniform(0.8, 1.3)), (0.04, 0.04, 0.05), 0.35
    )


def coats(rng: Rng) -> Mesh:
    """Clothes on hooks."""
    parts = [box((0.03, 0.8, 0.08), (0.015, 0, 1.65), palette.wood(rng))]
    for y in rng.uniform(-0.35, 0.35, 3):
        size = (0.16, 0.35, rng.uniform(0.6, 1.0))
        parts.append(cushion(size, (0.1, float(y), 1.68 - size[2]), palette.fabric(rng), soft=0.1))
    return Mesh.cat(parts)
