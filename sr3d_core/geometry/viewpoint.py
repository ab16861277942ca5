"""What of a cloud one sensor sees: inside its field of view, and not behind something else.

A sensor is a place, an optical frame (z forward, x right, y down) and the slopes that bound its
image; one that looks all around has no bounds. Points hide others as small discs about as large as
the gaps between them: a buffer of the nearest distances over the faces of a cube around the
sensor, as fine as the points are dense there, coarser for what is near.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_FINEST = 256
"""Cells along a side of the cube in the finest buffer: 0.45 degrees in the middle of a face."""
_LEVELS = 6  # each half as fine as the one before; the last has cells of 14 degrees
_GAPS = 1.5  # a disc is so many gaps wide, so that a surface has no holes
_STEEP = 4.0  # a surface seen aslant may reach so much deeper than its cell is wide
_SLACK = 1.5  # and so much deeper than the cells beside it say
_MARGIN_M = 0.03  # what lies so near behind is the same surface
_AREA_M = 0.2  # edge of the cells in which points are counted to know how dense they are
_SPACING_M = (0.005, 0.2)  # gaps that are believed
_WIDEST = 3.0  # slope of the side of a field of view, 72 degrees
_IN_FRONT = 0.05  # the least forward part of a direction that a pinhole camera can see


@dataclass(frozen=True, slots=True, eq=False)
class Viewpoint:
    """Where a sensor was in a cloud, and what it could see from there."""

    cloud_from_camera: Float[Tensor, "4 4"]  # float64, from its optical frame; metres
    slopes: tuple[float, float, float, float] | None
    """Least and greatest x/z, least and greatest y/z in its image; None: it sees all around."""

    def moved(self, shift: Float[Tensor, " 3"]) -> Viewpoint:
        """The same in a cloud that was moved by so much."""
        matrix = self.cloud_from_camera.clone()
        matrix[:3, 3] += shift.to(matrix)
        return Viewpoint(matrix, self.slopes)


def viewpoint_of(xyz: Float[Tensor, "N 3"], cloud_from_sensor: Float[Tensor, "4 4"]) -> Viewpoint:
    """The viewpoint of a sensor by the points that it saw, in the sensor's own frame.

    The axis that all points lie around is its forward one, whatever the frame is called; where
    there is none, as for a turning lidar, it sees all around.
    """
    best: tuple[float, Tensor, tuple[float, float, float, float]] | None = None
    for optical_from_sensor in _optical_frames():
        slopes = _slopes(xyz @ optical_from_sensor.T.to(xyz))
        if slopes is None:
            continue
        size = (slopes[1] - slopes[0]) * (slopes[3] - slopes[2])
        if best is None or size < best[0]:
            best = (size, optical_from_sensor, slopes)
    if best is None:
        return Viewpoint(cloud_from_sensor.double(), None)
    matrix = cloud_from_sensor.double().clone()
    matrix[:3, :3] = matrix[:3, :3] @ best[1].T
    return Viewpoint(matrix, best[2])


def seen_from(xyz: Float[Tensor, "N 3"], viewpoint: Viewpoint) -> Bool[Tensor, " N"]:
    """Which points of a cloud the sensor sees."""
    if not len(xyz):
        return torch.zeros(0, dtype=torch.bool)
    matrix = viewpoint.cloud_from_camera
    away = ((xyz.double() - matrix[:3, 3]) @ matrix[:3, :3]).float()
    seen = _in_image(away, viewpoint.slopes)
    seen[seen.clone()] = _unhidden(away[seen], spacing_m(xyz))
    return seen


def spacing_m(xyz: Float[Tensor, "N 3"]) -> float:
    """About how far neighbouring points of a cloud are from each other on its surfaces."""
    cells = torch.floor(xyz.double() / _AREA_M).long()
    cells = cells - cells.amin(dim=0)
    _, width, height = (cells.amax(dim=0) + 1).tolist()
    numbers = (cells[:, 0] * width + cells[:, 1]) * height + cells[:, 2]
    counts = numbers.unique(return_counts=True)[1]
    low, high = _SPACING_M
    return min(max(_AREA_M / float(counts.double().median()) ** 0.5, low), high)


def _optical_frames() -> list[Float[Tensor, "3 3"]]:
    """Optical frames whose forward axis is each axis of another frame, either way."""
    frames = []
    for axis in (2, 0, 1):
        for sign in (1.0, -1.0):
            forward, right = torch.zeros(3).double(), torch.zeros(3).double()
            forward[axis], right[(axis + 1) % 3] = sign, 1.0
            frames.append(torch.stack([right, torch.linalg.cross(forward, right), forward]))
    return frames


def _slopes(away: Float[Tensor, "N 3"]) -> tuple[float, float, float, float] | None:
    """The bounds of an image that holds all points; None where no camera could have one."""
    distance = away.norm(dim=1)
    away, distance = away[distance > 0], distance[distance > 0]
    if not len(away) or bool((away[:, 2] < _IN_FRONT * distance).any()):
        return None
    across, down = away[:, 0] / away[:, 2], away[:, 1] / away[:, 2]
    bounds = (float(across.min()), float(across.max()), float(down.min()), float(down.max()))
    return bounds if max(abs(each) for each in bounds) <= _WIDEST else None


def _in_image(
    away: Float[Tensor, "N 3"], slopes: tuple[float, float, float, float] | None
) -> Bool[Tensor, " N"]:
    if slopes is None:
        return torch.ones(len(away), dtype=torch.bool)
    left, right, top, bottom = slopes
    depth, slack = away[:, 2], 1e-4 * away[:, 2].abs()  # of single precision
    across = (away[:, 0] >= left * depth - slack) & (away[:, 0] <= right * depth + slack)
    down = (away[:, 1] >= top * depth - slack) & (away[:, 1] <= bottom * depth + slack)
    return (depth > 0) & across & down


def _unhidden(away: Float[Tensor, "N 3"], gap_m: float) -> Bool[Tensor, " N"]:
    """Which points have nothing in front of them, seen from the origin."""
    distance = away.norm(dim=1)
    disc = _GAPS * gap_m / distance.clamp_min(1e-6) * (_FINEST / 2)  # in finest cells
    level = torch.ceil(torch.log2(disc.clamp_min(1.0))).long().clamp_max(_LEVELS - 1)
    nearest = torch.full_like(distance, torch.inf)
    for number in level.unique().tolist():
        side = _FINEST >> number
        cell = _cube_cells(away, side)
        is_own = level == number
        buffer = torch.full((6 * side * side,), torch.inf)
        buffer.scatter_reduce_(0, cell[is_own], distance[is_own], "amin")
        limit = buffer + _depth_m(buffer, side) + _MARGIN_M
        nearest = torch.minimum(nearest, limit[cell])
    return distance <= nearest


def _depth_m(buffer: Float[Tensor, " C"], side: int) -> Float[Tensor, " C"]:
    """How much farther than its nearest point the surface in each cell may reach.

    As the cells beside it say, of opposite ones the more alike: where something ends, one of them
    is of something else. Where they say nothing, as much as a surface that is seen much aslant.
    """
    faces = buffer.view(6, side, side)
    total = torch.zeros_like(faces)
    for axis in (1, 2):
        step = faces.diff(dim=axis).abs().nan_to_num(torch.inf)  # of two empty ones
        edge = torch.full_like(faces.narrow(axis, 0, 1), torch.inf)
        before, after = torch.cat([edge, step], axis), torch.cat([step, edge], axis)
        total += torch.minimum(before, after)
    return torch.minimum(_SLACK * total.flatten(), _STEEP * 2.0 / side * buffer)


def _cube_cells(away: Float[Tensor, "N 3"], side: int) -> Int[Tensor, " N"]:
    """The cell of each direction on a cube around the origin."""
    longest, axis = away.abs().max(dim=1)
    face = 2 * axis + (away.gather(1, axis[:, None])[:, 0] < 0)
    across = away.gather(1, ((axis + 1) % 3)[:, None])[:, 0]
    down = away.gather(1, ((axis + 2) % 3)[:, None])[:, 0]
    scale = side / 2 / longest.clamp_min(1e-6)
    column = (across * scale + side / 2).long().clamp(0, side - 1)
    row = (down * scale + side / 2).long().clamp(0, side - 1)
    return (face * side + column) * side + row
