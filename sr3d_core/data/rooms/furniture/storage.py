"""Bookshelves, cabinets, night stands, dressers, refrigerators. Doors and drawers face +x."""

from __future__ import annotations

import itertools

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, cylinder

Rng = np.random.Generator


def _books(
    rng: Rng, dx: float, span: float, space: float, at: tuple[float, float, float]
) -> list[Mesh]:
    """Things on one board: books that stand or lie, boxes, or nothing."""
    x, y, z = at
    parts: list[Mesh] = []
    kind = rng.random()
    if kind < 0.12:
        return parts
    cursor = 0.0
    while cursor < span - 0.06 and len(parts) < 14:
        if rng.random() < 0.15:
            cursor += rng.uniform(0.05, 0.3)
            continue
        wide = min(
            rng.uniform(0.025, 0.12) if kind < 0.75 else rng.uniform(0.12, 0.35), span - cursor
        )
        tall = space * rng.uniform(0.45, 0.92)
        deep = dx * rng.uniform(0.5, 0.9)
        place = (x - (dx - deep) / 2 * rng.uniform(0, 1), y - span / 2 + cursor + wide / 2, z)
        parts.append(box((deep, wide, tall), place, palette.vivid(rng)))
        cursor += wide
    return parts


def open_bookshelf(rng: Rng) -> Mesh:
    """Boards between two sides, filled with books."""
    height = rng.uniform(1.2, 2.2) if rng.random() < 0.7 else rng.uniform(0.7, 1.2)
    return _shelf(rng, rng.uniform(0.22, 0.4), rng.uniform(0.5, 1.2), height, columns=1)


def wide_bookshelf(rng: Rng) -> Mesh:
    """A library wall of several columns."""
    columns = int(rng.integers(2, 4))
    width = columns * rng.uniform(0.5, 0.85)
    return _shelf(rng, rng.uniform(0.25, 0.4), width, rng.uniform(1.4, 2.3), columns=columns)


def cube_bookshelf(rng: Rng) -> Mesh:
    """A grid of cubes, like the one everybody has."""
    cell, columns, rows = rng.uniform(0.33, 0.4), int(rng.integers(2, 5)), int(rng.integers(2, 6))
    return _shelf(rng, 0.39, cell * columns, cell * rows, columns=columns, rows=rows)


def _shelf(rng: Rng, dx: float, dy: float, height: float, *, columns: int, rows: int = 0) -> Mesh:
    color, board = palette.furniture(rng), rng.uniform(0.015, 0.04)
    rows = rows or max(2, round(height / rng.uniform(0.28, 0.42)))
    foot = rng.choice([0.0, rng.uniform(0.03, 0.1)])
    uprights = np.linspace(-dy / 2 + board / 2, dy / 2 - board / 2, columns + 1)
    levels = np.linspace(foot, height - board, rows + 1)
    parts = [box((dx, board, height), (0, float(y), 0), color) for y in uprights]
    parts += [box((dx, dy, board), (0, 0, float(z)), color) for z in levels]
    if rng.random() < 0.7:
        back = palette.blend(color, (0, 0, 0), 0.15)
        parts.append(box((0.008, dy, height - foot), (-dx / 2 + 0.004, 0, foot), back))
    span = dy / columns
    full = rng.uniform(0.4, 1.0)
    for column in range(columns):
        y = (column - (columns - 1) / 2) * span
        for low, high in itertools.pairwise(levels):
            if rng.random() < full:
                at = (0.0, y, float(low) + board)
                parts += _books(rng, dx, span - 2 * board, float(high - low) - board, at)
    return Mesh.cat(parts)


def _handle(
    rng: Rng, kind: int, at: tuple[float, float, float], color: Color, *, upright: bool
) -> list[Mesh]:
    """No handle, a knob or a bar on a front at `at`."""
    if kind == 0:
        return []
    if kind == 1:
        return [box((0.03, 0.03, 0.03), at, color)]
    length = rng.uniform(0.1, 0.25)
    size = (0.03, 0.015, length) if upright else (0.03, length, 0.015)
    return [box(size, at, color)]


