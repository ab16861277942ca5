"""The pinhole camera: from points of the optical frame (x right, y down, z forward) to pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics of a rectified image, in pixels: `u = fx x/z + cx`, `v = fy y/z + cy`.

    Pixel centres are at whole numbers, that of the first pixel at 0.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
