"""Tables, from a side table to one for a conference. Front is +x."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, beam, box, cylinder, loft, ring

Rng = np.random.Generator


def four_legs(rng: Rng, dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    """Legs near the corners of a top, upright or splayed."""
    thick, inset = rng.uniform(0.03, 0.09), rng.uniform(0.0, 0.08)
    splay = rng.choice([0.0, rng.uniform(0.0, 0.08)])
    x, y = dx / 2 - thick / 2 - inset, dy / 2 - thick / 2 - inset
    return [
        beam((a * (x + splay), b * (y + splay), 0), (a * x, b * y, height), thick, thick, color)
        for a in (-1, 1)
        for b in (-1, 1)
    ]


def t_legs(dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    """One column on a foot at either end."""
    parts = []
    for side in (-1, 1):
        y = side * (dy / 2 - 0.15)
        parts.append(box((0.08, 0.05, height), (0, y, 0), color))
        parts.append(box((dx * 0.85, 0.06, 0.04), (0, y, 0), color))
    return parts


def panel_legs(dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    """A board at either end."""
    return [box((dx * 0.92, 0.03, height), (0, s * (dy / 2 - 0.04), 0), color) for s in (-1, 1)]


def top_color(rng: Rng) -> Color:
    """Wood, or something nearly neutral."""
    return palette.wood(rng) if rng.random() < 0.7 else palette.grey(rng, 0.1, 0.95)


def _rectangular(rng: Rng, dx: float, dy: float, height: float) -> Mesh:
    color = top_color(rng)
    leg = color if rng.random() < 0.5 else palette.grey(rng)
    thick = rng.uniform(0.015, 0.06)
    glass = 0.85 if rng.random() < 0.06 else 0.0
    parts = [box((dx, dy, thick), (0, 0, height - thick), color, glass)]
    kind = rng.choice(["four", "tee", "panel"], p=[0.65, 0.2, 0.15])
    if kind == "four":
        parts += four_legs(rng, dx, dy, height - thick, leg)
        if rng.random() < 0.5:
            apron = rng.uniform(0.05, 0.12)
            parts.append(box((dx * 0.9, dy * 0.92, apron), (0, 0, height - thick - apron), leg))
    elif kind == "tee":
        parts += t_legs(dx, dy, height - thick, leg)
    else:
        parts += panel_legs(dx, dy, height - thick, color)
    return Mesh.cat(parts)


def rectangular_table(rng: Rng) -> Mesh:
    """A dining, kitchen or meeting table for two to ten."""
    dx = rng.uniform(0.55, 1.15)
    dy = dx * rng.uniform(1.0, 2.6)
    return _rectangular(rng, dx, min(dy, 2.8), rng.uniform(0.68, 0.8))


def coffee_table(rng: Rng) -> Mesh:
    """A low table, with or without a shelf below."""
    dx, dy, height = rng.uniform(0.4, 0.95), rng.uniform(0.6, 1.5), rng.uniform(0.25, 0.52)
    parts = [_rectangular(rng, dx, dy, height)]
    if rng.random() < 0.4:
        parts.append(box((dx * 0.85, dy * 0.88, 0.02), (0, 0, height * 0.3), palette.wood(rng)))
    return Mesh.cat(parts)


def round_table(rng: Rng) -> Mesh:
    """A round top on a pedestal, or on legs."""
    radius, height = rng.uniform(0.3, 0.9), rng.uniform(0.66, 0.8)
    return _round(rng, radius, height)


def small_table(rng: Rng) -> Mesh:
    """A side table beside a sofa: square or round."""
    edge, height = rng.uniform(0.32, 0.65), rng.uniform(0.36, 0.68)
    if rng.random() < 0.5:
        return _round(rng, edge / 2, height)
    return _rectangular(rng, edge, edge * rng.uniform(1.0, 1.3), height)


def _round(rng: Rng, radius: float, height: float) -> Mesh:
    top, leg = top_color(rng), palette.grey(rng) if rng.random() < 0.5 else palette.wood(rng)
    thick = rng.uniform(0.02, 0.05)
    parts = [cylinder(radius, thick, (0, 0, height - thick), top, n=16)]
    if rng.random() < 0.6:
        foot = radius * rng.uniform(0.45, 0.7)
        parts.append(cylinder(rng.uniform(0.03, 0.08), height - thick, (0, 0, 0), leg, n=8))
        if rng.random() < 0.5:
            parts.append(cylinder(foot, 0.04, (0, 0, 0), leg, top_radius=foot * 0.9))
        else:
            parts += [
                beam((0, 0, 0.12), (foot * np.cos(a), foot * np.sin(a), 0.02), 0.05, 0.05, leg)
                for a in np.arange(4) * np.pi / 2
            ]
    else:
        reach = radius * 0.68
        parts += four_legs(rng, 2 * reach, 2 * reach, height - thick, leg)
    return Mesh.cat(parts)


def bar_table(rng: Rng) -> Mesh:
    """A table to stand at, or to sit at on high chairs."""
    height = rng.uniform(0.88, 1.12)
    if rng.random() < 0.5:
        return _round(rng, rng.uniform(0.28, 0.45), height)
    dx = rng.uniform(0.45, 0.85)
    return _rectangular(rng, dx, dx * rng.uniform(1.0, 2.6), height)


def conference_table(rng: Rng) -> Mesh:
    """A long table for eight to twenty: its top square, rounded or like a boat."""
    dx, dy, height = rng.uniform(0.9, 1.6), rng.uniform(2.2, 4.0), rng.uniform(0.7, 0.78)
    if rng.random() < 0.4:
        return _rectangular(rng, dx, dy, height)
    color, thick, power = top_color(rng), rng.uniform(0.03, 0.07), rng.uniform(2.2, 7.0)
    rings = [ring(dx / 2, dy / 2, z, n=20, power=power) for z in (height - thick, height)]
    parts = [loft(np.stack(rings), color, bottom=True, top=True)]
    leg, reach = palette.grey(rng), dy * 0.6
    if rng.random() < 0.5:
        parts += t_legs(dx * 0.7, reach + 0.3, height - thick, leg)
    else:
        count = int(rng.integers(2, 4))
        wide = rng.uniform(0.2, 0.5)
        parts += [
            box((dx * 0.45, wide, height - thick), (0, float(y), 0), leg)
            for y in np.linspace(-reach / 2, reach / 2, count)
        ]
    return Mesh.cat(parts)
