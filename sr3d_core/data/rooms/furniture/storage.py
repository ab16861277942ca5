"""Cabinets, night stands, dressers. Doors and drawers face +x."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.carcass import carcass, front
from sr3d_core.data.rooms.furniture.mesh import Mesh, box

Rng = np.random.Generator


def wardrobe(rng: Rng) -> Mesh:
    """A tall closet with one to four doors."""
    columns = int(rng.integers(1, 5))
    size = (rng.uniform(0.4, 0.7), columns * rng.uniform(0.38, 0.62), rng.uniform(1.5, 2.4))
    rows = 1 if rng.random() < 0.7 else 2
    return carcass(rng, size, (rows, columns), doors=True, legs=rng.choice([0.0, 0.06]))


def closet_wall(rng: Rng) -> Mesh:
    """Built-in closets or a kitchen's tall units, side by side up to the ceiling."""
    width = rng.uniform(1.5, 4.3)
    columns = max(2, round(width / rng.uniform(0.42, 0.65)))
    size = (rng.uniform(0.35, 0.7), width, rng.uniform(1.9, 2.42))
    rows = 1 if rng.random() < 0.6 else 2
    return carcass(rng, size, (rows, columns), doors=True, legs=rng.choice([0.0, 0.08]))


def tall_unit(rng: Rng) -> Mesh:
    """A pantry or locker with one or two doors, of the size and color of a refrigerator."""
    size = (rng.uniform(0.45, 0.72), rng.uniform(0.42, 0.85), rng.uniform(1.4, 2.4))
    color = palette.white(rng) if rng.random() < 0.5 else palette.grey(rng, 0.35, 0.8)
    rows, columns = int(rng.integers(1, 3)), 1 if size[1] < 0.6 else 2
    legs = rng.choice([0.0, 0.05, 0.1])
    return carcass(rng, size, (rows, columns), doors=True, legs=legs, color=color)


def kitchen_unit(rng: Rng) -> Mesh:
    """Base cabinets under a counter top: one, or a run of up to 4.5 m."""
    columns = int(rng.integers(1, 5)) if rng.random() < 0.6 else int(rng.integers(4, 9))
    width = min(columns * rng.uniform(0.4, 0.62), 4.3)
    size = (rng.uniform(0.5, 0.7), width, rng.uniform(0.78, 0.98))
    doors = rng.random() < 0.7
    rows = 1 if doors else 3
    return carcass(
        rng, size, (rows, columns), doors=doors, legs=rng.uniform(0.05, 0.085), overhang=0.02
    )


def wall_unit(rng: Rng) -> Mesh:
    """Upper cabinets, one or a run; the layout hangs them on a wall."""
    columns = int(rng.integers(1, 5)) if rng.random() < 0.7 else int(rng.integers(4, 9))
    size = (rng.uniform(0.26, 0.39), columns * rng.uniform(0.33, 0.52), rng.uniform(0.35, 0.78))
    return carcass(rng, size, (1, columns), doors=True, legs=0.0)


def file_cabinet(rng: Rng) -> Mesh:
    """A steel cabinet of two to five drawers, deep and narrow or shallow and wide."""
    rows = int(rng.integers(2, 6))
    is_lateral = rng.random() < 0.35
    deep, wide = (0.36, 0.52), (0.6, 1.1)
    if not is_lateral:
        deep, wide = (0.42, 0.75), (0.35, 0.52)
    size = (rng.uniform(*deep), rng.uniform(*wide), 0.08 + rows * rng.uniform(0.24, 0.34))
    color = palette.grey(rng, 0.2, 0.85) if rng.random() < 0.7 else None
    return carcass(rng, size, (rows, 1), doors=False, legs=0.03, color=color)


