"""What one frame says about the places of objects: seen, hidden, free, or not looked at.

A box is looked at through points spread over its inside, each by the ray of the frame that goes
its way (`RangeImage`):

    clear     the ray was measured, and nothing in front of the box stopped it
    free      the ray went on past the point: nothing is there
    met       the ray ended inside the box: something is there

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
_NOWHERE_M = 1e6  # where a ray ends that was not measured: in no box
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
        offset = _turned(inside, boxes[:, 6]) + (boxes[:, None, :3] - self.sensor)
        seen = offset.reshape(-1, 3).T.astype(np.float32)
        distance = np.sqrt((seen * seen).sum(axis=0))
        cell = self.image.cells(seen)
        near, passed = self.image.near[cell], self.image.passed[cell]
        margin = _MARGIN_M + _SIGMAS * _DEPTH_NOISE * distance * distance
        is_free = passed > distance + margin
        reach = np.where(np.isfinite(near), near, _NOWHERE_M) / np.maximum(distance, 1e-6)
        end = offset * reach.reshape(inside.shape[:2])[..., None]
        is_met = _is_inside(end + self.sensor - boxes[:, None, :3], boxes)
        is_behind = near > distance - margin  # the ray was not stopped before the point
        is_clear = np.isfinite(near) & (is_behind | is_met.ravel())

        def share(mask: Bool[ndarray, " P"]) -> Float[ndarray, " B"]:
            return mask.reshape(inside.shape[:2]).mean(axis=1)

        center = np.linalg.norm(boxes[:, :3] - self.sensor, axis=1)
        return Looks(share(is_clear), share(is_free), share(is_met.ravel()), center)


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


def _is_inside(
    away: Float[ndarray, "B P 3"], boxes: Float[ndarray, "B 7"]
) -> Bool[ndarray, "B P"]:
    """Which points, seen from the boxes' centres, lie in them and not on the floor."""
    local = _turned(away, -boxes[:, 6])
    half = boxes[:, None, 3:6] / 2 + _MARGIN_M
    is_in = (np.abs(local) <= half).all(axis=-1)
    low = -boxes[:, None, 5] / 2 + np.minimum(_FLOOR_M, boxes[:, None, 5] / 2)
    met: Bool[ndarray, "B P"] = is_in & (local[..., 2] >= low)
    return met
