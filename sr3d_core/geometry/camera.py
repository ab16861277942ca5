"""The pinhole camera: points of the world, the pixels that see them, and the rays of pixels.

A camera's frame is REP-103's optical one: x right, y down, z forward. Pixel centres are at whole
numbers, that of the first pixel at 0, as in ROS and OpenCV. Depth is z along the optical axis, not
the length of the ray. B cameras, N pixels or points of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.choices import HIGHEST_CAMERA_M


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics of a rectified image, in pixels: `u = fx x/z + cx`, `v = fy y/z + cy`.

    Pixel centres are at whole numbers, that of the first pixel at 0.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


WIDEST_DEG, NARROWEST_DEG = 160.0, 1.0
"""Angles of view from side to side that cameras without distortion have."""
DARKEST = 0.03
"""Mean of all pixels of an image, 0..1 as encoded, below which nothing can be told: a covered
lens, a room at night."""
_MOST_OBLONG = 2.0  # of a pixel's two sides
_NEAREST_M = 0.05  # edges of boxes are cut off nearer than this
_EDGES = [(a, (a + 1) % 4) for a in range(4)]
_EDGES += [(a + 4, b + 4) for a, b in _EDGES] + [(a, a + 4) for a in range(4)]
"""Pairs of the corners that `geometry.boxes.corners` gives."""


def camera_doubt(camera: Pinhole, *, is_cropped: bool = False) -> str:
    """Why no camera takes images of this size with these intrinsics; "" where one may.

    Such are a focal length in millimetres and intrinsics of an image of another size. The centre
    of an image that was cut out of a larger one may lie outside it.
    """
    numbers = camera.fx, camera.fy, camera.cx, camera.cy
    if not all(map(math.isfinite, numbers)) or min(camera.fx, camera.fy) <= 0:
        return f"fx, fy, cx, cy are {numbers}, expected pixels, focal lengths above 0"
    angle = math.degrees(2 * math.atan(camera.width / 2 / camera.fx))
    if not (NARROWEST_DEG <= angle <= WIDEST_DEG or is_cropped):
        return (
            f"with fx {camera.fx:g} an image {camera.width} pixels wide shows {angle:.3g} degrees "
            f"from side to side, expected {NARROWEST_DEG:g}..{WIDEST_DEG:g}: focal lengths are in "
            "pixels of this very image"
        )
    if not 1 / _MOST_OBLONG <= camera.fx / camera.fy <= _MOST_OBLONG:
        return (
            f"fx {camera.fx:g} and fy {camera.fy:g} differ by more than a factor "
            f"{_MOST_OBLONG:g}, expected pixels that are nearly square"
        )
    is_inside = 0 < camera.cx < camera.width and 0 < camera.cy < camera.height
    if not (is_inside or is_cropped):
        return (
            f"the centre ({camera.cx:g}, {camera.cy:g}) is outside the image of {camera.width} x "
            f"{camera.height} pixels, expected the intrinsics of an image of this size"
        )
    return ""


def height_doubt(height_m: float) -> str:
    """Why no camera in a room is so high above its floor; "" where one may be."""
    if 0 < height_m <= HIGHEST_CAMERA_M:
        return ""
    return (
        f"the camera's height is {height_m:g} m, expected above 0, up to "
        f"{HIGHEST_CAMERA_M:g}; leave it out where it is not known"
    )


def brightness_doubt(brightness: float, darkest: float = DARKEST) -> str:
    """Why an image with this mean of all pixels, 0..1, shows nothing; "" where it may."""
    if brightness >= darkest:
        return ""
    return (
        f"has a mean brightness of {brightness:.3f}, expected {darkest:g} or more of 1: is the "
        "lens covered, the room dark, the exposure too short?"
    )


def pinhole_matrix(camera: Pinhole) -> Float[Tensor, "3 3"]:
    """The matrix K of a camera, in float64."""
    rows = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def pixel_centers(height: int, width: int, stride: int = 1) -> Float[Tensor, "N 2"]:
    """u, v of the centres of all cells of an image, row by row.

    A cell is a pixel, or of a map of features that has `height` by `width` cells of `stride`
    pixels: the centre of cell c is at `stride c + (stride - 1) / 2`.
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([columns, rows], dim=-1).reshape(-1, 2)
    return cells * float(stride) + (stride - 1) / 2


