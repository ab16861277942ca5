"""Tables and desks. Front is +x; a desk's user sits on the +x side."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, beam, box, cylinder

Rng = np.random.Generator


def _four_legs(rng: Rng, dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    thick, inset = rng.uniform(0.03, 0.09), rng.uniform(0.0, 0.08)
    splay = rng.choice([0.0, rng.uniform(0.0, 0.08)])
    x, y = dx / 2 - thick / 2 - inset, dy / 2 - thick / 2 - inset
    return [
        beam((a * (x + splay), b * (y + splay), 0), (a * x, b * y, height), thick, thick, color)
        for a in (-1, 1)
        for b in (-1, 1)
    ]


def _t_legs(dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    parts = []
    for side in (-1, 1):
        y = side * (dy / 2 - 0.15)
        parts.append(box((0.08, 0.05, height), (0, y, 0), color))
        parts.append(box((dx * 0.85, 0.06, 0.04), (0, y, 0), color))
    return parts


def _panel_legs(dx: float, dy: float, height: float, color: Color) -> list[Mesh]:
    return [box((dx * 0.92, 0.03, height), (0, s * (dy / 2 - 0.04), 0), color) for s in (-1, 1)]


def _top_color(rng: Rng) -> Color:
    return palette.wood(rng) if rng.random() < 0.7 else palette.grey(rng, 0.1, 0.95)


def _rectangular(rng: Rng, dx: float, dy: float, height: float) -> Mesh:
    color = _top_color(rng)
    leg = color if rng.random() < 0.5 else palette.grey(rng)
    thick = rng.uniform(0.015, 0.06)
    glass = 0.85 if rng.random() < 0.06 else 0.0
    parts = [box((dx, dy, thick), (0, 0, height - thick), color, glass)]
    kind = rng.choice(["four", "tee", "panel"], p=[0.65, 0.2, 0.15])
    if kind == "four":
        parts += _four_legs(rng, dx, dy, height - thick, leg)
        if rng.random() < 0.5:
            apron = rng.uniform(0.05, 0.12)
            parts.append(box((dx * 0.9, dy * 0.92, apron), (0, 0, height - thick - apron), leg))
    elif kind == "tee":
        parts += _t_legs(dx, dy, height - thick, leg)
    else:
        parts += _panel_legs(dx, dy, height - thick, color)
    return Mesh.cat(parts)


def rectangular_table(rng: Rng) -> Mesh:
    """A dining, kitchen or meeting table for two to ten."""
    dx = rng.uniform(0.6, 1.15)
    dy = dx * rng.uniform(1.0, 2.4)
    return _rectangular(rng, dx, min(dy, 2.6), rng.uniform(0.7, 0.78))


def coffee_table(rng: Rng) -> Mesh:
    """A low table, with or without a shelf below."""
    dx, dy, height = rng.uniform(0.4, 0.8), rng.uniform(0.7, 1.35), rng.uniform(0.3, 0.5)
    parts = [_rectangular(rng, dx, dy, height)]
    if rng.random() < 0.4:
        parts.append(box((dx * 0.85, dy * 0.88, 0.02), (0, 0, height * 0.3), palette.wood(rng)))
    return Mesh.cat(parts)


def round_table(rng: Rng) -> Mesh:
    """A round top on a pedestal, or on legs."""
    radius, height = rng.uniform(0.32, 0.75), rng.uniform(0.68, 0.78)
    return _round(rng, radius, height)


def small_table(rng: Rng) -> Mesh:
    """A side table beside a sofa: square or round, 0.4-0.65 m high."""
    edge, height = rng.uniform(0.38, 0.6), rng.uniform(0.4, 0.65)
    if rng.random() < 0.5:
        return _round(rng, edge / 2, height)
    return _rectangular(rng, edge, edge * rng.uniform(1.0, 1.3), height)


def _round(rng: Rng, radius: float, height: float) -> Mesh:
    top, leg = _top_color(rng), palette.grey(rng) if rng.random() < 0.5 else palette.wood(rng)
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
        parts += _four_legs(rng, 2 * reach, 2 * reach, height - thick, leg)
    return Mesh.cat(parts)


def _drawers(
    rng: Rng, dx: float, dy: float, height: float, at: tuple[float, float], body: Color
) -> list[Mesh]:
    """A pedestal of two to four drawers, its fronts at +x."""
    x, y = at
    rows = int(rng.integers(2, 5))
    handle = palette.grey(rng, 0.2, 0.8)
    parts = [box((dx, dy, height), (x, y, 0), body)]
    for k in range(rows):
        z = height * (k + 0.04) / rows
        front = x + dx / 2 + 0.008
        face = palette.blend(body, (0, 0, 0), 0.08)
        parts.append(box((0.016, dy * 0.94, height / rows * 0.92), (front, y, z), face))
        parts.append(box((0.02, 0.1, 0.015), (front + 0.015, y, z + height / rows * 0.6), handle))
    return parts


def pedestal_desk(rng: Rng) -> Mesh:
    """A desk with one or two blocks of drawers."""
    dx, dy, height = rng.uniform(0.55, 0.85), rng.uniform(1.1, 1.8), rng.uniform(0.71, 0.77)
    color, thick = palette.wood(rng), rng.uniform(0.02, 0.05)
    wide = rng.uniform(0.3, 0.45)
    parts = [box((dx, dy, thick), (0, 0, height - thick), color)]
    sides = (-1, 1) if rng.random() < 0.4 else (int(rng.choice([-1, 1])),)
    for side in sides:
        at = (-0.02, side * (dy - wide) / 2 * 0.98)
        parts += _drawers(rng, dx * 0.9, wide, height - thick, at, color)
    if len(sides) == 1:
        parts.append(
            box((dx * 0.9, 0.03, height - thick), (0, -sides[0] * (dy / 2 - 0.03), 0), color)
        )
    if rng.random() < 0.6:
        board = rng.uniform(0.25, 0.6)
        parts.append(
            box((0.02, dy * 0.96, board), (-dx / 2 + 0.06, 0, height - thick - board), color)
        )
    return Mesh.cat(parts)


def frame_desk(rng: Rng) -> Mesh:
    """A top on a metal frame with a thin drawer, a modesty board or nothing."""
    dx, dy, height = rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.8), rng.uniform(0.7, 0.77)
    color, leg = _top_color(rng), palette.grey(rng)
    parts = [box((dx, dy, 0.03), (0, 0, height - 0.03), color)]
    legs = _t_legs(dx, dy, height - 0.03, leg)
    parts += legs if rng.random() < 0.5 else _four_legs(rng, dx, dy, height - 0.03, leg)
    if rng.random() < 0.45:
        parts.append(box((dx * 0.8, dy * 0.4, 0.1), (0, dy * 0.2, height - 0.13), color))
    if rng.random() < 0.5:
        parts.append(box((0.02, dy * 0.85, 0.35), (-dx / 2 + 0.08, 0, height - 0.4), leg))
    if rng.random() < 0.25:
        parts.append(box((0.02, dy, rng.uniform(0.25, 0.5)), (-dx / 2 + 0.01, 0, height), leg))
    return Mesh.cat(parts)


def hutch_desk(rng: Rng) -> Mesh:
    """A desk with a shelf standing on its back edge."""
    base = pedestal_desk(rng)
    low, high = base.bounds
    dy, rise = float(high[1] - low[1]), rng.uniform(0.35, 0.8)
    deep, back = rng.uniform(0.2, 0.32), float(low[0])
    color = palette.wood(rng)
    x, top = back + deep / 2, float(high[2])
    levels = np.linspace(0.5, 1.0, int(rng.integers(1, 3)) + 1) * rise + top - 0.02
    parts = [base]
    parts += [box((deep, 0.02, rise), (x, s * (dy / 2 - 0.01), top), color) for s in (-1, 1)]
    parts += [box((deep, dy, 0.02), (x, 0, float(z)), color) for z in levels]
    if rng.random() < 0.6:
        parts.append(box((0.01, dy, rise), (back + 0.005, 0, high[2]), color))
    return Mesh.cat(parts)


def corner_desk(rng: Rng) -> Mesh:
    """An L-shaped desk."""
    dx, dy, height = rng.uniform(0.55, 0.75), rng.uniform(1.4, 1.9), rng.uniform(0.71, 0.76)
    arm, wide = rng.uniform(0.6, 1.0), rng.uniform(0.45, 0.6)
    color, leg = palette.wood(rng), palette.grey(rng)
    side = rng.choice([-1.0, 1.0])
    x, y = dx / 2 + arm / 2, side * (dy - wide) / 2
    parts = [
        box((dx, dy, 0.03), (0, 0, height - 0.03), color),
        box((arm, wide, 0.03), (x, y, height - 0.03), color),
        *_panel_legs(dx, dy, height - 0.03, leg),
        box((0.03, wide * 0.9, height - 0.03), (dx / 2 + arm - 0.05, y, 0), leg),
    ]
    if rng.random() < 0.6:
        parts += _drawers(rng, 0.45, wide * 0.9, height - 0.03, (x, y), color)
    return Mesh.cat(parts)
