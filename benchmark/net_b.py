"""The network that every engine can run: TR3D's layout with downs over 2^3 voxels that ups undo.

Stem k2s2 and max pooling, four stages of residual blocks, two ups that lead back onto the voxels
of the finer level; biases instead of batch norm. `NetB` runs on our engines, `SpconvNetB` is the
same network, with the same weights, on spconv, whose k3s2 and generative layers differ from ours.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sr3d_core.sparse.engine import Engine, Epilogue
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d, MaxPool3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor, union_add

WIDTHS = (64, 128, 128, 128)
DEPTHS = (3, 4, 6, 3)
IN_CHANNELS = 3
STEM_CHANNELS = 64
COARSEST = 64  # finest voxels along a voxel of the last stage


class Biased(nn.Module):
    """A convolution with a bias, a shortcut and ReLU; weights keep the scale of their input."""

    def __init__(self, conv: Conv3d | GenerativeUpConv3d) -> None:
        super().__init__()
        self.conv = conv
        kernel, in_channels, out_channels = conv.kernel.shape
        seen = 1 if isinstance(conv, GenerativeUpConv3d) else max(1, kernel // 2)
        nn.init.normal_(conv.kernel, std=0.9 * math.sqrt(2 / (in_channels * seen)))
        self.bias = nn.Parameter(0.05 * torch.randn(out_channels))
        self.register_buffer("one", torch.ones(out_channels))

    def forward(
        self,
        x: SparseTensor,
        *,
        shortcut: SparseTensor | None = None,
        is_rectified: bool = True,
        **onto: SparseTensor,
    ) -> SparseTensor:
        """All of it in one go, as at inference."""
        added = None if shortcut is None else shortcut.features
        epilogue = Epilogue(self.one, self.bias, added, is_rectified)
        y: SparseTensor = self.conv(x, epilogue=epilogue, **onto)
        return y


class Block(nn.Module):
    """Two convolutions beside a shortcut; the first one may halve the resolution."""

    def __init__(self, in_channels: int, channels: int, is_down: bool) -> None:
        super().__init__()
        stride, kernel = (2, 2) if is_down else (1, 3)
        self.first = Biased(Conv3d(in_channels, channels, kernel, stride))
        self.second = Biased(Conv3d(channels, channels, 3))
        self.shortcut = Biased(Conv3d(in_channels, channels, 2, 2)) if is_down else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Same voxels, or the coarser cells."""
        beside = x if self.shortcut is None else self.shortcut(x, is_rectified=False)
        y: SparseTensor = self.second(self.first(x), shortcut=beside)
        return y


