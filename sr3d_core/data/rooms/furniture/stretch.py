"""Whole pieces stretched along each axis, so that the proportions of a kind vary.

A network that has seen every shape at one size answers with that size. Factors are log-uniform and
never carry a piece beyond what its class is sold in: those ranges are ours, a little wider than
the quantiles that docs/rooms.md sets beside published means.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.mesh import Mesh

MOST = 1.25
"""Largest factor, and one over the smallest."""

Range = tuple[float, float]

PLAUSIBLE_M: dict[str, tuple[Range, Range, Range]] = {
    "chair": ((0.38, 1.15), (0.36, 1.15), (0.5, 1.4)),
    "table": ((0.32, 1.8), (0.32, 4.0), (0.25, 1.15)),
    "desk": ((0.4, 1.9), (0.65, 2.3), (0.55, 1.65)),
    "bed": ((1.7, 2.35), (0.7, 2.25), (0.28, 2.2)),
    "sofa": ((0.66, 2.5), (0.65, 3.6), (0.52, 1.25)),
    "bookshelf": ((0.18, 0.5), (0.35, 2.7), (0.5, 2.5)),
    "cabinet": ((0.25, 0.75), (0.3, 4.5), (0.35, 2.45)),
    "night_stand": ((0.27, 0.66), (0.3, 0.92), (0.35, 0.9)),
    "dresser": ((0.31, 0.72), (0.45, 1.95), (0.6, 1.7)),
    "toilet": ((0.44, 0.92), (0.31, 0.6), (0.33, 1.1)),
    "bathtub": ((0.58, 1.6), (0.95, 2.05), (0.35, 0.98)),
    "refrigerator": ((0.42, 0.98), (0.42, 1.25), (0.46, 2.1)),
}
"""Depth, width, height that furniture of a class has in shops, metres."""


def stretched(mesh: Mesh, name: str, rng: np.random.Generator) -> Mesh:
    """A piece of the class `name`, standing on the origin, stretched about it.

    A class without ranges stays as it is.
    """
    share = rng.random(3)
    if name not in PLAUSIBLE_M:
        return mesh
    low, high = _factors(np.ptp(mesh.vertices, axis=0), PLAUSIBLE_M[name])
    return mesh.scaled(low * (high / low) ** share)


def _factors(
    size: Float[ndarray, " 3"], ranges: tuple[Range, Range, Range]
) -> tuple[Float[ndarray, " 3"], Float[ndarray, " 3"]]:
    """Smallest and largest factor per axis; a size beyond its range goes no farther out."""
    low, high = np.array(ranges).T / size
    return np.clip(low, 1 / MOST, 1.0), np.clip(high, 1.0, MOST)
