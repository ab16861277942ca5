"""Sofas and upholstered armchairs. Front is +x."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, cushion, turn_y

Rng = np.random.Generator


def upholstered(rng: Rng, seats: float, seats_count: int) -> Mesh:
    """A sofa body of `seats_count` seats, each `seats` metres wide."""
    inner = seats * seats_count
    depth, seat = rng.uniform(0.72, 1.0), rng.uniform(0.36, 0.47)
    if seats_count == 1:
        depth = rng.uniform(0.6, 0.9)
    height = seat + rng.uniform(0.28, 0.55)
    arm = rng.uniform(0.06, 0.24) if rng.random() < 0.88 else 0.0
    arm_height = seat + rng.uniform(0.08, 0.24)
    back = rng.uniform(0.12, 0.26)
    foot = rng.choice([0.0, rng.uniform(0.04, 0.16)])
    color = palette.fabric(rng)
    pad = color if rng.random() < 0.8 else palette.blend(color, palette.fabric(rng), 0.5)
    width = inner + 2 * arm
    parts = [box((depth * 0.96, width * 0.98, seat * 0.6 - foot), (0, 0, foot), color)]
    if foot > 0:
        leg = palette.wood(rng)
        parts += [
            box((0.05, 0.05, foot), (a * (depth / 2 - 0.08), b * (width / 2 - 0.08), 0), leg)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
    rest = cushion((back, width, height - foot), (0, 0, 0), color, soft=0.12)
    parts.append(rest.turned(turn_y(-rng.uniform(0, 0.12))).moved(x=-(depth - back) / 2, z=foot))
    for k in range(seats_count):
        y = (k - (seats_count - 1) / 2) * seats
        parts.append(
            cushion((depth - back, seats * 0.98, seat * 0.42), (back / 2, y, seat * 0.58), pad)
        )
        loose = cushion((0.16, seats * 0.94, height - seat), (0, 0, 0), pad)
        if rng.random() < 0.7:
            x = -depth / 2 + back + 0.05
            parts.append(loose.turned(turn_y(-0.2)).moved(x=x, y=y, z=seat - 0.02))
    if arm > 0:
        parts += [
            cushion(
                (depth * 0.97, arm, arm_height - foot),
                (0, s * (inner + arm) / 2, foot),
                color,
                soft=0.2,
            )
            for s in (-1, 1)
        ]
    return Mesh.cat([*parts, *_throw_pillows(rng, inner, seat, -depth / 2 + back + 0.15)])


def _throw_pillows(rng: Rng, width: float, seat: float, x: float) -> list[Mesh]:
    parts = []
    for _ in range(int(rng.integers(0, 4)) if width > 0.8 else 0):
        edge = rng.uniform(0.35, 0.5)
        pillow = cushion((0.14, edge, edge), (0, 0, 0), palette.fabric(rng))
        y = rng.uniform(-0.4, 0.4) * (width - edge)
        parts.append(
            pillow.turned(turn_y(-0.3)).moved(x=x, y=y, z=seat, yaw=rng.uniform(-0.4, 0.4))
        )
    return parts


def armchair(rng: Rng) -> Mesh:
    """One upholstered seat between two arms."""
    return upholstered(rng, seats=rng.uniform(0.48, 0.65), seats_count=1)


def straight_sofa(rng: Rng) -> Mesh:
    """Two or three, seldom four, seats in a row."""
    count = int(rng.choice([2, 3, 4], p=[0.48, 0.44, 0.08]))
    return upholstered(rng, seats=rng.uniform(0.52, 0.75), seats_count=count)


def corner_sofa(rng: Rng) -> Mesh:
    """A sofa with a chaise on one side."""
    count = int(rng.integers(2, 4))
    seats = rng.uniform(0.55, 0.75)
    body = upholstered(rng, seats, count)
    low, high = body.bounds
    color: Color = tuple(float(c) for c in body.color[0])  # type: ignore[assignment]
    seat = rng.uniform(0.38, 0.45)
    reach = rng.uniform(0.5, 0.95)
    side = rng.choice([-1.0, 1.0])
    wide = rng.uniform(0.7, 0.95)
    y = side * ((high[1] - low[1]) / 2 - wide / 2)
    chaise = cushion((reach + 0.3, wide, seat), (float(high[0]) + reach / 2 - 0.15, y, 0), color)
    parts = [body, chaise]
    if rng.random() < 0.4:
        edge = side * ((high[1] - low[1]) / 2 - 0.1)
        rest = cushion(
            (reach, 0.2, float(high[2]) * 0.9), (float(high[0]) + reach / 2, edge, 0), color
        )
        parts.append(rest)
    return Mesh.cat(parts)


def futon(rng: Rng) -> Mesh:
    """A wooden frame with a folded mattress."""
    width, depth = rng.uniform(1.3, 2.1), rng.uniform(0.75, 1.0)
    seat, frame, pad = rng.uniform(0.35, 0.45), palette.wood(rng), palette.fabric(rng)
    parts = [
        cushion((depth, width - 0.1, 0.16), (0, 0, seat - 0.16), pad),
        cushion((0.16, width - 0.1, 0.55), (0, 0, 0), pad, soft=0.12)
        .turned(turn_y(-rng.uniform(0.15, 0.35)))
        .moved(x=-depth / 2 + 0.1, z=seat - 0.05),
        box((depth * 0.9, width - 0.1, 0.04), (0, 0, seat - 0.2), frame),
    ]
    for side in (-1, 1):
        y = side * (width / 2 - 0.03)
        parts.append(box((depth, 0.06, 0.04), (0, y, seat + 0.15), frame))
        parts += [box((0.06, 0.06, seat + 0.15), (a * depth * 0.46, y, 0), frame) for a in (-1, 1)]
    return Mesh.cat(parts)
