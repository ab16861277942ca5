"""Doors and windows: their backs at -x, as they sit in or on a wall that looks towards +x.

As ScanNet labels them: a door is its leaf, or both leaves of a closed double door; a window is all
within its outer frame. Casings of doors belong to the wall and are made with it. A leaf's handle
is at +y and its hinge at -y.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.material import Material, Paint
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, cylinder, quad

Rng = np.random.Generator

_GLASS: Color = Paint((0.75, 0.85, 0.95), Material.GLASS)
_GLASS_ABSORBS = 0.93


def _handles(rng: Rng, thick: float, y: float) -> list[Mesh]:
    """Levers or knobs on both faces of a leaf, at `y` across it."""
    metal, up, out = (
        palette.grey(rng, 0.2, 0.8),
        rng.uniform(0.92, 1.08),
        rng.uniform(0.025, 0.045),
    )
    is_lever = rng.random() < 0.7
    size = (0.02, 0.12, 0.02) if is_lever else (0.03, 0.05, 0.05)
    inward = -0.04 * np.sign(y) if is_lever else 0.0
    return [
        part
        for side in (-1, 1)
        for part in (
            box((out, 0.02, 0.02), (side * (thick + out) / 2, y, up), metal),
            box(size, (side * (thick / 2 + out), y + inward, up), metal),
        )
    ]


def _size(rng: Rng) -> tuple[float, float, float]:
    """Thickness, width and height of a leaf, metres."""
    return rng.uniform(0.035, 0.06), rng.uniform(0.6, 1.1), rng.uniform(1.9, 2.3)


def flush_door(rng: Rng) -> Mesh:
    """A plain leaf."""
    thick, width, height = _size(rng)
    leaf = box((thick, width, height), (0, 0, 0), palette.furniture(rng))
    return Mesh.cat([leaf, *_handles(rng, thick, width / 2 - 0.08)])


def panel_door(rng: Rng) -> Mesh:
    """Stiles and rails around panels that lie deeper, wooden or of glass."""
    size, rows = _size(rng), int(rng.integers(1, 5))
    glazed = rng.random() < 0.35
    leaf = _panelled(rng, size, (rows, int(rng.integers(1, 3))), palette.furniture(rng), glazed)
    return Mesh.cat([leaf, *_handles(rng, size[0], size[1] / 2 - 0.06)])


def glass_door(rng: Rng) -> Mesh:
    """A pane in a narrow frame, as to a balcony or an office."""
    size = _size(rng)
    leaf = _panelled(rng, size, (1, 1), palette.grey(rng, 0.1, 0.9), True)
    return Mesh.cat([leaf, *_handles(rng, size[0], size[1] / 2 - 0.05)])


def double_door(rng: Rng) -> Mesh:
    """Two leaves, closed."""
    thick, width, height = _size(rng)
    size, color = (thick, max(0.6, width * 0.85), height), palette.furniture(rng)
    glazed, rows = rng.random() < 0.4, int(rng.integers(1, 4))
    leaf = _panelled(rng, size, (rows, 1), color, glazed)
    pair = [leaf.shifted((0, side * (size[1] / 2 + 0.003), 0)) for side in (-1, 1)]
    return Mesh.cat([*pair, *_handles(rng, thick, 0.08), *_handles(rng, thick, -0.08)])


def sliding_door(rng: Rng) -> Mesh:
    """Two or three wide leaves in tracks behind each other: to a terrace, or of a closet."""
    count, width, height = int(rng.integers(2, 4)), rng.uniform(0.6, 1.1), rng.uniform(1.95, 2.4)
    glazed = rng.random() < 0.5
    color = palette.grey(rng, 0.1, 0.9) if glazed else palette.furniture(rng)
    leaf = _panelled(rng, (0.035, width, height), (1, 1), color, glazed)
    pitch = width - 0.05
    return Mesh.cat(
        [
            leaf.shifted((0.02 if k % 2 else -0.02, (k - (count - 1) / 2) * pitch, 0))
            for k in range(count)
        ]
    )


def _panelled(
    rng: Rng, size: tuple[float, float, float], grid: tuple[int, int], color: Color, glazed: bool
) -> Mesh:
    """Bars around (rows, columns) of panels; standing on z = 0."""
    thick, width, height = size
    bar, (rows, columns) = min(rng.uniform(0.05, 0.14), width / 6), grid
    parts = [
        box((thick, bar, height), (0, float(y), 0), color)
        for y in np.linspace(-(width - bar) / 2, (width - bar) / 2, columns + 1)
    ]
    parts += [
        box((thick, width, bar), (0, 0, float(z)), color)
        for z in np.linspace(0, height - bar, rows + 1)
    ]
    tint = _GLASS if glazed else palette.blend(color, (0, 0, 0), rng.uniform(0, 0.15))
    a, b = (width - bar) / 2, height - bar / 2
    pane = [(0, -a, bar / 2), (0, a, bar / 2), (0, a, b), (0, -a, b)]
    return Mesh.cat([*parts, quad(pane, tint, _GLASS_ABSORBS if glazed else 0.0)])


def small_window(rng: Rng) -> Mesh:
    """One sash, as in a bathroom or a stairwell."""
    return _window(rng, rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.3), 1)


def casement_window(rng: Rng) -> Mesh:
    """One to three sashes beside each other."""
    columns = int(rng.integers(1, 4))
    width = float(np.clip(columns * rng.uniform(0.4, 0.8), 0.6, 2.0))
    return _window(rng, width, rng.uniform(0.9, 1.7), columns)


def wide_window(rng: Rng) -> Mesh:
    """A row of panes along a wall, sometimes down to the floor."""
    columns = int(rng.integers(2, 6))
    height = rng.uniform(1.9, 2.3) if rng.random() < 0.25 else rng.uniform(0.8, 1.7)
    return _window(rng, rng.uniform(1.6, 3.0), height, columns)


def _window(rng: Rng, width: float, height: float, columns: int) -> Mesh:
    """A frame, bars between panes that answer no depth sensor, and now and then a blind."""
    deep, bar = rng.uniform(0.04, 0.12), rng.uniform(0.04, 0.09)
    color = palette.white(rng) if rng.random() < 0.7 else palette.furniture(rng)
    rows = 2 if rng.random() < 0.3 else 1
    parts = [
        box((deep, bar, height), (0, float(y), 0), color)
        for y in np.linspace(-(width - bar) / 2, (width - bar) / 2, columns + 1)
    ]
    parts += [
        box((deep, width, bar), (0, 0, float(z)), color)
        for z in np.linspace(0, height - bar, rows + 1)
    ]
    a, b = (width - bar) / 2, height - bar / 2
    x = -deep / 4
    pane = [(x, -a, bar / 2), (x, a, bar / 2), (x, a, b), (x, -a, b)]
    parts.append(quad(pane, _GLASS, _GLASS_ABSORBS))
    if rng.random() < 0.25:
        parts.append(_blind(rng, 2 * a, height, deep))
    if rng.random() < 0.5:
        grip = float(rng.choice([-1, 1])) * (width / 2 - bar / 2)
        parts.append(cylinder(0.012, 0.12, (deep / 2 + 0.012, grip, height * 0.45), color, n=5))
    return Mesh.cat(parts)


def _blind(rng: Rng, width: float, height: float, deep: float) -> Mesh:
    """A roller blind or slats, drawn down part of the way within the frame."""
    tone, drop, x = palette.white(rng), height * rng.uniform(0.15, 0.95), deep / 2 - 0.012
    if rng.random() < 0.5:
        return box((0.01, width, drop), (x, 0, height - drop), tone)
    levels = np.arange(height - drop, height, max(0.06, drop / 16))
    slats = [
        quad(
            [
                (x - 0.01, -width / 2, z),
                (x - 0.01, width / 2, z),
                (x + 0.01, width / 2, z + 0.04),
                (x + 0.01, -width / 2, z + 0.04),
            ],
            tone,
        )
        for z in np.minimum(levels, height - 0.04).tolist()
    ]
    return Mesh.cat(slats)
