"""Unlabelled things on walls: their backs in the plane x = 0, heights above the floor built in."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, cushion, quad

Rng = np.random.Generator


def door(rng: Rng) -> Mesh:
    """A closed door leaf with its frame."""
    width, height, tone = rng.uniform(0.7, 1.0), rng.uniform(1.95, 2.1), palette.furniture(rng)
    parts = [box((0.05, width, height), (0.025, 0, 0), tone)]
    parts += [
        box((0.07, 0.07, height + 0.07), (0.035, s * (width / 2 + 0.03), 0), tone) for s in (-1, 1)
    ]
    parts.append(
        box((0.06, 0.12, 0.02), (0.08, width / 2 - 0.1, 1.0), palette.grey(rng, 0.3, 0.8))
    )
    return Mesh.cat(parts)


def window(rng: Rng) -> Mesh:
    """A frame around glass that answers no depth sensor."""
    width, height, sill = rng.uniform(0.6, 2.0), rng.uniform(0.8, 1.5), rng.uniform(0.5, 1.0)
    tone = palette.white(rng)
    pane = box((0.02, width, height), (0.01, 0, sill), (0.75, 0.85, 0.95), 0.93)
    bars = [
        box((0.06, 0.06, height), (0.03, float(y), sill), tone)
        for y in np.linspace(-0.5, 0.5, 3) * width
    ]
    rails = [
        box((0.08, width + 0.06, 0.06), (0.04, 0, z), tone) for z in (sill - 0.03, sill + height)
    ]
    return Mesh.cat([pane, *bars, *rails])


def curtain(rng: Rng) -> Mesh:
    """Folded cloth from under the ceiling to the floor or the sill."""
    width, low = rng.uniform(0.4, 1.6), rng.choice([0.03, 0.8])
    folds = int(width / 0.08)
    y = np.linspace(-width / 2, width / 2, folds)
    x = 0.08 + 0.04 * (-1.0) ** np.arange(folds) + rng.normal(0, 0.01, folds)
    tone = palette.fabric(rng)
    sheets = []
    for k in range(folds - 1):
        a, b = (x[k], y[k]), (x[k + 1], y[k + 1])
        sheets.append(quad([(*a, low), (*b, low), (*b, 2.25), (*a, 2.25)], tone))
    return Mesh.cat(sheets)


def picture(rng: Rng) -> Mesh:
    """A picture, mirror, clock or white board on the wall."""
    size = (0.03, rng.uniform(0.25, 1.6), rng.uniform(0.25, 1.1))
    mirror = 0.8 if rng.random() < 0.15 else 0.0
    return box(size, (0.015, 0, rng.uniform(1.0, 1.6)), palette.vivid(rng), mirror)


def radiator(rng: Rng) -> Mesh:
    """A ribbed heater under a window."""
    width, height = rng.uniform(0.5, 1.6), rng.uniform(0.4, 0.7)
    tone = palette.white(rng)
    ribs = np.linspace(-width / 2, width / 2, int(width / 0.12))
    parts = [box((0.1, 0.05, height), (0.07, float(y), 0.12), tone) for y in ribs]
    return Mesh.cat([*parts, box((0.05, width, height * 0.9), (0.06, 0, 0.15), tone)])


def television(rng: Rng) -> Mesh:
    """A flat screen on the wall."""
    width = rng.uniform(0.7, 1.5)
    return box(
        (0.06, width, width * 0.57), (0.05, 0, rng.uniform(0.8, 1.3)), (0.04, 0.04, 0.05), 0.35
    )


def coats(rng: Rng) -> Mesh:
    """Clothes on hooks."""
    parts = [box((0.03, 0.8, 0.08), (0.015, 0, 1.65), palette.wood(rng))]
    for y in rng.uniform(-0.35, 0.35, 3):
        size = (0.16, 0.35, rng.uniform(0.6, 1.0))
        parts.append(cushion(size, (0.1, float(y), 1.68 - size[2]), palette.fabric(rng), soft=0.1))
    return Mesh.cat(parts)
