"""Refrigerators, from one below a desk to a double one. Doors face +x."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, cylinder

Rng = np.random.Generator


def upright_refrigerator(rng: Rng) -> Mesh:
    """One door, or freezer and fridge above each other."""
    size = (rng.uniform(0.48, 0.88), rng.uniform(0.48, 0.88), rng.uniform(1.1, 2.05))
    split = rng.choice([1.0, rng.uniform(0.28, 0.4), rng.uniform(0.6, 0.75)])
    return _fridge(
        rng, size, [(0.0, float(split))] + ([(float(split), 1.0)] if split < 1 else []), 1
    )


def double_refrigerator(rng: Rng) -> Mesh:
    """Two doors side by side, or over a drawer."""
    size = (rng.uniform(0.58, 0.95), rng.uniform(0.78, 1.2), rng.uniform(1.6, 2.1))
    rows = [(0.0, 1.0)] if rng.random() < 0.5 else [(0.0, 0.35), (0.35, 1.0)]
    return _fridge(rng, size, rows, 2)


def small_refrigerator(rng: Rng) -> Mesh:
    """A bar fridge."""
    size = (rng.uniform(0.43, 0.62), rng.uniform(0.42, 0.62), rng.uniform(0.48, 1.0))
    return _fridge(rng, size, [(0.0, 1.0)], 1)


def _paint(rng: Rng) -> Color:
    """White, steel, black, a strong color, or the fronts of the kitchen around it."""
    kind = rng.random()
    if kind < 0.45:
        return palette.white(rng)
    if kind < 0.75:
        return palette.grey(rng, 0.4, 0.75)
    if kind < 0.85:
        return palette.grey(rng, 0.03, 0.12)
    return palette.vivid(rng) if kind < 0.92 else palette.furniture(rng)


def _fridge(
    rng: Rng, size: tuple[float, float, float], rows: list[tuple[float, float]], columns: int
) -> Mesh:
    dx, dy, dz = size
    color = _paint(rng)
    absorbs = 0.25 if rng.random() < 0.3 else 0.0
    door, metal = rng.uniform(0.04, 0.08), palette.grey(rng, 0.2, 0.8)
    parts = [box((dx - door, dy, dz - 0.03), (-door / 2, 0, 0.03), color, absorbs)]
    has_handle = rng.random() < 0.75
    for low, high in rows:
        wide = dy / (columns if high > 0.99 else 1)
        for column in range(columns if high > 0.99 else 1):
            y = -dy / 2 + (column + 0.5) * wide
            tall = (high - low) * (dz - 0.05)
            z = 0.04 + low * (dz - 0.05)
            face = (door - 0.01, wide - 0.01, tall - 0.012)
            parts.append(box(face, (dx / 2 - door / 2, y, z), color, absorbs))
            if has_handle:
                side = 1 if column == 0 else -1
                at = (dx / 2 + 0.025, y + side * (wide / 2 - 0.06), z + tall * 0.2)
                parts.append(cylinder(0.014, tall * 0.6, at, metal, n=5))
    return Mesh.cat(parts)
