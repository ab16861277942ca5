"""Unlabelled things on the floor, standing on z = 0, front +x."""

from __future__ import annotations

import itertools

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import (
    Mesh,
    beam,
    blob,
    box,
    cushion,
    cylinder,
    height_field,
    loft,
    quad,
    ring,
    turn_y,
)

Rng = np.random.Generator


def carton(rng: Rng) -> Mesh:
    """A cardboard box, sometimes two on each other, sometimes open."""
    size = rng.uniform((0.2, 0.2, 0.15), (0.6, 0.6, 0.5))
    tone = palette.wood(rng) if rng.random() < 0.7 else palette.vivid(rng)
    parts = [box(size, (0, 0, 0), tone)]
    if rng.random() < 0.3:
        parts.append(box(size * 0.8, (0, 0, 0), tone).moved(z=size[2], yaw=rng.normal(0, 0.3)))
    elif rng.random() < 0.3:
        x, y, z = size / 2
        flap = quad(
            [(x, -y, 2 * z), (x, y, 2 * z), (x + 0.12, y, 2 * z + 0.1)] * 1
            + [(x + 0.12, -y, 2 * z + 0.1)],
            tone,
        )
        parts.append(flap)
    return Mesh.cat(parts)


def floor_lamp(rng: Rng) -> Mesh:
    """A shade on a pole."""
    height, metal = rng.uniform(1.3, 1.8), palette.grey(rng)
    shade, radius = rng.uniform(0.2, 0.35), rng.uniform(0.12, 0.25)
    return Mesh.cat(
        [
            cylinder(0.14, 0.03, (0, 0, 0), metal),
            cylinder(0.012, height, (0, 0, 0), metal, n=5),
            cylinder(
                radius, shade, (0, 0, height - shade), palette.white(rng), top_radius=radius * 0.7
            ),
        ]
    )


def plant(rng: Rng) -> Mesh:
    """A pot with leaves."""
    pot, radius = rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.22)
    green = (rng.uniform(0.1, 0.35), rng.uniform(0.3, 0.6), rng.uniform(0.05, 0.3))
    parts = [cylinder(radius * 0.8, pot, (0, 0, 0), palette.vivid(rng), top_radius=radius)]
    rise, reach = rng.uniform(0.3, 1.2), rng.uniform(0.15, 0.45)
    for _ in range(int(rng.integers(8, 22))):
        angle, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0) * rise
        out = reach * rng.uniform(0.4, 1.0)
        tip = np.array([out * np.cos(angle), out * np.sin(angle), pot + up])
        side = np.array([-np.sin(angle), np.cos(angle), 0.0]) * rng.uniform(0.03, 0.09)
        middle = np.array([0.5 * tip[0], 0.5 * tip[1], pot + up * 0.8])
        parts.append(quad([(0, 0, pot * 0.9), middle + side, tip, middle - side], green))
    return Mesh.cat(parts)


def bag(rng: Rng) -> Mesh:
    """A backpack, hand bag or laundry sack."""
    return cushion(
        rng.uniform((0.15, 0.25, 0.25), (0.35, 0.5, 0.55)),
        (0, 0, 0),
        palette.fabric(rng),
        soft=0.3,
    )


def suitcase(rng: Rng) -> Mesh:
    """Upright, with a telescope handle now and then."""
    dx, dy, dz = rng.uniform((0.2, 0.35, 0.5), (0.32, 0.5, 0.75))
    parts = [cushion((dx, dy, dz), (0, 0, 0.05), palette.fabric(rng), soft=0.08)]
    if rng.random() < 0.5:
        parts += [
            beam((0, s * 0.1, dz), (0, s * 0.1, dz + 0.35), 0.015, 0.015, (0.3, 0.3, 0.3))
            for s in (-1, 1)
        ]
        parts.append(box((0.03, 0.23, 0.03), (0, 0, dz + 0.35), (0.1, 0.1, 0.1)))
    return Mesh.cat(parts)