def project(
    points: Float[Tensor, "#B N 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    world_from_camera: Float[Tensor, "B 4 4"],
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N"]]:
    """u, v of points of the world in each image, and their depths in metres.

    Pixels may lie outside the image. Points that are not in front of a camera have depths of 0 or
    less and NaN as pixels.
    """
    turn, place = world_from_camera[:, :3, :3], world_from_camera[:, None, :3, 3]
    in_camera = (points - place) @ turn
    depth = in_camera[..., 2]
    is_ahead = depth > 0
    slopes = in_camera[..., :2] / torch.where(is_ahead, depth, 1.0)[..., None]
    focal, centre = _focal_and_centre(intrinsics)
    return torch.where(is_ahead[..., None], slopes * focal + centre, torch.nan), depth


def edges_in_image(
    corners: Float[Tensor, "M 8 3"],
    intrinsics: Float[Tensor, "M 3 3"],
    world_from_camera: Float[Tensor, "M 4 4"],
) -> Float[Tensor, "M 12 2 2"]:
    """u, v of both ends of the edges of boxes, each in the image of its own camera.

    An edge is cut off where it is no longer ahead of the camera; NaN where nothing of it is. The
    corners are those of `geometry.boxes.corners`.
    """
    turn, place = world_from_camera[:, :3, :3], world_from_camera[:, None, :3, 3]
    ends = ((corners - place) @ turn)[:, torch.tensor(_EDGES, device=corners.device)]
    order = ends[..., 2].argsort(dim=-1)[..., None]
    near, far = ends.take_along_dim(order, dim=2).unbind(dim=2)
    length = (far[..., 2] - near[..., 2]).clamp(min=1e-9)
    hidden = ((_NEAREST_M - near[..., 2]) / length).clamp(0.0, 1.0)[..., None]
    ends = torch.stack([near + (far - near) * hidden, far], dim=2)
    here = torch.eye(4, dtype=ends.dtype, device=ends.device).expand(len(ends), 4, 4)
    pixels, _ = project(ends.reshape(len(ends), 24, 3), intrinsics, here)
    is_ahead = far[..., 2] > _NEAREST_M
    return torch.where(is_ahead[..., None, None], pixels.reshape(-1, 12, 2, 2), torch.nan)


def unproject(
    pixels: Float[Tensor, "#B N 2"],
    depth: Float[Tensor, "B N"],
    intrinsics: Float[Tensor, "B 3 3"],
    world_from_camera: Float[Tensor, "B 4 4"],
) -> Float[Tensor, "B N 3"]:
    """Points of the world, in metres, that pixels u, v see at a depth; NaN where it is unknown.

    A depth of 0 or less is unknown, as in `Images`.
    """
    turn, place = world_from_camera[:, :3, :3], world_from_camera[:, None, :3, 3]
    points = (_slopes(pixels, intrinsics) * depth[..., None]) @ turn.mT + place
    return torch.where((depth > 0)[..., None], points, torch.nan)


def rays(
    pixels: Float[Tensor, "#B N 2"],
    intrinsics: Float[Tensor, "B 3 3"],
    world_from_camera: Float[Tensor, "B 4 4"],
) -> Float[Tensor, "B N 3"]:
    """Which way each pixel u, v looks: unit vectors in the frame of the world, z up."""
    ahead = _slopes(pixels, intrinsics) @ world_from_camera[:, :3, :3].mT
    return torch.nn.functional.normalize(ahead, dim=-1)


def flipped_intrinsics(intrinsics: Float[Tensor, "*B 3 3"], width: int) -> Float[Tensor, "*B 3 3"]:
    """Intrinsics of images `width` pixels wide that were mirrored left to right.

    What they show is mirrored as well: a point is at -x in the camera's frame.
    """
    changed = intrinsics.clone()
    changed[..., 0, 2] = width - 1 - intrinsics[..., 0, 2]
    return changed


def cropped_intrinsics(
    intrinsics: Float[Tensor, "*B 3 3"], left: int, top: int
) -> Float[Tensor, "*B 3 3"]:
    """Intrinsics of the part of an image that begins at pixel (left, top).

    Negative numbers are a margin that was added there.
    """
    changed = intrinsics.clone()
    changed[..., 0, 2] -= left
    changed[..., 1, 2] -= top
    return changed


def resized_intrinsics(
    intrinsics: Float[Tensor, "*B 3 3"], scale_x: float, scale_y: float
) -> Float[Tensor, "*B 3 3"]:
    """Intrinsics of images that were made `scale_x` times as wide and `scale_y` times as high.

    The edges of the image stay its edges, as `torch.nn.functional.interpolate` has it with
    `align_corners=False`, and Pillow and OpenCV: `c -> (c + 0.5) s - 0.5`.
    """
    changed = intrinsics.clone()
    for axis, scale in enumerate((scale_x, scale_y)):
        changed[..., axis, axis] *= scale
        changed[..., axis, 2] = (intrinsics[..., axis, 2] + 0.5) * scale - 0.5
    return changed


def _focal_and_centre(
    intrinsics: Float[Tensor, "B 3 3"],
) -> tuple[Float[Tensor, "B 1 2"], Float[Tensor, "B 1 2"]]:
    focal = intrinsics.diagonal(dim1=-2, dim2=-1)[:, None, :2]
    return focal, intrinsics[:, None, :2, 2]


def _slopes(
    pixels: Float[Tensor, "#B N 2"], intrinsics: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B N 3"]:
    """Where the rays of pixels meet the plane z = 1 of the camera's frame."""
    focal, centre = _focal_and_centre(intrinsics)
    across = (pixels - centre) / focal
    return torch.cat([across, torch.ones_like(across[..., :1])], dim=-1)
