"""Boxes that are fitted to candidates and points after the network: which classes, in which way.

A network answers with boxes that are near the usual size of a class. What else it says of the
same object, and the points, say more where an object is seen well. Where it is not, they say less:
hence half-way, and by class. Which classes gain is measured on labelled scenes and kept with the
weights, in their manifest; docs/accuracy.md says what was found.

The floor is the one that the cloud shows, whatever the height of its origin, and it counts for a
box where it is seen around that box: what stands on a stage, or where no floor is in view, stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from sr3d_core.choices import alike
from sr3d_core.geometry.floor_following import floor_near
from sr3d_core.geometry.planes import along
from sr3d_core.geometry.voting import Voting
from sr3d_core.geometry.walls import wall_direction
from sr3d_core.structures import Boxes3D, Detections, PointCloud

ALL = "all"
"""In place of class names: every class."""

WAYS = ("vote", "size", "floor", "yaw")
"""The fields of `Refinement` that name classes."""
OF_POINTS = WAYS[1:]
"""Those of them that need points, which a color image has not."""

_QUARTER = math.pi / 2
_MARGIN_M = 0.10  # points this far outside a box may be the object's too
_TAIL = 0.02  # share of the points that lie beyond each end of what counts as seen
_MIN_POINTS = 30  # fewer say nothing about a size
_ABOVE_FLOOR_M = 0.03  # points nearer to the floor than this are the floor's

_FLOOR_REACH_M = 0.25  # a box that ends farther from the floor than this does not stand on it
_FLOOR_POINTS = 4000  # of a cloud, among which the floor is looked for
_OWN_M = 0.05  # beside a box, what is nearer is the object's own side
_AROUND_M = 0.6  # the floor that a box stands on is seen this near to its sides
_LAYER_M = 0.08  # thick: what counts as one floor
_NUM_LAYERS = 3  # that are looked at below the floor, and above it
_MIN_SEEN = 2  # points of the floor around a box


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Which classes are fitted in which way; class names, or ("all",)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    vote: tuple[str, ...] = ()
    """A box becomes the mean of the candidates of its class that overlap it, weighted by score."""
    vote_iou: float = 0.5
    """Candidates overlap a box by at least this to have a vote (3D, 0..1)."""
    size: tuple[str, ...] = ()
    """The sides and the top move half-way to where the visible points of the box end."""
    floor: tuple[str, ...] = ()
    """The bottom moves to the floor, where the box ends near it and it is seen around the box."""
    yaw: tuple[str, ...] = ()
    """The sides turn along the room's dominant walls, by the shorter way."""

    def __post_init__(self) -> None:
        """Refuse an overlap that is none."""
        if not 0.0 <= self.vote_iou <= 1.0:
            raise ValueError(f"refinement.vote_iou: {self.vote_iou}, expected 0..1")

    def check(self, classes: tuple[str, ...]) -> None:
        """Raise ValueError where a class is named that is not one of these."""
        for way in WAYS:
            for name in getattr(self, way):
                if name != ALL and name not in classes:
                    near = alike(name, classes)
                    hint = "" if near is None else f" (is it {near}?)"
                    raise ValueError(
                        f"refinement.{way}: no class {name!r}{hint}, expected {ALL} or some of "
                        f"{', '.join(classes)}"
                    )

    def voting(self, classes: tuple[str, ...]) -> Voting | None:
        """How boxes of these classes vote; None where none does. ValueError as of `check`."""
        self.check(classes)
        if not self.vote:
            return None
        return Voting(self.vote_iou, tuple(_is_named(self.vote, classes).tolist()))

    def fitted(self, found: Detections, cloud: PointCloud, classes: tuple[str, ...]) -> Detections:
        """The same detections, on the CPU, their boxes fitted to the points.

        Boxes and cloud, one scene with z up, are near zero (`geometry.origin`). A floor or walls
        that are not seen change nothing. Raises ValueError as `check` does.
        """
        self.check(classes)
        labels = found.labels.numpy()
        has_size, has_floor, has_yaw = (
            _is_named(names, classes)[labels] for names in (self.size, self.floor, self.yaw)
        )
        if not (has_size.any() or has_floor.any() or has_yaw.any()) or len(cloud) == 0:
            return found
        rows, xyz = found.boxes.array.double().numpy(), cloud.xyz.to("cpu")
        if has_yaw.any():
            rows[has_yaw] = _along_walls(rows[has_yaw], xyz)
        floor = _Floor.of(xyz) if has_size.any() or has_floor.any() else None
        if has_size.any():
            columns = np.ascontiguousarray(xyz.numpy().T)
            for index in np.flatnonzero(has_size):
                rows[index] = _half_way(rows[index], columns, floor)
        if floor is not None:
            rows[has_floor] = floor.under(rows[has_floor])
        boxes = Boxes3D.from_array(torch.from_numpy(rows).to(found.boxes.center.dtype))
        return Detections(boxes, found.scores, found.labels, found.time_ms)


NONE = Refinement()
"""Boxes stay as the network says."""


