"""One thing before it is placed in a room."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sr3d_core.data.rooms.furniture.mesh import Mesh

NO_LABEL = -1
"""The label of walls and clutter."""

THINNEST_M = 0.05
"""What a labelled box measures at least along each axis: a poster is a box, too."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Front +x, standing on z = 0, its box centred on the axis."""

    mesh: Mesh
    label: int  # index into `classes.LABELS`, or NO_LABEL

    @cached_property
    def size(self) -> tuple[float, float, float]:
        """Full extents (dx, dy, dz) of its box, metres; what is thinner grows about its middle."""
        least = 0.0 if self.label == NO_LABEL else THINNEST_M
        dx, dy, dz = np.maximum(self.extents, least)
        return float(dx), float(dy), float(dz)

    @cached_property
    def extents(self) -> tuple[float, float, float]:
        """What its mesh measures along the axes, metres."""
        low, high = self.mesh.bounds
        dx, dy, dz = high - low
        return float(dx), float(dy), float(dz)