class NetB(nn.Module):
    """Voxels in, the features of the coarse and the fine anchor level out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Biased(Conv3d(IN_CHANNELS, STEM_CHANNELS, 2, 2))
        self.pool = MaxPool3d()
        stages, before = [], STEM_CHANNELS
        for width, depth in zip(WIDTHS, DEPTHS, strict=True):
            sizes = [before] + [width] * (depth - 1)
            stages.append(
                nn.Sequential(*(Block(n, width, place == 0) for place, n in enumerate(sizes)))
            )
            before = width
        self.stages = nn.ModuleList(stages)
        last = WIDTHS[-1]
        self.ups = nn.ModuleList(Biased(GenerativeUpConv3d(last, last, 2)) for _ in range(2))
        self.laterals = nn.ModuleList(Biased(Conv3d(last, last, 3)) for _ in range(2))
        self.outs = nn.ModuleList(Biased(Conv3d(last, last, 3)) for _ in range(2))

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        """Features at 32 and 16 finest voxels."""
        x = self.pool(self.stem(x))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        outputs = []
        for up, lateral, out, skip in zip(
            self.ups, self.laterals, self.outs, (levels[2], levels[1]), strict=True
        ):
            x = lateral(union_add(skip, up(x, onto=skip)))
            outputs.append(out(x))
        return outputs


def on_engine(coords: Tensor, features: Tensor, engine: Engine) -> SparseTensor:
    """Voxels whose maps this engine is yet to build."""
    return SparseTensor(coords, features, cache=MapCache(engine))


def spconv_runner(net: NetB) -> Callable[[Tensor, Tensor], list[tuple[Tensor, Tensor]]] | None:
    """A function from voxels to the same levels (coords, features) by spconv; None without it."""
    try:
        spconv = importlib.import_module("spconv.pytorch")
    except ImportError:
        return None
    return SpconvNetB(spconv, net)


class SpconvNetB:
    """`NetB` on spconv, with the same weights; right only with one thread on a CPU."""

    def __init__(self, spconv: Any, net: NetB) -> None:
        self.spconv = spconv
        self.net = net
        self.layers = {name: self._layer(name, part) for name, part in _convolutions(net)}
        self.pool = spconv.SparseMaxPool3d(2, 2)

    def __call__(self, coords: Tensor, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Coordinates in finest voxels and features of the coarse, then the fine level."""
        low = coords[:, 1:].amin(0).div(COARSEST, rounding_mode="floor") * COARSEST
        cells = coords.clone()
        cells[:, 1:] -= low
        shape = [(int(n) // COARSEST + 1) * COARSEST for n in cells[:, 1:].amax(0)]
        x = self.spconv.SparseConvTensor(features, cells.int(), shape, 1)
        x = self.pool(self._run("stem", x))
        levels = []
        for number, depth in enumerate(DEPTHS):
            for place in range(depth):
                x = self._block(f"stages.{number}.{place}", x, is_down=place == 0)
            levels.append(x)
        outputs = []
        for number, skip in enumerate((levels[2], levels[1])):
            up = self._run(f"ups.{number}", x)
            x = self._run(f"laterals.{number}", up.replace_feature(up.features + skip.features))
            outputs.append(self._run(f"outs.{number}", x))
        return [
            (self._coords(y, low, COARSEST >> number), y.features)
            for number, y in enumerate(outputs, start=1)
        ]

    def _block(self, name: str, x: Any, is_down: bool) -> Any:
        beside = self._run(f"{name}.shortcut", x, is_rectified=False) if is_down else x
        return self._run(f"{name}.second", self._run(f"{name}.first", x), beside)

    def _run(self, name: str, x: Any, shortcut: Any = None, is_rectified: bool = True) -> Any:
        """A convolution, its bias, shortcut and ReLU: on a CPU, spconv fuses none of them."""
        y = self.layers[name](x)
        features = y.features + self.net.get_submodule(name).bias
        if shortcut is not None:
            features += shortcut.features
        return y.replace_feature(features.relu_() if is_rectified else features)

    def _coords(self, y: Any, low: Tensor, stride: int) -> Tensor:
        coords: Tensor = y.indices.long()
        coords[:, 1:] = coords[:, 1:] * stride + low
        return coords

    def _layer(self, name: str, part: Biased) -> Any:
        kernel, sizes = part.conv.kernel_size, part.conv.kernel.shape[1:]
        if name.startswith("ups"):  # undoes the convolution that led to its input
            layer = self.spconv.SparseInverseConv3d(
                *sizes, kernel, indice_key=f"down to {3 - int(name[-1])}", bias=False
            )
        elif part.conv.stride == 1:
            layer = self.spconv.SubMConv3d(*sizes, kernel, indice_key=_level(name), bias=False)
        else:
            key = f"down to {name.split('.')[1]}" if "." in name else name
            layer = self.spconv.SparseConv3d(*sizes, kernel, 2, indice_key=key, bias=False)
        # Ours: kernel index x fastest, in, out. Theirs: out, x, y, z, in.
        weight = part.conv.kernel.detach().view(kernel, kernel, kernel, *sizes)
        layer.weight.data = weight.permute(4, 2, 1, 0, 3).contiguous()
        return layer.eval()


def _convolutions(net: NetB) -> Iterator[tuple[str, Biased]]:
    return ((name, part) for name, part in net.named_modules() if isinstance(part, Biased))


def _level(name: str) -> str:
    """One key for all convolutions that keep the same voxels: they share a kernel map."""
    part, number = name.split(".")[:2]
    stage = int(number) if part == "stages" else 2 - int(number)
    return f"level {stage}"


def largest_difference(
    ours: list[SparseTensor], theirs: list[tuple[Tensor, Tensor]]
) -> float | None:
    """The largest error over the largest value, None where the voxels differ."""
    worst = 0.0
    for mine, (coords, features) in zip(ours, theirs, strict=True):
        place, other = _sorted_rows(mine.coords), _sorted_rows(coords)
        if not torch.equal(mine.coords[place], coords[other]):
            return None
        error = (mine.features[place] - features[other]).abs().max() / features.abs().max()
        worst = max(worst, float(error))
    return worst


def _sorted_rows(coords: Tensor) -> Tensor:
    numbers = coords[:, 0]
    for axis in (1, 2, 3):
        numbers = (numbers << 20) + coords[:, axis]
    return numbers.argsort()
