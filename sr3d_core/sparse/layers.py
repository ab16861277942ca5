"""Layers on sparse tensors: they own weights and say which voxels come out; an engine multiplies.

Weights are `(kernel volume, in, out)`, rows times matrix, kernel index x fastest, as
MinkowskiEngine has them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sr3d_core.sparse.engine import Epilogue
from sr3d_core.sparse.tensor import MapCache, SparseTensor


class Conv3d(nn.Module):
    """Sparse convolution with a cubic kernel, without bias.

    Stride 1 keeps the voxels of its input. A larger stride puts an output into every coarser cell
    that holds an input; kernel 1 with stride 2 sees only the input exactly at the cell's corner.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"Conv3d stride is {stride}, expected 1 or 2")
        self.kernel_size = kernel
        self.stride = stride
        self.kernel = nn.Parameter(torch.empty(kernel**3, in_channels, out_channels))
        std = math.sqrt(2 / (out_channels * kernel**3))  # He et al., fan out, for ReLU
        nn.init.normal_(self.kernel, std=std)

    def forward(self, x: SparseTensor, epilogue: Epilogue | None = None) -> SparseTensor:
        """Convolve; a tensor without voxels gives one without voxels."""
        if not len(x):
            coords, stride = x.coords, x.stride * self.stride
            features = x.features.new_zeros(0, self.kernel.shape[2])
            return SparseTensor(coords, features, stride, MapCache(x.engine))
        if self.stride == 1:
            return x.replaced(_convolve(x, self.kernel, x.same_map(self.kernel_size), epilogue))
        coords, cache = x.coarser(self.stride)
        kernel_map = x.down_map(self.kernel_size, self.stride)
        features = _convolve(x, self.kernel, kernel_map, epilogue)
        return SparseTensor(coords, features, x.stride * self.stride, cache)


class GenerativeUpConv3d(nn.Module):
    """Transposed convolution with stride 2 that creates the voxels it reaches.

    Every input makes `kernel^3` candidates at half its stride; candidates that meet are summed.
    With `onto`, only candidates on the voxels of that tensor are kept, and all of its voxels
    come out, so that the result costs no more than the finer level itself.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.kernel_size = kernel
        self.kernel = nn.Parameter(torch.empty(kernel**3, in_channels, out_channels))
        bound = 1 / math.sqrt(out_channels * kernel**3)  # MinkowskiEngine's default
        nn.init.uniform_(self.kernel, -bound, bound)

    def forward(
        self,
        x: SparseTensor,
        onto: SparseTensor | None = None,
        epilogue: Epilogue | None = None,
    ) -> SparseTensor:
        """Convolve up by two; an odd stride raises ValueError."""
        if x.stride % 2:
            raise ValueError(f"stride {x.stride} cannot be halved; expected an even stride")
        stride = x.stride // 2
        if onto is None and len(x):
            coords, cache = x.grown(self.kernel_size)
            onto = SparseTensor(coords, x.features.new_zeros(len(coords), 0), stride, cache)
        if onto is None or not len(onto) or not len(x):
            coords = x.coords if onto is None else onto.coords
            features = x.features.new_zeros(len(coords), self.kernel.shape[2])
            if epilogue is not None:
                features = epilogue(features)
            return SparseTensor(coords, features, stride, MapCache(x.engine))
        features = _convolve(x, self.kernel, x.up_map(onto, self.kernel_size), epilogue)
        return SparseTensor(onto.coords, features, stride, onto.cache)


class MaxPool3d(nn.Module):
    """Maximum over cells of 2^3 voxels."""

    stride = 2

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Pool; a tensor without voxels gives one without voxels."""
        if not len(x):
            stride = x.stride * self.stride
            return SparseTensor(x.coords, x.features, stride, MapCache(x.engine))
        coords, cache = x.coarser(self.stride)
        features = x.engine.max_pool(x.features, x.down_map(self.stride, self.stride))
        return SparseTensor(coords, features, x.stride * self.stride, cache)


