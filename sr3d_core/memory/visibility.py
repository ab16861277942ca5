"""What one frame says about the places of objects: seen, hidden, free, or not looked at.

A box is looked at through points spread over its inside, each by the ray of the frame that goes
its way (`RangeImage`):

    clear     the ray was measured, and nothing in front of the box stopped it
    free      the ray went on past the point: nothing is there
    met       the ray ended inside the box: something is there. What lies as near to its rear as
              the depth is exact may be the wall behind it, and counts only for flat boxes

So a box that is hidden, out of view, beyond the range, or in a hole of the depth is neither clear
nor free. The lowest part of a box is not looked at: there rays end on the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sr3d_core.geometry.thinning import even_rows
from sr3d_core.memory.range_image import RangeImage
from sr3d_core.structures import PointCloud

MAX_POINTS = 60_000
"""A frame with more points is thinned out evenly to this."""

_STEPS = 5  # points along each side of a box
_SHRUNK = 0.8  # the share of a box that is looked at: its rim may belong to what stands beside it
_FLOOR_M = 0.08  # of a box's height from below, at most half of it
_MARGIN_M = 0.05
_DEPTH_NOISE = 0.0025  # standard deviation of depth over the square of the distance, 1/m
_SIGMAS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Which share of each box a frame found clear, free and met, 0..1."""

    clear: Float[ndarray, " B"]
    free: Float[ndarray, " B"]
    met: Float[ndarray, " B"]
    distance_m: Float[ndarray, " B"]  # from the sensor to the box's centre


@dataclass(frozen=True, slots=True, eq=False)
class Visibility:
    """What one frame measured around its sensor."""

    image: RangeImage
    sensor: Float[ndarray, " 3"]  # in the static frame, metres

    @classmethod
    def of(
        cls,
        cloud: PointCloud,
        static_from_cloud: Float[ndarray, "4 4"],
        sensor: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Visibility:
        """Of a frame's points; `sensor` is where its rays start, in the cloud's frame, metres."""
        rows = even_rows(len(cloud), MAX_POINTS)
        xyz = cloud.xyz.numpy(force=True)[rows]
        away = (xyz - np.asarray(sensor, xyz.dtype)).astype(np.float32, copy=False)
        away = away[np.isfinite(away).all(axis=1)]
        turn = static_from_cloud[:3, :3]
        offset = turn.astype(np.float32) @ away.T
        distance = np.sqrt((offset * offset).sum(axis=0))
        at = turn @ np.asarray(sensor, np.float64) + static_from_cloud[:3, 3]
        return cls(RangeImage.of(offset, distance), at)

    def of_boxes(self, boxes: Float[ndarray, "B 7"]) -> Looks:
        """What the frame shows of boxes `x y z dx dy dz yaw` in the static frame."""
        inside = _inside(boxes[:, 3:6])
        turned = _turned(inside, boxes[:, 6])
        offset = turned + (boxes[:, None, :3] - self.sensor)
        seen = offset.reshape(-1, 3).T.astype(np.float32)
        distance = np.sqrt((seen * seen).sum(axis=0)).reshape(inside.shape[:2])
        cell = self.image.cells(seen).reshape(distance.shape)
        near, passed = self.image.near[cell], self.image.passed[cell]
        margin = _MARGIN_M + _SIGMAS * _DEPTH_NOISE * distance * distance
        enters, leaves = _chords(inside, _turned(offset, -boxes[:, 6]), boxes, distance)
        # What stands behind a thing, as a wall, is measured as near as this to its rear.
        is_thick = leaves - enters > 2.0 * margin
        rear = np.where(is_thick, leaves - margin, leaves + _MARGIN_M)
        is_free = passed > np.where(
            is_thick, np.minimum(distance + margin, np.maximum(distance, rear)), distance + margin
        )
        is_met = (near >= enters - _MARGIN_M) & (near <= rear)
        is_behind = near > distance - margin  # the ray was not stopped before the point
        is_clear = np.isfinite(near) & (is_behind | is_met)

        def share(mask: Bool[ndarray, " P"]) -> Float[ndarray, " B"]:
            return mask.mean(axis=1)

        center = np.linalg.norm(boxes[:, :3] - self.sensor, axis=1)
        return Looks(share(is_clear), share(is_free), share(is_met), center)


def _inside(size: Float[ndarray, "B 3"]) -> Float[ndarray, "B P 3"]:
    """Points spread over the inside of boxes, seen from their centres along their axes."""
    steps = ((np.arange(_STEPS) + 0.5) / _STEPS - 0.5) * _SHRUNK
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    inside: Float[ndarray, "B P 3"] = grid * size[:, None, :]
    low = -size[:, 2] / 2 + np.minimum(_FLOOR_M, size[:, 2] / 2)
    high = size[:, 2] / 2 * _SHRUNK
    inside[:, :, 2] = low[:, None] + (grid[:, 2] / _SHRUNK + 0.5) * (high - low)[:, None]
    return inside


def _turned(points: Float[ndarray, "B P 3"], yaw: Float[ndarray, " B"]) -> Float[ndarray, "B P 3"]:
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([c * x - s * y, s * x + c * y, z], axis=-1)


def _chords(
    inside: Float[ndarray, "B P 3"], ray: Float[ndarray, "B P 3"], boxes: Float[ndarray, "B 7"],
    distance: Float[ndarray, "B P"],
) -> tuple[Float[ndarray, "B P"], Float[ndarray, "B P"]]:  # fmt: skip
    """How far from the sensor the rays to points `inside` boxes enter and leave them, metres.

    `ray` leads from the sensor to the point; both are along the box's axes. The lowest part of a
    box is left out: there rays end on the floor.
    """
    high = boxes[:, None, 3:6] / 2
    low = -high
    low[..., 2] += np.minimum(_FLOOR_M, high[..., 2])
    with np.errstate(divide="ignore"):
        sides = np.stack(
            [(low - inside) / ray, (high - inside) / ray]
        )  # 0 = the point, -1 = start
    enters, leaves = sides.min(axis=0).max(axis=-1), sides.max(axis=0).min(axis=-1)
    return (1.0 + np.maximum(enters, -1.0)) * distance, (1.0 + leaves) * distance
