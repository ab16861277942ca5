"""Beds. The head is at -x, so the heading +x runs from the pillow to the feet.

What stands up from a bed belongs to it, as labelled data sets have it: head boards, canopies, the
upper bunk. Baby cots with bars are none of the classes; a cot here is a camp or child's bed.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, beam, box, cushion, height_field

Rng = np.random.Generator

_CORNERS = [(a, b) for a in (-1, 1) for b in (-1, 1)]


def _sleeping_size(rng: Rng, widest: float = 2.05) -> tuple[float, float]:
    """Mattress length and width: from a child's bed to a king's, independent of each other."""
    return rng.uniform(1.72, 2.2), rng.uniform(0.72, widest)


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
    """A board, a padded or panelled wall, or rods, whose front is at `x`."""
    color = palette.furniture(rng) if rng.random() < 0.6 else palette.fabric(rng)
    thick, kind = rng.uniform(0.03, 0.12), rng.random()
    if kind < 0.4:
        return box((thick, width, height), (x - thick / 2, 0, 0), color)
    if kind < 0.75:
        return _panels(rng, width, height, x, color)
    rods = np.linspace(-width / 2, width / 2, 9)
    parts = [box((0.03, 0.03, height), (x - 0.02, float(y), 0), color) for y in rods]
    return Mesh.cat([*parts, box((0.04, width, 0.04), (x - 0.02, 0, height - 0.04), color)])


def _panels(rng: Rng, width: float, height: float, x: float, color: Color) -> Mesh:
    """Upright panels side by side, which look like the doors of a cabinet."""
    count, thick = int(rng.integers(2, 6)), rng.uniform(0.04, 0.14)
    wide = width / count
    parts = [box((thick * 0.6, width, height), (x - thick * 0.7, 0, 0), color)]
    parts += [
        box(
            (thick * 0.4, wide - 0.015, height - 0.02),
            (x - thick * 0.2, (k + 0.5) * wide - width / 2, 0),
            color,
        )
        for k in range(count)
    ]
    return Mesh.cat(parts)


def _rise(rng: Rng, top: float) -> float:
    """How high a head board is: mostly about a metre, now and then man-high."""
    low = top + 0.1
    return float(low + (1.9 - low) * rng.random() ** 1.6)


def framed_bed(rng: Rng) -> Mesh:
    """Frame, legs, mattress, head board and sometimes a foot board."""
    length, width = _sleeping_size(rng)
    rail = rng.uniform(0.12, 0.42)
    top = rail + rng.uniform(0.08, 0.28)
    wood = palette.furniture(rng)
    parts = [
        box((length, width + 0.06, rail * 0.6), (0, 0, rail * 0.4), wood),
        cushion((length, width, top - rail), (0, 0, rail), palette.white(rng)),
        *_bedding(rng, length, width, top),
    ]
    parts += [
        box((0.06, 0.06, rail), (a * (length / 2 - 0.05), b * (width / 2 - 0.05), 0), wood)
        for a, b in _CORNERS
    ]
    if rng.random() < 0.85:
        wide = (width + 0.08) * rng.uniform(1.0, 1.2)
        parts.append(_head_board(rng, wide, _rise(rng, top), -length / 2))
    if rng.random() < 0.35:
        rise = rng.uniform(top - 0.05, top + 0.3)
        parts.append(box((0.05, width + 0.08, rise), (length / 2 + 0.025, 0, 0), wood))
    return Mesh.cat(parts)


def box_bed(rng: Rng) -> Mesh:
    """A box spring down to the floor with a padded head board."""
    length, width = _sleeping_size(rng)
    base = rng.uniform(0.15, 0.42)
    top = base + rng.uniform(0.15, 0.35)
    color = palette.fabric(rng)
    parts = [
        box((length, width, base - 0.03), (0, 0, 0.03), color),
        cushion((length, width, top - base), (0, 0, base), palette.white(rng), soft=0.2),
        *_bedding(rng, length, width, top),
    ]
    if rng.random() < 0.75:
        size = (0.1, width * rng.uniform(1.0, 1.2), _rise(rng, top))
        parts.append(cushion(size, (-length / 2 - 0.05, 0, 0), color))
    return Mesh.cat(parts)


def day_bed(rng: Rng) -> Mesh:
    """A single bed with boards or rails at both ends, also a hospital or dormitory bed."""
    length, width = _sleeping_size(rng, widest=1.2)
    top, metal = rng.uniform(0.35, 0.75), palette.grey(rng, 0.2, 0.95)
    parts = [
        cushion((length, width, 0.16), (0, 0, top - 0.16), palette.white(rng)),
        box((length, width, 0.05), (0, 0, top - 0.21), metal),
        *_bedding(rng, length, width, top),
    ]
    for end in (-1, 1):
        rise = top + rng.uniform(0.1, 0.6)
        x = end * length / 2
        for side in (-1, 1):
            y = side * width / 2
            parts.append(beam((x, y, 0), (x, y, rise), 0.04, 0.04, metal))
        rails = (rise - 0.03, (rise + top) / 2)
        parts += [box((0.03, width, 0.04), (x, 0, z), metal) for z in rails]
    return Mesh.cat(parts)


def low_bed(rng: Rng) -> Mesh:
    """A camp bed, a child's bed or a mattress on a slatted frame or on the floor."""
    length, width = _sleeping_size(rng, widest=1.8)
    foot, thick = rng.choice([0.02, rng.uniform(0.05, 0.25)]), rng.uniform(0.06, 0.24)
    top, color = foot + thick, palette.furniture(rng)
    parts = [
        cushion((length, width, thick), (0, 0, foot), palette.white(rng)),
        box((length, width, 0.03), (0, 0, foot - 0.02), color),
        *_bedding(rng, length, width, top),
    ]
    parts += [
        box((0.05, 0.05, foot), (a * length * 0.45, b * (width / 2 - 0.04), 0), color)
        for a, b in _CORNERS
    ]
    return Mesh.cat(parts)


