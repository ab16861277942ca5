"""Sinks: those that stand on the floor, and basins for counters, vanities and walls.

As ScanNet labels them: in a counter or a cabinet the sink is the basin with its tap; on a pedestal
or on legs it is the whole. A basin's rim is its widest level (`rim_height`); what lies below the
rim sinks into the counter.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, beam, box, cylinder, loft, ring

Rng = np.random.Generator


def rim_height(mesh: Mesh) -> float:
    """How high the rim of a basin lies above its lowest point, metres.

    The rim is the highest that reaches as far along y as the whole basin, within 1 cm.
    """
    low, high = mesh.bounds
    y = mesh.vertices[:, 1]
    is_outermost = np.minimum(y - low[1], high[1] - y) < 0.01
    return float(mesh.vertices[is_outermost, 2].max() - low[2])


def _tap(
    rng: Rng, base: tuple[float, float, float], reach: float, highest: float = 0.18
) -> list[Mesh]:
    """A spout from `base` towards +x, with a lever or two handles."""
    metal, rise, (x, y, z) = palette.grey(rng, 0.5, 0.9), rng.uniform(0.07, highest), base
    parts = [
        cylinder(0.018, rise, base, metal, n=6),
        beam((x, y, z + rise), (x + reach, y, z + rise * 0.95), 0.025, 0.025, metal),
    ]
    if rng.random() < 0.5:
        return [*parts, box((0.06, 0.02, 0.015), (x, y, z + rise), metal)]
    return parts + [cylinder(0.02, 0.05, (x, y + s * 0.09, z), metal, n=6) for s in (-1, 1)]


def _basin(
    size: tuple[float, float], deep: float, color: Color, *, power: float, lip: float, taper: float
) -> Mesh:
    """A bowl of `deep` metres with a lip around its rim, open at the top; its rim at z = 0."""
    a, b = size[0] / 2, size[1] / 2
    rings = np.stack(
        [
            ring(a * taper, b * taper, -deep, power=power),
            ring(a - lip / 2, b - lip / 2, -0.025, power=power),
            ring(a, b, -0.012, power=power),
            ring(a, b, 0.0, power=power),
            ring(a - lip, b - lip, -0.004, power=power),
            ring((a - lip) * taper, (b - lip) * taper, -deep + 0.015, power=power),
        ]
    )
    return loft(rings, color, bottom=True, top=True)


def _ceramic_or_steel(rng: Rng) -> Color:
    return palette.white(rng) if rng.random() < 0.6 else palette.grey(rng, 0.45, 0.75)


def inset_sink(rng: Rng) -> Mesh:
    """A basin with its tap for a hole in a counter or a vanity."""
    dx, dy, deep = rng.uniform(0.32, 0.5), rng.uniform(0.34, 0.65), rng.uniform(0.1, 0.22)
    basin = _basin(
        (dx, dy),
        deep,
        _ceramic_or_steel(rng),
        power=float(rng.choice([2.0, 4.0, 10.0])),
        lip=0.03,
        taper=rng.uniform(0.6, 0.9),
    )
    return Mesh.cat([basin, *_tap(rng, (-dx / 2 + 0.02, 0, 0), dx * rng.uniform(0.25, 0.5))])


def kitchen_sink(rng: Rng) -> Mesh:
    """One or two deep rectangular basins of steel or stone, perhaps with a draining board."""
    dx, dy, deep = rng.uniform(0.38, 0.52), rng.uniform(0.36, 0.5), rng.uniform(0.14, 0.24)
    color = palette.grey(rng, 0.3, 0.8) if rng.random() < 0.8 else palette.white(rng)
    bowl = _basin((dx, dy), deep, color, power=10.0, lip=0.025, taper=rng.uniform(0.8, 0.95))
    kind = rng.random()
    if kind < 0.35:
        parts = [bowl]
    elif kind < 0.7:
        parts = [bowl.shifted((0, s * (dy / 2 - 0.005), 0)) for s in (-1, 1)]
    else:
        board = dy * rng.uniform(0.6, 1.0)
        side = float(rng.choice([-1, 1]))
        parts = [bowl, box((dx, board, 0.012), (0, side * (dy + board) / 2, -0.012), color)]
    return Mesh.cat([*parts, *_tap(rng, (-dx / 2 + 0.02, 0, 0), dx * 0.45, 0.35)])


def vessel_sink(rng: Rng) -> Mesh:
    """A bowl that stands on a vanity, its tap behind it."""
    dx, dy, deep = rng.uniform(0.3, 0.44), rng.uniform(0.34, 0.6), rng.uniform(0.1, 0.17)
    color = palette.white(rng) if rng.random() < 0.8 else palette.vivid(rng)
    power = float(rng.choice([2.0, 5.0]))
    basin = _basin((dx, dy), deep, color, power=power, lip=0.02, taper=rng.uniform(0.55, 0.95))
    return Mesh.cat([basin, *_tap(rng, (-dx / 2 - 0.03, 0, -deep), dx * 0.4)])


def wall_sink(rng: Rng) -> Mesh:
    """A basin that hangs on a wall, often without anything below."""
    dx, dy, deep = rng.uniform(0.25, 0.52), rng.uniform(0.35, 0.7), rng.uniform(0.12, 0.2)
    color, power = palette.white(rng), float(rng.choice([3.0, 8.0]))
    basin = _basin((dx, dy), deep, color, power=power, lip=0.04, taper=rng.uniform(0.5, 0.9))
    back = box((0.06, dy * 0.7, 0.1), (-dx / 2 + 0.03, 0, -0.1), color)
    return Mesh.cat([basin, back, *_tap(rng, (-dx / 2 + 0.04, 0, 0), dx * 0.35)])


def pedestal_sink(rng: Rng) -> Mesh:
    """A wash basin on a column."""
    height, stem = rng.uniform(0.76, 0.92), rng.uniform(0.07, 0.12)
    basin = wall_sink(rng)
    column = cylinder(stem, height - 0.1, (-0.05, 0, 0), palette.white(rng), top_radius=stem * 0.8)
    return Mesh.cat([basin.shifted((0, 0, height)), column])


def utility_sink(rng: Rng) -> Mesh:
    """A deep tub on legs, as in a laundry or a workshop."""
    dx, dy = rng.uniform(0.45, 0.65), rng.uniform(0.45, 0.8)
    height, deep = rng.uniform(0.78, 0.95), rng.uniform(0.22, 0.36)
    color = palette.white(rng) if rng.random() < 0.6 else palette.grey(rng, 0.4, 0.7)
    tub = _basin((dx, dy), deep, color, power=10.0, lip=0.03, taper=0.85)
    legs = [
        beam((x, y, 0), (x * 0.95, y * 0.95, height - 0.03), 0.04, 0.04, color)
        for x in (-dx * 0.42, dx * 0.42)
        for y in (-dy * 0.42, dy * 0.42)
    ]
    spout = _tap(rng, (-dx / 2 + 0.02, 0, height), dx * 0.4)
    return Mesh.cat([tub.shifted((0, 0, height)), *legs, *spout])
