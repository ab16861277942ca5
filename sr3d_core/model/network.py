"""SR3D's network: TR3D's layout (arXiv 2302.02858, sec 3), exactly or made lighter.

The exact presets have 14,661,464 / 14,660,690 / 14,659,787 parameters for ScanNet, SUN RGB-D and
S3DIS. `lite` is for a robot's CPU: 2 cm voxels, narrow, color optional, rotated boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict
from torch import Tensor, nn

from sr3d_core.model.backbone import Backbone
from sr3d_core.model.box_coding import BoxCoding, decode, regression_rows
from sr3d_core.model.head import Head
from sr3d_core.model.neck import Neck
from sr3d_core.model.ranking import ranked_logits
from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.engine_list import Backend
from sr3d_core.sparse.tensor import SparseTensor, voxelize, voxelize_mean
from sr3d_core.structures import PointCloud, Predictions


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the network is built of; the defaults are TR3D's."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    num_classes: int
    """How many classes it tells apart; at least 1."""
    rotated: bool = False
    """Boxes with a yaw or axis aligned."""
    box_coding: BoxCoding = "tr3d"
    """What the numbers of a rotated box mean. tr3d: as published, what imported weights need.
    own_height: the height is a number of its own. quarter_turns: that, and a yaw that square
    things have as well, with the same sides on all turns of a long one."""
    quality_exponent: float | None = None
    """None: boxes are ranked by their class score. A number a in 0..1: the network also says which
    IoU it expects of each box, and its scores are `score^(1-a) iou^a`."""
    rivalry: float = 0.0
    """0: classes are scored each on its own, as published. A number b above 0: of one box, a class
    whose score is s gets `s (s / best)^b`, where best is the highest; that one stays as it is."""
    front: bool = False
    """Whether the network also says which side of a box is the front, so that the yaw of classes
    that have one points there. Needs `rotated`."""
    voxel_size_m: float = 0.01
    """Edge of the finest voxel."""
    average: bool = False
    """True: a voxel is the mean of its points, and where in the voxel that mean lies is input too.
    False: it is its first point."""
    color: bool = True
    """True: the three colors are the input, unknown ones are grey. False: color is optional; the
    input is "occupied" and the colors' distance from grey, 0 where unknown."""
    stem_channels: int = 64
    stem_kernel: int = 3
    """Kernel of the first convolution: 3; or 2, which is quicker; or 1, which takes the finest
    voxels one by one and does not halve the resolution."""
    stem_pool: bool = True
    """Halve the resolution a second time before the first stage."""
    widths: tuple[int, int, int, int] = (64, 128, 128, 128)
    """Channels of the four stages."""
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Residual blocks of the four stages."""
    neck_channels: int = 128
    """Channels of the two levels that carry anchors."""
    neck_depth: int = 2
    """3^3 convolutions of each of these levels: 2, or 1 which is quicker."""
    grow_coarse: bool = True
    """Create voxels on the coarse anchor level; without, anchors sit only where points are."""
    grow_fine: bool = True
    """The same on the fine anchor level; without, half of the network's work is saved."""

    def __post_init__(self) -> None:
        """Refuse sizes that build no network."""
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}, expected at least 1")
        if not 0.001 <= self.voxel_size_m <= 1.0:
            raise ValueError(f"voxel_size_m is {self.voxel_size_m}, expected 0.001 to 1 metre")
        sizes = (self.stem_channels, self.neck_channels, *self.widths, *self.depths)
        if min(sizes) < 1:
            raise ValueError(f"channels and depths are {sizes}, expected at least 1 each")
        if self.stem_kernel not in (1, 2, 3):
            raise ValueError(f"stem_kernel is {self.stem_kernel}, expected 1, 2 or 3")
        if self.neck_depth not in (1, 2):
            raise ValueError(f"neck_depth is {self.neck_depth}, expected 1 or 2")
        if self.box_coding != "tr3d" and not self.rotated:
            raise ValueError(
                f"box_coding is {self.box_coding}, expected tr3d where rotated is False: "
                "axis-aligned boxes have one coding"
            )
        if self.front and not self.rotated:
            raise ValueError("front is True, expected False where rotated is: yaw is always 0")
        if self.quality_exponent is not None and not 0 <= self.quality_exponent <= 1:
            raise ValueError(
                f"quality_exponent is {self.quality_exponent}, expected a number in 0..1 or none"
            )
        if not 0 <= self.rivalry < math.inf:
            raise ValueError(f"rivalry is {self.rivalry}, expected a number from 0")

    @property
    def fine_stride(self) -> int:
        """Finest voxels between neighbours of the finest level that carries anchors."""
        return min(self.stem_kernel, 2) * (2 if self.stem_pool else 1) * 4

    @property
    def in_channels(self) -> int:
        """What the network knows of a voxel."""
        return (3 if self.color else 4) + (3 if self.average else 0)

    @property
    def regression_rows(self) -> tuple[str, ...]:
        """What each number that is regressed says."""
        return regression_rows(self.rotated, self.box_coding)


