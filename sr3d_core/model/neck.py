"""Feature pyramid: coarse features flow up into the two levels that carry anchors (A.3)."""

from __future__ import annotations

from torch import nn

from sr3d_core.sparse.layers import BatchNorm, Conv3d, GenerativeUpConv3d, conv_norm
from sr3d_core.sparse.tensor import SparseTensor, union_add


class ConvNormRelu(nn.Module):
    """A 3^3 convolution that keeps the voxels, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(in_channels, out_channels, kernel=3)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Same voxels, new features."""
        return conv_norm(self.conv, self.norm, x)


class UpBlock(nn.Module):
    """Up by two, then added to the features that the backbone has there."""

    def __init__(self, in_channels: int, out_channels: int, generative: bool) -> None:
        super().__init__()
        self.generative = generative
        self.conv = GenerativeUpConv3d(in_channels, out_channels)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        """The union of the created and the skipped voxels, or the skipped ones alone."""
        onto = None if self.generative else skip
        up = conv_norm(self.conv, self.norm, x, onto=onto)
        return union_add(skip, up)


class Neck(nn.Module):
    """Three backbone levels in, the two anchor levels out."""

    def __init__(
        self,
        widths: tuple[int, int, int],
        out_channels: int,
        depth: int,
        grow_coarse: bool,
        grow_fine: bool,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.up_coarse = UpBlock(coarse, middle, generative=grow_coarse)
        self.lateral_coarse = ConvNormRelu(middle, middle) if depth > 1 else None
        self.out_coarse = ConvNormRelu(middle, out_channels)
        self.up_fine = UpBlock(middle, fine, generative=grow_fine)
        self.lateral_fine = ConvNormRelu(fine, fine) if depth > 1 else None
        self.out_fine = ConvNormRelu(fine, out_channels)

    def forward(
        self, levels: tuple[SparseTensor, SparseTensor, SparseTensor]
    ) -> tuple[SparseTensor, SparseTensor]:
        """Features of the fine and the coarse anchor level."""
        fine, middle, coarse = levels
        middle = self.up_coarse(coarse, middle)
        if self.lateral_coarse is not None:
            middle = self.lateral_coarse(middle)
        fine = self.up_fine(middle, fine)
        if self.lateral_fine is not None:
            fine = self.lateral_fine(fine)
        return self.out_fine(fine), self.out_coarse(middle)
