"""Random changes of a color image together with its scene, so that both still say the same.

The world is turned about z, which changes no pixel; image and world are mirrored; a part of the
image is looked at through a longer lens; colors change; the camera's pose is told a little wrong,
as gravity is on a robot. There is no scaling and no lifting: an image of a larger world looks the
same, and would teach a wrong scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Generator, Tensor

from sr3d_core.data.augment import SceneTransform
from sr3d_core.distill.crop import cropped
from sr3d_core.geometry.camera import flipped_intrinsics
from sr3d_core.structures import Images, PointCloud, Sample


@dataclass(frozen=True, kw_only=True)
class ChangeImages:
    """Change a sample with an image at random."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    flip: float = 0.5
    """Probability 0..1 of mirroring."""
    turn: bool = True
    """Whether the world is turned about z, by any angle."""
    tilt_rad: float = 0.01
    """Standard deviation of how wrong gravity is told, about two axes."""
    colors: float = 0.2
    """How much brightness, contrast and each color change: 0.2 is from a factor 0.8 to 1.2."""
    forget_height: float = 0.25
    """Probability 0..1 that the camera's height is not told where it is known. A student that was
    always told would not know what to do on a robot whose camera's height nobody has measured."""

    zoom: float = 1.25
    """Part of the image that is taken in place of the whole: at least 1 / zoom of its width and
    height, anywhere in it. 1 takes all. Lenses differ, and few look exactly from the middle."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not 0 <= self.flip <= 1:
            raise ValueError(f"view.flip is {self.flip}, expected 0..1")
        if not 0 <= self.tilt_rad < 0.5:
            raise ValueError(f"view.tilt_rad is {self.tilt_rad}, expected from 0 to below 0.5")
        if not 0 <= self.colors < 1:
            raise ValueError(f"view.colors is {self.colors}, expected from 0 to below 1")
        if not 0 <= self.forget_height <= 1:
            raise ValueError(f"view.forget_height is {self.forget_height}, expected 0..1")
        if not 1 <= self.zoom <= 4:
            raise ValueError(f"view.zoom is {self.zoom}, expected 1..4")

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Draw and apply. Raises ValueError for a sample without an image."""
        if sample.images is None:
            raise ValueError(f"{sample.name}: has no color image, expected one to learn from")
        draw = torch.rand(8, generator=generator).tolist()
        tilt = torch.randn(2, generator=generator) * self.tilt_rad
        change = SceneTransform(
            flip_x=False,
            flip_y=draw[0] < self.flip,
            rotate_rad=2 * math.pi * draw[1] if self.turn else 0.0,
            tilt_rad=(0.0, 0.0),
            scale=1.0,
            translate_m=torch.zeros(3),
        )
        nearer, across, down = torch.rand(3, generator=generator).tolist()
        zoom = 1 + (self.zoom - 1) * nearer
        sample = cropped(sample, zoom, (across, down))
        assert sample.images is not None
        images = mirrored(sample.images) if change.flip_y else sample.images
        images = turned(images, change.rotate_rad)
        images = told_tilted(images, *tilt.tolist())
        if draw[7] < self.forget_height:
            images = replace(images, height=None)
        cloud = PointCloud(
            change.points(sample.cloud.xyz), sample.cloud.features, sample.cloud.scene
        )
        targets = sample.targets.map_boxes(lambda boxes: change.boxes(boxes, axis_aligned=False))
        factors = 1 + self.colors * (2 * torch.tensor(draw[2:7]) - 1)
        return replace(sample, cloud=cloud, targets=targets, images=recolored(images, factors))


def mirrored(images: Images) -> Images:
    """Images of the world mirrored in the plane y = 0: left is right."""
    width = images.pixels.shape[-1]
    intrinsics = flipped_intrinsics(images.intrinsics, width)
    pose = images.world_from_camera.clone()
    pose[:, 1] *= -1  # the world's y
    pose[:, :3, 0] *= -1  # the camera's x, so that it is a rotation again
    depth = None if images.depth is None else images.depth.flip(-1)
    return Images(images.pixels.flip(-1), intrinsics, pose, depth, images.height)


def turned(images: Images, angle_rad: float) -> Images:
    """Images of the world turned counter-clockwise about z; not a pixel changes."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    turn = torch.eye(4, dtype=images.world_from_camera.dtype)
    turn[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    pose = turn.to(images.world_from_camera.device) @ images.world_from_camera
    return replace(images, world_from_camera=pose)


def told_tilted(images: Images, about_x_rad: float, about_y_rad: float) -> Images:
    """The same images, with a pose that is wrong by these angles about the camera's own place."""
    pose = images.world_from_camera.clone()
    pose[:, :3, :3] = _tilt(about_x_rad, about_y_rad).to(pose) @ pose[:, :3, :3]
    return replace(images, world_from_camera=pose)


def recolored(images: Images, factors: Float[Tensor, " 5"]) -> Images:
    """Brightness, contrast, red, green and blue times these factors; 0..1 is kept."""
    mean = images.pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (images.pixels - mean) * factors[1] + mean
    pixels = pixels * factors[0] * factors[2:, None, None]
    return replace(images, pixels=pixels.clamp(0.0, 1.0))


def _tilt(a: float, b: float) -> Float[Tensor, "3 3"]:
    about_x = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    about_y = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
    return torch.tensor(about_y, dtype=torch.float64) @ torch.tensor(about_x, dtype=torch.float64)
