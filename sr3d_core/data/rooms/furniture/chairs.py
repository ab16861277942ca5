"""Chairs. Front is +x. Seats of grown-ups are 0.38 to 0.5 m high, of bars up to 0.8 m.

A chair has a back. Stools have none: labelled data sets give them a class of their own, so they
are clutter here (`clutter.floor.stool`).
"""

from __future__ import annotations

import itertools

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import (
    Color,
    Mesh,
    arc_panel,
    beam,
    box,
    cushion,
    cylinder,
    turn_y,
)

Rng = np.random.Generator


def _back(rng: Rng, width: float, height: float, frame: Color, pad: Color) -> Mesh:
    """A back rest standing on z = 0 in the plane x = 0: board, pad, slats or rails."""
    thick = rng.uniform(0.02, 0.05)
    kind = rng.integers(5)
    if kind == 0:
        return box((thick, width, height), (0, 0, 0), frame)
    if kind == 1:
        return cushion((thick * 2, width, height), (0, 0, 0), pad, soft=0.1)
    post = rng.uniform(0.025, 0.045)
    posts = [box((post, post, height), (0, s * (width - post) / 2, 0), frame) for s in (-1, 1)]
    top = box((thick, width, rng.uniform(0.05, 0.12)), (0, 0, height * 0.88), frame)
    if kind == 2:
        slats = np.linspace(-0.5, 0.5, int(rng.integers(4, 7)))[1:-1] * width
        inner = [box((0.015, 0.03, height), (0, float(y), 0), frame) for y in slats]
    elif kind == 3:
        rails = np.linspace(0.25, 0.7, int(rng.integers(2, 4))) * height
        inner = [box((0.02, width, 0.05), (0, 0, float(z)), frame) for z in rails]
    else:
        inner = [box((thick, width, height * 0.5), (0, 0, height * 0.45), pad)]
    return Mesh.cat([*posts, top, *inner])


def _legs(rng: Rng, depth: float, width: float, height: float, color: Color) -> list[Mesh]:
    """Four legs, straight or splayed, thick or thin."""
    thick, splay = rng.uniform(0.02, 0.05), rng.choice([0.0, rng.uniform(0.0, 0.08)])
    x, y = depth / 2 - thick / 2, width / 2 - thick / 2
    return [
        beam((a * (x + splay), b * (y + splay), 0), (a * x, b * y, height), thick, thick, color)
        for a in (-1, 1)
        for b in (-1, 1)
    ]


def _arms(
    rng: Rng, depth: float, width: float, seat: float, color: Color, *, posts: bool
) -> list[Mesh]:
    """Two arm rests 0.17-0.27 m above the seat."""
    rise, wide = rng.uniform(0.17, 0.27), rng.uniform(0.03, 0.08)
    parts = []
    for side in (-1, 1):
        y = side * (width / 2 + wide / 4)
        length = depth * rng.uniform(0.6, 0.9)
        parts.append(box((length, wide, 0.03), (0.0, y, seat + rise), color))
        low = 0.0 if posts else seat - 0.03
        parts.append(beam((depth * 0.3, y, low), (depth * 0.3, y, seat + rise), 0.03, 0.03, color))
    return parts


def four_leg_chair(rng: Rng) -> Mesh:
    """A dining or kitchen chair."""
    width, depth = rng.uniform(0.35, 0.58), rng.uniform(0.35, 0.55)
    seat, rise = rng.uniform(0.4, 0.5), rng.uniform(0.28, 0.7)
    frame = palette.wood(rng) if rng.random() < 0.7 else palette.grey(rng)
    pad = frame if rng.random() < 0.4 else palette.fabric(rng)
    thick = rng.uniform(0.02, 0.07)
    back = _back(rng, width * rng.uniform(0.8, 1.0), rise, frame, pad)
    parts = [
        *_legs(rng, depth, width, seat - thick, frame),
        cushion((depth, width, thick), (0, 0, seat - thick), pad, soft=0.3),
        back.turned(turn_y(-rng.uniform(0, 0.25))).moved(x=-depth / 2 + 0.02, z=seat),
    ]
    if rng.random() < 0.25:
        parts += _arms(rng, depth, width, seat, frame, posts=True)
    if rng.random() < 0.3:
        parts += [
            box((depth, 0.02, 0.03), (0, s * (width / 2 - 0.03), seat * 0.35), frame)
            for s in (-1, 1)
        ]
    return Mesh.cat(parts)