def basket(rng: Rng) -> Mesh:
    """A laundry basket, open, or a pouf."""
    a, height = rng.uniform(0.2, 0.32), rng.uniform(0.35, 0.6)
    if rng.random() < 0.5:
        return cushion(
            (2 * a, 2 * a * rng.uniform(0.8, 1.2), height * 0.8), (0, 0, 0), palette.fabric(rng)
        )
    rings = np.stack(
        [ring(a * 0.8, a * 0.7, 0.0), ring(a, a * 0.85, height), ring(a * 0.7, a * 0.6, 0.05)]
    )
    return loft(rings, palette.white(rng), bottom=True, top=True)


def stool(rng: Rng) -> Mesh:
    """A seat without a back."""
    height, radius = rng.uniform(0.42, 0.75), rng.uniform(0.15, 0.2)
    color = palette.wood(rng)
    legs = [
        beam(
            (a * radius, b * radius, 0),
            (a * radius * 0.6, b * radius * 0.6, height),
            0.03,
            0.03,
            color,
        )
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return Mesh.cat([*legs, cylinder(radius, 0.04, (0, 0, height - 0.04), palette.fabric(rng))])


def washing_machine(rng: Rng) -> Mesh:
    """A white cube with a round door, or a tumble dryer or a dish washer."""
    size = (rng.uniform(0.5, 0.62), 0.6, 0.85)
    door = cylinder(rng.uniform(0.13, 0.18), 0.03, (0, 0, 0), palette.grey(rng, 0.1, 0.5))
    door = door.turned(turn_y(np.pi / 2)).shifted((size[0] / 2, 0, 0.42))
    return Mesh.cat([box(size, (0, 0, 0), palette.white(rng)), door])


def piano(rng: Rng) -> Mesh:
    """An upright piano: a body and a key board."""
    color = palette.grey(rng, 0.03, 0.15) if rng.random() < 0.6 else palette.wood(rng)
    return Mesh.cat(
        [
            box((0.3, 1.48, rng.uniform(1.1, 1.3)), (-0.14, 0, 0), color),
            box((0.3, 1.48, 0.16), (0.15, 0, 0.6), color),
            box((0.28, 0.06, 0.6), (0.15, 0.7, 0), color),
            box((0.28, 0.06, 0.6), (0.15, -0.7, 0), color),
        ]
    )


def pillar(rng: Rng) -> Mesh:
    """A column up to the ceiling."""
    height = 2.4
    if rng.random() < 0.5:
        return cylinder(rng.uniform(0.12, 0.3), height, (0, 0, 0), palette.wall(rng), n=12)
    return box(
        (rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), height), (0, 0, 0), palette.wall(rng)
    )


def tripod(rng: Rng) -> Mesh:
    """A clothes horse, easel or tripod: thin bars."""
    height, color = rng.uniform(0.9, 1.6), palette.grey(rng)
    parts = [
        beam((0.35 * np.cos(a), 0.35 * np.sin(a), 0), (0, 0, height), 0.025, 0.025, color)
        for a in rng.uniform(0, 2) + np.arange(3) * 2.1
    ]
    if rng.random() < 0.6:
        parts.append(box((0.06, rng.uniform(0.2, 0.7), 0.2), (0, 0, height), palette.fabric(rng)))
    return Mesh.cat(parts)


def rug(rng: Rng) -> Mesh:
    """A flat carpet with a border."""
    dx, dy = rng.uniform(0.6, 2.2), rng.uniform(0.9, 3.0)
    tone = palette.fabric(rng)
    return Mesh.cat(
        [
            box((dx, dy, 0.012), (0, 0, 0), palette.fabric(rng)),
            box((dx * 0.85, dy * 0.88, 0.003), (0, 0, 0.012), tone),
        ]
    )


def pile(rng: Rng) -> Mesh:
    """Clothes or a blanket on the floor."""
    heights = np.zeros((6, 6))
    heights[1:-1, 1:-1] = np.abs(rng.normal(0.06, 0.05, (4, 4)))
    size = (rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9))
    return height_field(size, (0, 0, 0), heights, palette.fabric(rng))


