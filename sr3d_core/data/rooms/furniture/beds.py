"""Beds. The head is at -x, so the heading +x runs from the pillow to the feet."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, beam, box, cushion, height_field

Rng = np.random.Generator


def _sleeping_size(rng: Rng) -> tuple[float, float]:
    """Mattress length and width: single, double, queen or king."""
    width = rng.choice([0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]) + rng.uniform(-0.05, 0.05)
    return rng.uniform(1.88, 2.1), width


def _bedding(rng: Rng, length: float, width: float, top: float) -> list[Mesh]:
    """Pillows and a cover that is more or less rumpled and hangs over the edges."""
    parts = []
    sheet = palette.fabric(rng) if rng.random() < 0.5 else palette.white(rng)
    count = 1 if width < 1.25 else 2
    for k in range(count if rng.random() < 0.92 else 0):
        y = (k - (count - 1) / 2) * width / 2 + rng.normal(0, 0.03)
        size = (rng.uniform(0.35, 0.5), min(0.75, width / count * 0.9), rng.uniform(0.09, 0.18))
        pillow = cushion(size, (0, 0, 0), sheet if rng.random() < 0.6 else palette.fabric(rng))
        x = -length / 2 + 0.3 + rng.normal(0, 0.03)
        parts.append(pillow.moved(x=x, y=y, z=top - 0.02, yaw=rng.normal(0, 0.15)))
    if rng.random() < 0.88:
        parts += _cover(rng, length, width, top)
    return parts


def _cover(rng: Rng, length: float, width: float, top: float) -> list[Mesh]:
    start = rng.uniform(0.02, 0.4) if rng.random() < 0.8 else rng.uniform(0.4, 0.65)
    reach = length * (1 - start)
    rough = rng.choice([0.008, 0.03, 0.07])
    heights = rng.normal(0.03, rough, (9, 8))
    heights[1:-1, 1:-1] = (heights[:-2, 1:-1] + 2 * heights[1:-1, 1:-1] + heights[2:, 1:-1]) / 4
    color = palette.fabric(rng)
    sheet = height_field((reach, width), (0, 0, 0), np.clip(heights, 0.005, 0.2), color)
    parts = [sheet.moved(x=length / 2 - reach / 2, z=top)]
    drop = rng.uniform(0.05, 0.3)
    x = length / 2 - reach / 2
    for side in (-1, 1):
        if rng.random() < 0.7:
            hang = box((reach, 0.03, drop), (x, side * (width / 2 + 0.01), top - drop), color)
            parts.append(hang)
    return parts


def _head_board(rng: Rng, width: float, height: float, x: float) -> Mesh:
    color = palette.wood(rng) if rng.random() < 0.6 else palette.fabric(rng)
    if rng.random() < 0.75:
        return box((rng.uniform(0.03, 0.12), width, height), (x, 0, 0), color)
    rods = np.linspace(-width / 2, width / 2, 9)
    parts = [box((0.03, 0.03, height), (x, float(y), 0), color) for y in rods]
    return Mesh.cat([*parts, box((0.04, width, 0.04), (x, 0, height - 0.04), color)])


def framed_bed(rng: Rng) -> Mesh:
    """Frame, legs, mattress, head board and sometimes a foot board."""
    length, width = _sleeping_size(rng)
    rail = rng.uniform(0.2, 0.4)
    top = rail + rng.uniform(0.1, 0.25)
    wood = palette.furniture(rng)
    parts = [
        box((length, width + 0.06, rail * 0.6), (0, 0, rail * 0.4), wood),
        cushion((length, width, top - rail), (0, 0, rail), palette.white(rng)),
        *_bedding(rng, length, width, top),
    ]
    parts += [
        box((0.06, 0.06, rail), (a * (length / 2 - 0.05), b * (width / 2 - 0.05), 0), wood)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    if rng.random() < 0.85:
        rise = rng.uniform(top + 0.15, top + 0.75)
        parts.append(_head_board(rng, width + 0.08, rise, -length / 2 - 0.04))
    if rng.random() < 0.35:
        rise = rng.uniform(top - 0.05, top + 0.25)
        parts.append(box((0.05, width + 0.08, rise), (length / 2 + 0.04, 0, 0), wood))
    return Mesh.cat(parts)


def box_bed(rng: Rng) -> Mesh:
    """A box spring down to the floor with a padded head board."""
    length, width = _sleeping_size(rng)
    base, top = rng.uniform(0.22, 0.38), rng.uniform(0.45, 0.68)
    color = palette.fabric(rng)
    parts = [
        box((length, width, base - 0.03), (0, 0, 0.03), color),
        cushion((length, width, top - base), (0, 0, base), palette.white(rng), soft=0.2),
        *_bedding(rng, length, width, top),
    ]
    if rng.random() < 0.75:
        rise = rng.uniform(0.8, 1.3)
        head = cushion(
            (0.1, width * rng.uniform(1.0, 1.1), rise), (-length / 2 - 0.05, 0, 0), color
        )
        parts.append(head)
    return Mesh.cat(parts)


def day_bed(rng: Rng) -> Mesh:
    """A single bed with boards or rails at both ends, also a hospital or dormitory bed."""
    length, width = rng.uniform(1.9, 2.1), rng.uniform(0.8, 1.05)
    top, metal = rng.uniform(0.4, 0.65), palette.grey(rng, 0.2, 0.95)
    parts = [
        cushion((length, width, 0.16), (0, 0, top - 0.16), palette.white(rng)),
        box((length, width, 0.05), (0, 0, top - 0.21), metal),
        *_bedding(rng, length, width, top),
    ]
    for end in (-1, 1):
        rise = top + rng.uniform(0.15, 0.5)
        x = end * length / 2
        for side in (-1, 1):
            y = side * width / 2
            parts.append(beam((x, y, 0), (x, y, rise), 0.04, 0.04, metal))
        rails = (rise - 0.03, (rise + top) / 2)
        parts += [box((0.03, width, 0.04), (x, 0, z), metal) for z in rails]
    return Mesh.cat(parts)
