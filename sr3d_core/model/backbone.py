"""Sparse ResNet: voxels in, features at four strides out (TR3D, arXiv 2302.02858, sec 3)."""

from __future__ import annotations

from torch import nn

from sr3d_core.sparse.layers import BatchNorm, Conv3d, MaxPool3d, ResidualBlock, conv_norm
from sr3d_core.sparse.tensor import SparseTensor


class Backbone(nn.Module):
    """A stem that halves the resolution up to twice, then four stages that halve it each."""

    def __init__(
        self,
        in_channels: int,
        stem_channels: int,
        stem_kernel: int,
        stem_pool: bool,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        self.conv1 = Conv3d(
            in_channels, stem_channels, kernel=stem_kernel, stride=min(stem_kernel, 2)
        )
        self.norm1 = BatchNorm(stem_channels)
        self.pool = MaxPool3d() if stem_pool else None
        before = (stem_channels, *widths[:3])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(*sizes) for sizes in zip(before, widths, depths, strict=True)
        )

    def forward(self, x: SparseTensor) -> tuple[SparseTensor, SparseTensor, SparseTensor]:
        """The outputs of the last three stages, finest first."""
        x = conv_norm(self.conv1, self.norm1, x)
        if self.pool is not None:
            x = self.pool(x)
        x = self.layer1(x)
        fine = self.layer2(x)
        middle = self.layer3(fine)
        return fine, middle, self.layer4(middle)


def stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """Residual blocks, the first of which halves the resolution."""
    blocks = [ResidualBlock(in_channels, out_channels, stride=2)]
    blocks += [ResidualBlock(out_channels, out_channels, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
