"""The image network of the camera student: color images in, features at a stride of 8 pixels out.

A small residual network (He et al., arXiv 1512.03385) with a feature pyramid on top (Lin et al.,
arXiv 1612.03144), trained from nothing: networks that come with weights come with the licence of
the photographs that these learnt from. `timm` networks, with a file of the user's, are an option.

The own networks see beside the colors of a pixel what is known of its camera there (as CAM-Convs,
Facil et al., arXiv 1904.02028): how far away a thing is shows where it meets the floor, some rows
below, and convolutions can carry that upwards. Networks of timm see colors alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sr3d_core.model.camera_told import OF_PIXELS

STRIDE = 8
"""Pixels between neighbouring cells of the features."""
PYRAMID = (8, 16, 32)
"""Pixels between neighbouring cells of what they are made of, level by level."""
PLAIN = {"res_small": 16, "res_lite": 32, "resnet18": 64}
"""The residual networks by name, and the channels that they begin with."""
TIMM = "timm:"
"""What the name of a network of timm begins with, such as timm:resnet18."""
_BLOCKS = 2  # of each of the four stages
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as most networks expect


class ImageNetwork(nn.Module):
    """A residual network with a feature pyramid; `name` is one of PLAIN, or a network of timm."""

    def __init__(self, name: str, channels: int, size: tuple[int, int] = (320, 240)) -> None:
        """`channels` come out of images of a `size`, width and height in pixels.

        Raises ValueError for an unknown name, and for networks of timm that cannot take that size.
        """
        super().__init__()
        self.sees_camera = not name.startswith(TIMM)
        """Whether it wants `camera_told.told_of_pixels` beside the colors."""
        self.stages = _Residual(name) if self.sees_camera else _OfTimm(name, size)
        self.widths: list[int] = self.stages.widths
        """Channels of the levels of its pyramid."""
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in self.widths)
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, pixels: Float[Tensor, "B 3 H W"], of_camera: Float[Tensor, "B M H W"] | None = None
    ) -> Float[Tensor, "B C h w"]:
        """Features of cells of 8 x 8 pixels; H and W are multiples of 8."""
        return self.joined(self.pyramid(pixels, of_camera))

    def pyramid(
        self, pixels: Float[Tensor, "B 3 H W"], of_camera: Float[Tensor, "B M H W"] | None = None
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """What the residual network makes of images, finest level first; strides PYRAMID.

        `of_camera` is `camera_told.told_of_pixels`, where the network sees the camera.
        """
        colors = (self.stages.mean, self.stages.std)
        mean, std = (pixels.new_tensor(each)[:, None, None] for each in colors)
        pixels = (pixels - mean) / std
        if self.sees_camera:
            assert of_camera is not None
            pixels = torch.cat([pixels, of_camera.to(pixels)], dim=1)
        if not self.training and pixels.device.type == "cpu":  # a fifth less time on one thread
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        levels: list[Tensor] = self.stages(pixels)
        return levels

    def joined(self, levels: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B C h w"]:
        """Features of cells of 8 x 8 pixels, of all levels together."""
        top: Tensor | None = None
        for lateral, level in zip(reversed(self.lateral), reversed(levels), strict=True):
            own = lateral(level)
            top = own if top is None else own + functional.interpolate(top, own.shape[-2:])
        assert top is not None
        smoothed: Tensor = self.smooth(top)
        return smoothed


class _Residual(nn.Module):
    """ResNet-18's layout, as wide as wanted; the features of strides 8, 16 and 32."""

    mean, std = _MEAN, _STD

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in PLAIN:
            raise ValueError(
                f"image network {name!r} is unknown, expected one of {sorted(PLAIN)} or a network "
                f"of timm such as {TIMM}resnet18"
            )
        first = PLAIN[name]
        self.widths = [2 * first, 4 * first, 8 * first]
        self.stem = nn.Sequential(
            nn.Conv2d(3 + OF_PIXELS, first, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            _stage(first, first, stride=1),
        )
        before = [first, *self.widths[:2]]
        self.stages = nn.ModuleList(
            _stage(*sizes, stride=2) for sizes in zip(before, self.widths, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.stem(pixels)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = _conv_norm(in_channels, out_channels, 3, stride)
        self.second = _conv_norm(out_channels, out_channels, 3, 1)
        is_same = stride == 1 and in_channels == out_channels
        self.shortcut = None if is_same else _conv_norm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.shortcut is None else self.shortcut(x)
        return torch.relu(self.second(torch.relu(self.first(x))) + beside)


def _conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    blocks = [_Block(in_channels, out_channels, stride)]
    blocks += [_Block(out_channels, out_channels, 1) for _ in range(_BLOCKS - 1)]
    return nn.Sequential(*blocks)


class _OfTimm(nn.Module):
    """A network of timm without its classifier; nothing is downloaded."""

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        super().__init__()
        timm = _timm(name)
        try:
            self.network: Any = timm.create_model(
                name.removeprefix(TIMM), pretrained=False, features_only=True
            )
        except Exception as error:  # of timm: RuntimeError, AttributeError, and more
            raise ValueError(f"timm makes no network of {name!r}: {error}") from error
        strides = list(self.network.feature_info.reduction())
        if not set(PYRAMID) <= set(strides):
            raise ValueError(
                f"image network {name!r} has features at strides {strides}, expected 8, 16 and 32"
            )
        self._picked = [strides.index(stride) for stride in PYRAMID]
        self.widths = [self.network.feature_info.channels()[index] for index in self._picked]
        colors = self.network.pretrained_cfg  # which a file of weights for it learnt from
        self.mean, self.std = colors.get("mean", _MEAN), colors.get("std", _STD)
        self._try(name, size)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        levels = self.network(pixels)
        return [levels[index] for index in self._picked]

    def _try(self, name: str, size: tuple[int, int]) -> None:
        """Refuse a network that wants another size, before anything is trained with it."""
        width, height = size
        is_training = self.training
        self.eval()  # running statistics stay as they are
        try:
            with torch.no_grad():
                finest = self(torch.zeros(1, 3, height, width))[0].shape[-2:]
        except (RuntimeError, AssertionError) as error:
            finest, why = None, f": {error}"
        else:
            why = f", its features are {finest[1]} x {finest[0]}"
        self.train(is_training)
        if finest != (height // STRIDE, width // STRIDE):
            raise ValueError(
                f"image network {name!r} cannot take images of {width} x {height} pixels{why}; "
                "expected one that can, or a `camera.size` of multiples of 32, such as [320, 256]"
            )


def _timm(name: str) -> Any:
    """The package, or ValueError that says how to get it."""
    try:
        return import_module("timm")
    except ImportError as error:
        raise ValueError(
            f"image network {name!r} needs timm, which is not installed: in sr3d's folder: "
            f"pip install '.[camera]', or take one of {sorted(PLAIN)}"
        ) from error
    except (RuntimeError, OSError) as error:  # of torchvision, which timm imports
        raise ValueError(
            f"image network {name!r} needs timm, which cannot be imported ({error}): torchvision "
            "and torch are of different builds, take both from the same package index; or take "
            f"one of {sorted(PLAIN)}"
        ) from error
