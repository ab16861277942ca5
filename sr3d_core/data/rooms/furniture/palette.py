"""Colors that things at home and at work tend to have; each knows its material."""

from __future__ import annotations

import colorsys

import numpy as np

from sr3d_core.data.rooms.furniture.material import Material, Paint, material_of
from sr3d_core.data.rooms.furniture.mesh import Color

_WOODS: tuple[Color, ...] = (
    (0.76, 0.60, 0.42),
    (0.62, 0.44, 0.28),
    (0.45, 0.29, 0.18),
    (0.30, 0.19, 0.13),
    (0.86, 0.75, 0.58),
    (0.90, 0.88, 0.84),
    (0.55, 0.34, 0.22),
    (0.70, 0.66, 0.60),
)


def _jittered(rng: np.random.Generator, color: Color, spread: float) -> Color:
    shift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    red, green, blue = np.clip(np.asarray(color) + shift, 0.02, 0.98)
    return float(red), float(green), float(blue)


def wood(rng: np.random.Generator) -> Color:
    """Light to dark wood, sometimes painted white."""
    return Paint(_jittered(rng, _WOODS[rng.integers(len(_WOODS))], 0.05), Material.WOOD)


def fabric(rng: np.random.Generator) -> Color:
    """Mostly muted, now and then strong or very dark."""
    saturation = rng.uniform(0.5, 0.9) if rng.random() < 0.2 else rng.uniform(0.02, 0.4)
    color = colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.08, 0.92))
    return Paint(color, Material.FABRIC)


def grey(rng: np.random.Generator, low: float = 0.05, high: float = 0.9) -> Color:
    """Nearly neutral, between two brightnesses."""
    return Paint(_jittered(rng, (float(rng.uniform(low, high)),) * 3, 0.015), Material.GREY)


def white(rng: np.random.Generator) -> Color:
    """Paint, ceramics, appliances."""
    return Paint(_jittered(rng, (0.9, 0.89, 0.87), 0.04), Material.WHITE)


def vivid(rng: np.random.Generator) -> Color:
    """Any color: book spines, toys, packaging."""
    color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.95), rng.uniform(0.15, 0.95))
    return Paint(color, Material.PRINT)


def furniture(rng: np.random.Generator) -> Color:
    """What a cabinet front may have: wood, white, grey or paint."""
    kind = rng.random()
    if kind < 0.55:
        return wood(rng)
    if kind < 0.8:
        return white(rng)
    return grey(rng) if kind < 0.92 else Paint(fabric(rng), Material.WHITE)


def wall(rng: np.random.Generator) -> Color:
    """Walls are mostly pale."""
    color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.55, 0.95))
    return Paint(color, Material.WALL)


def ground(rng: np.random.Generator) -> Color:
    """Wood, tiles or carpet."""
    if rng.random() < 0.5:
        return Paint(wood(rng), Material.GROUND)
    color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.2, 0.8))
    return Paint(color, Material.GROUND)


def blend(first: Color, second: Color, share: float) -> Color:
    """`share` of the second color mixed into the first, of whose material it stays."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return Paint((red, green, blue), material_of(first))
