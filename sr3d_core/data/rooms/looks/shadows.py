"""What a light can see: a depth image taken from where it is, looked up for points of the room.

Lights are cameras of the rasteriser. A point is lit as far as nothing lies before it in the
light's image, averaged over a disc of pixels as wide as the light is large, so that shadows are
soft (Reeves, Salesin and Cook, "Rendering antialiased shadows with depth maps", 1987). What is
compared is the depth of the surface's own plane in each of these pixels, or it would shade itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.camera.rasterise import rasterise
from sr3d_core.geometry.camera import Pinhole

GOLDEN_RAD = float(np.pi * (3 - 5**0.5))
"""From point to point of Vogel's spiral, which covers a disc evenly."""

_NEAR_M = np.float32(0.015)  # what lies so little before a surface does not shade it
_BEND_M = np.float32(0.25)
_TAPS = 7


@dataclass(frozen=True, slots=True, eq=False)
class ShadowMap:
    """A light's depth image."""

    pinhole: Pinhole
    room_from_light: Float[ndarray, "3 3"]
    position: Float[ndarray, " 3"]
    depth: Float[ndarray, " P"]  # of each pixel, row by row; inf where there is nothing
    face: Int[ndarray, " P"]
    softness_px: float  # radius of the disc
    is_lit_outside: bool  # what a point has that the light's image does not show

    @classmethod
    def taken(
        cls,
        corners: Float[ndarray, "F 3 3"],
        casts: Bool[ndarray, " F"],
        pose: tuple[Float[ndarray, "3 3"], Float[ndarray, " 3"]],
        pinhole: Pinhole,
        softness_px: float,
        is_lit_outside: bool,
    ) -> ShadowMap:
        """Of the triangles that cast shadows, seen from `pose` (rotation, position)."""
        turn, position = pose
        kept = np.flatnonzero(casts)
        turned = (corners[kept] - position) @ turn
        hits = rasterise(turned, np.full(len(kept), -1), 0, pinhole)
        is_hit = hits.face >= 0
        depth = np.where(is_hit, hits.depth, np.inf).astype(np.float32).reshape(-1)
        face = np.where(is_hit, kept[hits.face], -1) if len(kept) else hits.face
        return cls(
            pinhole, turn, position, depth, face.astype(np.int32).reshape(-1), softness_px,
            is_lit_outside,
        )  # fmt: skip

    def lit(
        self,
        xyz: Float[ndarray, "N 3"],
        normal: Float[ndarray, "N 3"],
        face: Int[ndarray, " N"],
    ) -> Float[ndarray, " N"]:
        """Share 0..1 of the light that reaches points of the room; `normal` looks to its side."""
        camera = self.pinhole
        turn = self.room_from_light.astype(np.float32)
        local = (xyz - self.position.astype(np.float32)) @ turn
        across = normal @ turn
        plane = np.einsum("nc,nc->n", local, across)
        depth = local[:, 2]
        is_before = depth > 0.05
        z = np.where(is_before, depth, np.float32(1.0))
        u = local[:, 0] / z * np.float32(camera.fx) + np.float32(camera.cx)
        v = local[:, 1] / z * np.float32(camera.fy) + np.float32(camera.cy)
        inside = is_before & (u >= 0) & (v >= 0)
        inside &= (u <= camera.width - 1) & (v <= camera.height - 1)
        total = np.zeros(len(xyz), dtype=np.float32)
        for right, down in _disc(self.softness_px):
            column = np.clip(u + (right + np.float32(0.5)), 0, camera.width - 1).astype(np.int32)
            row = np.clip(v + (down + np.float32(0.5)), 0, camera.height - 1).astype(np.int32)
            at = np.where(inside, row * camera.width + column, 0)
            # Where the surface's own plane lies in that pixel.
            ray_x = (column - np.float32(camera.cx)) * np.float32(1 / camera.fx)
            ray_y = (row - np.float32(camera.cy)) * np.float32(1 / camera.fy)
            slope = across[:, 0] * ray_x + across[:, 1] * ray_y + across[:, 2]
            own = np.clip(plane / np.where(slope == 0, 1, slope), z - _BEND_M, z + _BEND_M)
            total += (self.depth[at] >= own - _NEAR_M) | (self.face[at] == face)
        return np.where(inside, total / _TAPS, np.float32(self.is_lit_outside))


def _disc(radius: float) -> list[tuple[np.float32, np.float32]]:
    """Places spread evenly over a disc."""
    out = []
    for k in range(_TAPS):
        away, angle = radius * np.sqrt((k + 0.5) / _TAPS), k * GOLDEN_RAD
        out.append((np.float32(away * np.cos(angle)), np.float32(away * np.sin(angle))))
    return out
