"""Batch norm over the voxels, or pixels, of all processes, forward and backward.

torch's own (`nn.SyncBatchNorm`) runs on GPUs alone and knows no process without rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable

from sr3d_core.sparse.layers import VoxelNorm
from sr3d_core.training.processes import sum_over_all


class SharedNorms:
    """Makes all batch norms of a network use the statistics of all processes.

    Every sum over the processes hands a zero, the thread, on to the next, and the loss takes the
    last one: so all processes run through the same sums backwards in the same order, also one
    whose scenes have no voxels and whose layers are therefore not connected at all.
    """

    def __init__(self, network: nn.Module) -> None:
        self._thread = torch.zeros(())
        for parent in list(network.modules()):
            for name, norm in list(parent.named_children()):
                if isinstance(norm, VoxelNorm | nn.BatchNorm2d):
                    setattr(parent, name, _SharedNorm(norm, self))

    def begin(self, device: torch.device) -> None:
        """Call before each forward pass."""
        self._thread = torch.zeros((), device=device, requires_grad=True)

    def tied(self, loss: Tensor) -> Tensor:
        """The same loss, to go backwards from."""
        return loss + self._thread

    def sum(self, own: Tensor) -> Tensor:
        """The sum over all processes, with gradients."""
        total, self._thread = _Sum.apply(own, self._thread)
        return total


class _Sum(Function):
    """Everyone's loss depends on the sum, so its gradient is the sum of everyone's gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, thread: Tensor) -> tuple[Tensor, Tensor]:
        return sum_over_all(own.clone()), thread.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gradient, thread = grads
        return sum_over_all(gradient.clone()), thread


class _SharedNorm(VoxelNorm):
    """Takes the place of a layer's norm, with the same parameters under the same names.

    Of rows (N, C), or of images (B, C, H, W), whose pixels are rows then. Some norms of timm have
    layers of their own, dropout and an activation, which come after the norm in their order.
    """

    def __init__(self, own: VoxelNorm | nn.BatchNorm2d, norms: SharedNorms) -> None:
        super().__init__(own.num_features, eps=own.eps, momentum=own.momentum)
        self.weight, self.bias = own.weight, own.bias
        self.running_mean, self.running_var = own.running_mean, own.running_var
        self.num_batches_tracked = own.num_batches_tracked
        self._norms = norms
        for name, layer in own.named_children():
            self.add_module(name, layer)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise by mean and variance of all rows of all processes."""
        normalised = self._by_all(features)
        for layer in self.children():
            normalised = layer(normalised)
        return normalised

    def _by_all(self, features: Tensor) -> Tensor:
        if not self.training:
            return self.by_running_statistics(features)
        with torch.autocast(features.device.type, enabled=False):
            rows = features.float().movedim(1, -1)
            normalised = self._normalised(rows.reshape(-1, rows.shape[-1]))
            return normalised.reshape(rows.shape).movedim(-1, 1).to(features.dtype)

    def _normalised(self, rows: Tensor) -> Tensor:
        own = torch.cat([rows.sum(dim=0), rows.new_tensor([len(rows)])])
        total = self._norms.sum(own)
        count = float(total[-1].detach())
        if count < 2:
            return self.by_running_statistics(rows)
        mean = total[:-1] / count
        centered = rows - mean
        variance = self._norms.sum(centered.square().sum(dim=0)) / count
        self._move_statistics(mean.detach(), variance.detach() * (count / (count - 1)))
        return centered * (variance + self.eps).rsqrt() * self.weight + self.bias

    @torch.no_grad()
    def _move_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)
