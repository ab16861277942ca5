"""Toilets and bathtubs as lofted bowls. A toilet's tank and a tub's wall side are at -x."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cushion, cylinder, loft, ring, turn_y

Rng = np.random.Generator


def _bowl(rng: Rng, length: float, width: float, seat: float, foot: float) -> Mesh:
    """Outside of a toilet bowl, rim, and the hollow inside; its middle at x = 0."""
    color = palette.white(rng)
    a, b = length / 2, width / 2
    waist = rng.uniform(0.5, 0.8)
    outer = np.stack(
        [
            ring(a * waist, b * waist, foot) - np.array([a * (1 - waist) * 0.6, 0, 0]),
            ring(a * waist, b * waist * 0.95, seat * 0.45 + foot * 0.5)
            - np.array([a * 0.1, 0, 0]),
            ring(a, b, seat * 0.85),
            ring(a, b, seat),
            ring(a * 0.72, b * 0.68, seat),
            ring(a * 0.5, b * 0.45, seat - 0.14),
        ]
    )
    return loft(outer, color, bottom=True, top=True)


def _lid(rng: Rng, length: float, width: float, seat: float) -> list[Mesh]:
    """A seat and lid: closed, or leaning against the tank."""
    color = palette.white(rng) if rng.random() < 0.85 else palette.vivid(rng)
    a, b = length / 2, width / 2
    rings = np.stack([ring(a, b, 0.0), ring(a, b, 0.03)])
    lid = loft(rings, color, bottom=True, top=True)
    if rng.random() < 0.6:
        return [lid.moved(z=seat)]
    upright = lid.shifted((a, 0, 0)).turned(turn_y(-np.pi / 2 - rng.uniform(-0.05, 0.15)))
    return [upright.moved(x=-a + 0.02, z=seat)]


def tank_toilet(rng: Rng) -> Mesh:
    """A bowl with the tank behind it."""
    length, width = rng.uniform(0.37, 0.57), rng.uniform(0.32, 0.42)
    seat, color = rng.uniform(0.34, 0.5), palette.white(rng)
    tank = (rng.uniform(0.12, 0.26), rng.uniform(0.34, 0.56), rng.uniform(0.26, 0.46))
    x = -length / 2 - tank[0] / 2 + 0.03
    parts = [
        _bowl(rng, length, width, seat, 0.0),
        *_lid(rng, length, width, seat),
        cushion(tank, (x, 0, seat - 0.02), color, soft=0.08),
        box((tank[0] + 0.02, tank[1] + 0.02, 0.03), (x, 0, seat + tank[2] - 0.02), color),
        box((0.2, width * 0.6, seat), (x + 0.05, 0, 0), color),
        box((0.04, 0.06, 0.015), (x, 0, seat + tank[2] + 0.01), palette.grey(rng, 0.5, 0.9)),
    ]
    return Mesh.cat(parts)


def wall_toilet(rng: Rng) -> Mesh:
    """A bowl that hangs on the wall or stands without a tank."""
    length, width = rng.uniform(0.4, 0.62), rng.uniform(0.32, 0.42)
    seat = rng.uniform(0.36, 0.5)
    foot = rng.choice([0.0, rng.uniform(0.05, 0.12)])
    block = box(
        (0.12, width * 0.75, seat * 0.85 - foot), (-length / 2, 0, foot), palette.white(rng)
    )
    mesh = Mesh.cat(
        [_bowl(rng, length, width, seat, foot), *_lid(rng, length, width, seat), block]
    )
    return mesh


def one_piece_toilet(rng: Rng) -> Mesh:
    """A smooth one-piece with a low tank."""
    length, width = rng.uniform(0.44, 0.6), rng.uniform(0.33, 0.43)
    seat, color = rng.uniform(0.34, 0.46), palette.white(rng)
    deep = rng.uniform(0.16, 0.28)
    rise = rng.uniform(0.14, 0.36)
    rings = np.stack(
        [
            ring(deep / 2 + 0.1, width * 0.4, 0.0, power=4.0),
            ring(deep / 2, width * 0.55, seat, power=4.0),
            ring(deep / 2, width * 0.55, seat + rise, power=4.0),
        ]
    )
    tank = loft(rings, color, bottom=True, top=True).moved(x=-length / 2 - deep / 2 + 0.05)
    bowl = _bowl(rng, length, width, seat, 0.0)
    return Mesh.cat([bowl, tank, *_lid(rng, length, width, seat)])


def built_in_tub(rng: Rng) -> Mesh:
    """A rectangular tub with an apron and a hollow."""
    dx, dy, height = rng.uniform(0.6, 0.95), rng.uniform(1.15, 1.95), rng.uniform(0.36, 0.66)
    rim, deep = rng.uniform(0.05, 0.1), height * rng.uniform(0.55, 0.8)
    a, b = dx / 2, dy / 2
    inner = rng.uniform(2.5, 5.0)
    rings = np.stack(
        [
            ring(a, b, 0.0, n=16, power=60.0),
            ring(a, b, height, n=16, power=60.0),
            ring(a - rim, b - rim, height, n=16, power=inner),
            ring((a - rim) * 0.75, (b - rim) * 0.82, height - deep, n=16, power=inner),
        ]
    )
    return Mesh.cat(
        [loft(rings, palette.white(rng), bottom=False, top=True), *_tap(rng, dy, height)]
    )


def _tap(rng: Rng, dy: float, height: float) -> list[Mesh]:
    metal = palette.grey(rng, 0.5, 0.85)
    side = rng.choice([-1.0, 1.0])
    y = float(side * (dy / 2 - 0.05))
    return [
        cylinder(0.02, 0.05, (0, y, height), metal, n=6),
        box((0.03, 0.14, 0.025), (0, y - side * 0.06, height + 0.03), metal),
    ]


def oval_tub(rng: Rng) -> Mesh:
    """A free-standing tub."""
    dx, dy, height = rng.uniform(0.65, 0.95), rng.uniform(1.35, 1.95), rng.uniform(0.45, 0.75)
    a, b = dx / 2, dy / 2
    low, foot = rng.uniform(0.65, 0.85), rng.choice([0.0, 0.1])
    rings = np.stack(
        [
            ring(a * low, b * low, float(foot), n=16, power=2.5),
            ring(a * (low + 1) / 2, b * (low + 1) / 2, height * 0.5, n=16, power=2.5),
            ring(a, b, height, n=16, power=2.5),
            ring(a - 0.05, b - 0.05, height, n=16, power=2.5),
            ring((a - 0.06) * low, (b - 0.06) * low, foot + 0.12, n=16, power=2.5),
        ]
    )
    color = palette.white(rng)
    parts = [loft(rings, color, bottom=True, top=True)]
    if foot > 0:
        parts += [
            cylinder(0.03, 0.12, (i * a * 0.4, j * b * 0.5, 0), palette.grey(rng), n=6)
            for i in (-1, 1)
            for j in (-1, 1)
        ]
    return Mesh.cat(parts)


def corner_tub(rng: Rng) -> Mesh:
    """A short, wide tub with panelled sides."""
    dx, dy, height = rng.uniform(0.85, 1.5), rng.uniform(1.05, 1.6), rng.uniform(0.4, 0.66)
    a, b = dx / 2, dy / 2
    rings = np.stack(
        [
            ring(a, b, 0.0, n=16, power=6.0),
            ring(a, b, height, n=16, power=6.0),
            ring(a - 0.12, b - 0.12, height, n=16, power=2.5),
            ring(a * 0.55, b * 0.6, 0.15, n=16, power=2.5),
        ]
    )
    return Mesh.cat(
        [loft(rings, palette.white(rng), bottom=False, top=True), *_tap(rng, dy, height)]
    )


def sitz_tub(rng: Rng) -> Mesh:
    """A short, high tub to sit in, or one to walk into."""
    dx, dy, height = rng.uniform(0.6, 0.85), rng.uniform(0.95, 1.3), rng.uniform(0.55, 0.95)
    a, b, rim = dx / 2, dy / 2, rng.uniform(0.05, 0.12)
    rings = np.stack(
        [
            ring(a, b, 0.0, n=16, power=12.0),
            ring(a, b, height, n=16, power=12.0),
            ring(a - rim, b - rim, height, n=16, power=4.0),
            ring((a - rim) * 0.85, (b - rim) * 0.7, height * 0.45, n=16, power=4.0),
        ]
    )
    return Mesh.cat(
        [loft(rings, palette.white(rng), bottom=False, top=True), *_tap(rng, dy, height)]
    )
