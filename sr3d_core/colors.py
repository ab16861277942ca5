"""One color per class, the same in pictures, markers and rviz."""

from __future__ import annotations

import colorsys
import zlib

PALETTE: dict[str, tuple[float, float, float]] = {
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
    "door": (0.80, 0.36, 0.00),
    "window": (0.55, 0.85, 0.90),
    "curtain": (0.66, 0.15, 0.45),
    "counter": (0.00, 0.39, 0.39),
    "sink": (0.22, 0.31, 0.87),
    "garbage_bin": (0.42, 0.42, 0.42),
    "picture": (0.99, 0.60, 0.55),
    "shower_curtain": (0.72, 0.60, 0.96),
}
"""Fixed colors by class name: red, green, blue in 0..1."""


def class_color(name: str) -> tuple[float, float, float]:
    """Red, green, blue in 0..1; names without a fixed color get one hashed from the name."""
    fixed = PALETTE.get(name)
    if fixed is not None:
        return fixed
    digest = zlib.crc32(name.encode())  # unlike hash(), the same in every run
    hue, saturation = (digest % 360) / 360, 0.55 + (digest // 360 % 4) / 10
    return colorsys.hsv_to_rgb(hue, saturation, 0.9)