def swivel_chair(rng: Rng) -> Mesh:
    """An office chair on a star base with castors."""
    width, depth = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.58)
    seat, rise = rng.uniform(0.38, 0.58), rng.uniform(0.28, 0.82)
    plastic, pad = palette.grey(rng, 0.03, 0.5), palette.fabric(rng)
    if rng.random() < 0.5:
        pad = palette.grey(rng, 0.03, 0.25)
    reach, spin = rng.uniform(0.22, 0.37), rng.uniform(0, 2 * np.pi)
    thick = rng.uniform(0.05, 0.11)
    parts = [cylinder(0.03, seat - 0.1, (0, 0, 0.08), plastic, n=6)]
    for angle in spin + np.arange(5) * (2 * np.pi / 5):
        x, y = float(reach * np.cos(angle)), float(reach * np.sin(angle))
        parts.append(beam((0, 0, 0.12), (x, y, 0.07), 0.04, 0.03, plastic))
        parts.append(cylinder(0.028, 0.055, (x, y, 0), plastic, n=6))
    parts.append(cushion((depth, width, thick), (0, 0, seat - thick), pad))
    tilt = turn_y(-rng.uniform(0.0, 0.25))
    gap = rng.uniform(0.02, 0.15)
    if rng.random() < 0.5:
        back = cushion(
            (0.08, width * rng.uniform(0.8, 1), rise - gap), (0, 0, gap), pad, soft=0.15
        )
    else:
        radius = rng.uniform(0.4, 0.7)
        back = arc_panel(radius, width / radius, rise - gap, 0.04, pad).moved(x=radius, z=gap)
    spine = beam((0, 0, -0.05), (0, 0, rise * 0.5), 0.03, 0.07, plastic)
    if rng.random() < 0.25:
        head = cushion((0.07, 0.26, 0.15), (0, 0, rise + 0.03), pad)
        back = Mesh.cat([back, head])
    parts.append(Mesh.cat([back, spine]).turned(tilt).moved(x=-depth / 2, z=seat))
    if rng.random() < 0.6:
        parts += _arms(rng, depth, width, seat, plastic, posts=False)
    return Mesh.cat(parts)


def sled_chair(rng: Rng) -> Mesh:
    """A cantilever or sled frame of steel tube with a shell or pads."""
    width, depth = rng.uniform(0.42, 0.52), rng.uniform(0.42, 0.52)
    seat, rise = rng.uniform(0.42, 0.48), rng.uniform(0.35, 0.5)
    tube, pad = palette.grey(rng, 0.1, 0.8), palette.fabric(rng)
    parts = []
    arms = rng.random() < 0.4
    for side in (-1, 1):
        y = side * width / 2
        top = seat + (0.22 if arms else 0.0)
        path = [(-depth / 2, y, 0.015), (depth / 2, y, 0.015), (depth / 2, y, top)]
        path.append((-depth / 2, y, top))
        if rng.random() < 0.5 and not arms:
            path.append((-depth / 2, y, 0.015))
        for a, b in itertools.pairwise(path):
            parts.append(beam(a, b, 0.025, 0.025, tube))
    parts.append(cushion((depth, width * 0.95, 0.05), (0, 0, seat - 0.03), pad))
    back = box((0.03, width * 0.95, rise * 0.7), (0, 0, rise * 0.3), pad)
    posts = [
        beam((0, s * width / 2, 0), (0, s * width / 2, rise), 0.025, 0.025, tube) for s in (-1, 1)
    ]
    tilt = turn_y(-rng.uniform(0.05, 0.3))
    parts.append(Mesh.cat([back, *posts]).turned(tilt).moved(x=-depth / 2, z=seat))
    return Mesh.cat(parts)


def shell_chair(rng: Rng) -> Mesh:
    """A bucket of plastic or felt on four thin legs or a pedestal."""
    radius = rng.uniform(0.2, 0.34)
    seat, rise = rng.uniform(0.4, 0.48), rng.uniform(0.25, 0.42)
    shell = palette.vivid(rng) if rng.random() < 0.4 else palette.grey(rng, 0.05, 0.95)
    leg = palette.wood(rng) if rng.random() < 0.6 else palette.grey(rng)
    spread = rng.uniform(1.6, 3.6)
    parts = [
        cylinder(radius, 0.05, (0, 0, seat - 0.05), shell, top_radius=radius * 1.02, n=12),
        arc_panel(radius, spread, rise, 0.02, shell, n=8).moved(z=seat - 0.02),
    ]
    if spread > 2.4 and rng.random() < 0.6:
        parts.append(arc_panel(radius, spread * 0.5, rise * 1.6, 0.02, shell).moved(z=seat))
    if rng.random() < 0.75:
        parts += _legs(rng, radius * 1.5, radius * 1.5, seat - 0.04, leg)
    else:
        parts.append(cylinder(0.03, seat - 0.04, (0, 0, 0.0), leg, n=6))
        parts.append(cylinder(radius * 0.9, 0.02, (0, 0, 0.0), leg))
    return Mesh.cat(parts)


