"""One thing before it is placed in a room."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d_core.data.rooms.furniture.mesh import Mesh

NO_LABEL = -1
"""The label of walls and clutter."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Front +x, standing on z = 0, its box centred on the axis."""

    mesh: Mesh
    label: int  # index into `classes.LABELS`, or NO_LABEL

    @property
    def size(self) -> tuple[float, float, float]:
        """Full extents (dx, dy, dz), metres."""
        low, high = self.mesh.bounds
        dx, dy, dz = high - low
        return float(dx), float(dy), float(dz)
