"""The backbone as student and teacher have it: cells of a stage, with what is known above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sr3d_core.model.network import SR3D, Architecture
from sr3d_core.sparse.lattice import found_among
from sr3d_core.sparse.tensor import SparseTensor
from sr3d_core.structures import PointCloud
from sr3d_core.training.arithmetic import arithmetic


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What is known of the cells of one stage that hold points."""

    coords: Int[Tensor, "V 4"]  # scene, x, y, z in finest voxels
    stride: int  # finest voxels between neighbours
    features: Float[Tensor, "V F"]  # of that stage and those above it
    crops: Float[Tensor, "S C"]  # mean and maximum over the last stage's cells, by scene

    def __len__(self) -> int:
        return len(self.coords)

    def centers_m(self, voxel_size_m: float) -> Float[Tensor, "V 3"]:
        """Where the middles of the cells are."""
        return (self.coords[:, 1:] + self.stride / 2) * voxel_size_m


class Encoder(nn.Module):
    """The backbone of a network; `stage` 0 gives the cells of its second stage, 1 the third.

    Only cells with points get features, and coarser ones only where finer ones are: the neck,
    which makes cells of its own, takes no part.
    """

    def __init__(self, architecture: Architecture, stage: int) -> None:
        super().__init__()
        self.network = SR3D(architecture)
        self.network.neck = nn.Identity()  # type: ignore[assignment]
        self.network.head = nn.Identity()  # type: ignore[assignment]
        self.is_short = False
        """Whether convolutions multiply bfloat16; features are float32 all the same."""
        self._stage = stage
        widths = architecture.widths[1:]
        self.width = sum(widths[stage:])
        self.crop_width = 2 * widths[-1]

    def forward(self, cloud: PointCloud, num_scenes: int) -> Cells:
        """What is known of all cells that hold points; scenes may be empty."""
        with arithmetic(cloud.xyz.device, self.is_short):
            levels = self.network.backbone(self.network.voxels(cloud))[self._stage :]
        fine, *above = levels = [level.replaced(level.features.float()) for level in levels]
        features = [fine.features] + [
            level.features[rows_among(fine.coords, level.coords, level.stride)] for level in above
        ]
        crops = _pooled(levels[-1], num_scenes)
        return Cells(fine.coords, fine.stride, torch.cat(features, dim=1), crops)


def _pooled(level: SparseTensor, num_scenes: int) -> Float[Tensor, "S C"]:
    """Mean and maximum over each scene's cells; 0 for a scene without any."""
    scene, rows = level.coords[:, 0], level.features
    index = scene[:, None].expand_as(rows)
    mean = rows.new_zeros(num_scenes, rows.shape[1])
    count = torch.bincount(scene, minlength=num_scenes).clamp_min(1)
    mean = mean.index_add(0, scene, rows) / count[:, None]
    most = rows.new_zeros(num_scenes, rows.shape[1])
    most = most.scatter_reduce(0, index, rows, "amax", include_self=False)
    return torch.cat([mean, most], dim=1)


def initialised(layers: nn.Module) -> None:
    """Begin all linear layers as DINO's heads do: truncated normal, biases 0.

    Their deviation of 0.02 is meant for 1024 inputs; narrower layers get more, or what comes out
    would be so short that its direction has gradients without measure.
    """
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02 * math.sqrt(1024 / module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def cell_stride(architecture: Architecture, stage: int) -> int:
    """Finest voxels between the cells of the second stage (0), or of the third (1)."""
    stem = min(architecture.stem_kernel, 2) * (2 if architecture.stem_pool else 1)
    return int(stem * 4 * 2**stage)


def rows_among(
    coords: Int[Tensor, "V 4"], cells: Int[Tensor, "W 4"], stride: int
) -> Int[Tensor, " V"]:
    """For each voxel the row of the cell of this stride that holds it.

    Raises ValueError where a voxel is in none of them.
    """
    rows = found_among(coords, cells, stride)
    if bool((rows < 0).any()):
        raise ValueError(f"voxels outside of the {len(cells)} cells of stride {stride}")
    return rows
