"""Closed bodies with doors or drawers on their +x face: what storage is made of."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box

Rng = np.random.Generator


def _handle(
    rng: Rng,
    kind: int,
    at: tuple[float, float, float],
    color: Color,
    reach: float,
    *,
    upright: bool,
) -> list[Mesh]:
    """No handle, a knob, a bar, or a bar of `reach` metres on a front at `at`."""
    if kind == 0:
        return []
    if kind == 1:
        return [box((0.03, 0.03, 0.03), at, color)]
    length = reach if kind == 3 else min(rng.uniform(0.1, 0.25), reach)
    size = (0.03, 0.015, length) if upright else (0.03, length, 0.015)
    return [box(size, at, color)]


def front(
    rng: Rng,
    size: tuple[float, float, float],
    base: float,
    grid: tuple[int, int],
    color: Color,
    *,
    doors: bool,
    glass: float = 0.0,
) -> list[Mesh]:
    """Doors or drawers in a grid of (rows, columns) on the +x face of a body."""
    dx, dy, dz = size
    rows, columns = grid
    gap = rng.uniform(0.004, 0.02)
    thick = rng.uniform(0.012, 0.03)
    kind, metal = int(rng.integers(4)), palette.grey(rng, 0.1, 0.85)
    parts = []
    wide, tall = dy / columns, dz / rows
    for row in range(rows):
        for column in range(columns):
            y = (column - (columns - 1) / 2) * wide
            z = base + row * tall
            face = (thick, wide - gap, tall - gap)
            parts.append(box(face, (dx / 2 + thick / 2, y, z + gap / 2), color, glass))
            side = -1 if column % 2 else 1
            grip_y = y + side * (wide / 2 - 0.06) if doors else y
            grip_z = z + tall * (0.5 if doors else 0.6)
            reach = 0.6 * (tall if doors else wide)
            at = (dx / 2 + thick + 0.015, grip_y, grip_z)
            parts += _handle(rng, kind, at, metal, reach, upright=doors)
    return parts


def carcass(
    rng: Rng,
    size: tuple[float, float, float],
    grid: tuple[int, int],
    *,
    doors: bool,
    legs: float,
    overhang: float = 0.0,
    glass: float = 0.0,
    color: Color | None = None,
) -> Mesh:
    """A closed body with fronts, a plinth or legs, and sometimes a top of its own."""
    dx, dy, dz = size
    face_like_body = color is not None or rng.random() < 0.7
    color = color or palette.furniture(rng)
    face = color if face_like_body else palette.furniture(rng)
    top = rng.uniform(0.015, 0.04) if overhang > 0 or rng.random() < 0.3 else 0.0
    parts = [box((dx, dy, dz - legs - top), (0, 0, legs), palette.blend(color, (0, 0, 0), 0.1))]
    body = (dx, dy, dz - legs - top)
    parts += front(rng, body, legs, grid, face, doors=doors, glass=glass)
    if top > 0:
        counter = palette.furniture(rng)
        parts.append(
            box((dx + overhang + 0.02, dy + overhang, top), (overhang / 2, 0, dz - top), counter)
        )
    if legs > 0.02:
        if legs < 0.09:
            parts.append(box((dx * 0.9, dy * 0.98, legs), (-dx * 0.04, 0, 0), (0.1, 0.1, 0.1)))
        else:
            parts += [
                box((0.04, 0.04, legs), (a * (dx / 2 - 0.04), b * (dy / 2 - 0.04), 0), color)
                for a in (-1, 1)
                for b in (-1, 1)
            ]
    return Mesh.cat(parts)
