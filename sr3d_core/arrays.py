"""Arrays of the user's become the nouns of this package, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.geometry.camera import Pinhole, brightness_doubt, camera_doubt, height_doubt
from sr3d_core.structures import UNKNOWN_COLOR, Images, PointCloud

_COLOR_SLACK = 1e-3  # resampled colors may overshoot a little
_SKEW = 1e-3  # of the focal length: axes are at right angles
_RIGID = 1e-3  # how far a rotation may be from one


def as_cloud(xyz: Tensor | NDArray, rgb: Tensor | NDArray | None = None) -> PointCloud:
    """A cloud of one scene from points `xyz` (N,3), metres, z up, and `rgb` (N,3) in 0..1.

    Colors of the type uint8 are taken as 0..255 and divided by 255; those that are not finite are
    unknown. Map coordinates should come as float64. Raises ValueError where a shape is wrong or
    colors leave their range.
    """
    points = _as_rows("xyz", xyz)
    colors = None if rgb is None else _as_colors(rgb)
    if colors is not None and len(colors) != len(points):
        raise ValueError(
            f"rgb has {len(colors)} rows, xyz has {len(points)} rows, expected one color per point"
        )
    return PointCloud.single(points, colors)


def as_images(
    image: Tensor | NDArray,
    intrinsics: Tensor | NDArray,
    world_from_camera: Tensor | NDArray,
    height_m: float | None = None,
) -> Images:
    """One image from pixels (H,W,3), intrinsics (3,3) and the pose (4,4) of its camera.

    Pixels are 0..255 where the type is uint8, else 0..1; the camera looks along its z, x to the
    right and y down, and the world has z up. Raises ValueError where a shape is wrong, a number is
    not finite, the image is all but black, K is of no camera of such an
    image, the pose is no rotation and shift, or the height (metres above the floor, None where
    unknown) that of no camera in a room.
    """
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image, order="C"))
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"image has shape {tuple(pixels.shape)}, expected (H, W, 3)")
    rows = pixels.reshape(-1, 3)
    colors = _as_colors(rows if pixels.dtype == torch.uint8 else rows.float(), "image")
    if not bool(colors.isfinite().all()):
        raise ValueError("image has pixels that are not finite, expected 0..1")
    if doubt := brightness_doubt(float(colors.mean())):
        raise ValueError(f"image {doubt} Or was it divided by 255 twice?")
    pixels = colors.reshape(pixels.shape).permute(2, 0, 1)[None].contiguous()
    matrix, pose = (
        _as_matrix("K", intrinsics, 3),
        _as_matrix("world_from_camera", world_from_camera, 4),
    )
    _require_camera(matrix, *pixels.shape[-2:])
    turn = pose[:3, :3]
    is_rigid = (turn @ turn.T - torch.eye(3).double()).abs().max() < _RIGID
    if not is_rigid or not float(torch.linalg.det(turn)) > 0:
        raise ValueError("world_from_camera is no rotation and shift; expected a pose, metres")
    if height_m is not None and (doubt := height_doubt(height_m)):
        raise ValueError(f"height_m: {doubt}")
    height = None if height_m is None else torch.tensor([height_m])
    return Images(pixels, matrix[None], pose[None], height=height)


def _require_camera(matrix: Float[Tensor, "3 3"], height: int, width: int) -> None:
    """Refuse a K that is none of an image of this size; ValueError."""
    fx, skew, cx, zero, fy, cy, *last = matrix.flatten().tolist()
    if any(abs(each) > _SKEW * abs(fx) for each in (skew, zero)) or last != [0.0, 0.0, 1.0]:
        raise ValueError(
            f"K is {matrix.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; is it "
            "transposed, or of a camera that is not rectified?"
        )
    if doubt := camera_doubt(Pinhole(width, height, fx, fy, cx, cy)):
        raise ValueError(f"K: {doubt}; where the image was resized, resize K with it")


def _as_colors(rgb: Tensor | NDArray, name: str = "rgb") -> Float[Tensor, "N 3"]:
    """Colors in 0..1, NaN where they are not finite."""
    is_bytes = rgb.dtype in (np.uint8, torch.uint8) if hasattr(rgb, "dtype") else False
    colors = _as_rows(name, rgb).float()
    if is_bytes:
        return colors / 255.0
    is_known = colors.isfinite()
    known = colors[is_known]
    if len(known):
        low, high = float(known.min()), float(known.max())
        if low < -_COLOR_SLACK or high > 1.0 + _COLOR_SLACK:
            advice = "divide by 255" if low >= 0.0 and high <= 255.0 else "are these colors?"
            raise ValueError(f"{name} spans {low:g}..{high:g}, expected 0..1: {advice}")
    return colors.where(is_known, torch.full_like(colors, UNKNOWN_COLOR))


def _as_rows(name: str, rows: Tensor | NDArray) -> Float[Tensor, "N 3"]:
    if not isinstance(rows, Tensor):
        array = np.asarray(rows)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
        is_double = array.dtype.itemsize > 4 or array.dtype.kind in "iu"
        dtype = np.float64 if is_double else np.float32
        rows = torch.from_numpy(np.array(array, dtype=dtype, order="C"))
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, expected (N, 3)")
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.double()


def _as_matrix(name: str, rows: Tensor | NDArray, size: int) -> Float[Tensor, "S S"]:
    matrix = torch.as_tensor(
        np.array(rows, dtype=np.float64) if not isinstance(rows, Tensor) else rows
    )
    if tuple(matrix.shape) != (size, size):
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}, expected ({size}, {size})")
    if not bool(matrix.isfinite().all()):
        raise ValueError(f"{name} has numbers that are not finite: {matrix.tolist()}")
    return matrix