def sideboard(rng: Rng) -> Mesh:
    """A low, wide cabinet with doors or drawers, sometimes with glass."""
    columns = int(rng.integers(2, 6))
    size = (rng.uniform(0.32, 0.6), columns * rng.uniform(0.36, 0.6), rng.uniform(0.42, 1.25))
    glass = 0.5 if rng.random() < 0.12 else 0.0
    legs = rng.choice([0.0, 0.05, rng.uniform(0.1, 0.2)])
    return carcass(rng, size, (1, columns), doors=True, legs=legs, glass=glass)


def cupboard(rng: Rng) -> Mesh:
    """A small cabinet: of a bathroom, for shoes, below a printer."""
    size = (rng.uniform(0.28, 0.5), rng.uniform(0.32, 0.85), rng.uniform(0.5, 1.4))
    grid = (int(rng.integers(1, 3)), 1 if size[1] < 0.5 else 2)
    legs = rng.choice([0.0, 0.05, rng.uniform(0.08, 0.2)])
    return carcass(rng, size, grid, doors=True, legs=legs, overhang=rng.choice([0.0, 0.02]))


def drawer_night_stand(rng: Rng) -> Mesh:
    """A small block of drawers beside a bed."""
    size = (rng.uniform(0.28, 0.62), rng.uniform(0.3, 0.88), rng.uniform(0.36, 0.86))
    legs = rng.choice([0.0, 0.05, rng.uniform(0.1, 0.2)])
    return carcass(rng, size, (int(rng.integers(1, 4)), 1), doors=False, legs=legs, overhang=0.015)


def open_night_stand(rng: Rng) -> Mesh:
    """A drawer over an open shelf."""
    dx, dy, height = rng.uniform(0.28, 0.58), rng.uniform(0.3, 0.8), rng.uniform(0.36, 0.82)
    color, drawer = palette.furniture(rng), rng.uniform(0.12, 0.2)
    parts = [box((dx, dy, drawer), (0, 0, height - drawer), color)]
    parts += front(rng, (dx, dy, drawer), height - drawer, (1, 1), color, doors=False)
    if rng.random() < 0.5:
        parts += [box((dx, 0.02, height), (0, s * (dy / 2 - 0.01), 0), color) for s in (-1, 1)]
    else:
        parts += [
            box((0.035, 0.035, height), (a * (dx / 2 - 0.02), b * (dy / 2 - 0.02), 0), color)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
    parts.append(box((dx, dy, 0.02), (0, 0, rng.uniform(0.04, 0.18)), color))
    return Mesh.cat(parts)


def wide_dresser(rng: Rng) -> Mesh:
    """A chest of drawers, wider than high."""
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    size = (rng.uniform(0.31, 0.7), rng.uniform(0.85, 1.85), rng.uniform(0.65, 1.1))
    legs = rng.choice([0.0, 0.06, rng.uniform(0.1, 0.18)])
    return carcass(rng, size, (rows, columns), doors=False, legs=legs, overhang=0.02)


def tall_dresser(rng: Rng) -> Mesh:
    """A tall boy: one column of four to six drawers."""
    size = (rng.uniform(0.31, 0.7), rng.uniform(0.45, 1.05), rng.uniform(1.0, 1.5))
    legs = rng.choice([0.0, 0.06, rng.uniform(0.1, 0.15)])
    rows = int(rng.integers(4, 7))
    return carcass(rng, size, (rows, 1), doors=False, legs=legs, overhang=0.02)


def door_dresser(rng: Rng) -> Mesh:
    """A tall chest: drawers below, doors above; as high as a small wardrobe."""
    dx, dy, height = rng.uniform(0.31, 0.7), rng.uniform(0.6, 1.1), rng.uniform(1.2, 1.65)
    split, color = height * rng.uniform(0.35, 0.6), palette.furniture(rng)
    low = carcass(
        rng, (dx, dy, split), (int(rng.integers(2, 4)), 1), doors=False, legs=0.05, color=color
    )
    high = carcass(rng, (dx, dy, height - split), (1, 2), doors=True, legs=0.0, color=color)
    return Mesh.cat([low, high.shifted((0, 0, split))])
