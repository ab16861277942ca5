"""One color per class, the same in pictures, markers and rviz."""

from __future__ import annotations

import colorsys
import zlib

_PALETTE = {
    "chair": (0.12, 0.47, 0.71),
    "table": (1.00, 0.50, 0.05),
    "desk": (0.17, 0.63, 0.17),
    "bed": (0.84, 0.15, 0.16),
    "sofa": (0.58, 0.40, 0.74),
    "bookshelf": (0.55, 0.34, 0.29),
    "cabinet": (0.89, 0.47, 0.76),
    "night_stand": (0.74, 0.74, 0.13),
    "dresser": (0.09, 0.75, 0.81),
    "toilet": (0.40, 0.76, 0.65),
    "bathtub": (0.30, 0.69, 0.98),
    "refrigerator": (0.95, 0.80, 0.30),
}


def class_color(name: str) -> tuple[float, float, float]:
    """Red, green, blue in 0..1; names without a fixed color get one hashed from the name."""
    fixed = _PALETTE.get(name)
    if fixed is not None:
        return fixed
    digest = zlib.crc32(name.encode())  # unlike hash(), the same in every run
    hue, saturation = (digest % 360) / 360, 0.55 + (digest // 360 % 4) / 10
    return colorsys.hsv_to_rgb(hue, saturation, 0.9)