@dataclass(frozen=True, slots=True, eq=False)
class _Floor:
    """The floor that a cloud shows, and what lies near its height."""

    normal: Float[NDArray, " 3"]
    offset_m: float
    level_xy: Float[NDArray, "L 2"]  # points little above or below it, by rising layer
    starts: Int[NDArray, " S"]  # where each layer begins among them, the floor in the middle

    @classmethod
    def of(cls, xyz: Float[Tensor, "N 3"]) -> _Floor | None:
        """The floor of a cloud; None where none is seen."""
        some = xyz[:: max(1, math.ceil(len(xyz) / _FLOOR_POINTS))]
        plane = floor_near(some, some.new_tensor([0.0, 0.0, 1.0]))
        if plane is None:
            return None
        normal, points = plane.normal.numpy(), some.numpy()
        height = (along(points, normal) - plane.offset_m) / normal[2]
        layer = np.rint(height / _LAYER_M).astype(np.int64)
        order = layer.argsort(kind="stable")
        order = order[np.abs(layer[order]) <= _NUM_LAYERS]
        starts = layer[order].searchsorted(np.arange(-_NUM_LAYERS, _NUM_LAYERS + 2))
        return cls(normal, plane.offset_m, points[order, :2], starts)

    def height(self, xyz: Float[NDArray, "N 3"]) -> Float[NDArray, " N"]:
        """How far points lie above it, along z."""
        found: Float[NDArray, " N"] = (along(xyz, self.normal) - self.offset_m) / self.normal[2]
        return found

    def under(self, rows: Float[NDArray, "D 7"]) -> Float[NDArray, "D 7"]:
        """Boxes whose bottom is on the floor where it is near and seen; their top stays."""
        rows = rows.copy()
        dz = rows[:, 5]
        bottom = np.stack([rows[:, 0], rows[:, 1], rows[:, 2] - dz / 2], axis=1)
        height = self.height(bottom)
        taller = dz + height
        # A floor in the upper half of a box is the top of something: of the box itself, perhaps.
        is_under = (np.abs(height) <= _FLOOR_REACH_M) & (taller >= dz / 2)
        is_under[is_under] = self._is_seen_around(rows[is_under])
        rows[is_under, 2] -= height[is_under] / 2
        rows[is_under, 5] = taller[is_under]
        return rows

    def _is_seen_around(self, rows: Float[NDArray, "D 7"]) -> Bool[NDArray, " D"]:
        """Where no other level layer is seen more of, close around a box, than the floor."""
        cos, sin = np.cos(rows[:, 6, None]), np.sin(rows[:, 6, None])
        x, y = (self.level_xy[:, axis] - rows[:, axis, None] for axis in (0, 1))
        beside_x = np.abs(x * cos + y * sin) - rows[:, 3, None] / 2
        beside_y = np.abs(y * cos - x * sin) - rows[:, 4, None] / 2
        outside = np.maximum(beside_x, beside_y)
        is_around = (outside > _OWN_M) & (outside <= _AROUND_M)
        up_to = np.concatenate([np.zeros((len(rows), 1), int), is_around.cumsum(axis=1)], axis=1)
        seen = np.diff(up_to[:, self.starts], axis=1)
        upright = seen[:, _NUM_LAYERS + 1 :].min(axis=1)  # of walls, as much in every layer
        of_floor = seen[:, _NUM_LAYERS] - upright / 2  # the lower half of its layer has none
        of_others = np.delete(seen, _NUM_LAYERS, axis=1).max(axis=1) - upright
        is_seen: Bool[NDArray, " D"] = (of_floor >= _MIN_SEEN) & (of_floor >= of_others)
        return is_seen


def _is_named(names: tuple[str, ...], classes: tuple[str, ...]) -> Bool[NDArray, " K"]:
    return np.array([ALL in names or name in names for name in classes], dtype=bool)


def _along_walls(rows: Float[NDArray, "D 7"], xyz: Float[Tensor, "N 3"]) -> Float[NDArray, "D 7"]:
    """Boxes turned along the walls, by an eighth of a turn at most; yaw in -pi..pi."""
    direction = wall_direction(xyz)
    if direction is None:
        return rows
    turn = (direction - rows[:, 6] + _QUARTER / 2) % _QUARTER - _QUARTER / 2
    yaw = (rows[:, 6] + turn + math.pi) % (2 * math.pi) - math.pi
    return np.concatenate([rows[:, :6], yaw[:, None]], axis=1)


def _half_way(
    row: Float[NDArray, " 7"], columns: Float[NDArray, "3 N"], floor: _Floor | None
) -> Float[NDArray, " 7"]:
    """A box whose sides and top are half-way to the visible points in and close around it."""
    half, cos, sin = row[3:6] / 2, math.cos(row[6]), math.sin(row[6])
    reach = math.hypot(half[0], half[1]) + 2 * _MARGIN_M
    is_near = np.abs(columns[0] - row[0]) <= reach
    is_near &= np.abs(columns[1] - row[1]) <= reach
    near = columns[:, np.flatnonzero(is_near)].astype(np.float64).T
    is_above = True if floor is None else floor.height(near) > _ABOVE_FLOOR_M
    x, y, z = (near - row[:3]).T
    own = np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=1)
    own = own[is_above & (np.abs(own) <= half + _MARGIN_M).all(axis=1)]
    if len(own) < _MIN_POINTS:
        return row
    ends = np.quantile(own, [_TAIL, 1 - _TAIL], axis=0)
    ends[1, 2] = max(ends[1, 2], -half[2])  # what lies below the bottom is no top
    low, high = (-half + ends[0]) / 2, (half + ends[1]) / 2
    low[2] = -half[2]  # what stands on the floor is not seen from below
    x, y, z = (low + high) / 2
    moved = [x * cos - y * sin, x * sin + y * cos, z]
    return np.concatenate([row[:3] + moved, high - low, row[6:]])
