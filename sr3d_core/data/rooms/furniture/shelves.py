"""Bookshelves with what stands on them. Their open side is +x."""

from __future__ import annotations

import itertools

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, box

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
    height = rng.uniform(1.2, 2.4) if rng.random() < 0.65 else rng.uniform(0.5, 1.2)
    return _shelf(rng, rng.uniform(0.2, 0.5), rng.uniform(0.4, 1.25), height, columns=1)


def wide_bookshelf(rng: Rng) -> Mesh:
    """A library wall of several columns."""
    columns = int(rng.integers(2, 4))
    width = columns * rng.uniform(0.45, 0.9)
    return _shelf(rng, rng.uniform(0.22, 0.5), width, rng.uniform(0.8, 2.5), columns=columns)


def cube_bookshelf(rng: Rng) -> Mesh:
    """A grid of cubes, like the one everybody has."""
    cell, columns, rows = rng.uniform(0.3, 0.42), int(rng.integers(1, 5)), int(rng.integers(2, 6))
    deep = rng.uniform(0.28, 0.45)
    return _shelf(rng, deep, cell * columns, cell * rows, columns=columns, rows=rows)


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
