"""Boxes fitted to the points that are seen of an object: switches by class, all off by default.

A network answers with boxes that are near the usual size of a class, and the points say more where
an object is seen well. Where it is not, they say less: hence half-way, and by class. Which classes
gain must be measured on labelled scenes; docs/accuracy.md says what was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.choices import alike
from sr3d_core.evaluate import FindsObjects
from sr3d_core.geometry.floor_following import FloorPlane, floor_near
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.geometry.walls import wall_direction
from sr3d_core.structures import Boxes3D, Detections, PointCloud

ALL = "all"
"""In place of class names: every class."""

_QUARTER = math.pi / 2
_MARGIN_M = 0.10  # points this far outside a box may be the object's too
_TAIL = 0.02  # share of the points that lie beyond each end of what counts as seen
_MIN_POINTS = 30  # fewer say nothing about a size
_ABOVE_FLOOR_M = 0.03  # points nearer to the floor than this are the floor's
_FLOOR_REACH_M = 0.25  # a box that ends farther from the floor than this does not stand on it


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Which classes are fitted to the points in which way; class names, or ("all",)."""

    size: tuple[str, ...] = ()
    """The sides and the top move half-way to where the visible points of the box end."""
    floor: tuple[str, ...] = ()
    """The bottom moves to the floor, where the box ends near it."""
    yaw: tuple[str, ...] = ()
    """The sides turn along the room's dominant walls, by the shorter way."""

    def check(self, classes: tuple[str, ...]) -> None:
        """Raise ValueError where a class is named that is not one of these."""
        for way in ("size", "floor", "yaw"):
            for name in getattr(self, way):
                if name != ALL and name not in classes:
                    near = alike(name, classes)
                    hint = "" if near is None else f" (is it {near}?)"
                    raise ValueError(
                        f"refinement.{way}: no class {name!r}{hint}, expected {ALL} or some of "
                        f"{', '.join(classes)}"
                    )

    def __call__(
        self, cloud: PointCloud, found: Detections, classes: tuple[str, ...]
    ) -> Detections:
        """The same detections, their boxes fitted to the points; works on the CPU.

        The cloud is one scene, z up; a floor or walls that are not seen change nothing.
        """
        if len(found) == 0 or not (self.size or self.floor or self.yaw):
            return found
        local, origin = near_zero(cloud.to("cpu"))
        boxes, xyz = moved(found.boxes, -origin), local.xyz.double()
        floor = floor_near(xyz, xyz.new_tensor([0.0, 0.0, 1.0]))

        def is_of(names: tuple[str, ...]) -> Bool[Tensor, " D"]:
            wanted = [ALL in names or name in names for name in classes]
            return torch.tensor(wanted)[found.labels]

        rows = boxes.array.double()
        if self.yaw:
            rows = torch.where(is_of(self.yaw)[:, None], _along_walls(rows, xyz), rows)
        if self.size:
            above = xyz if floor is None else xyz[_height(floor, xyz) > _ABOVE_FLOOR_M]
            above = above[above[:, 0].argsort()]  # so that a box need not look at all of them
            for index in is_of(self.size).nonzero()[:, 0].tolist():
                rows[index] = _half_way(rows[index], above)
        if self.floor and floor is not None:
            rows = torch.where(is_of(self.floor)[:, None], _on_floor(rows, floor), rows)
        refined = Boxes3D.from_array(rows.to(boxes.array.dtype))
        return Detections(moved(refined, origin), found.scores, found.labels, found.time_ms)


class Refined:
    """Answers like the detector that it is made of, its boxes fitted to the points.

    Raises ValueError where the refinement names a class that the detector does not know.
    """

    def __init__(self, detector: FindsObjects, refinement: Refinement) -> None:
        refinement.check(detector.classes)
        self.detector = detector
        self.refinement = refinement

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        return self.detector.classes

    def detect(self, cloud: PointCloud) -> Detections:
        """Find objects in a cloud of one scene, z up; the result is on the CPU."""
        return self.refinement(cloud, self.detector.detect(cloud), self.classes)


def _height(floor: FloorPlane, xyz: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """How far points lie above the floor, along z."""
    return (xyz @ floor.normal - floor.offset_m) / floor.normal[2]


def _along_walls(rows: Float[Tensor, "D 7"], xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "D 7"]:
    """Boxes turned along the walls, by an eighth of a turn at most."""
    direction = wall_direction(xyz)
    if direction is None:
        return rows
    turn = (direction - rows[:, 6] + _QUARTER / 2).remainder(_QUARTER) - _QUARTER / 2
    return torch.cat([rows[:, :6], (rows[:, 6] + turn)[:, None]], dim=1)


def _half_way(row: Float[Tensor, " 7"], xyz: Float[Tensor, "N 3"]) -> Float[Tensor, " 7"]:
    """A box whose sides and top are half-way to the visible points in and close around it.

    Points come by rising x.
    """
    half, cos, sin = row[3:6] / 2, row[6].cos(), row[6].sin()
    reach = torch.hypot(half[0], half[1]) + 2 * _MARGIN_M
    first, last = torch.searchsorted(
        xyz[:, 0].contiguous(), torch.stack([row[0] - reach, row[0] + reach])
    ).tolist()
    xyz = xyz[first:last]
    x, y, z = (xyz - row[:3]).unbind(dim=1)
    own = torch.stack([x * cos + y * sin, y * cos - x * sin, z], dim=1)
    own = own[(own.abs() <= half + _MARGIN_M).all(dim=1)]
    if len(own) < _MIN_POINTS:
        return row
    ends = torch.quantile(own, own.new_tensor([_TAIL, 1 - _TAIL]), dim=0)
    low, high = (-half + ends[0]) / 2, (half + ends[1]) / 2
    low[2] = -half[2]  # what stands on the floor is not seen from below
    x, y, z = ((low + high) / 2).unbind()
    center = row[:3] + torch.stack([x * cos - y * sin, x * sin + y * cos, z])
    return torch.cat([center, high - low, row[6:]])


def _on_floor(rows: Float[Tensor, "D 7"], floor: FloorPlane) -> Float[Tensor, "D 7"]:
    """Boxes whose bottom is on the floor where it is near it; their top stays."""
    bottom, top = rows[:, 2] - rows[:, 5] / 2, rows[:, 2] + rows[:, 5] / 2
    at_bottom = torch.cat([rows[:, :2], bottom[:, None]], dim=1)
    height = _height(floor, at_bottom)
    is_near = (height.abs() <= _FLOOR_REACH_M) & (top - bottom + height > 0)
    bottom = bottom - height * is_near
    z, dz = (bottom + top) / 2, top - bottom
    return torch.cat([rows[:, :2], z[:, None], rows[:, 3:5], dz[:, None], rows[:, 6:]], dim=1)
