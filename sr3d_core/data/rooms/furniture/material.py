"""What a surface is made of, as far as its maker says: colors carry it from palette to triangle.

A color out of the palette knows its material, and every mesh made of that color remembers it for
each triangle. Depth and clouds do not need it; color images paint by it (`looks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

_CLEAR = 0.5  # least absorption


class Material(IntEnum):
    """Kinds of surfaces."""

    UNKNOWN = 0
    """Colors that no palette made, and models from files."""
    WOOD = 1
    FABRIC = 2
    GREY = 3
    """Metal or plastic."""
    WHITE = 4
    """Paint, ceramics, sheets."""
    PRINT = 5
    """Books, toys, packaging, paintings."""
    WALL = 6
    GROUND = 7
    GLASS = 8


class Paint(tuple[float, float, float]):
    """A color, red, green, blue in 0..1, that knows what it is the color of."""

    material: Material

    def __new__(cls, color: Sequence[float], material: Material) -> Paint:
        """`color` is red, green, blue."""
        paint = super().__new__(cls, color)
        paint.material = material
        return paint


def material_of(color: Sequence[float]) -> Material:
    """What has this color; UNKNOWN for a plain tuple."""
    return color.material if isinstance(color, Paint) else Material.UNKNOWN


def material_of_models(absorbs: Float[ndarray, " F"]) -> Int[ndarray, " F"]:
    """Materials of models from files, which tell one thing: what is clear absorbs most, and is
    glass."""
    return np.where(absorbs > _CLEAR, int(Material.GLASS), int(Material.UNKNOWN))
