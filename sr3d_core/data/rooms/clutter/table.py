"""Unlabelled things for table tops, standing on z = 0."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cylinder, loft, ring, turn_y

Rng = np.random.Generator


def monitor(rng: Rng) -> Mesh:
    """A computer screen on a foot."""
    width = rng.uniform(0.4, 0.75)
    dark = palette.grey(rng, 0.03, 0.25)
    return Mesh.cat(
        [
            box((0.04, width, width * 0.58), (0, 0, 0.12), dark, 0.2),
            box((0.03, 0.06, 0.16), (-0.03, 0, 0), dark),
            box((0.18, 0.22, 0.015), (0, 0, 0), dark),
        ]
    )


def laptop(rng: Rng) -> Mesh:
    """Keyboard and lid."""
    tone = palette.grey(rng, 0.1, 0.8)
    lid = box((0.01, 0.34, 0.23), (0, 0, 0), (0.05, 0.05, 0.07), 0.1).turned(turn_y(-0.3))
    return Mesh.cat([box((0.24, 0.34, 0.018), (0.12, 0, 0), tone), lid.moved(z=0.01)])


def keyboard(rng: Rng) -> Mesh:
    """A keyboard or a tablet."""
    return box((0.15, rng.uniform(0.25, 0.45), 0.02), (0, 0, 0), palette.grey(rng))


def book_stack(rng: Rng) -> Mesh:
    """A few books or papers lying on each other."""
    parts, z = [], 0.0
    for _ in range(int(rng.integers(1, 6))):
        tall = rng.uniform(0.01, 0.05)
        size = (rng.uniform(0.15, 0.22), rng.uniform(0.2, 0.3), tall)
        parts.append(box(size, (0, 0, 0), palette.vivid(rng)).moved(z=z, yaw=rng.normal(0, 0.2)))
        z += tall
    return Mesh.cat(parts)


def bottle(rng: Rng) -> Mesh:
    """A bottle, can, cup or vase."""
    radius, height = rng.uniform(0.025, 0.07), rng.uniform(0.08, 0.32)
    taper = radius * rng.choice([1.0, 0.5, 1.2])
    return cylinder(radius, height, (0, 0, 0), palette.vivid(rng), top_radius=taper, n=8)


def package(rng: Rng) -> Mesh:
    """A milk carton, cereal box, radio, toaster, microwave oven."""
    small = rng.random() < 0.75
    size = (
        rng.uniform((0.05, 0.06, 0.1), (0.12, 0.2, 0.32))
        if small
        else rng.uniform((0.2, 0.25, 0.15), (0.4, 0.5, 0.35))
    )
    return box(size, (0, 0, 0), palette.vivid(rng))


def table_lamp(rng: Rng) -> Mesh:
    """A small lamp."""
    height = rng.uniform(0.3, 0.6)
    return Mesh.cat(
        [
            cylinder(0.07, 0.03, (0, 0, 0), palette.grey(rng), n=8),
            cylinder(0.012, height, (0, 0, 0), palette.grey(rng), n=5),
            cylinder(
                0.15, height * 0.45, (0, 0, height * 0.55), palette.white(rng), top_radius=0.09
            ),
        ]
    )


def bowl(rng: Rng) -> Mesh:
    """A bowl, plate or pan."""
    radius, height = rng.uniform(0.08, 0.18), rng.uniform(0.02, 0.1)
    rings = np.stack(
        [
            ring(radius * 0.5, radius * 0.5, 0),
            ring(radius, radius, height),
            ring(radius * 0.4, radius * 0.4, 0.01),
        ]
    )
    return loft(rings, palette.vivid(rng), bottom=True, top=True)
