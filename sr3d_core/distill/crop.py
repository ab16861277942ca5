"""A part of an image as an image of its own: a longer lens, whose centre is beside the middle.

A camera's intrinsics say all of that, so true depths and sizes stay true. What the part does not
show is taken from the scene as well: a teacher that sees more than its student would ask for what
cannot be known.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.geometry.camera import cropped_intrinsics, project, resized_intrinsics
from sr3d_core.structures import Boxes3D, Images, PointCloud, Sample, Targets

_LEAST_SHOWN = 0.5
"""Objects of which less of the points is left are ignored: half a bed tells no size."""


def cropped(sample: Sample, zoom: float, place: tuple[float, float]) -> Sample:
    """A sample with an image, of which a part is shown `zoom` >= 1 times as large.

    `place`, 0..1 from left to right and from top to bottom, says where the part is. The image has
    as many pixels as before.
    """
    images = sample.images
    assert images is not None
    height, width = images.pixels.shape[-2:]
    columns, rows = max(1, round(width / zoom)), max(1, round(height / zoom))
    if (columns, rows) == (width, height):
        return sample
    left, top = round(place[0] * (width - columns)), round(place[1] * (height - rows))
    part = _part(images, left, top, columns, rows)
    is_shown = _is_shown(sample.cloud.xyz, part)
    targets = _of_shown(sample.targets, sample.cloud, is_shown, part)
    return replace(sample, cloud=sample.cloud[is_shown], targets=targets, images=part)


def _part(images: Images, left: int, top: int, columns: int, rows: int) -> Images:
    height, width = images.pixels.shape[-2:]
    window = (..., slice(top, top + rows), slice(left, left + columns))
    pixels = interpolate(images.pixels[window], (height, width), mode="bilinear")
    depth = images.depth
    if depth is not None:  # none is made up between what is near and what is far
        depth = interpolate(depth[window][:, None], (height, width), mode="nearest-exact")[:, 0]
    intrinsics = cropped_intrinsics(images.intrinsics, left, top)
    intrinsics = resized_intrinsics(intrinsics, width / columns, height / rows)
    return replace(images, pixels=pixels, depth=depth, intrinsics=intrinsics)


def _is_shown(xyz: Tensor, images: Images) -> Tensor:
    """Which points fall into an image."""
    height, width = images.pixels.shape[-2:]
    pixels, _ = project(
        xyz.double()[None], images.intrinsics.double(), images.world_from_camera.double()
    )
    u, v = pixels[0].unbind(dim=1)  # NaN behind the camera, which no comparison holds for
    return (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)


def _of_shown(targets: Targets, cloud: PointCloud, is_shown: Tensor, images: Images) -> Targets:
    """Targets of which enough is left, and all others among the ignored ones."""
    is_inside = points_in_boxes(cloud.xyz, targets.boxes)
    before, after = is_inside.sum(dim=0), is_inside[is_shown].sum(dim=0)
    # An object without any point is where its middle is
    is_left = torch.where(
        before > 0, after >= _LEAST_SHOWN * before, _is_shown(targets.boxes.center, images)
    )
    lost = replace(targets[~is_left], ignored=None, seen=None)
    known = targets.ignored
    if known is not None:
        boxes = Boxes3D.cat([known.boxes, lost.boxes])
        lost = Targets(boxes, torch.cat([known.labels, lost.labels]))
    return replace(targets[is_left], ignored=lost if len(lost) else known)
