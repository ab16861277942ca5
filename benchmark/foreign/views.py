"""The same scene turned by quarters and mirrored: eight views that only a network tells apart.

The turns exchange x and y and change signs, so that clouds and boxes keep every bit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

NUM_VIEWS = 8


def seen_from(sample: Sample, view: int) -> Sample:
    """View 0 is the sample itself, 1 to 3 are quarter turns about the origin, 4 to 7 mirrored.

    A quarter turn exchanges the sides of a box and leaves its yaw: which side is the front is
    lost, and no figure asks for it.
    """
    cloud, boxes = sample.cloud, sample.targets.boxes
    quarters, is_mirrored = view % 4, view >= 4
    size = boxes.size[:, [1, 0, 2]] if quarters % 2 else boxes.size
    turned = Boxes3D(
        _points(boxes.center, quarters, is_mirrored),
        size,
        -boxes.yaw if is_mirrored else boxes.yaw,
    )
    xyz = _points(cloud.xyz, quarters, is_mirrored)
    targets = Targets(turned, sample.targets.labels)
    return Sample(PointCloud(xyz, cloud.features, cloud.scene), targets, sample.name)


def _points(xyz: Float[Tensor, "N 3"], quarters: int, is_mirrored: bool) -> Float[Tensor, "N 3"]:
    x, y, z = xyz.unbind(dim=1)
    y = -y if is_mirrored else y
    for _ in range(quarters):
        x, y = -y, x
    return torch.stack([x, y, z], dim=1)
