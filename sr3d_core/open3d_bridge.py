"""Clouds and boxes to Open3D and back; the one place that loads Open3D.

Open3D (an extra, for work at a desk) keeps points in float64 and boxes as a rotation and extents.
Its boxes may be tilted, ours are upright: z up, yaw counter-clockwise about z, dx along the
heading. Nothing here is imported by the node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from sr3d_core.structures import Boxes3D, PointCloud

if TYPE_CHECKING:
    import open3d

    Open3DBox: TypeAlias = (
        open3d.geometry.OrientedBoundingBox | open3d.geometry.AxisAlignedBoundingBox
    )

MAX_TILT_RAD = 1e-3
"""A box counts as upright up to this tilt: 1 mm at the end of a metre."""

_GREY = 0.5  # Open3D colors all points or none


class Open3DError(ValueError):
    """Open3D cannot be loaded, or an object of it has no counterpart here."""


def load_open3d() -> Any:
    """The module `open3d`; raises Open3DError with what to install where it does not load."""
    try:
        return import_module("open3d")
    except ModuleNotFoundError as error:
        raise Open3DError(
            f"this needs Open3D ({error.name} is missing), in sr3d's folder: "
            "pip install '.[open3d]'"
        ) from error
    except (ImportError, OSError) as error:
        raise Open3DError(
            f"Open3D does not load ({error}): a library of the system is missing; on Debian and "
            "Ubuntu: apt install libgl1 libgomp1 libusb-1.0-0 libx11-6"
        ) from error


def cloud_to_open3d(cloud: PointCloud) -> open3d.geometry.PointCloud:
    """The points of one scene; those of unknown color are grey where others have one.

    Raises Open3DError for a batch of several scenes.
    """
    num_scenes = len(cloud.scene.unique())
    if num_scenes > 1:
        raise Open3DError(
            f"the cloud holds {num_scenes} scenes, expected one; pick it: cloud[cloud.scene == 0]"
        )
    o3d = load_open3d()
    points = o3d.geometry.PointCloud()
    points.points = o3d.utility.Vector3dVector(cloud.xyz.cpu().double().numpy())
    color = cloud.features.cpu().double().numpy()
    is_known = np.isfinite(color).all(axis=1)
    if is_known.any():
        color[~is_known] = _GREY
        points.colors = o3d.utility.Vector3dVector(color)
    return points


def cloud_from_open3d(points: open3d.geometry.PointCloud) -> PointCloud:
    """A cloud of one scene, float64; colors unknown where Open3D has none, normals left out."""
    o3d = load_open3d()
    if not isinstance(points, o3d.geometry.PointCloud):
        raise Open3DError(_wrong_type(points, "an open3d.geometry.PointCloud"))
    xyz = torch.from_numpy(np.array(points.points, dtype=np.float64))
    if not points.has_colors():
        return PointCloud.single(xyz, None)
    return PointCloud.single(xyz, torch.from_numpy(np.array(points.colors, dtype=np.float64)))


def boxes_to_open3d(boxes: Boxes3D) -> list[open3d.geometry.OrientedBoundingBox]:
    """One box of Open3D for each of ours, in order."""
    o3d = load_open3d()
    rows = boxes.array.cpu().double().numpy()
    return [o3d.geometry.OrientedBoundingBox(row[:3], _about_z(row[6]), row[3:6]) for row in rows]


def boxes_from_open3d(boxes: Sequence[Open3DBox]) -> Boxes3D:
    """Our boxes of Open3D's, float64, in order; axis-aligned ones have yaw 0.

    Any axis of a box may be its vertical one; the next of the two others in Open3D's order is the
    heading. Raises Open3DError for a box that is tilted.
    """
    o3d = load_open3d()
    rows = []
    for index, box in enumerate(boxes):
        if isinstance(box, o3d.geometry.AxisAlignedBoundingBox):
            rows.append([*box.get_center(), *box.get_extent(), 0.0])
        elif isinstance(box, o3d.geometry.OrientedBoundingBox):
            rows.append(_upright_row(index, box))
        else:
            raise Open3DError(f"box {index}: {_wrong_type(box, 'a box of open3d.geometry')}")
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64).reshape(-1, 7))


def _about_z(yaw: float) -> np.ndarray:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _upright_row(index: int, box: open3d.geometry.OrientedBoundingBox) -> list[float]:
    """x y z dx dy dz yaw of a box of Open3D one of whose axes is vertical."""
    axes, extent = np.asarray(box.R), np.asarray(box.extent)  # the columns are the box's axes
    vertical = int(np.abs(axes[2]).argmax())
    tilt = math.acos(min(1.0, abs(float(axes[2, vertical]))))
    if tilt > MAX_TILT_RAD:
        raise Open3DError(
            f"box {index} is tilted by {math.degrees(tilt):.2f} degrees, expected an upright one; "
            "level its cloud first, or take get_axis_aligned_bounding_box()"
        )
    heading, side = (axis for axis in range(3) if axis != vertical)
    size = [extent[heading], extent[side], extent[vertical]]
    return [*box.center, *size, math.atan2(axes[1, heading], axes[0, heading])]


def _wrong_type(found: object, expected: str) -> str:
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    return f"found a {kind}, expected {expected}; tensor geometry has .to_legacy()"
