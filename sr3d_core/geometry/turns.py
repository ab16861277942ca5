"""The same scene, turned: quarter turns about the vertical axis, and these mirrored.

Both only exchange x and y and change signs, so clouds and boxes are turned to the last bit. A
quarter turn exchanges the sides of a box and leaves its yaw: the same box, but which of its sides
is the front is lost, as it is in what the networks say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.choices import NUM_VIEWS
from sr3d_core.structures import Boxes3D, PointCloud


@dataclass(frozen=True, slots=True)
class Turn:
    """Mirror y if so wanted, then turn counter-clockwise about the z axis through the origin."""

    quarters: int  # 0..3
    is_mirrored: bool = False

    @property
    def inverse(self) -> Turn:
        """The turn that undoes this one: a mirrored one undoes itself."""
        return self if self.is_mirrored else Turn(-self.quarters % 4)

    def points(self, xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Where points go."""
        x, y, z = xyz.unbind(dim=1)
        if self.is_mirrored:
            y = -y
        for _ in range(self.quarters):
            x, y = -y, x
        return torch.stack([x, y, z], dim=1)

    def cloud(self, cloud: PointCloud) -> PointCloud:
        """Where a cloud goes."""
        return PointCloud(self.points(cloud.xyz), cloud.features, cloud.scene)

    def direction(self, angle: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
        """Where directions go, radians counter-clockwise from +x; `boxes` loses the front."""
        return (-angle if self.is_mirrored else angle) + self.quarters * (math.pi / 2)

    def boxes(self, boxes: Boxes3D) -> Boxes3D:
        """Where boxes go; those with yaw 0 keep it."""
        size = boxes.size[:, [1, 0, 2]] if self.quarters % 2 else boxes.size
        yaw = -boxes.yaw if self.is_mirrored else boxes.yaw
        return Boxes3D(self.points(boxes.center), size, yaw)


def turns(num: int) -> tuple[Turn, ...]:
    """The first `num` of: quarter turns (the first is none at all), then the mirrored ones.

    Raises ValueError where `num` is not one of `NUM_VIEWS`.
    """
    if num not in NUM_VIEWS:
        raise ValueError(f"{num} views, expected one of {', '.join(map(str, NUM_VIEWS))}")
    return tuple(Turn(index % 4, is_mirrored=index >= 4) for index in range(num))