def canopy_bed(rng: Rng) -> Mesh:
    """Four posts that carry a frame, with or without cloth: the whole frame is the bed."""
    length, width = _sleeping_size(rng)
    top, height = rng.uniform(0.4, 0.7), rng.uniform(1.75, 2.2)
    color, thick = palette.furniture(rng), rng.uniform(0.03, 0.09)
    x, y = length / 2 + thick / 2, width / 2 + thick / 2
    parts = [
        cushion((length, width, 0.22), (0, 0, top - 0.22), palette.white(rng)),
        box((length, width + thick, 0.12), (0, 0, top - 0.32), color),
        *_bedding(rng, length, width, top),
        _head_board(rng, width, rng.uniform(top + 0.1, 1.3), -length / 2),
    ]
    parts += [box((thick, thick, height), (a * x, b * y, 0), color) for a, b in _CORNERS]
    parts += [box((2 * x, thick, thick), (0, s * y, height - thick), color) for s in (-1, 1)]
    parts += [box((thick, 2 * y, thick), (s * x, 0, height - thick), color) for s in (-1, 1)]
    cloth = palette.fabric(rng)
    if rng.random() < 0.3:
        parts.append(box((2 * x, 2 * y, 0.02), (0, 0, height - 0.01), cloth))
    if rng.random() < 0.4:
        wide = rng.uniform(0.15, 0.4)
        parts += [
            box((wide, 0.04, height - 0.1), (a * (x - wide / 2), b * y, 0.05), cloth)
            for a, b in _CORNERS
        ]
    return Mesh.cat(parts)


def bunk_bed(rng: Rng) -> Mesh:
    """Two beds above each other, or one high above an open space; with a ladder."""
    length, width = _sleeping_size(rng, widest=1.4)
    lower, upper = rng.uniform(0.3, 0.5), rng.uniform(1.25, 1.6)
    color = palette.furniture(rng)
    post, height = rng.uniform(0.04, 0.09), upper + rng.uniform(0.2, 0.45)
    levels = (lower, upper) if rng.random() < 0.8 else (upper,)
    parts = [
        box((post, post, height), (a * length / 2, b * width / 2, 0), color) for a, b in _CORNERS
    ]
    for top in levels:
        parts += [
            cushion((length - post, width, 0.14), (0, 0, top - 0.14), palette.white(rng)),
            box((length, width + 0.02, 0.1), (0, 0, top - 0.22), color),
            *_bedding(rng, length - post, width - 0.06, top),
        ]
        rise = min(height, top + rng.uniform(0.2, 0.4)) - 0.08
        parts += [box((0.03, width, 0.08), (s * length / 2, 0, rise), color) for s in (-1, 1)]
    guard = rng.uniform(0.4, 0.75) * length
    parts.append(box((guard, 0.03, 0.08), ((guard - length) / 2, width / 2, height - 0.1), color))
    parts.append(box((length, 0.03, 0.08), (0, -width / 2, height - 0.1), color))
    return Mesh.cat([*parts, *_ladder(rng, length, width, upper, color)])


def _ladder(rng: Rng, length: float, width: float, height: float, color: Color) -> list[Mesh]:
    """Rungs at the foot of the long side at +y, upright or leaning out."""
    x, y, lean = length / 2 - 0.3, width / 2 + 0.03, rng.choice([0.0, rng.uniform(0.1, 0.35)])
    parts = [
        beam((x + s * 0.18, y + lean, 0), (x + s * 0.18, y, height), 0.03, 0.05, color)
        for s in (-1, 1)
    ]
    steps = np.linspace(0.2, 0.9, 4)
    parts += [
        box((0.36, 0.04, 0.03), (x, y + lean * (1 - float(z)), float(z) * height), color)
        for z in steps
    ]
    return parts
