"""Desks, with all that stands on their back edge or hangs below. The user sits on the +x side."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box
from sr3d_core.data.rooms.furniture.tables import four_legs, panel_legs, t_legs, top_color

Rng = np.random.Generator


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
    dx, dy, height = rng.uniform(0.45, 0.95), rng.uniform(0.85, 2.0), rng.uniform(0.7, 0.8)
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
    """A top on a metal frame with a thin drawer, now and then with a screen behind it."""
    base = _frame(rng)
    if rng.random() > 0.25:
        return base
    low, high = base.bounds
    back, dy, top = float(low[0]), float(high[1] - low[1]), float(high[2])
    screen = (0.02, dy, rng.uniform(0.25, 0.5))
    return Mesh.cat([base, box(screen, (back + 0.01, 0, top), palette.grey(rng))])


def _frame(rng: Rng) -> Mesh:
    """A top on a metal frame with a thin drawer, a modesty board or nothing."""
    dx, dy, height = rng.uniform(0.45, 0.9), rng.uniform(0.75, 2.0), rng.uniform(0.68, 0.8)
    color, leg = top_color(rng), palette.grey(rng)
    parts = [box((dx, dy, 0.03), (0, 0, height - 0.03), color)]
    legs = t_legs(dx, dy, height - 0.03, leg)
    parts += legs if rng.random() < 0.5 else four_legs(rng, dx, dy, height - 0.03, leg)
    if rng.random() < 0.45:
        parts.append(box((dx * 0.8, dy * 0.4, 0.1), (0, dy * 0.2, height - 0.13), color))
    if rng.random() < 0.5:
        parts.append(box((0.02, dy * 0.85, 0.35), (-dx / 2 + 0.08, 0, height - 0.4), leg))
    return Mesh.cat(parts)


def hutch_desk(rng: Rng) -> Mesh:
    """A desk with shelves or cupboards standing on its back edge."""
    base = pedestal_desk(rng) if rng.random() < 0.7 else _frame(rng)
    return Mesh.cat([base, *_hutch(rng, base)])


def _hutch(rng: Rng, base: Mesh) -> list[Mesh]:
    """Shelves along the back edge of a desk, some closed by doors."""
    low, high = base.bounds
    dy, rise = float(high[1] - low[1]), rng.uniform(0.3, 0.92)
    deep, back = rng.uniform(0.15, 0.34), float(low[0])
    color = palette.wood(rng)
    x, y, top = back + deep / 2, float(high[1] + low[1]) / 2, float(high[2])
    levels = np.linspace(0.5, 1.0, int(rng.integers(1, 3)) + 1) * rise + top - 0.02
    parts = [box((deep, 0.02, rise), (x, y + s * (dy / 2 - 0.01), top), color) for s in (-1, 1)]
    parts += [box((deep, dy, 0.02), (x, y, float(z)), color) for z in levels]
    if rng.random() < 0.6:
        parts.append(box((0.01, dy, rise), (back + 0.005, y, top), color))
    if rng.random() < 0.35:
        z = top + rise * 0.5
        parts.append(box((0.02, dy * 0.98, rise * 0.48), (back + deep, y, z), color))
    return parts


def standing_desk(rng: Rng) -> Mesh:
    """A top on two columns, anywhere between sitting and standing height."""
    dx, dy, height = rng.uniform(0.55, 0.9), rng.uniform(0.9, 2.0), rng.uniform(0.72, 1.28)
    color, leg, thick = top_color(rng), palette.grey(rng), rng.uniform(0.02, 0.04)
    parts = [
        box((dx, dy, thick), (0, 0, height - thick), color),
        *t_legs(dx, dy, height - thick, leg),
        box((0.06, dy - 0.3, 0.05), (0, 0, height - thick - 0.05), leg),
    ]
    if rng.random() < 0.3:
        screen = rng.uniform(0.25, 0.5)
        parts.append(box((0.025, dy, screen), (-dx / 2, 0, height - 0.1), palette.fabric(rng)))
    return Mesh.cat(parts)


def child_desk(rng: Rng) -> Mesh:
    """A small desk for a child, with or without shelves."""
    base = _frame(rng) if rng.random() < 0.5 else pedestal_desk(rng)
    size = np.ptp(base.vertices, axis=0)
    wanted = (rng.uniform(0.4, 0.6), rng.uniform(0.6, 1.0))
    factor = (wanted[0] / size[0], wanted[1] / size[1], rng.uniform(0.7, 0.9))
    small = base.scaled(factor)
    return Mesh.cat([small, *_hutch(rng, small)]) if rng.random() < 0.35 else small


def corner_desk(rng: Rng) -> Mesh:
    """An L-shaped desk."""
    dx, dy, height = rng.uniform(0.5, 0.8), rng.uniform(1.2, 2.1), rng.uniform(0.7, 0.78)
    arm, wide = rng.uniform(0.45, 1.1), rng.uniform(0.45, 0.6)
    color, leg = palette.wood(rng), palette.grey(rng)
    side = rng.choice([-1.0, 1.0])
    x, y = dx / 2 + arm / 2, side * (dy - wide) / 2
    parts = [
        box((dx, dy, 0.03), (0, 0, height - 0.03), color),
        box((arm, wide, 0.03), (x, y, height - 0.03), color),
        *panel_legs(dx, dy, height - 0.03, leg),
        box((0.03, wide * 0.9, height - 0.03), (dx / 2 + arm - 0.05, y, 0), leg),
    ]
    if rng.random() < 0.6:
        parts += _drawers(rng, 0.45, wide * 0.9, height - 0.03, (x, y), color)
    if rng.random() < 0.3:
        parts += _hutch(rng, Mesh.cat(parts[:1]))
    return Mesh.cat(parts)
