"""Unlabelled soft things that lie on beds, sofas and chairs, standing on z = 0."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, cushion, height_field, turn_y

Rng = np.random.Generator


def pillow(rng: Rng) -> Mesh:
    """A cushion that lies, or leans with its upper edge towards -x."""
    edge = rng.uniform(0.3, 0.55)
    body = cushion((edge, edge * rng.uniform(1.0, 1.5), rng.uniform(0.1, 0.18)), (0, 0, 0),
                   palette.fabric(rng), soft=0.35)  # fmt: skip
    return body.turned(turn_y(rng.uniform(0.6, 1.1))) if rng.random() < 0.4 else body


def clothes(rng: Rng) -> Mesh:
    """A shirt, a towel or a blanket, dropped."""
    heights = np.zeros((6, 6))
    heights[1:-1, 1:-1] = np.abs(rng.normal(0.05, 0.04, (4, 4)))
    size = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.8))
    return height_field(size, (0, 0, 0), heights, palette.fabric(rng))
