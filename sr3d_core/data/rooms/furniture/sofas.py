"""Sofas, upholstered armchairs, and what looks like them but is none. Front is +x.

What has a back is a sofa, from a love seat to a sectional, whose box holds all its wings.
Benches and ottomans have none: labelled data sets give them classes of their own, so they are
clutter here.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.material import Material, Paint
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cushion, turn_y

Rng = np.random.Generator


def upholstered(rng: Rng, seats: float, seats_count: int) -> Mesh:
    """A sofa body of `seats_count` seats, each `seats` metres wide."""
    inner = seats * seats_count
    depth, seat = rng.uniform(0.7, 1.15), rng.uniform(0.32, 0.5)
    if seats_count == 1:
        depth = rng.uniform(0.6, 0.95)
    height = seat + rng.uniform(0.14, 0.78)
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
    return upholstered(rng, seats=rng.uniform(0.42, 0.7), seats_count=1)


def straight_sofa(rng: Rng) -> Mesh:
    """A love seat for two, or up to four seats in a row."""
    count = int(rng.choice([2, 3, 4], p=[0.5, 0.4, 0.1]))
    return upholstered(rng, seats=rng.uniform(0.46, 0.78), seats_count=count)


def corner_sofa(rng: Rng) -> Mesh:
    """A sofa with a chaise on one side."""
    body = upholstered(rng, rng.uniform(0.55, 0.8), int(rng.integers(2, 4)))
    side = float(rng.choice([-1.0, 1.0]))
    return Mesh.cat([body, *_wing(rng, body, side, rng.uniform(0.4, 1.0), is_backed=False)])


def sectional(rng: Rng) -> Mesh:
    """An L or a U of upholstery: wings with backs of their own, up to about 3 x 2.4 m."""
    body = upholstered(rng, rng.uniform(0.8, 1.1), int(rng.integers(2, 4)))
    first = float(rng.choice([-1.0, 1.0]))
    parts = [body, *_wing(rng, body, first, rng.uniform(0.7, 1.4), is_backed=True)]
    if np.ptp(body.vertices[:, 1]) > 2.4 and rng.random() < 0.5:
        is_backed = bool(rng.random() < 0.6)
        parts += _wing(rng, body, -first, rng.uniform(0.5, 1.3), is_backed=is_backed)
    return Mesh.cat(parts)


def _wing(rng: Rng, body: Mesh, side: float, reach: float, *, is_backed: bool) -> list[Mesh]:
    """What runs forward by `reach` metres from one end of a sofa."""
    low, high = body.bounds
    color = Paint(body.color[0].tolist(), Material(int(body.material[0])))
    front, edge = float(high[0]), float(high[1] if side > 0 else -low[1])
    wide, seat = rng.uniform(0.65, 0.95), rng.uniform(0.36, 0.46)
    y = side * (edge - wide / 2)
    parts = [cushion((reach + 0.3, wide, seat), (front + reach / 2 - 0.15, y, 0), color)]
    if is_backed or rng.random() < 0.25:
        thick, height = rng.uniform(0.12, 0.24), float(high[2]) * rng.uniform(0.8, 1.0)
        at = (front + reach / 2 - 0.1, side * (edge - thick / 2), 0)
        parts.append(cushion((reach + 0.2, thick, height), at, color, soft=0.1))
    return parts


def chaise(rng: Rng) -> Mesh:
    """A seat to lie on: long in the direction of its front, a back at the rear."""
    depth, width = rng.uniform(1.3, 1.9), rng.uniform(0.65, 1.2)
    seat, rise = rng.uniform(0.3, 0.46), rng.uniform(0.2, 0.72)
    color, recline = palette.fabric(rng), rng.uniform(0.0, 0.4)
    back = cushion((rng.uniform(0.12, 0.22), width, rise), (0, 0, 0), color, soft=0.12)
    parts = [
        cushion((depth, width, seat * 0.6), (0, 0, seat * 0.4), color),
        box((depth * 0.85, width * 0.85, seat * 0.45), (0, 0, 0), palette.wood(rng)),
        back.turned(turn_y(-recline)).moved(x=-depth / 2 + 0.15, z=seat - 0.04),
    ]
    if rng.random() < 0.5:
        arm = cushion((depth * rng.uniform(0.3, 0.6), 0.16, seat + rise * 0.5), (0, 0, 0), color)
        x = -depth / 2 + float(np.ptp(arm.vertices[:, 0])) / 2
        parts.append(arm.moved(x=x, y=float(rng.choice([-1, 1])) * (width / 2 + 0.06)))
    return Mesh.cat(parts)


def futon(rng: Rng) -> Mesh:
    """A wooden frame with a folded mattress."""
    width, depth = rng.uniform(1.15, 2.15), rng.uniform(0.7, 1.2)
    seat, frame, pad = rng.uniform(0.28, 0.45), palette.wood(rng), palette.fabric(rng)
    parts = [
        cushion((depth, width - 0.1, 0.16), (0, 0, seat - 0.16), pad),
        cushion((0.16, width - 0.1, rng.uniform(0.26, 0.72)), (0, 0, 0), pad, soft=0.12)
        .turned(turn_y(-rng.uniform(0.15, 0.35)))
        .moved(x=-depth / 2 + 0.1, z=seat - 0.05),
        box((depth * 0.9, width - 0.1, 0.04), (0, 0, seat - 0.2), frame),
    ]
    for side in (-1, 1):
        y = side * (width / 2 - 0.03)
        parts.append(box((depth, 0.06, 0.04), (0, y, seat + 0.15), frame))
        parts += [box((0.06, 0.06, seat + 0.15), (a * depth * 0.46, y, 0), frame) for a in (-1, 1)]
    return Mesh.cat(parts)


def bench(rng: Rng) -> Mesh:
    """A seat without a back for two or more: wooden, or as padded as a sofa. No class."""
    depth, width, seat = rng.uniform(0.3, 0.6), rng.uniform(0.8, 1.9), rng.uniform(0.38, 0.52)
    color = palette.furniture(rng)
    if rng.random() < 0.5:
        pad = cushion((depth, width, seat * 0.35), (0, 0, seat * 0.65), palette.fabric(rng))
    else:
        pad = box((depth, width, 0.05), (0, 0, seat - 0.05), color)
    parts = [pad]
    parts += [
        box((0.06, 0.06, seat - 0.05), (a * (depth / 2 - 0.05), b * (width / 2 - 0.08), 0), color)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return Mesh.cat(parts)


def ottoman(rng: Rng) -> Mesh:
    """A padded block to put feet on, from a cube to half a bed. No class."""
    size = (rng.uniform(0.4, 0.95), rng.uniform(0.4, 1.4), rng.uniform(0.3, 0.5))
    return cushion(size, (0, 0, 0), palette.fabric(rng), soft=rng.uniform(0.05, 0.25))