LITE = Architecture(
    num_classes=12,
    rotated=True,
    voxel_size_m=0.02,
    color=False,
    stem_channels=32,
    stem_kernel=2,
    stem_pool=False,
    widths=(32, 64, 96, 128),
    depths=(1, 2, 2, 2),
    neck_channels=64,
    grow_fine=False,
)

PRESETS = {
    "scannet": Architecture(num_classes=18),
    "sunrgbd": Architecture(num_classes=10, rotated=True),
    "s3dis": Architecture(num_classes=5),
    "lite": LITE,
}
"""Architectures by name; `num_classes` is the data set's."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelOutput:
    """What the head says on one anchor level, before decoding."""

    coords: Int[Tensor, "V 4"]  # scene, x, y, z in finest voxels
    stride: int  # finest voxels between neighbours
    logits: Float[Tensor, "V K"]
    regression: Float[Tensor, "V R"]  # see `box_coding`
    quality: Float[Tensor, " V"] | None = None  # logit of the expected IoU
    front: Float[Tensor, "V 4"] | None = None  # logits of where the front points


class SR3D(nn.Module):
    """A cloud of one or several scenes in, predictions at all their anchor points out."""

    backend: Backend = "auto"
    """Which engine multiplies; may be changed at any time."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.backbone = Backbone(
            in_channels=a.in_channels,
            stem_channels=a.stem_channels,
            stem_kernel=a.stem_kernel,
            stem_pool=a.stem_pool,
            widths=a.widths,
            depths=a.depths,
        )
        self.neck = Neck(a.widths[1:], a.neck_channels, a.neck_depth, a.grow_coarse, a.grow_fine)
        has_quality = a.quality_exponent is not None
        self.head = Head(a.neck_channels, a.num_classes, a.regression_rows, has_quality, a.front)

    @classmethod
    def from_preset(cls, name: str, num_classes: int | None = None) -> SR3D:
        """A freshly initialised network of a named preset, for other classes if wanted."""
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} is unknown, expected one of {sorted(PRESETS)}")
        architecture = PRESETS[name]
        if num_classes is not None:
            architecture = replace(architecture, num_classes=num_classes)
        return cls(architecture)

    def forward(self, cloud: PointCloud) -> Predictions:
        """Boxes in metres and logits at every anchor point, fine level first.

        In evaluation mode, logits are of what boxes are ranked by: the expected IoU and rival
        classes count where `quality_exponent` and `rivalry` say so. Those in training mode are of
        each class alone.
        """
        return self.predictions(self.raw(cloud))

    def raw(self, cloud: PointCloud) -> tuple[LevelOutput, LevelOutput]:
        """The head's output per level, fine level first, before decoding."""
        levels = self.neck(self.backbone(self.voxels(cloud)))
        fine, coarse = (LevelOutput(x.coords, x.stride, *self.head(x.features)) for x in levels)
        return fine, coarse

    @property
    def engine_name(self) -> str:
        """The engine that multiplies, also where `backend` is "auto"."""
        return engine_for(self.backend, next(self.parameters()).device).name

    def voxels(self, cloud: PointCloud) -> SparseTensor:
        """The network's input: what is known of every occupied voxel."""
        architecture = self.architecture
        engine = engine_for(self.backend, cloud.xyz.device)
        pool = voxelize_mean if architecture.average else voxelize
        x = pool(cloud, architecture.voxel_size_m, engine)
        grey = (x.features[:, :3] - 0.5).nan_to_num(0.0)
        seen = [grey + 0.5] if architecture.color else [torch.ones_like(grey[:, :1]), grey]
        return x.replaced(torch.cat([*seen, x.features[:, 3:]], dim=1))

    def predictions(self, levels: tuple[LevelOutput, ...]) -> Predictions:
        """Decode raw outputs into boxes."""
        return decoded(levels, self.architecture, is_training=self.training)


def decoded(
    levels: tuple[LevelOutput, ...], architecture: Architecture, *, is_training: bool
) -> Predictions:
    """The boxes and logits that raw outputs stand for; ranked unless `is_training`."""
    coords = torch.cat([level.coords for level in levels])
    regression = torch.cat([level.regression for level in levels])
    anchors = coords[:, 1:].to(regression.dtype) * architecture.voxel_size_m
    sizes = torch.tensor([len(level.coords) for level in levels], device=coords.device)
    logits = torch.cat([level.logits for level in levels])
    quality = _joined([level.quality for level in levels])
    exponent, rivalry = architecture.quality_exponent, architecture.rivalry
    if not is_training and (quality is not None or rivalry > 0):
        logits = ranked_logits(logits, quality, exponent or 0.0, rivalry)
    return Predictions(
        anchors=anchors,
        boxes=decode(anchors, regression, architecture.box_coding),
        logits=logits,
        level=torch.repeat_interleave(torch.arange(len(levels), device=coords.device), sizes),
        scene=coords[:, 0],
        quality=quality,
        front=_joined([level.front for level in levels]),
        level_stride_m=tuple(level.stride * architecture.voxel_size_m for level in levels),
    )


def _joined(levels: list[Tensor | None]) -> Tensor | None:
    """What a branch says on all levels, None where the network has no such branch."""
    parts = [level for level in levels if level is not None]
    return torch.cat(parts) if parts else None