class VoxelNorm(nn.BatchNorm1d):
    """Batch norm of rows, of which there may be one or none."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise; a single voxel, which has no variance, uses the running statistics."""
        if self.training and len(features) < 2:
            return self.by_running_statistics(features)
        return super().forward(features)

    def by_running_statistics(self, features: Tensor) -> Tensor:
        """Normalise as at inference, without moving the statistics."""
        return nn.functional.batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class BatchNorm(nn.Module):
    """Batch norm over all voxels of the batch (eps 1e-5, momentum 0.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = VoxelNorm(channels)
        self._folded: tuple[tuple[int, ...], Tensor, Tensor] | None = None

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Normalise every voxel."""
        return x.replaced(self.bn(x.features))

    def epilogue(self, shortcut: Tensor | None, is_rectified: bool) -> Epilogue:
        """Normalisation by the running statistics, and what follows it; without gradients."""
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None
        assert variance is not None
        count = self.bn.num_batches_tracked  # training changes the others without a trace
        assert count is not None
        parts = (mean, variance, count, self.bn.weight, self.bn.bias)
        key = tuple(number for part in parts for number in _identity(part))
        if self._folded is None or self._folded[0] != key:  # a millisecond a frame, if done anew
            scale = self.bn.weight * (variance + self.bn.eps).rsqrt()
            self._folded = key, scale, self.bn.bias - mean * scale
        _, scale, shift = self._folded
        return Epilogue(scale, shift, shortcut, is_rectified)


def _identity(tensor: Tensor) -> tuple[int, int]:
    """Changes whenever the tensor's values do."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def conv_norm(
    conv: Conv3d | GenerativeUpConv3d,
    norm: BatchNorm,
    x: SparseTensor,
    *,
    onto: SparseTensor | None = None,
    shortcut: SparseTensor | None = None,
    is_rectified: bool = True,
) -> SparseTensor:
    """`relu(norm(conv(x)) + shortcut)`: in one go at inference, step by step for gradients."""
    target = {} if onto is None else {"onto": onto}
    if not norm.training and not torch.is_grad_enabled():
        added = None if shortcut is None else shortcut.features
        y: SparseTensor = conv(x, **target, epilogue=norm.epilogue(added, is_rectified))
        return y
    y = norm(conv(x, **target))
    features = y.features if shortcut is None else y.features + shortcut.features
    return y.replaced(torch.relu(features) if is_rectified else features)


class ResidualBlock(nn.Module):
    """ResNet's basic block: two 3^3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv3d(in_channels, out_channels, kernel=3, stride=stride)
        self.norm1 = BatchNorm(out_channels)
        self.conv2 = Conv3d(out_channels, out_channels, kernel=3)
        self.norm2 = BatchNorm(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or in_channels != out_channels:
            shortcut = Conv3d(in_channels, out_channels, kernel=1, stride=stride)
            self.downsample = nn.Sequential(shortcut, BatchNorm(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Same voxels at stride 1, the coarser cells at stride 2."""
        shortcut = x
        if self.downsample is not None:
            layers: Any = self.downsample
            shortcut = conv_norm(layers[0], layers[1], x, is_rectified=False)
        y = conv_norm(self.conv1, self.norm1, x)
        return conv_norm(self.conv2, self.norm2, y, shortcut=shortcut)


def _convolve(
    x: SparseTensor, weight: Tensor, kernel_map: Any, epilogue: Epilogue | None
) -> Tensor:
    """One engine call, in the autocast precision where autocast is on."""
    features = x.features
    dtype = _autocast_dtype(features.device.type)
    if dtype is not None:
        features, weight = features.to(dtype), weight.to(dtype)
    if epilogue is not None:
        return x.engine.infer(features, weight, kernel_map, epilogue)
    return x.engine.convolve(features, weight, kernel_map)


def _autocast_dtype(device: str) -> torch.dtype | None:
    """The precision autocast asks for on this kind of device, None where it is off."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == "cpu":  # torch before 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
