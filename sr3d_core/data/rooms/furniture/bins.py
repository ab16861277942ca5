"""Garbage bins, from the paper basket to the wheelie bin."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import (
    Color,
    Mesh,
    box,
    cylinder,
    loft,
    ring,
    turn_x,
)

Rng = np.random.Generator


def _color(rng: Rng) -> Color:
    kind = rng.random()
    if kind < 0.5:
        return palette.grey(rng)
    return palette.white(rng) if kind < 0.65 else palette.vivid(rng)


def _hollow(
    bottom: tuple[float, float],
    top: tuple[float, float],
    height: float,
    color: Color,
    *,
    filled: float,
    power: float,
) -> Mesh:
    """An open vessel, widths (x, y) at its ends; its contents reach up to the share `filled`."""
    (ax, ay), (bx, by) = np.array(bottom) / 2, np.array(top) / 2
    inside = bx - 0.008, by - 0.008
    deep_x, deep_y = (
        (narrow + filled * (wide - narrow)) * 0.96 for narrow, wide in ((ax, bx), (ay, by))
    )
    rings = [
        ring(ax, ay, 0.0, power=power),
        ring(bx, by, height, power=power),
        ring(*inside, height, power=power),
        ring(deep_x, deep_y, max(0.01, filled * height), power=power),
    ]
    return loft(np.stack(rings), color, bottom=True, top=True)


def paper_basket(rng: Rng) -> Mesh:
    """A small open bin, round or square, that may hold paper or a liner over its rim."""
    width, height = rng.uniform(0.18, 0.36), rng.uniform(0.2, 0.45)
    deep, narrow = width * rng.uniform(0.7, 1.0), rng.uniform(0.65, 0.95)
    is_round = rng.random() < 0.5
    top = (width, width) if is_round else (deep, width)
    bottom = (top[0] * narrow, top[1] * narrow)
    filled = rng.uniform(0.05, 0.8)
    power = 2.0 if is_round else 8.0
    parts = [_hollow(bottom, top, height, _color(rng), filled=filled, power=power)]
    if rng.random() < 0.3:
        a, b = top[0] / 2 + 0.006, top[1] / 2 + 0.006
        lip = np.stack([ring(a, b, height * 0.75, power=power), ring(a, b, height, power=power)])
        parts.append(loft(lip, palette.white(rng), bottom=False, top=False))
    return Mesh.cat(parts)


def pedal_bin(rng: Rng) -> Mesh:
    """A round or square bin of the kitchen with a lid and a pedal in front."""
    height, width = rng.uniform(0.28, 0.72), rng.uniform(0.2, 0.42)
    deep, power = width * rng.uniform(0.7, 1.0), float(rng.choice([2.0, 6.0]))
    color, dark = _color(rng), palette.grey(rng, 0.03, 0.4)
    a, b = deep / 2, width / 2
    lid = [(1.0, height - 0.06), (0.97, height - 0.02), (0.6, height)]
    body = np.stack([ring(a, b, 0.0, power=power), ring(a, b, height - 0.06, power=power)])
    top = np.stack([ring(a * s, b * s, z, power=power) for s, z in lid])
    return Mesh.cat(
        [
            loft(body, color, bottom=True, top=False),
            loft(top, dark if rng.random() < 0.5 else color, bottom=False, top=True),
            box((0.05, 0.08, 0.015), (a + 0.015, 0, 0.02), dark),
        ]
    )


def swing_bin(rng: Rng) -> Mesh:
    """A tall tapered bin of an office or a corridor, its lid a hood with a flap, or a hole."""
    height, width = rng.uniform(0.45, 0.95), rng.uniform(0.26, 0.5)
    deep, hood = width * rng.uniform(0.65, 1.0), height * rng.uniform(0.15, 0.3)
    color, cover = _color(rng), _color(rng)
    a, b = deep / 2, width / 2
    body = np.stack([ring(a * 0.8, b * 0.8, 0, power=8.0), ring(a, b, height - hood, power=8.0)])
    top = np.stack(
        [ring(a, b, height - hood, power=8.0), ring(a * 0.35, b * 0.9, height, power=8.0)]
    )
    flap = box((0.01, width * 0.6, hood * 0.6), (a * 0.7, 0, height - hood * 0.9), (0.1, 0.1, 0.1))
    return Mesh.cat(
        [
            loft(body, color, bottom=True, top=False),
            loft(top, cover, bottom=False, top=True),
            flap,
        ]
    )


def wheelie_bin(rng: Rng) -> Mesh:
    """A container on two wheels with a hinged lid, its handle at the back."""
    height, width = rng.uniform(0.75, 1.1), rng.uniform(0.42, 0.6)
    deep = width * rng.uniform(1.0, 1.25)
    color, dark = palette.vivid(rng) if rng.random() < 0.6 else palette.grey(rng), (0.08,) * 3
    a, b, rim = deep / 2, width / 2, height - 0.08
    body = np.stack(
        [
            ring(a * 0.75, b * 0.85, 0.03, power=8.0),
            ring(a, b, rim, power=8.0),
        ]
    )
    wheel = cylinder(0.1, 0.05, (0, 0, 0), dark).turned(turn_x(np.pi / 2))
    lid = box((deep * 1.03, width * 1.04, 0.04), (0, 0, 0), color)
    tilt = rng.uniform(0, 0.08)
    return Mesh.cat(
        [
            loft(body, palette.blend(color, (0, 0, 0), 0.1), bottom=True, top=True),
            lid.turned(np.array([[1, 0, tilt], [0, 1, 0], [-tilt, 0, 1]])).shifted((0, 0, rim)),
            box((0.05, width * 0.8, 0.04), (-a - 0.03, 0, rim - 0.02), color),
            *(wheel.shifted((-a * 0.7, s * b * 0.9 + 0.025, 0.1)) for s in (-1, 1)),
        ]
    )


def lined_can(rng: Rng) -> Mesh:
    """A round can without a lid, or an oil drum of a bin: .4 to 1 m high."""
    height, width = rng.uniform(0.4, 0.95), rng.uniform(0.28, 0.55)
    narrow = rng.uniform(0.8, 1.0)
    return _hollow(
        (width * narrow, width * narrow),
        (width, width),
        height,
        _color(rng),
        filled=rng.uniform(0.1, 0.9),
        power=2.0,
    )