def oven(rng: Rng) -> Mesh:
    """A stove with a dark hob and a door of glass, .5 to .7 m wide."""
    size = (0.6, rng.uniform(0.5, 0.7), 0.88)
    body = palette.white(rng) if rng.random() < 0.5 else palette.grey(rng, 0.1, 0.7)
    pane = box((0.02, size[1] * 0.8, 0.4), (0.3, 0, 0.25), (0.05, 0.05, 0.06), 0.3)
    bar = box((0.03, size[1] * 0.7, 0.02), (0.33, 0, 0.68), palette.grey(rng, 0.4, 0.8))
    hob = box((0.55, size[1] * 0.95, 0.012), (0, 0, size[2]), (0.05, 0.05, 0.06))
    return Mesh.cat([box(size, (0, 0, 0), body), pane, bar, hob])


def ladder(rng: Rng) -> Mesh:
    """A step ladder, opened."""
    height, wide, metal = rng.uniform(0.8, 1.9), rng.uniform(0.4, 0.55), palette.grey(rng)
    spread = height * rng.uniform(0.18, 0.28)
    parts = [
        beam((x * spread, y * wide / 2, 0), (0, y * wide * 0.4, height), 0.04, 0.025, metal)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    for z in np.arange(0.25, height, 0.25).tolist():
        x = spread * (1 - z / height)
        parts.append(box((0.08, wide * 0.9, 0.03), (x, 0, z), metal))
    return Mesh.cat(parts)


def fan(rng: Rng) -> Mesh:
    """A fan on a pole, or a small one on its foot."""
    height, radius, metal = rng.uniform(0.4, 1.3), rng.uniform(0.15, 0.25), palette.grey(rng)
    cage = cylinder(radius, 0.12, (0, 0, 0), metal, n=12).turned(turn_y(np.pi / 2))
    return Mesh.cat(
        [
            cylinder(0.18, 0.03, (0, 0, 0), metal, n=8),
            cylinder(0.018, height, (0, 0, 0), metal, n=5),
            cage.shifted((-0.06, 0, height)),
        ]
    )


def toys(rng: Rng) -> Mesh:
    """Balls, blocks and a car, strewn over half a square metre."""
    parts = []
    for _ in range(int(rng.integers(3, 9))):
        x, y = rng.uniform(-0.4, 0.4, 2)
        edge, tone = rng.uniform(0.05, 0.2), palette.vivid(rng)
        if rng.random() < 0.4:
            parts.append(blob((edge, edge, edge), (x, y, 0), tone))
        else:
            cube = box(edge * rng.uniform(0.5, 1.5, 3), (0, 0, 0), tone)
            parts.append(cube.moved(x=x, y=y, yaw=rng.uniform(0, np.pi)))
    return Mesh.cat(parts)


def cables(rng: Rng) -> Mesh:
    """A cable that winds over the floor from a socket board."""
    tone, points = palette.grey(rng, 0.03, 0.9), [np.zeros(2)]
    heading = rng.uniform(-np.pi, np.pi)
    for _ in range(int(rng.integers(5, 12))):
        heading += rng.normal(0, 0.7)
        points.append(points[-1] + 0.15 * np.array([np.cos(heading), np.sin(heading)]))
    parts = [
        beam((*a, 0.006), (*b, 0.006), 0.012, 0.012, tone) for a, b in itertools.pairwise(points)
    ]
    return Mesh.cat([box((0.06, 0.3, 0.04), (0, 0, 0), palette.white(rng)), *parts])


def boxes(rng: Rng) -> Mesh:
    """Cartons piled up, the lower ones larger."""
    parts, z = [], 0.0
    size = rng.uniform((0.35, 0.35, 0.2), (0.6, 0.65, 0.45))
    for _ in range(int(rng.integers(2, 5))):
        parts.append(box(size, (0, 0, 0), palette.wood(rng)).moved(z=z, yaw=rng.normal(0, 0.15)))
        z, size = z + size[2], size * rng.uniform((0.75, 0.75, 0.6), (1.0, 1.0, 1.1))
    return Mesh.cat(parts)