def lounge_chair(rng: Rng) -> Mesh:
    """A reclined easy chair: pads in an open frame of wood or tube, arms bent or straight."""
    width, depth = rng.uniform(0.5, 0.8), rng.uniform(0.45, 0.7)
    seat, rise = rng.uniform(0.27, 0.43), rng.uniform(0.4, 0.8)
    wood = palette.wood(rng) if rng.random() < 0.75 else palette.grey(rng)
    pad, thick = palette.fabric(rng), rng.uniform(0.04, 0.13)
    recline, inner = rng.uniform(0.2, 0.5), width - 0.1
    back = cushion((thick, inner, rise), (0, 0, 0), pad, soft=0.1).turned(turn_y(-recline))
    parts = [
        cushion((depth, inner, thick), (0, 0, 0), pad)
        .turned(turn_y(-rng.uniform(0.03, 0.2)))
        .shifted((0, 0, seat - thick)),
        back.moved(x=-depth / 2 + 0.03, z=seat - thick),
    ]
    wide, high = rng.uniform(0.03, 0.07), seat + rng.uniform(0.13, 0.24)
    front, rear = depth / 2 + rng.uniform(0.0, 0.12), -depth / 2 - rng.uniform(0.0, 0.2)
    if rng.random() < 0.5:
        angle = np.linspace(0.15, 1.35 * np.pi, 9)
        middle, reach = (front + rear) / 2, (front - rear) / 2
        path = [(middle + reach * np.cos(a), high / 2 + high / 2 * np.sin(a)) for a in angle]
        path = [(rear, 0.02), (front, 0.02), *path]
    else:
        path = [(front, 0.0), (front, high), (rear, high), (rear, 0.0)]
    for side in (-1, 1):
        y = side * (width - wide) / 2
        for (x0, z0), (x1, z1) in itertools.pairwise(path):
            parts.append(beam((x0, y, z0), (x1, y, z1), 0.03, wide, wood))
    parts.append(box((0.04, width, 0.04), (depth / 2 - 0.03, 0, seat - thick - 0.06), wood))
    return Mesh.cat(parts)


def barrel_chair(rng: Rng) -> Mesh:
    """An upholstered tub: one curved wall is back and arms."""
    radius, seat = rng.uniform(0.3, 0.48), rng.uniform(0.34, 0.46)
    height, foot = seat + rng.uniform(0.2, 0.4), rng.uniform(0.0, 0.18)
    color, thick = palette.fabric(rng), rng.uniform(0.06, 0.12)
    spread = rng.uniform(3.0, 4.2)
    parts = [
        arc_panel(radius - thick / 2, spread, height - foot, thick, color, n=9).moved(z=foot),
        cylinder(radius - thick, seat - foot, (0.02, 0, foot), color, n=12),
    ]
    if foot > 0.03:
        parts += _legs(rng, radius * 1.1, radius * 1.1, foot + 0.02, palette.wood(rng))
    return Mesh.cat(parts)


def child_chair(rng: Rng) -> Mesh:
    """A chair of a nursery: all of it smaller."""
    return four_leg_chair(rng).scaled(np.full(3, rng.uniform(0.62, 0.85)))


def high_chair(rng: Rng) -> Mesh:
    """A chair for a bar or counter: long legs, a foot rest, a back that is low or high."""
    width, depth = rng.uniform(0.34, 0.5), rng.uniform(0.32, 0.48)
    seat, rise = rng.uniform(0.58, 0.8), rng.uniform(0.15, 0.45)
    frame = palette.wood(rng) if rng.random() < 0.5 else palette.grey(rng)
    pad, thick = palette.fabric(rng), rng.uniform(0.03, 0.08)
    parts = [
        *_legs(rng, depth, width, seat - thick, frame),
        cushion((depth, width, thick), (0, 0, seat - thick), pad, soft=0.3),
        _back(rng, width * rng.uniform(0.8, 1.0), rise, frame, pad)
        .turned(turn_y(-rng.uniform(0, 0.15)))
        .moved(x=-depth / 2 + 0.02, z=seat),
    ]
    rest = rng.uniform(0.15, 0.3)
    parts += [box((depth, 0.025, 0.025), (0, s * width / 2, rest), frame) for s in (-1, 1)]
    parts.append(box((0.025, width, 0.025), (depth / 2, 0, rest), frame))
    return Mesh.cat(parts)


def wing_chair(rng: Rng) -> Mesh:
    """An easy chair with a high back and wings beside the head."""
    width, depth = rng.uniform(0.6, 0.9), rng.uniform(0.6, 0.9)
    seat, height = rng.uniform(0.38, 0.48), rng.uniform(0.95, 1.3)
    color, thick, foot = palette.fabric(rng), rng.uniform(0.08, 0.16), rng.uniform(0.03, 0.16)
    arm = rng.uniform(0.08, 0.18)
    parts = [
        cushion((depth, width, seat - foot), (0, 0, foot), color),
        cushion((thick, width, height - foot), (-(depth - thick) / 2, 0, foot), color, soft=0.08),
    ]
    wing, rise = depth * rng.uniform(0.25, 0.5), seat + rng.uniform(0.18, 0.26)
    for side in (-1, 1):
        y = side * (width - arm) / 2
        parts.append(cushion((depth * 0.95, arm, rise - seat + 0.1), (0, y, seat - 0.1), color))
        at = (-(depth - wing) / 2, side * (width / 2 - 0.03), rise)
        parts.append(box((wing, 0.06, height - rise - 0.04), at, color))
    legs = _legs(rng, depth * 0.8, width * 0.8, foot + 0.02, palette.wood(rng))
    return Mesh.cat([*parts, *legs])