def _front(
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
    kind, metal = int(rng.integers(3)), palette.grey(rng, 0.1, 0.85)
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
            at = (dx / 2 + thick + 0.015, grip_y, grip_z)
            parts += _handle(rng, kind, at, metal, upright=doors)
    return parts


def _carcass(
    rng: Rng,
    size: tuple[float, float, float],
    grid: tuple[int, int],
    *,
    doors: bool,
    legs: float,
    overhang: float = 0.0,
    glass: float = 0.0,
) -> Mesh:
    """A closed body with fronts, a plinth or legs, and sometimes a top of its own."""
    dx, dy, dz = size
    color = palette.furniture(rng)
    front = color if rng.random() < 0.7 else palette.furniture(rng)
    top = rng.uniform(0.015, 0.04) if overhang > 0 or rng.random() < 0.3 else 0.0
    parts = [box((dx, dy, dz - legs - top), (0, 0, legs), palette.blend(color, (0, 0, 0), 0.1))]
    body = (dx, dy, dz - legs - top)
    parts += _front(rng, body, legs, grid, front, doors=doors, glass=glass)
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


def wardrobe(rng: Rng) -> Mesh:
    """A tall closet with one to four doors."""
    columns = int(rng.integers(1, 5))
    size = (rng.uniform(0.45, 0.65), columns * rng.uniform(0.4, 0.6), rng.uniform(1.75, 2.35))
    rows = 1 if rng.random() < 0.7 else 2
    return _carcass(rng, size, (rows, columns), doors=True, legs=rng.choice([0.0, 0.06]))


def kitchen_unit(rng: Rng) -> Mesh:
    """A base cabinet under a counter top."""
    columns = int(rng.integers(1, 5))
    size = (rng.uniform(0.52, 0.65), columns * rng.uniform(0.4, 0.6), rng.uniform(0.82, 0.95))
    doors = rng.random() < 0.7
    rows = 1 if doors else 3
    return _carcass(
        rng, size, (rows, columns), doors=doors, legs=rng.uniform(0.05, 0.085), overhang=0.02
    )


def wall_unit(rng: Rng) -> Mesh:
    """An upper cabinet; the layout hangs it on a wall."""
    columns = int(rng.integers(1, 5))
    size = (rng.uniform(0.3, 0.4), columns * rng.uniform(0.35, 0.5), rng.uniform(0.45, 0.8))
    return _carcass(rng, size, (1, columns), doors=True, legs=0.0)


def file_cabinet(rng: Rng) -> Mesh:
    """A steel cabinet of two to four drawers."""
    rows = int(rng.integers(2, 5))
    size = (rng.uniform(0.45, 0.65), rng.uniform(0.38, 0.5), 0.1 + rows * rng.uniform(0.27, 0.33))
    return _carcass(rng, size, (rows, 1), doors=False, legs=0.03)


def sideboard(rng: Rng) -> Mesh:
    """A low, wide cabinet with doors or drawers, sometimes with glass."""
    columns = int(rng.integers(2, 5))
    size = (rng.uniform(0.35, 0.55), columns * rng.uniform(0.38, 0.55), rng.uniform(0.6, 1.15))
    glass = 0.5 if rng.random() < 0.12 else 0.0
    legs = rng.choice([0.0, 0.05, rng.uniform(0.1, 0.2)])
    return _carcass(rng, size, (1, columns), doors=True, legs=legs, glass=glass)


def drawer_night_stand(rng: Rng) -> Mesh:
    """A small block of drawers beside a bed."""
    size = (rng.uniform(0.32, 0.48), rng.uniform(0.36, 0.6), rng.uniform(0.42, 0.7))
    legs = rng.choice([0.0, 0.05, rng.uniform(0.1, 0.2)])
    return _carcass(
        rng, size, (int(rng.integers(1, 4)), 1), doors=False, legs=legs, overhang=0.015
    )


def open_night_stand(rng: Rng) -> Mesh:
    """A drawer over an open shelf."""
    dx, dy, height = rng.uniform(0.32, 0.45), rng.uniform(0.36, 0.55), rng.uniform(0.45, 0.7)
    color, drawer = palette.furniture(rng), rng.uniform(0.12, 0.2)
    parts = [box((dx, dy, drawer), (0, 0, height - drawer), color)]
    parts += _front(rng, (dx, dy, drawer), height - drawer, (1, 1), color, doors=False)
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
    size = (rng.uniform(0.4, 0.56), rng.uniform(1.0, 1.7), rng.uniform(0.7, 1.0))
    legs = rng.choice([0.0, 0.06, rng.uniform(0.1, 0.18)])
    return _carcass(rng, size, (rows, columns), doors=False, legs=legs, overhang=0.02)


def tall_dresser(rng: Rng) -> Mesh:
    """A tall boy: one column of four to six drawers."""
    size = (rng.uniform(0.4, 0.52), rng.uniform(0.65, 1.0), rng.uniform(0.95, 1.35))
    legs = rng.choice([0.0, 0.06, rng.uniform(0.1, 0.15)])
    rows = int(rng.integers(4, 7))
    return _carcass(rng, size, (rows, 1), doors=False, legs=legs, overhang=0.02)


def upright_refrigerator(rng: Rng) -> Mesh:
    """One door, or freezer and fridge above each other."""
    size = (rng.uniform(0.55, 0.72), rng.uniform(0.54, 0.78), rng.uniform(1.4, 1.95))
    split = rng.choice([1.0, rng.uniform(0.28, 0.4), rng.uniform(0.6, 0.75)])
    return _fridge(
        rng, size, [(0.0, float(split))] + ([(float(split), 1.0)] if split < 1 else []), 1
    )


def double_refrigerator(rng: Rng) -> Mesh:
    """Two doors side by side, or over a drawer."""
    size = (rng.uniform(0.65, 0.8), rng.uniform(0.83, 0.95), rng.uniform(1.7, 1.85))
    rows = [(0.0, 1.0)] if rng.random() < 0.5 else [(0.0, 0.35), (0.35, 1.0)]
    return _fridge(rng, size, rows, 2)


def small_refrigerator(rng: Rng) -> Mesh:
    """A bar fridge."""
    size = (rng.uniform(0.44, 0.6), rng.uniform(0.44, 0.6), rng.uniform(0.5, 0.9))
    return _fridge(rng, size, [(0.0, 1.0)], 1)


def _fridge(
    rng: Rng, size: tuple[float, float, float], rows: list[tuple[float, float]], columns: int
) -> Mesh:
    dx, dy, dz = size
    kind = rng.random()
    color = palette.white(rng) if kind < 0.5 else palette.grey(rng, 0.4, 0.75)
    if kind > 0.88:
        color = palette.grey(rng, 0.03, 0.12)
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
